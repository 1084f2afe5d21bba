/* SPDX-License-Identifier: MIT */
/*
 * Locks on a file that cannot be opened here, because no path leads to it: it was deleted, or is in
 * another mount namespace. The kernel lists the locks of all containers, by device and inode
 * number, except flocks of processes that this container does not see. (bowimg and QEMU hold both
 * kinds.)
 *
 * A line: "1: OFDLCK ADVISORY READ -1 08:02:1234 101 101", the last number perhaps "EOF".
 */
#include "lib/inuse/guard.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "lib/base/cleanup.h"

static bool matters(const char *line, const struct stat *st)
{
	char kind[16], mode[16], type[16], end[32];
	unsigned maj, min;
	unsigned long long ino;
	long long from, to;

	if (sscanf(line, "%*d: %15s %15s %15s %*d %x:%x:%llu %lld %31s", kind, mode, type, &maj,
		   &min, &ino, &from, end) != 8 ||
	    makedev(maj, min) != st->st_dev || ino != st->st_ino)
		return false;
	to = strcmp(end, "EOF") == 0 ? INT64_MAX : strtoll(end, NULL, 10);
	return strcmp(kind, "FLOCK") == 0 || bow_guard_bytes_matter(from, to);
}

bool bow_guard_is_listed(const struct stat *st)
{
	CLEANUP_FREE char *line = NULL;
	FILE *f = fopen("/proc/locks", "re");
	size_t room = 0;
	bool found = false;

	while (f && !found && getline(&line, &room, f) > 0)
		found = matters(line, st);
	if (f)
		fclose(f);
	return found;
}
