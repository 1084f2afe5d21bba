/* SPDX-License-Identifier: MIT */
/*
 * What a block device is on: the disk of a partition, the devices that a mapped device or an array
 * was made of, the file or device of a loop device; and what these are on, down to the lowest
 * level. A program that writes there writes to the image, and no lock on the image itself keeps it
 * out.
 *
 * Other users of the same devices may be legitimate: another partition, another logical volume. So
 * a part of each level is kept in mind, as long as it is known which. A device that the kernel has
 * reserved for the level above is safe: nothing can be mounted from it. So this looks for processes
 * that have a level open for writing, and, under a loop device, for locks on its file, swap, and
 * other loop devices.
 */
#include "lib/inuse/guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "lib/base/cleanup.h"
#include "lib/base/mountinfo.h"

/*
 * Limits for levels, and for devices of all levels: an array hardly ever has more than a few dozen.
 */
#define MAX_DEVS 256

struct level {
	dev_t dev;
	struct bow_guard_part part;
	bool kept; /* a part of an array, whose manager may write the array's description */
};

struct stack {
	struct level at[MAX_DEVS];
	size_t count;
};

static int add(struct stack *s, dev_t dev, struct bow_guard_part part, bool kept)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->at[i].dev == dev)
			return 0;
	if (s->count == MAX_DEVS)
		return -EOVERFLOW;
	s->at[s->count++] = (struct level){dev, part, kept};
	return 0;
}

static void sys_path(dev_t dev, const char *name, char *out, size_t bytes)
{
	snprintf(out, bytes, "/sys/dev/block/%u:%u/%s", major(dev), minor(dev), name);
}

/* Reads a number of sectors of 512 bytes, in bytes; false if sysfs does not know it. */
static bool read_sectors(dev_t dev, const char *name, uint64_t *bytes)
{
	unsigned long long n;
	char path[96];
	bool ok;
	FILE *f;

	sys_path(dev, name, path, sizeof(path));
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fscanf(f, "%llu", &n) == 1 && n < UINT64_MAX / 512;
	fclose(f);
	if (ok)
		*bytes = n * 512;
	return ok;
}

static struct bow_guard_part shift(struct bow_guard_part part, uint64_t by)
{
	part.from = part.from < UINT64_MAX - by ? part.from + by : UINT64_MAX;
	part.to = part.to < UINT64_MAX - by ? part.to + by : UINT64_MAX;
	return part;
}

/* The directory of a partition lies in that of its disk. */
static int add_disk(struct stack *s, const struct level *l)
{
	uint64_t start;
	char path[96];
	dev_t disk;

	sys_path(l->dev, "partition", path, sizeof(path));
	if (access(path, F_OK) < 0 || !read_sectors(l->dev, "start", &start))
		return 0;
	sys_path(l->dev, "", path, sizeof(path));
	return bow_guard_read_dev(path, "..", &disk) ? add(s, disk, shift(l->part, start), l->kept)
						     : 0;
}

static int add_slaves(struct stack *s, const struct level *l)
{
	const struct bow_guard_part all = {0, UINT64_MAX};
	struct dirent *entry;
	char path[96];
	bool array;
	int rc = 0;
	DIR *d;

	sys_path(l->dev, "md", path, sizeof(path));
	array = access(path, F_OK) == 0;
	sys_path(l->dev, "slaves", path, sizeof(path));
	d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while (rc == 0 && (entry = readdir(d))) {
		dev_t dev;

		if (entry->d_name[0] != '.' && bow_guard_read_dev(path, entry->d_name, &dev))
			rc = add(s, dev, all, array);
	}
	closedir(d);
	return rc;
}

/* user->who becomes "WHO has THING HOW, which NAME is on". */
static void describe_use(struct bow_guard_user *user, const char *thing, const char *how,
			 dev_t above)
{
	char who[sizeof(user->who)], name[64];

	bow_block_name(above, name, sizeof(name));
	memcpy(who, user->who, sizeof(who));
	snprintf(user->who, sizeof(user->who), "%.64s has %.96s %s, which %.32s is on", who, thing,
		 how, name);
}

/*
 * Looks for locks as bowimg and QEMU take them. The path counts only if it leads to the very file.
 */
static bool is_locked(const struct bow_guard_loop *loop)
{
	CLEANUP_CLOSE int fd = -1;
	struct stat st;

	if (bow_guard_on_other_fuse(loop->path, 0))
		return false;
	fd = open(loop->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == loop->st.st_dev &&
	    st.st_ino == loop->st.st_ino)
		return bow_guard_locked_by_other(fd);
	return bow_guard_is_listed(&loop->st);
}

static int find_on_file(dev_t dev, const struct bow_guard_loop *loop,
			const struct bow_guard_part *part, struct bow_guard_user *user)
{
	int rc = bow_guard_find_writer(&loop->st, user);

	if (rc == 1) {
		describe_use(user, loop->path, "open for writing", dev);
		return rc;
	}
	if (rc == 0)
		rc = bow_guard_find_swap(&loop->st, user);
	if (rc == 0)
		rc = bow_guard_find_other_loop(&loop->st, dev, part, user);
	if (rc || !is_locked(loop))
		return rc;
	snprintf(user->who, sizeof(user->who), "another process");
	snprintf(user->hint, sizeof(user->hint), "fuser -v %.180s", loop->path);
	describe_use(user, loop->path, "locked", dev);
	return 1;
}

static int find_under_loop(struct stack *s, const struct level *l, struct bow_guard_user *user)
{
	struct bow_guard_loop loop;
	struct bow_guard_part part;
	int rc = bow_guard_read_loop(l->dev, &loop);

	if (rc <= 0)
		return rc;
	part = shift(l->part, loop.part.from);
	if (part.to > loop.part.to)
		part.to = loop.part.to;
	if (!S_ISBLK(loop.st.st_mode))
		return find_on_file(l->dev, &loop, &part, user);
	rc = bow_guard_find_other_loop(&loop.st, l->dev, &part, user);
	return rc ? rc : add(s, loop.st.st_rdev, part, l->kept);
}

static int find_writer(const struct level *l, dev_t image, struct bow_guard_user *user)
{
	const struct stat st = {.st_mode = S_IFBLK, .st_rdev = l->dev};
	char name[64];
	int rc = l->kept ? 0 : bow_guard_find_writer(&st, user);

	if (rc != 1)
		return rc;
	bow_block_name(l->dev, name, sizeof(name));
	if (l->dev != image) {
		describe_use(user, name, "open for writing", image);
	} else {
		size_t used = strlen(user->who);

		snprintf(user->who + used, sizeof(user->who) - used, " has it open for writing");
	}
	return rc;
}

int bow_guard_find_below(dev_t dev, struct bow_guard_user *user)
{
	struct stack s = {.count = 1};
	int rc = 0;

	s.at[0] = (struct level){.dev = dev, .part = {0, UINT64_MAX}};
	read_sectors(dev, "size", &s.at[0].part.to);
	for (size_t i = 0; i < s.count && rc == 0; i++) {
		const struct level l = s.at[i];

		rc = find_writer(&l, dev, user);
		if (rc == 0)
			rc = find_under_loop(&s, &l, user);
		if (rc == 0)
			rc = add_disk(&s, &l);
		if (rc == 0)
			rc = add_slaves(&s, &l);
	}
	return rc;
}
