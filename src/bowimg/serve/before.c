/* SPDX-License-Identifier: MIT */
/*
 * A second loop device, read-only, on the daemon's file "before", and perhaps a mount on that, with
 * which the device goes. The daemon serves as long as one of the two files is open.
 */
#include "bowimg/serve/before.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/base/show.h"
#include "bowimg/host/mounts.h"
#include "bowimg/host/parts.h"
#include "bowimg/host/process.h"
#include "bowimg/serve/find.h"
#include "bowimg/serve/places.h"

/* The kernel knows these file systems by their UUID, which both versions of the disk share. */
#define XFS_MAGIC "XFSB"
#define BTRFS_MAGIC "_BHRfS_M"
#define BTRFS_MAGIC_OFF 65600

static bool begins_with(int fd, off_t off, const char *magic)
{
	char bytes[16];

	return pread(fd, bytes, sizeof(bytes), off) == sizeof(bytes) &&
	       memcmp(bytes, magic, strlen(magic)) == 0;
}

int bow_before_options(int fd, const char *first, const char *wanted, char *out, size_t bytes,
		       struct bowimg_error *err)
{
	int ret;

	if (begins_with(fd, BTRFS_MAGIC_OFF, BTRFS_MAGIC)) {
		ret = bow_err(err, -EOPNOTSUPP,
			      "btrfs cannot be mounted as it was while the disk itself is served: "
			      "to the kernel both would be one file system");
		bow_err_hint(err, "take one of them down first (bowimg umount or detach), then "
				  "mount the other");
		return ret;
	}
	ret = snprintf(out, bytes, "%s%s%s%s", first,
		       begins_with(fd, 0, XFS_MAGIC) ? ",nouuid" : "", wanted ? "," : "",
		       wanted ? wanted : "");
	return ret < (int)bytes ? 0
				: bow_err_errno(err, -ENAMETOOLONG, "cannot use the mount options");
}

static int mount_it(const struct bow_session *e, const struct bow_loop *loop, const char *wanted,
		    int signal_fd, struct bowimg_error *err)
{
	char options[1024];
	int ret = bow_before_options(loop->fd, "ro", wanted, options, sizeof(options), err);

	return ret ? ret : bow_mounts_add(loop->path, e->before_dir, options, signal_fd, err);
}

/* Saved first: later commands must find what there is. */
static int keep_it(struct bow_session *e, const struct bow_loop *loop, struct bowimg_error *err)
{
	memcpy(e->before_loop, loop->path, sizeof(e->before_loop));
	int ret = bow_session_save(e, err);
	if (ret)
		return ret;
	bow_loop_add_partitions(loop);
	return bow_loop_keep(loop, err);
}

static int make_device(struct bow_session *e, const struct bow_before *what, int signal_fd,
		       char device[BOW_LOOP_NAME], struct bowimg_error *err)
{
	char file[PATH_MAX + 64];
	struct bow_loop_options how = {.readonly = true, .partitions = !what->dir};
	struct bow_loop loop;

	bow_session_before(e, file, sizeof(file));
	int ret = bow_loop_ask(e->image, &how, err);
	if (!ret)
		ret = bow_loop_attach(file, &how, &loop, err);
	if (ret)
		return ret;
	memcpy(device, loop.path, BOW_LOOP_NAME);
	ret = what->dir ? mount_it(e, &loop, what->mount_options, signal_fd, err)
			: keep_it(e, &loop, err);
	/* A mount keeps the device, too. Without either the kernel takes the device away. */
	close(loop.fd);
	return ret;
}

static int refuse_second(const struct bow_session *e, bool mounted, const char *where,
			 const char *name, struct bowimg_error *err)
{
	int ret = bow_err(err, -EBUSY, "%s as it was is %s already: %s %s", e->image,
			  mounted ? "mounted" : "attached", mounted ? "at" : "as", where);

	bow_err_hint(err, "look there, or end it first: bowimg %s %s",
		     mounted ? "umount" : "detach", BOW_WORD(name));
	return ret;
}

/* There is room for one, whatever it shows. */
static int refuse_if_there(const struct bow_session *e, struct bowimg_error *err)
{
	char device[BOW_LOOP_NAME], file[PATH_MAX + 64];

	if (e->before_only && e->mount_dir[0])
		return refuse_second(e, true, e->mount_dir, e->mount_dir, err);
	if (e->before_only) {
		bow_session_disk(e, file, sizeof(file));
		return refuse_second(e, false, e->loop[0] ? e->loop : file, e->image, err);
	}
	if (!bow_service_has_before(e, device))
		return 0;
	if (e->before_loop[0])
		return refuse_second(e, false, device, device, err);
	return bow_mounts_has(e->before_dir, bow_loop_number(device))
		       ? refuse_second(e, true, e->before_dir, e->before_dir, err)
		       : 0;
}

static int set_place(struct bow_session *e, const struct bow_before *what, struct bowimg_error *err)
{
	e->before_dir[0] = e->before_loop[0] = '\0';
	e->before_partition = what->partition;
	snprintf(e->before_mark, sizeof(e->before_mark), "%s", what->mark ? what->mark : "");
	if (!what->dir)
		return 0;
	int ret = bow_place_directory(what->dir, e->before_dir, err);
	return ret ? ret : bow_parts_check_image(e->image, what->partition, err);
}

/* The session is locked, and its daemon is up. */
static int add(struct bow_session *e, const struct bow_before *what, char device[BOW_LOOP_NAME],
	       struct bowimg_error *err)
{
	int signal_fd, ret = refuse_if_there(e, err);

	/* A device whose mount a user has taken away. */
	if (!ret)
		ret = bow_service_remove_before(e, 0, err);
	if (!ret)
		ret = set_place(e, what, err);
	if (ret)
		return ret;
	if ((signal_fd = bow_process_catch_signals(err)) < 0)
		return signal_fd;
	/* Saved first: later commands must find what is mounted. */
	ret = bow_session_save(e, err);
	if (!ret)
		ret = make_device(e, what, signal_fd, device, err);
	if (ret) {
		e->before_dir[0] = e->before_loop[0] = '\0';
		bow_session_save(e, NULL);
	}
	return ret;
}

int bow_service_add_before(const char *image, const struct bow_before *what,
			   char device[BOW_LOOP_NAME], struct bowimg_error *err)
{
	struct bow_session e;
	int ret = bow_runtime_enter(image, &e, err);

	if (ret < 0)
		return ret;
	if (ret == 0 || !bow_session_alive(&e)) {
		bow_session_leave(&e, ret == 0);
		return 0;
	}
	ret = add(&e, what, device, err);
	bow_session_leave(&e, false);
	return ret ? ret : 1;
}

static int remove_one(const struct bow_session *e, const char *device, int flags,
		      struct bowimg_error *err)
{
	dev_t number = bow_loop_number(device);
	char file[PATH_MAX + 64];
	int ret = 0;

	bow_session_before(e, file, sizeof(file));
	if (flags & MNT_DETACH) {
		ret = bow_mounts_remove_all(number, flags, err);
		return ret ? ret : bow_loop_release(device, file, bow_service_fs(e), err);
	}
	if (bow_mounts_has(e->before_dir, number))
		ret = bow_mounts_remove(e->before_dir, flags, err);
	if (!ret)
		ret = bow_loop_refuse_mounted(device, NULL, err);
	/* The last close takes the device away; this waits for it. */
	return ret ? ret : bow_loop_detach(device, file, bow_service_fs(e), err);
}

int bow_service_remove_before(const struct bow_session *e, int flags, struct bowimg_error *err)
{
	char device[BOW_LOOP_NAME], last[BOW_LOOP_NAME] = "";
	int ret = 0;

	/* A device that goes with its last user is found twice. */
	while (!ret && bow_service_has_before(e, device) && strcmp(device, last) != 0) {
		ret = remove_one(e, device, flags, err);
		memcpy(last, device, sizeof(last));
	}
	return ret;
}
