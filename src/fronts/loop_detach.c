/* SPDX-License-Identifier: MIT */
/*
 * Finding and detaching loop devices.
 *
 * The kernel never refuses to detach: while others have the device open it only marks it to go with
 * the last of them. So a detach waits a moment (udev looks at every device that was just closed),
 * and where the device is then still there, the mark is taken off again and -EBUSY returned.
 */
#include "fronts/loop.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fronts/mounts.h"

enum { GONE_TRIES = 100, GONE_PAUSE_MS = 20 };

bool bow_loop_find(const char *file, char device[BOW_LOOP_NAME])
{
	DIR *dir = opendir("/sys/block");
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "loop", 4) != 0 || strlen(entry->d_name) > 20)
			continue;
		snprintf(device, BOW_LOOP_NAME, "/dev/%.20s", entry->d_name);
		found = bow_loop_is_on(device, file);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool wait_gone(const char *device, const char *file)
{
	struct timespec t = {.tv_nsec = GONE_PAUSE_MS * 1000000L};

	for (int i = 0; i < GONE_TRIES; i++) {
		if (!bow_loop_is_on(device, file))
			return true;
		nanosleep(&t, NULL);
	}
	return false;
}

static int open_ours(const char *device, const char *file, struct bowimg_error *err)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == EACCES || errno == EROFS)) /* a read-only one */
		fd = open(device, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return bow_err_errno(err, -errno, "detaching %s: opening it", device);
	/* Asked with the device open: it cannot be given to another file any more. */
	if (!bow_loop_is_on(device, file)) {
		close(fd);
		return -ENXIO;
	}
	return fd;
}

static int still_open(const char *device, struct bowimg_error *err)
{
	int ret = bow_err(err, -EBUSY, "detaching %s: it is open in another process", device);

	bow_err_hint(err, "end what uses it (fuser -v %s) and try again", device);
	return ret;
}

/* Taken back too late is no harm: then the device is gone, which was the wish. */
static int unmark(const char *device, const char *file, struct bowimg_error *err)
{
	struct bow_loop loop = {.fd = open_ours(device, file, NULL)};

	if (loop.fd == -ENXIO)
		return 0;
	if (loop.fd < 0)
		return still_open(device, err);
	snprintf(loop.path, sizeof(loop.path), "%s", device);
	int ret = bow_loop_keep(&loop, err);
	close(loop.fd);
	return ret ? ret : still_open(device, err);
}

int bow_loop_detach(const char *device, const char *file, struct bowimg_error *err)
{
	int fd = open_ours(device, file, err);
	int sync_error = 0;

	if (fd < 0)
		return fd == -ENXIO ? 0 : fd;
	if (fsync(fd) < 0)
		sync_error = -errno;
	int ret = ioctl(fd, LOOP_CLR_FD, 0) < 0 ? -errno : 0;
	close(fd);
	if (ret && ret != -ENXIO)
		return bow_err_errno(err, ret, "detaching %s", device);
	if (!wait_gone(device, file) && (ret = unmark(device, file, err)))
		return ret;
	if (sync_error)
		return bow_err_errno(err, -EIO, "detaching %s: writing back what was cached",
				     device);
	return 0;
}

int bow_loop_release(const char *device, const char *file, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = open_ours(device, file, err);

	if (fd < 0)
		return fd == -ENXIO ? 0 : fd;
	if (ioctl(fd, LOOP_CLR_FD, 0) < 0 && errno != ENXIO)
		return bow_err_errno(err, -errno, "detaching %s", device);
	return 0;
}

int bow_loop_refuse_mounted(const char *device, const char *except, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));

	if (!m)
		return bow_err_errno(err, -ENOMEM, "looking for mounts of %s", device);
	int ret = bow_mounts_of(device, except, m, err);
	if (ret <= 0)
		return ret;
	ret = bow_err(err, -EBUSY, "%s is mounted at %s", m->source, m->target);
	bow_err_hint(err, "unmount it first: umount %s", m->target);
	return ret;
}
