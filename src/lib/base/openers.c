/* SPDX-License-Identifier: MIT */
/* Through /proc/PID/fd, for all processes. */
#include "lib/base/openers.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/cleanup.h"

struct search {
	bool (*matches)(void *ctx, const struct bow_open_file *file);
	void *ctx;
	int except;
};

/* O_PATH descriptors show as links that may be neither read nor written. */
static bool is_path(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (st.st_mode & (S_IRUSR | S_IWUSR)) == 0;
}

/* The link leads to the open file itself, whatever is found at its path by now. */
static bool matches_link(const struct search *s, int dir_fd, const char *name)
{
	struct bow_open_file file = {0};
	struct statx st;

	if (statx(dir_fd, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
		  STATX_TYPE | STATX_INO | STATX_MNT_ID, &st) < 0)
		return false;
	file.fs = makedev(st.stx_dev_major, st.stx_dev_minor);
	file.ino = st.stx_ino;
	if (st.stx_mask & STATX_MNT_ID)
		file.mount = (unsigned)st.stx_mnt_id;
	if (S_ISBLK(st.stx_mode))
		file.device = makedev(st.stx_rdev_major, st.stx_rdev_minor);
	file.is_path = S_ISDIR(st.stx_mode) || is_path(dir_fd, name);
	return s->matches(s->ctx, &file);
}

static bool has_descriptor(const struct search *s, const char *pid)
{
	bool ourselves = atoi(pid) == getpid(), found = false;
	struct dirent *entry;
	char path[300];

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' &&
			!(ourselves && atoi(entry->d_name) == s->except) &&
			matches_link(s, dirfd(dir), entry->d_name);
	closedir(dir);
	return found;
}

static bool has_directory(const struct search *s, const char *pid)
{
	char path[300];

	snprintf(path, sizeof(path), "/proc/%s", pid);
	CLEANUP_CLOSE int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && (matches_link(s, fd, "cwd") || matches_link(s, fd, "root") ||
			   matches_link(s, fd, "exe"));
}

static void read_comm(const char *pid, char *comm, size_t bytes)
{
	char path[300];

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, comm, bytes - 1);
	comm[n < 0 ? 0 : n] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
}

bool bow_find_opener(bool (*matches)(void *ctx, const struct bow_open_file *file), void *ctx,
		     int except, struct bow_opener *out)
{
	const struct search s = {matches, ctx, except};
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		found = has_descriptor(&s, entry->d_name) || has_directory(&s, entry->d_name);
		if (found) {
			out->pid = atoi(entry->d_name);
			read_comm(entry->d_name, out->comm, sizeof(out->comm));
		}
	}
	if (dir)
		closedir(dir);
	return found;
}
