/* SPDX-License-Identifier: MIT */
/* What the kernel's tables of mounts and swap areas say about a device or file. */
#include "device/guard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "base/cleanup.h"

/* One line of mountinfo; the texts point into the line. */
struct mount {
	dev_t dev;
	const char *point, *type, *source;
};

/* The tables write blanks and backslashes as three octal digits; undone in place. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++, to++) {
		bool octal = from[0] == '\\' && from[1] >= '0' && from[1] <= '3' &&
			     from[2] >= '0' && from[2] <= '7' && from[3] >= '0' && from[3] <= '7';

		*to = octal ? (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'))
			    : *from;
		if (octal)
			from += 3;
	}
	*to = '\0';
}

/*
 * Fields: id, parent, major:minor, root, mount point, options, any number of optional ones, "-",
 * type, source. False: not such a line.
 */
static bool parse_mount(char *line, struct mount *m)
{
	char *save = NULL, *field = strtok_r(line, " \n", &save);
	char *point = NULL, *type, *source;
	unsigned maj = 0, min = 0;

	for (int i = 0; field && (i < 6 || strcmp(field, "-") != 0); i++) {
		if (i == 2 && sscanf(field, "%u:%u", &maj, &min) != 2)
			return false;
		if (i == 4)
			point = field;
		field = strtok_r(NULL, " \n", &save);
	}
	type = strtok_r(NULL, " \n", &save);
	source = strtok_r(NULL, " \n", &save);
	if (!field || !point || !type || !source)
		return false;
	unescape(point);
	unescape(source);
	*m = (struct mount){makedev(maj, min), point, type, source};
	return true;
}

/* Calls fn for each mount until it returns non-zero, which is passed on. */
static int each_mount(int (*fn)(void *ctx, const struct mount *m), void *ctx)
{
	CLEANUP_FREE char *line = NULL;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	size_t room = 0;
	int rc = 0;

	if (!f)
		return -errno;
	while (rc == 0 && getline(&line, &room, f) > 0) {
		struct mount m;

		if (parse_mount(line, &m))
			rc = fn(ctx, &m);
	}
	if (rc == 0 && ferror(f))
		rc = -EIO;
	fclose(f);
	return rc;
}

struct find_mount {
	dev_t dev;
	struct bow_guard_user *user;
};

/* btrfs and others mount under a device number that is no block device's: there, ask the source. */
static int matches_mount(void *ctx, const struct mount *m)
{
	const struct find_mount *find = ctx;
	struct stat st;
	bool same = m->dev == find->dev;

	if (!same && strncmp(m->source, "/dev/", 5) == 0 && stat(m->source, &st) == 0)
		same = S_ISBLK(st.st_mode) && st.st_rdev == find->dev;
	if (same)
		snprintf(find->user->who, sizeof(find->user->who), "%s", m->point);
	return same;
}

int bow_guard_find_mount(dev_t dev, struct bow_guard_user *user)
{
	struct find_mount find = {dev, user};

	return each_mount(matches_mount, &find);
}

struct covering_mount {
	const char *path;
	size_t best_bytes; /* length of the longest mount point above path so far */
	bool fuse;
	dev_t dev;
};

/* Later lines lie over earlier ones at the same point. */
static int note_covering(void *ctx, const struct mount *m)
{
	struct covering_mount *c = ctx;
	size_t bytes = strlen(m->point);
	bool root = bytes == 1;

	if (bytes < c->best_bytes || strncmp(c->path, m->point, bytes) != 0 ||
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

	return each_mount(note_covering, &c) == 0 && c.fuse && c.dev != dev;
}

/* Does this line of /proc/swaps name the image? On a yes, `line` holds the bare path. */
static bool swaps_on(char *line, const struct stat *st)
{
	struct stat swap;

	line[strcspn(line, " \t\n")] = '\0';
	unescape(line);
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
		snprintf(user->hint, sizeof(user->hint), "swapoff %.180s, then try again", line);
		rc = 1;
	}
	fclose(f);
	return rc;
}
