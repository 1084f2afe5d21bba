/* SPDX-License-Identifier: MIT */
/*
 * Who uses a block device: mounts and swap on it, on its partitions, and on whatever is stacked on
 * any of them (device mapper, RAID, ...), by sysfs. Each finding opens up more devices to look at,
 * so they are kept in one list that is worked off from the front.
 */
#include "lib/inuse/guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "lib/base/mountinfo.h"
#include "lib/base/show.h"

/*
 * A disk has up to 256 partitions on Linux, hardly ever more than a few; beyond this the search
 * ends.
 */
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

static bool is_partition(const char *dir, const char *name)
{
	char path[512];

	return snprintf(path, sizeof(path), "%s/%s/partition", dir, name) < (int)sizeof(path) &&
	       access(path, F_OK) == 0;
}

/* Adds the devices in dir: all of them, or only the partitions. */
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
		if (bow_guard_read_dev(dir, entry->d_name, &dev))
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
	bow_block_name(dev, name, sizeof(name));
	snprintf(user->who, sizeof(user->who), "%s%smounted on %.160s", dev == image ? "" : name,
		 dev == image ? "" : " is ", point.who);
	snprintf(user->hint, sizeof(user->hint), "umount %s", BOW_WORD(point.who));
	return 1;
}

static int swapped_on(dev_t dev, struct bow_guard_user *user)
{
	struct stat st = {.st_mode = S_IFBLK, .st_rdev = dev};
	char name[64];
	int rc = bow_guard_find_swap(&st, user);

	if (rc <= 0)
		return rc;
	bow_block_name(dev, name, sizeof(name));
	snprintf(user->who, sizeof(user->who), "%s is active swap space", name);
	return 1;
}

/* Loop devices on the image itself were looked for before; here on its partitions and above. */
static int behind_loop(dev_t image, dev_t dev, struct bow_guard_user *user)
{
	struct stat st = {.st_mode = S_IFBLK, .st_rdev = dev};
	struct bow_guard_user above = {0};
	char name[64];
	int rc = dev == image ? 0 : bow_guard_find_loop(&st, &above);

	if (rc <= 0)
		return rc;
	bow_block_name(dev, name, sizeof(name));
	snprintf(user->who, sizeof(user->who), "%s: %.180s", name, above.who);
	memcpy(user->hint, above.hint, sizeof(user->hint));
	return 1;
}

/* Nothing above is mounted, but something was built on the device all the same. */
static void describe_holder(dev_t holder, struct bow_guard_user *user)
{
	char name[64];

	bow_block_name(holder, name, sizeof(name));
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
		describe_holder(holder, user);
		rc = 1;
	}
	return rc;
}

/* If the loop device itself has a user, the message names that: it must end first. */
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
	snprintf(user->hint, sizeof(user->hint), "%.167s%slosetup -d %s", above.hint,
		 rc ? "; " : "", path);
	return 1;
}

/* part NULL: any part. */
static int find(const struct stat *st, dev_t own, const struct bow_guard_part *part,
		struct bow_guard_user *user)
{
	struct dirent *entry;
	DIR *d = opendir("/sys/block");
	int rc = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno; /* then O_EXCL and leases must do */
	while (rc == 0 && (entry = readdir(d))) {
		const char *name = entry->d_name;
		dev_t dev = 0;

		if (strncmp(name, "loop", 4) != 0 || !isdigit((unsigned char)name[4]))
			continue;
		if (part && bow_guard_read_dev("/sys/block", name, &dev) && dev == own)
			continue;
		if (bow_guard_loop_shows(name, st, part))
			rc = describe(name, user);
	}
	closedir(d);
	return rc;
}

int bow_guard_find_loop(const struct stat *st, struct bow_guard_user *user)
{
	return find(st, 0, NULL, user);
}

int bow_guard_find_other_loop(const struct stat *st, dev_t own, const struct bow_guard_part *part,
			      struct bow_guard_user *user)
{
	return find(st, own, part, user);
}
