/* SPDX-License-Identifier: MIT */
/*
 * The daemon shows the file of the disk to who knows its name, and opens the image for writing when
 * that file is opened (disks.c). From then on the session is as if the disk had been mounted first,
 * and the disk as it was beside it (before.h): the places change their names in the state, no more.
 */
#include "bowimg/serve/beside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/show.h"
#include "bowimg/fuse/fuse.h"
#include "bowimg/host/parts.h"
#include "bowimg/serve/device.h"
#include "bowimg/serve/find.h"
#include "bowimg/serve/places.h"

/* A daemon that shows a mark, or of another version, has no such file. */
static bool has_disk(const struct bow_session *e)
{
	char path[PATH_MAX + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", e->fuse_dir, BOW_FUSE_FILE);
	return stat(path, &st) == 0;
}

bool bow_beside_possible(const struct bow_session *e, const struct bow_service_options *opts)
{
	return opts->beside && e->before_only && bow_service_is_mounted(e) && has_disk(e);
}

/* What was the session's disk is what is beside it. */
static void make_room(struct bow_session *e)
{
	memcpy(e->before_dir, e->mount_dir, sizeof(e->before_dir));
	e->before_partition = e->partition;
	e->before_mark[0] = '\0';
	e->before_only = false;
	e->mount_dir[0] = e->loop[0] = '\0';
}

/* And back. */
static void leave_room(struct bow_session *e)
{
	memcpy(e->mount_dir, e->before_dir, sizeof(e->mount_dir));
	e->partition = e->before_partition;
	e->before_only = true;
	e->before_dir[0] = e->loop[0] = '\0';
	bow_service_has_loop(e, e->loop);
}

static int set_places(struct bow_session *e, const struct bow_service_options *opts,
		      struct bowimg_error *err)
{
	e->partition = opts->partition;
	e->durability = opts->serve.durability;
	e->force = opts->serve.force;
	if (!opts->mount_dir)
		return 0;
	int ret = bow_place_directory(opts->mount_dir, e->mount_dir, err);
	if (!ret && strcmp(e->mount_dir, e->before_dir) == 0) {
		ret = bow_err(err, -EBUSY, "%s as it was is mounted at %s", e->image,
			      e->before_dir);
		bow_err_hint(err, "give another directory, or end that first: bowimg umount %s",
			     BOW_WORD(e->before_dir));
	}
	return ret ? ret : bow_parts_check_image(e->image, opts->partition, err);
}

/* What the daemon says counts more than that its file could not be opened. */
static int add_device(struct bow_service *s, const struct bow_service_options *opts,
		      struct bowimg_error *err)
{
	struct bow_session *e = &s->session;
	struct bowimg_error refusal;

	bow_session_forget_result(e, BOW_REFUSAL);
	int ret = bow_session_save(e, err);
	if (!ret)
		ret = bow_device_add(s, opts, err);
	if (!ret || !bow_session_load_result(e, BOW_REFUSAL, &refusal) || !refusal.code)
		return ret;
	*err = refusal;
	return refusal.code;
}

int bow_beside_start(struct bow_service *s, const struct bow_service_options *opts,
		     struct bowimg_error *err)
{
	s->beside = true;
	make_room(&s->session);
	int ret = set_places(&s->session, opts, err);

	return ret ? ret : add_device(s, opts, err);
}

void bow_beside_give_up(struct bow_service *s)
{
	bow_device_remove(&s->session);
	leave_room(&s->session);
	bow_session_save(&s->session, NULL);
}
