/* SPDX-License-Identifier: MIT */
/*
 * Which process has a file open? Only asked to make a refusal helpful, so "don't know" is an
 * answer. Paths are compared as text: asking for inode numbers through /proc would call upon file
 * systems that may not answer.
 */
#include "device/guard.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"

/* O_PATH descriptors, which use nothing, show as links that may be neither read nor written. */
static bool is_real_open(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (st.st_mode & (S_IRUSR | S_IWUSR)) != 0;
}

/* Does process `pid` have `target` open, on another descriptor than our own `fd`? */
static bool has_open(const char *pid, const char *target, int fd)
{
	char path[300], link[PATH_MAX];
	bool found = false, ourselves = atoi(pid) == getpid();
	struct dirent *entry;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (entry = readdir(d))) {
		ssize_t n;

		if (entry->d_name[0] == '.' || (ourselves && atoi(entry->d_name) == fd))
			continue;
		n = readlinkat(dirfd(d), entry->d_name, link, sizeof(link) - 1);
		link[n < 0 ? 0 : n] = '\0';
		found = n > 0 && strcmp(link, target) == 0 && is_real_open(dirfd(d), entry->d_name);
	}
	closedir(d);
	return found;
}

static void read_comm(const char *pid, char *comm, size_t bytes)
{
	CLEANUP_CLOSE int fd = -1;
	char path[300];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, comm, bytes - 1);
	comm[n < 0 ? 0 : n] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
}

static void say(const char *pid, struct bow_guard_user *user)
{
	char comm[64];

	read_comm(pid, comm, sizeof(comm));
	snprintf(user->who, sizeof(user->who), "process %.20s (%s)", pid, comm);
	if (strncmp(comm, "qemu", 4) == 0)
		snprintf(user->hint, sizeof(user->hint), "shut the virtual machine down first");
	else if (strncmp(comm, "bowimg", 6) == 0)
		snprintf(user->hint, sizeof(user->hint),
			 "wait for that bowimg to end, or end it with bowimg umount or detach");
	else
		snprintf(user->hint, sizeof(user->hint), "end process %.20s first", pid);
}

void bow_guard_name_opener(int fd, struct bow_guard_user *user)
{
	char link[32], target[PATH_MAX];
	struct dirent *entry;
	ssize_t n;
	DIR *d;

	snprintf(user->who, sizeof(user->who), "another process");
	snprintf(user->hint, sizeof(user->hint), "fuser -v shows which one, when run as root");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target) - 1);
	d = n > 0 ? opendir("/proc") : NULL;
	if (!d)
		return;
	target[n] = '\0';
	while ((entry = readdir(d))) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !has_open(entry->d_name, target, fd))
			continue;
		say(entry->d_name, user);
		break;
	}
	closedir(d);
}
