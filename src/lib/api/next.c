/* SPDX-License-Identifier: MIT */
/* What can be done next, where the image alone does not tell: who uses it, and would prepare? */
#include <stdio.h>
#include <unistd.h>

#include "lib/api/api.h"
#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/disk/part.h"
#include "lib/freespace/contents.h"
#include "lib/freespace/fs/kinds.h"
#include "lib/inuse/guard.h"
#include "lib/inuse/inuse.h"
#include "lib/verbs/operations.h"

void bow_next_of_used(struct bowimg_disk *dev, struct bowimg_status *out)
{
	struct bow_guard_user user;

	bow_disk_file_user(dev, &user);
	snprintf(out->next, sizeof(out->next),
		 "in use by %.100s: nothing is lost; when that has ended, 'bowimg rollback' brings "
		 "everything back, 'bowimg commit' keeps the changes",
		 user.who);
}

/* A file system that a helper reads, which takes its time: is it clean? */
static int check_content(struct bowimg_disk *dev, const struct bow_content *c,
			 struct bowimg_error *err)
{
	const struct bow_fs_kind *kind = bow_fs_find(c->found.type);
	struct bow_fs_limits limits = {0};
	struct bowimg_disk *vol;
	int rc;

	if (!kind || !kind->check)
		return 0;
	rc = bow_disk_part(dev, c->off, c->bytes, &vol, err);
	if (rc)
		return rc;
	rc = kind->check(vol, BOW_FS_HELPER, &limits, err);
	bow_disk_close(vol, NULL);
	/* A partition whose free space cannot be read counts as used. */
	return rc == -EOPNOTSUPP && c->part ? 0 : rc;
}

static bool needs_helper(const struct bow_contents *contents)
{
	for (uint32_t i = 0; i < contents->count; i++) {
		const struct bow_fs_kind *kind = bow_fs_find(contents->list[i].found.type);

		if (kind && !kind->read)
			return true;
	}
	return false;
}

static int read_map(struct bowimg_disk *dev, const struct bow_contents *contents,
		    struct bowimg_error *err)
{
	const struct bow_freemap_options opts = {.contents = contents};
	struct bow_freemap_info info = {0};
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(dev->size, BOWIMG_BLOCK_SIZE));
	int rc = map ? bow_freemap_read(dev, &opts, map, &info, err)
		     : bow_err_errno(err, -ENOMEM, "read the free map");

	bow_bitmap_free(map);
	return rc;
}

static int check_contents(struct bowimg_disk *dev, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_contents *contents = NULL;
	int rc = bow_contents_read(dev, NULL, &contents, err);

	if (!rc && !needs_helper(contents))
		return read_map(dev, contents, err);
	for (uint32_t i = 0; !rc && i < contents->count; i++)
		rc = check_content(dev, &contents->list[i], err);
	return rc;
}

/* A mount, a loop device, swap: what is no lock on the image. */
static int check_users(struct bowimg_disk *dev, struct bowimg_error *err)
{
	uint64_t off;
	CLEANUP_CLOSE int fd = bow_disk_reopen(dev, &off);

	return fd < 0 ? 0 : bow_guard_check(fd, dev->name, err);
}

void bow_next_of_plain(struct bowimg_disk *dev, bool in_use, struct bowimg_status *out)
{
	struct bowimg_error why = {0};
	int rc = in_use ? bow_disk_refuse_used(dev, &why) : bow_prepare_check(dev, &why);

	if (!rc)
		rc = check_users(dev, &why);
	if (!rc)
		rc = check_contents(dev, &why);
	if (!rc)
		return;
	bow_err_take_out(&why, dev->name);
	snprintf(out->next, sizeof(out->next), "'bowimg prepare' would refuse it: %.200s",
		 why.message);
}
