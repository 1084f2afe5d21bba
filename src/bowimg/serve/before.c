/* SPDX-License-Identifier: MIT */
/*
 * A second loop device, read-only, on the daemon's file "before", and a mount on that. An unmount
 * takes the device away, too. The daemon serves as long as one of the two files is open.
 */
#include "bowimg/serve/before.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/show.h"
#include "bowimg/host/mounts.h"
#include "bowimg/host/parts.h"
#include "bowimg/host/process.h"
#include "bowimg/serve/find.h"

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

static int mount_before(const struct bow_session *e, const char *wanted, int signal_fd,
			struct bowimg_error *err)
{
	char file[PATH_MAX + 16], options[1024];
	struct bow_loop_options how = {.readonly = true};
	struct bow_loop loop;

	bow_session_before(e, file, sizeof(file));
	int ret = bow_loop_ask(e->image, &how, err);
	if (!ret)
		ret = bow_loop_attach(file, &how, &loop, err);
	if (ret)
		return ret;
	ret = bow_before_options(loop.fd, "ro", wanted, options, sizeof(options), err);
	if (!ret)
		ret = bow_mounts_add(loop.path, e->before_dir, options, signal_fd, err);
	/* The mount keeps the device. Without a mount the kernel takes the device away. */
	close(loop.fd);
	return ret;
}

static int refuse_second(const struct bow_session *e, const char *dir, struct bowimg_error *err)
{
	int ret = bow_err(err, -EBUSY, "%s as it was is mounted already: at %s", e->image, dir);

	bow_err_hint(err, "look there, or end it first: bowimg umount %s", BOW_WORD(dir));
	return ret;
}

/* The session is locked, and its daemon is up. */
static int add(struct bow_session *e, const struct bow_before *what, const char *dir,
	       struct bowimg_error *err)
{
	char device[BOW_LOOP_NAME];
	struct stat st;
	int ret;

	if (e->before_only)
		return refuse_second(e, e->mount_dir, err);
	if (bow_service_has_before(e, device) &&
	    bow_mounts_has(e->before_dir, bow_loop_number(device)))
		return refuse_second(e, e->before_dir, err);
	/* A device whose mount a user has taken away. */
	ret = bow_service_remove_before(e, 0, err);
	if (ret)
		return ret;
	if (!realpath(dir, e->before_dir) || stat(e->before_dir, &st) < 0)
		return bow_err_errno(err, -errno, "cannot use the directory %s", dir);
	if (!S_ISDIR(st.st_mode))
		return bow_err_errno(err, -ENOTDIR, "cannot use the directory %s", dir);
	ret = bow_parts_check_image(e->image, what->partition, err);
	if (ret)
		return ret;
	e->before_partition = what->partition;
	snprintf(e->before_mark, sizeof(e->before_mark), "%s", what->mark ? what->mark : "");
	int signal_fd = bow_process_catch_signals(err);
	if (signal_fd < 0)
		return signal_fd;
	/* Saved first: later commands must find what is mounted. */
	ret = bow_session_save(e, err);
	if (!ret)
		ret = mount_before(e, what->mount_options, signal_fd, err);
	if (ret) {
		e->before_dir[0] = '\0';
		bow_session_save(e, NULL);
	}
	return ret;
}

int bow_service_add_before(const char *image, const struct bow_before *what, const char *dir,
			   struct bowimg_error *err)
{
	struct bow_session e;
	int ret = bow_runtime_enter(image, &e, err);

	if (ret < 0)
		return ret;
	if (ret == 0 || !bow_session_alive(&e)) {
		bow_session_leave(&e, ret == 0);
		return 0;
	}
	ret = add(&e, what, dir, err);
	bow_session_leave(&e, false);
	return ret ? ret : 1;
}

static int remove_one(const struct bow_session *e, const char *device, int flags,
		      struct bowimg_error *err)
{
	dev_t number = bow_loop_number(device);
	char file[PATH_MAX + 16];
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
