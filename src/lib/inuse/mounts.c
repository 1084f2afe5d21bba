/* SPDX-License-Identifier: MIT */
/* What the kernel's tables of mounts and swap areas say about a device or file. */
#include "lib/inuse/guard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/base/cleanup.h"
#include "lib/base/mountinfo.h"
#include "lib/base/show.h"

struct find_mount {
	dev_t dev;
	struct bow_guard_user *user;
};

static int matches_mount(void *ctx, const struct bow_mount *m)
{
	const struct find_mount *find = ctx;
	bool same = bow_mount_device(m) == find->dev;

	if (same)
		snprintf(find->user->who, sizeof(find->user->who), "%.255s", m->target);
	return same;
}

int bow_guard_find_mount(dev_t dev, struct bow_guard_user *user)
{
	struct find_mount find = {dev, user};

	return bow_mountinfo_each(BOW_MOUNTS, matches_mount, &find);
}

struct covering_mount {
	const char *path;
	size_t best_bytes; /* length of the longest mount point above path so far */
	bool fuse;
	dev_t dev;
};

/* Later lines lie over earlier ones at the same point. */
static int note_covering(void *ctx, const struct bow_mount *m)
{
	struct covering_mount *c = ctx;
	size_t bytes = strlen(m->target);
	bool root = bytes == 1;

	if (bytes < c->best_bytes || strncmp(c->path, m->target, bytes) != 0 ||
	    (!root && c->path[bytes] != '/' && c->path[bytes] != '\0'))
		return 0;
	c->best_bytes = bytes;
	c->fuse = strncmp(m->type, "fuse", 4) == 0;
	c->dev = m->dev;
	return 0;
}

bool bow_guard_on_other_fuse(const char *path, dev_t dev)
{
	struct covering_mount c = {.path = path};

	return bow_mountinfo_each(BOW_MOUNTS, note_covering, &c) == 0 && c.fuse && c.dev != dev;
}

/* Does this line of /proc/swaps name the image? If so, `line` then holds the bare path. */
static bool swaps_on(char *line, const struct stat *st)
{
	struct stat swap;

	line[strcspn(line, " \t\n")] = '\0';
	bow_mountinfo_unescape(line);
	if (line[0] != '/' || stat(line, &swap) < 0)
		return false;
	if (S_ISBLK(st->st_mode))
		return S_ISBLK(swap.st_mode) && swap.st_rdev == st->st_rdev;
	return swap.st_dev == st->st_dev && swap.st_ino == st->st_ino;
}

int bow_guard_find_swap(const struct stat *st, struct bow_guard_user *user)
{
	CLEANUP_FREE char *line = NULL;
	FILE *f = fopen("/proc/swaps", "re");
	size_t room = 0;
	int rc = 0;

	if (!f)
		return errno == ENOENT ? 0 : -errno; /* a kernel without swap has no such table */
	while (rc == 0 && getline(&line, &room, f) > 0) {
		if (!swaps_on(line, st))
			continue;
		snprintf(user->who, sizeof(user->who), "it is active swap space");
		snprintf(user->hint, sizeof(user->hint), "turn it off first: swapoff %s",
			 BOW_WORD(line));
		rc = 1;
	}
	fclose(f);
	return rc;
}
