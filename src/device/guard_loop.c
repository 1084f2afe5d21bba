/* SPDX-License-Identifier: MIT */
/*
 * Is an image behind a loop device? Every attached loop device is asked for the file it is on, as
 * device and inode numbers: the path that sysfs gives may have been renamed or belong to another
 * mount namespace, and stands in only where the device may not be opened.
 */
#include "device/guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/cleanup.h"

/* What a loop device is on: a file by dev and ino, a block device by rdev. */
struct backing {
	dev_t dev, rdev;
	ino_t ino;
};

static bool is_on(const struct backing *b, const struct stat *st)
{
	if (S_ISBLK(st->st_mode))
		return b->rdev == st->st_rdev;
	return b->dev == st->st_dev && b->ino == st->st_ino;
}

/* The path of what loop device `name` is on; false if it is on nothing. */
static bool read_backing_path(const char *name, char *path, size_t bytes)
{
	CLEANUP_CLOSE int fd = -1;
	char file[320];
	ssize_t n;

	snprintf(file, sizeof(file), "/sys/block/%s/loop/backing_file", name);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, path, bytes - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	path[strcspn(path, "\n")] = '\0';
	return true;
}

/* Reading the status is read-only; opening for reading makes no udev event either. */
static bool ask_device(const char *name, struct backing *b)
{
	CLEANUP_CLOSE int fd = -1;
	struct loop_info64 info;
	char path[272];

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return false;
	*b = (struct backing){info.lo_device, info.lo_rdevice, info.lo_inode};
	return true;
}

static bool ask_path(const char *path, struct backing *b)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	*b = (struct backing){st.st_dev, st.st_rdev, st.st_ino};
	return true;
}

/*
 * Asking after a file on FUSE may wait for a daemon that never answers (loop devices on FUSE files
 * are bowimg's own trade); a file system that the image is not on need not be asked.
 */
static bool loop_is_on(const char *name, const struct stat *st)
{
	char path[4200];
	struct backing b;

	if (!read_backing_path(name, path, sizeof(path)) ||
	    bow_guard_on_other_fuse(path, st->st_dev))
		return false;
	return (ask_device(name, &b) || ask_path(path, &b)) && is_on(&b, st);
}

/* Who uses the loop device itself tells the user what to end first. */
static int describe(const char *name, struct bow_guard_user *user)
{
	struct bow_guard_user above = {0};
	struct stat st;
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/dev/%.24s", name);
	rc = stat(path, &st) == 0 ? bow_guard_find_block_user(st.st_rdev, &above) : 0;
	if (rc < 0)
		return rc;
	snprintf(user->who, sizeof(user->who), "%s is attached to it%s%.160s", path, rc ? ", " : "",
		 above.who);
	snprintf(user->hint, sizeof(user->hint), "%.120s%slosetup -d %s", above.hint,
		 rc ? "; then " : "", path);
	return 1;
}

int bow_guard_find_loop(const struct stat *st, struct bow_guard_user *user)
{
	struct dirent *entry;
	DIR *d = opendir("/sys/block");
	int rc = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno; /* then O_EXCL and leases must do */
	while (rc == 0 && (entry = readdir(d))) {
		const char *name = entry->d_name;

		if (strncmp(name, "loop", 4) == 0 && isdigit((unsigned char)name[4]) &&
		    loop_is_on(name, st))
			rc = describe(name, user);
	}
	closedir(d);
	return rc;
}
