/* SPDX-License-Identifier: MIT */
/* The partitions that can be served, and the one that the user wants. */
#include "bowimg/host/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/cleanup.h"
#include "bowimg/host/notice.h"

static int add(void *ctx, const struct bowimg_partition *p)
{
	struct bow_parts *parts = ctx;

	if (parts->count == BOWIMG_PARTITIONS_MAX)
		return -EOVERFLOW;
	parts->list[parts->count++] = *p;
	return 0;
}

/* A damaged or ambiguous table is no error here; parts->err says why there is no list. */
static int settle(struct bow_parts *out, int ret, struct bowimg_error *err)
{
	if (ret) {
		out->count = 0;
		out->err.code = ret;
	}
	if (!ret || ret == -EUCLEAN || ret == -EOPNOTSUPP)
		return 0;
	*err = out->err;
	return ret;
}

int bow_parts_read(bowimg_disk *disk, struct bow_parts *out, struct bowimg_error *err)
{
	memset(out, 0, sizeof(*out));
	return settle(out, bowimg_disk_partitions(disk, add, out, &out->err), err);
}

/* "1 (vfat), 2 (ext4), 3"; cut if it is too long. */
static void name_all(const struct bow_parts *parts, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < parts->count && used < bytes; i++) {
		const struct bowimg_partition *p = &parts->list[i];
		bool known = p->content[0] != '\0';

		used += (size_t)snprintf(text + used, bytes - used, "%s%u%s%s%s", i ? ", " : "",
					 p->number, known ? " (" : "", p->content,
					 known ? ")" : "");
	}
}

static const struct bowimg_partition *find(const struct bow_parts *parts, unsigned number)
{
	for (uint32_t i = 0; i < parts->count; i++)
		if (parts->list[i].number == number)
			return &parts->list[i];
	return NULL;
}

static int no_such(const struct bow_parts *parts, const char *image, unsigned number,
		   struct bowimg_error *err)
{
	char all[160];

	if (parts->err.code) {
		*err = parts->err;
		snprintf(err->hint, sizeof(err->hint),
			 "bowimg attach shows the whole disk, and the table can be repaired there");
		return bow_err_wrap(err, parts->err.code, "partition %u", number);
	}
	name_all(parts, all, sizeof(all));
	bow_err(err, -ENOENT, "%s: there is no partition %u", image, number);
	if (parts->count)
		bow_err_hint(err, "there are: %s", all);
	else
		bow_err_hint(err, "the disk has no partition table; leave out -p");
	return -ENOENT;
}

int bow_parts_check(const struct bow_parts *parts, const char *image, unsigned number, bool mounts,
		    struct bowimg_error *err)
{
	char all[160];

	if (number)
		return find(parts, number) ? 0 : no_such(parts, image, number, err);
	if (!mounts || !parts->count)
		return 0;
	name_all(parts, all, sizeof(all));
	bow_err(err, -EOPNOTSUPP,
		"%s: the disk has partitions, of which one must be chosen to be mounted: -p N",
		image);
	bow_err_hint(err, "there are: %s", all);
	return -EOPNOTSUPP;
}

/* Of an image at rest, or of a served one. NULL: *ret is the error. */
static struct bow_parts *read_image(const char *image, int *ret, struct bowimg_error *err)
{
	const struct bowimg_options call = {.events.waiting = bow_notice_event};
	struct bow_parts *parts = calloc(1, sizeof(*parts));

	if (!parts)
		*ret = bow_err_errno(err, -ENOMEM, "cannot read the partitions of %s", image);
	else
		*ret = settle(parts, bowimg_partitions(image, &call, add, parts, &parts->err), err);
	if (!*ret)
		return parts;
	free(parts);
	return NULL;
}

int bow_parts_check_image(const char *image, unsigned number, struct bowimg_error *err)
{
	int ret;
	CLEANUP_FREE struct bow_parts *parts = read_image(image, &ret, err);

	return parts ? bow_parts_check(parts, image, number, true, err) : ret;
}

int bow_parts_find(const char *image, unsigned number, struct bowimg_partition *out,
		   struct bowimg_error *err)
{
	int ret;
	CLEANUP_FREE struct bow_parts *parts = read_image(image, &ret, err);
	const struct bowimg_partition *found = parts ? find(parts, number) : NULL;

	if (found)
		*out = *found;
	else if (parts)
		ret = no_such(parts, image, number, err);
	return ret;
}
