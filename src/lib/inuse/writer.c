/* SPDX-License-Identifier: MIT */
/*
 * Which process has a file or block device open for writing? The kernel does not tell (leases do,
 * for files without a loop device), so the descriptors of all processes are looked at, as far as
 * permitted. They are compared by number, never by name: a hard link, a bind mount or another node
 * of a device is the same thing.
 *
 * AT_STATX_DONT_SYNC: a descriptor may be on a file system that does not answer.
 */
#include "lib/inuse/guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* How long to wait for a passing user (a disk scanner, mkfs that just ends). */
#define TRIES 100
#define PAUSE_NS 10000000

static bool is_it(const struct statx *x, const struct stat *st)
{
	if (S_ISBLK(st->st_mode))
		return S_ISBLK(x->stx_mode) &&
		       makedev(x->stx_rdev_major, x->stx_rdev_minor) == st->st_rdev;
	return S_ISREG(x->stx_mode) && x->stx_ino == st->st_ino &&
	       makedev(x->stx_dev_major, x->stx_dev_minor) == st->st_dev;
}

bool bow_guard_leads_to(int dir_fd, const char *name, const struct stat *st)
{
	struct statx x;

	return statx(dir_fd, name, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &x) == 0 &&
	       is_it(&x, st);
}

/* The link's own mode says how the descriptor was opened. */
static bool writes_to(int dir_fd, const char *name, const struct stat *st)
{
	struct stat link;

	return fstatat(dir_fd, name, &link, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (link.st_mode & S_IWUSR) != 0 && bow_guard_leads_to(dir_fd, name, st);
}

static bool process_writes_to(const char *pid, const struct stat *st)
{
	struct dirent *entry;
	bool found = false;
	char path[300];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (entry = readdir(d)))
		found = entry->d_name[0] != '.' && writes_to(dirfd(d), entry->d_name, st);
	closedir(d);
	return found;
}

static int find_once(const struct stat *st, struct bow_guard_user *user)
{
	struct dirent *entry;
	DIR *d = opendir("/proc");
	int found = 0;

	if (!d)
		return -errno;
	while (!found && (entry = readdir(d))) {
		if (!isdigit((unsigned char)entry->d_name[0]) || atoi(entry->d_name) == getpid() ||
		    !process_writes_to(entry->d_name, st))
			continue;
		bow_guard_name_process(entry->d_name, user);
		found = 1;
	}
	closedir(d);
	return found;
}

int bow_guard_find_writer(const struct stat *st, struct bow_guard_user *user)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int rc = find_once(st, user);

	for (int i = 0; rc == 1 && i < TRIES; i++) {
		nanosleep(&pause, NULL);
		rc = find_once(st, user);
	}
	return rc;
}
