/* SPDX-License-Identifier: MIT */
/*
 * The daemon shows the file of the disk to who knows its name, and opens the image for writing when
 * that file is opened (disks.c). From then on the session is as if the disk had come first, and the
 * disk as it was beside it (before.h): the places change their names in the state, no more. Only a
 * directory of FUSE that a user has asked for stays what the daemon lives with.
 */
#include "bowimg/serve/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/show.h"
#include "bowimg/fuse/fuse.h"
#include "bowimg/host/parts.h"
#include "bowimg/serve/device.h"
#include "bowimg/serve/find.h"
#include "bowimg/serve/places.h"

/* A daemon of another version has no such file. */
static bool has_disk(const struct bow_session *e)
{
	char path[PATH_MAX + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", e->fuse_dir, BOW_FUSE_FILE);
	return stat(path, &st) == 0;
}

/* Of files there is one directory. */
static bool is_there(const struct bow_session *e, const char *fuse_dir)
{
	char dir[PATH_MAX];

	return !e->wants_loop && realpath(fuse_dir, dir) && strcmp(dir, e->fuse_dir) == 0;
}

bool bow_beside_possible(const struct bow_session *e, const struct bow_service_options *opts)
{
	char device[BOW_LOOP_NAME];
	bool up = e->wants_loop ? bow_service_has_loop(e, device) : bow_service_has_fuse(e);

	return opts->beside && e->before_only && up && has_disk(e) &&
	       (!opts->fuse_dir || is_there(e, opts->fuse_dir));
}

/* What was the session's disk is what is beside it. */
static void make_room(struct bow_session *e)
{
	memcpy(e->before_dir, e->mount_dir, sizeof(e->before_dir));
	e->before_loop[0] = '\0';
	if (!e->mount_dir[0])
		memcpy(e->before_loop, e->loop, sizeof(e->before_loop));
	e->before_partition = e->partition;
	memcpy(e->before_mark, e->mark, sizeof(e->before_mark));
	e->before_only = false;
	e->mount_dir[0] = e->loop[0] = '\0';
}

/* And back. */
static void leave_room(struct bow_session *e)
{
	memcpy(e->mount_dir, e->before_dir, sizeof(e->mount_dir));
	e->partition = e->before_partition;
	e->before_only = true;
	e->disk_device = false;
	e->before_dir[0] = e->before_loop[0] = e->loop[0] = '\0';
	bow_service_has_loop(e, e->loop);
}

static int set_places(struct bow_session *e, const struct bow_service_options *opts,
		      struct bowimg_error *err)
{
	e->partition = opts->partition;
	e->durability = opts->serve.durability;
	e->force = opts->serve.force;
	e->disk_device = opts->loop;
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

/* As a file it is there when it was opened once. */
static int open_file(const struct bow_session *e, struct bowimg_error *err)
{
	char file[PATH_MAX + 16];

	bow_session_disk(e, file, sizeof(file));
	int fd = open(file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return bow_err_errno(err, -errno, "cannot open %s", file);
	close(fd);
	return 0;
}

/* What the daemon says counts more than that its file could not be opened. */
static int add_disk(struct bow_service *s, const struct bow_service_options *opts,
		    struct bowimg_error *err)
{
	struct bow_session *e = &s->session;
	struct bowimg_error refusal;

	bow_session_forget_result(e, BOW_REFUSAL);
	int ret = bow_session_save(e, err);
	if (!ret)
		ret = opts->loop ? bow_device_add(s, opts, err) : open_file(e, err);
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

	return ret ? ret : add_disk(s, opts, err);
}

void bow_beside_give_up(struct bow_service *s)
{
	bow_device_remove(&s->session);
	leave_room(&s->session);
	bow_session_save(&s->session, NULL);
}
