/* SPDX-License-Identifier: MIT */
/*
 * Detaching loop devices.
 *
 * The kernel never refuses to detach. If the device is open elsewhere, it only sets a mark, by
 * which the device goes with its last user. So a detach waits a moment (udev opens every device
 * that was just closed). If the device is still there then, the mark is removed, unless it was
 * there before, and the answer is -EBUSY.
 */
#include "bowimg/host/loop.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "lib/base/show.h"
#include "bowimg/host/holder.h"
#include "bowimg/host/mounts.h"

enum { BACKING_BYTES = 4096 + 16 };
enum { GONE_TRIES = 100, OPEN_TRIES = 10, GONE_PAUSE_MS = 20 };

static void pause_briefly(void)
{
	struct timespec t = {.tv_nsec = GONE_PAUSE_MS * 1000000L};

	nanosleep(&t, NULL);
}

/* By its name alone: opening it could wait for a detach that is under way. */
static bool wait_gone(const char *device, const char *backing)
{
	char now[BACKING_BYTES];

	for (int i = 0; i < GONE_TRIES; i++) {
		if (!bow_loop_sysfs(device, "backing_file", now, sizeof(now)) ||
		    strcmp(now, backing) != 0)
			return true;
		pause_briefly();
	}
	return false;
}

static int open_ours(const char *device, const char *file, dev_t fs, struct bowimg_error *err)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == EACCES || errno == EROFS)) /* a read-only one */
		fd = open(device, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return bow_err_errno(err, -errno, "cannot open %s to detach it", device);
	/* While the device is open it cannot be given to another file. */
	if (!bow_loop_is_on(device, file, fs)) {
		close(fd);
		return -ENXIO;
	}
	return fd;
}

/* `holder` may be empty. */
static int still_open(const char *device, const struct bow_holder *holder, struct bowimg_error *err)
{
	const bool known = holder->who[0];
	int ret = bow_err(err, -EBUSY, "cannot detach %s: %s", device,
			  known ? holder->who : "it is open in another process");

	if (known)
		bow_err_hint(err, "%s", holder->hint);
	else
		bow_err_hint(err, "end what uses it (fuser -v %s) and try again", device);
	return ret;
}

int bow_loop_refuse_open(const char *device, bool mounted, struct bowimg_error *err)
{
	dev_t number = bow_loop_number(device);
	struct bow_holder holder;

	for (int i = 0; i < OPEN_TRIES; i++) {
		if (mounted ? !bow_holder_of_device(number, &holder)
			    : !bow_holder_of_disk(number, &holder))
			return 0;
		pause_briefly();
	}
	return still_open(device, &holder, err);
}

/* Does it go with its last user anyway? A mounted one does. */
static bool goes_by_itself(int fd)
{
	struct loop_info64 info;

	return ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && (info.lo_flags & LO_FLAGS_AUTOCLEAR);
}

/* Remove the mark. If the device is already gone, we are done. */
static int stay(const char *device, const char *file, dev_t fs, bool marked_before,
		struct bowimg_error *err)
{
	struct bow_holder holder = {0};
	int ret = 0;

	bow_holder_of_disk(bow_loop_number(device), &holder);
	struct bow_loop loop = {.fd = open_ours(device, file, fs, NULL)};
	if (loop.fd == -ENXIO)
		return 0;
	snprintf(loop.path, sizeof(loop.path), "%s", device);
	if (loop.fd >= 0 && !marked_before)
		ret = bow_loop_keep(&loop, err);
	if (loop.fd >= 0)
		close(loop.fd);
	return ret ? ret : still_open(device, &holder, err);
}

int bow_loop_detach(const char *device, const char *file, dev_t fs, struct bowimg_error *err)
{
	char backing[BACKING_BYTES] = "";
	int fd = open_ours(device, file, fs, err);
	int sync_error = 0;

	if (fd < 0)
		return fd == -ENXIO ? 0 : fd;
	bool marked = goes_by_itself(fd);
	bow_loop_sysfs(device, "backing_file", backing, sizeof(backing));
	if (fsync(fd) < 0)
		sync_error = -errno;
	int ret = ioctl(fd, LOOP_CLR_FD, 0) < 0 ? -errno : 0;
	close(fd);
	if (ret && ret != -ENXIO)
		return bow_err_errno(err, ret, "cannot detach %s", device);
	if (!wait_gone(device, backing) && (ret = stay(device, file, fs, marked, err)))
		return ret;
	if (sync_error)
		return bow_err_errno(err, -EIO, "cannot write back the cache of %s", device);
	return 0;
}

int bow_loop_release(const char *device, const char *file, dev_t fs, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = open_ours(device, file, fs, err);

	if (fd < 0)
		return fd == -ENXIO ? 0 : fd;
	if (ioctl(fd, LOOP_CLR_FD, 0) < 0 && errno != ENXIO)
		return bow_err_errno(err, -errno, "cannot detach %s", device);
	return 0;
}

int bow_loop_refuse_mounted(const char *device, const char *except, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));
	char name[64];

	if (!m)
		return bow_err_errno(err, -ENOMEM, "cannot search for mounts of %s", device);
	int ret = bow_mounts_of(bow_loop_number(device), except, m, err);
	if (ret <= 0)
		return ret;
	bow_block_name(bow_mount_device(m), name, sizeof(name));
	ret = bow_err(err, -EBUSY, "%s is mounted at %s", name, m->target);
	bow_err_hint(err, "unmount it first: umount %s", BOW_WORD(m->target));
	return ret;
}
