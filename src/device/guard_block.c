/* SPDX-License-Identifier: MIT */
/*
 * Who uses a block device: mounts and swap on it, on its partitions, and whatever is stacked on any
 * of these (device mapper, RAID, ...), by sysfs. Each finding opens up more devices to look at, so
 * they are kept in one list that is worked off from the front.
 */
#include "device/guard.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A disk has up to 256 partitions on Linux, hardly ever more than a few; beyond this we give up. */
#define MAX_DEVS 512

struct dev_list {
	dev_t devs[MAX_DEVS];
	size_t count;
};

static int list_add(struct dev_list *list, dev_t dev)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->devs[i] == dev)
			return 0;
	if (list->count == MAX_DEVS)
		return -EOVERFLOW;
	list->devs[list->count++] = dev;
	return 0;
}

void bow_guard_block_name(dev_t dev, char *name, size_t bytes)
{
	char link[64], target[512];
	const char *base;
	ssize_t n;

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	n = readlink(link, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = '\0';
	base = strrchr(target, '/');
	if (!base) {
		snprintf(name, bytes, "block device %u:%u", major(dev), minor(dev));
		return;
	}
	snprintf(name, bytes, "/dev/%s", base + 1);
	/* sysfs writes the slash of names such as cciss/c0d0 as "!". */
	for (char *p = name; *p; p++)
		if (*p == '!')
			*p = '/';
}

/* The device number in DIR/name/dev; false if there is none (then it is no device). */
static bool read_dev(const char *dir, const char *name, dev_t *dev)
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

static bool is_partition(const char *dir, const char *name)
{
	char path[512];

	return snprintf(path, sizeof(path), "%s/%s/partition", dir, name) < (int)sizeof(path) &&
	       access(path, F_OK) == 0;
}

/* Adds the devices that are entries of dir: all of them, or only the partitions. */
static int add_entries(struct dev_list *list, const char *dir, bool partitions_only)
{
	struct dirent *entry;
	DIR *d = opendir(dir);
	int rc = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while (rc == 0 && (entry = readdir(d))) {
		dev_t dev;

		if (entry->d_name[0] == '.' ||
		    (partitions_only && !is_partition(dir, entry->d_name)))
			continue;
		if (read_dev(dir, entry->d_name, &dev))
			rc = list_add(list, dev);
	}
	closedir(d);
	return rc;
}

static int add_neighbours(struct dev_list *list, dev_t dev, size_t *holders)
{
	size_t before;
	char dir[64];
	int rc;

	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	rc = add_entries(list, dir, true);
	if (rc)
		return rc;
	strcat(dir, "/holders");
	before = list->count;
	rc = add_entries(list, dir, false);
	*holders = list->count - before;
	return rc;
}

static int mounted(dev_t image, dev_t dev, struct bow_guard_user *user)
{
	struct bow_guard_user point = {0};
	char name[64];
	int rc = bow_guard_find_mount(dev, &point);

	if (rc <= 0)
		return rc;
	bow_guard_block_name(dev, name, sizeof(name));
	snprintf(user->who, sizeof(user->who), "%s%smounted on %.160s", dev == image ? "" : name,
		 dev == image ? "" : " is ", point.who);
	snprintf(user->hint, sizeof(user->hint), "umount %.190s", point.who);
	return 1;
}

static int swapped_on(dev_t dev, struct bow_guard_user *user)
{
	struct stat st = {.st_mode = S_IFBLK, .st_rdev = dev};
	char name[64];
	int rc = bow_guard_find_swap(&st, user);

	if (rc <= 0)
		return rc;
	bow_guard_block_name(dev, name, sizeof(name));
	snprintf(user->who, sizeof(user->who), "%s is active swap space", name);
	return 1;
}

/* A loop device on the image itself was asked for already: here on its partitions and what is
 * above.
 */
static int behind_loop(dev_t image, dev_t dev, struct bow_guard_user *user)
{
	struct stat st = {.st_mode = S_IFBLK, .st_rdev = dev};
	struct bow_guard_user above = {0};
	char name[64];
	int rc = dev == image ? 0 : bow_guard_find_loop(&st, &above);

	if (rc <= 0)
		return rc;
	bow_guard_block_name(dev, name, sizeof(name));
	snprintf(user->who, sizeof(user->who), "%s: %.180s", name, above.who);
	memcpy(user->hint, above.hint, sizeof(user->hint));
	return 1;
}

/* Nothing mounted anywhere above; but something was built on the device all the same. */
static void say_held(dev_t holder, struct bow_guard_user *user)
{
	char name[64];

	bow_guard_block_name(holder, name, sizeof(name));
	snprintf(user->who, sizeof(user->who), "%s is built on it", name);
	snprintf(user->hint, sizeof(user->hint),
		 "take %s apart first (dmsetup remove, vgchange -an, mdadm --stop); lsblk shows it",
		 name);
}

int bow_guard_find_block_user(dev_t dev, struct bow_guard_user *user)
{
	struct dev_list list = {.devs = {dev}, .count = 1};
	dev_t holder = 0;
	int rc = 0;

	for (size_t i = 0; i < list.count && rc == 0; i++) {
		size_t holders = 0;

		rc = mounted(dev, list.devs[i], user);
		if (rc == 0)
			rc = swapped_on(list.devs[i], user);
		if (rc == 0)
			rc = behind_loop(dev, list.devs[i], user);
		if (rc == 0)
			rc = add_neighbours(&list, list.devs[i], &holders);
		if (rc == 0 && holders > 0 && holder == 0)
			holder = list.devs[list.count - 1];
	}
	if (rc == 0 && holder != 0) {
		say_held(holder, user);
		rc = 1;
	}
	return rc;
}
