/* SPDX-License-Identifier: MIT */
/*
 * Is an image behind a loop device? Every attached loop device is asked for the device and inode
 * numbers of the file that it is on. The path that sysfs gives may have been renamed or belong to
 * another mount namespace, and is used only if the device may not be opened.
 */
#include "lib/inuse/guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "lib/base/cleanup.h"
#include "lib/base/mountinfo.h"

static bool is_same(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) || S_ISBLK(b->st_mode))
		return S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Reads the path of what loop device `name` is on; false if it is on nothing. */
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

/* Reading the status needs no write access; opening for reading makes no udev event either. */
static bool ask_device(const char *name, struct stat *st)
{
	CLEANUP_CLOSE int fd = -1;
	struct loop_info64 info;
	char path[272];

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return false;
	st->st_mode = info.lo_rdevice ? S_IFBLK : S_IFREG;
	st->st_dev = info.lo_device;
	st->st_rdev = info.lo_rdevice;
	st->st_ino = info.lo_inode;
	return true;
}

/* Reads a number of a loop device in sysfs; 0 if there is none. */
static uint64_t read_number(const char *name, const char *what)
{
	unsigned long long n = 0;
	char path[320];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/loop/%s", name, what);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

static struct bow_guard_part read_part(const char *name)
{
	uint64_t from = read_number(name, "offset"), bytes = read_number(name, "sizelimit");

	return (struct bow_guard_part){from, bytes && bytes < UINT64_MAX - from ? from + bytes
										: UINT64_MAX};
}

static bool overlap(const struct bow_guard_part *a, const struct bow_guard_part *b)
{
	return a->from < b->to && b->from < a->to;
}

/*
 * A look at a file on FUSE may wait for a daemon that never answers (bowimg itself puts loop
 * devices on FUSE files). A file system that the image is not on need not be looked at.
 */
static bool loop_is_on(const char *name, const struct stat *st)
{
	struct stat under = {0};
	char path[4096];

	if (!read_backing_path(name, path, sizeof(path)) ||
	    bow_guard_on_other_fuse(path, st->st_dev))
		return false;
	return (ask_device(name, &under) || stat(path, &under) == 0) && is_same(&under, st);
}

bool bow_guard_loop_shows(const char *name, const struct stat *st,
			  const struct bow_guard_part *part)
{
	struct bow_guard_part shown = read_part(name);

	return (!part || overlap(&shown, part)) && loop_is_on(name, st);
}

int bow_guard_read_loop(dev_t dev, struct bow_guard_loop *loop)
{
	char name[64];

	memset(loop, 0, sizeof(*loop));
	bow_block_name(dev, name, sizeof(name));
	if (strncmp(name, "/dev/loop", 9) != 0 ||
	    !read_backing_path(name + 5, loop->path, sizeof(loop->path)))
		return 0;
	/* A user of the device waits for that file anyway. */
	if (!ask_device(name + 5, &loop->st) && stat(loop->path, &loop->st) < 0)
		return -errno;
	loop->part = read_part(name + 5);
	return 1;
}

bool bow_guard_read_dev(const char *dir, const char *name, dev_t *dev)
{
	char path[512];
	unsigned maj, min;
	bool ok;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s/dev", dir, name) >= (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fscanf(f, "%u:%u", &maj, &min) == 2;
	fclose(f);
	if (ok)
		*dev = makedev(maj, min);
	return ok;
}
