/* SPDX-License-Identifier: MIT */
/*
 * Which loop device is attached to a file of our FUSE mount? The path in sysfs is relative to some
 * mount namespace, and is cut down to "/disk" if FUSE was unmounted by hand, so it may be the same
 * for another device. The device number of the file system tells them apart; but the kernel uses
 * the number again later. So both must agree.
 */
#include "bowimg/host/loop.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/cleanup.h"

#define DEV "/dev/"

bool bow_loop_sysfs(const char *device, const char *name, char *out, size_t bytes)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/block/%s/loop/%s", device + strlen(DEV), name);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, bytes - 1);
	if (n <= 0)
		return false;
	out[n] = '\0';
	/* Only the last newline is sysfs's; a name may end in others. */
	out[n - (out[n - 1] == '\n')] = '\0';
	return true;
}

dev_t bow_loop_number(const char *device)
{
	unsigned maj, min;
	char text[32];

	if (strncmp(device, DEV "loop", 9) != 0 ||
	    !bow_loop_sysfs(device, "../dev", text, sizeof(text)) ||
	    sscanf(text, "%u:%u", &maj, &min) != 2)
		return 0;
	return makedev(maj, min);
}

bool bow_loop_ask_backing(const char *device, struct bow_loop_backing *out)
{
	CLEANUP_CLOSE int fd = open(device, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct loop_info64 info;

	if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return false;
	*out = (struct bow_loop_backing){.fs = info.lo_device, .device = info.lo_rdevice};
	return true;
}

bool bow_loop_is_on(const char *device, const char *file, dev_t fs)
{
	char path[4096 + 16];
	struct bow_loop_backing backing;

	if (strncmp(device, DEV "loop", 9) != 0 ||
	    !bow_loop_sysfs(device, "backing_file", path, sizeof(path)))
		return false;
	bool same_path = strcmp(path, file) == 0;
	if (!same_path && strcmp(path, strrchr(file, '/')) != 0)
		return false;
	/* Without both numbers the path decides. */
	return fs && bow_loop_ask_backing(device, &backing) ? backing.fs == fs : same_path;
}

int bow_loop_each(int (*each)(void *ctx, const char *device), void *ctx)
{
	char device[BOW_LOOP_NAME];
	DIR *dir = opendir("/sys/block");
	struct dirent *entry;
	int ret = 0;

	while (dir && !ret && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "loop", 4) != 0 || strlen(entry->d_name) > 20)
			continue;
		snprintf(device, sizeof(device), DEV "%.20s", entry->d_name);
		ret = each(ctx, device);
	}
	if (dir)
		closedir(dir);
	return ret;
}

struct search {
	const char *file;
	dev_t fs;
	char *device;
};

static int is_it(void *ctx, const char *device)
{
	struct search *s = ctx;

	if (!bow_loop_is_on(device, s->file, s->fs))
		return 0;
	snprintf(s->device, BOW_LOOP_NAME, "%s", device);
	return 1;
}

bool bow_loop_find(const char *file, dev_t fs, char device[BOW_LOOP_NAME])
{
	struct search s = {.file = file, .fs = fs, .device = device};

	return bow_loop_each(is_it, &s) == 1;
}
