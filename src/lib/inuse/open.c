/* SPDX-License-Identifier: MIT */
/* Names the process that has an image open. */
#include "lib/inuse/guard.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/base/cleanup.h"
#include "lib/base/openers.h"

/* O_PATH descriptors use nothing and do not count. */
static bool is_image(void *ctx, const struct bow_open_file *file)
{
	const struct stat *st = ctx;

	if (file->is_path)
		return false;
	if (S_ISBLK(st->st_mode))
		return file->device == st->st_rdev;
	return file->fs == st->st_dev && file->ino == st->st_ino;
}

static void describe_opener(const struct bow_opener *opener, struct bow_guard_user *user)
{
	const char *comm = opener->comm;

	snprintf(user->who, sizeof(user->who), "process %d (%s)", (int)opener->pid, comm);
	if (strncmp(comm, "qemu", 4) == 0)
		snprintf(user->hint, sizeof(user->hint), "shut the virtual machine down first");
	else if (strncmp(comm, "bowimg", 6) == 0)
		snprintf(user->hint, sizeof(user->hint),
			 "wait for that bowimg to end, or end it with bowimg umount or detach");
	else
		snprintf(user->hint, sizeof(user->hint), "end process %d first", (int)opener->pid);
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

void bow_guard_name_process(const char *pid, struct bow_guard_user *user)
{
	struct bow_opener opener = {.pid = atoi(pid)};

	read_comm(pid, opener.comm, sizeof(opener.comm));
	describe_opener(&opener, user);
}

void bow_guard_name_opener(int fd, struct bow_guard_user *user)
{
	struct bow_opener opener;
	struct stat st;

	snprintf(user->who, sizeof(user->who), "another process");
	snprintf(user->hint, sizeof(user->hint), "fuser -v shows which one, when run as root");
	if (fstat(fd, &st) == 0 && bow_find_opener(is_image, &st, fd, &opener))
		describe_opener(&opener, user);
}
