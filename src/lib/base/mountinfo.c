/* SPDX-License-Identifier: MIT */
/* mountinfo, line by line, and what a mount is on. */
#include "lib/base/mountinfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/cleanup.h"

/* The kernel writes blanks, tabs, newlines and backslashes as three octal digits. */
static bool is_escape(const char *p)
{
	return p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
	       p[3] >= '0' && p[3] <= '7';
}

void bow_mountinfo_unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		bool escape = is_escape(from);

		*to = escape ? (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'))
			     : *from;
		from += escape ? 4 : 1;
	}
	*to = '\0';
}

static void copy(char *out, size_t bytes, char *field)
{
	bow_mountinfo_unescape(field);
	snprintf(out, bytes, "%s", field);
}

/* "36 35 98:0 /root /target opts shared:1 - ext4 /dev/root rw": fields before " - " vary in number.
 */
static bool parse_line(char *line, struct bow_mount *out)
{
	char *rest = strstr(line, " - "), *save = NULL;
	unsigned maj, min;

	if (!rest)
		return false;
	*rest = '\0';
	const char *id = strtok_r(line, " ", &save);
	strtok_r(NULL, " ", &save);
	const char *device = strtok_r(NULL, " ", &save);
	char *root = strtok_r(NULL, " ", &save);
	char *target = strtok_r(NULL, " ", &save);
	if (!target || sscanf(id, "%u", &out->id) != 1 || sscanf(device, "%u:%u", &maj, &min) != 2)
		return false;
	out->dev = makedev(maj, min);
	copy(out->root, sizeof(out->root), root);
	copy(out->target, sizeof(out->target), target);
	/* A source may be empty, which shows as two blanks. */
	char none[] = "", *next = rest + 3;
	char *type = strsep(&next, " \n"), *source = strsep(&next, " \n");
	char *options = strsep(&next, "\n");
	copy(out->type, sizeof(out->type), type);
	copy(out->source, sizeof(out->source), source ? source : none);
	copy(out->options, sizeof(out->options), options ? options : none);
	return true;
}

int bow_mountinfo_each(const char *file, int (*each)(void *ctx, const struct bow_mount *m),
		       void *ctx)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));
	CLEANUP_FREE char *line = NULL;
	size_t room = 0;
	int ret = 0;

	if (!m)
		return -ENOMEM;
	FILE *f = fopen(file, "re");
	if (!f)
		return -errno;
	while (!ret && getline(&line, &room, f) > 0)
		if (parse_line(line, m))
			ret = each(ctx, m);
	if (!ret && ferror(f))
		ret = -EIO;
	fclose(f);
	return ret;
}

/* Of types that need a block device the kernel has looked at the source itself. */
static bool needs_device(const char *type)
{
	CLEANUP_FREE char *line = NULL;
	FILE *f = fopen("/proc/filesystems", "re");
	size_t room = 0;
	bool found = false;

	while (f && !found && getline(&line, &room, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		found = line[0] == '\t' && strcmp(line + 1, type) == 0;
	}
	if (f)
		fclose(f);
	return found;
}

dev_t bow_mount_device(const struct bow_mount *m)
{
	struct stat st;

	if (major(m->dev))
		return m->dev;
	if (strncmp(m->source, "/dev/", 5) != 0 || !needs_device(m->type) ||
	    stat(m->source, &st) < 0 || !S_ISBLK(st.st_mode))
		return 0;
	return st.st_rdev;
}

/* The directory of a partition lies in the disk's. */
dev_t bow_block_disk(dev_t dev)
{
	unsigned maj, min;
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(dev), minor(dev));
	FILE *f = fopen(path, "re");
	bool found = f && fscanf(f, "%u:%u", &maj, &min) == 2;
	if (f)
		fclose(f);
	return found ? makedev(maj, min) : 0;
}

void bow_block_name(dev_t dev, char *name, size_t bytes)
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
