/* SPDX-License-Identifier: MIT */
/*
 * The private directory of an NBD server's socket, and those that killed processes left behind. The
 * process that made one holds a lock on it (flock) as long as it lives. A directory without a lock
 * is not in use; the next process that needs such a directory in the same place removes it.
 *
 * Another process may find the directory before it is locked, and remove or lock it. Then the next
 * name is tried.
 */
#include "bowimg/nbd/nbd.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "bowimg-nbd."
#define TRIES 100

static const char *parent(void)
{
	const char *tmp = getenv("TMPDIR");
	size_t bytes = sizeof(((struct bow_nbd *)0)->dir);

	/* /tmp if there is no room for the name of a socket below TMPDIR. */
	return tmp && *tmp && strlen(tmp) + sizeof("/" PREFIX "XXXXXX/socket") <= bytes ? tmp
											: "/tmp";
}

/* Returns a descriptor of the directory if it is ours and now locked by us, else -1. */
static int open_locked(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
	    flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* A server may live a little longer than the process that made its directory. */
static bool is_served(int fd)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool served;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/socket", fd);
	served = s < 0 || connect(s, (const struct sockaddr *)&addr, sizeof(addr)) == 0;
	if (s >= 0)
		close(s);
	return served;
}

static void clear_one(int at, const char *name)
{
	int fd = open_locked(at, name);
	struct stat st;

	if (fd < 0)
		return;
	if (!is_served(fd)) {
		if (fstatat(fd, "socket", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
			unlinkat(fd, "socket", 0);
		/* Fails if anything else is in it. */
		unlinkat(at, name, AT_REMOVEDIR);
	}
	close(fd);
}

static void clear_stale(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (strncmp(d->d_name, PREFIX, strlen(PREFIX)) == 0)
			clear_one(dirfd(dir), d->d_name);
	if (dir)
		closedir(dir);
}

int bow_nbd_make_dir(struct bow_nbd *s, struct bowimg_error *err)
{
	int ret = -EBUSY;

	clear_stale(parent());
	for (int i = 0; i < TRIES; i++) {
		snprintf(s->dir, sizeof(s->dir), "%s/" PREFIX "XXXXXX", parent());
		if (!mkdtemp(s->dir)) {
			ret = -errno;
			break;
		}
		s->dir_lock = open_locked(AT_FDCWD, s->dir);
		if (s->dir_lock >= 0)
			return 0;
	}
	bow_err_errno(err, ret, "cannot make the directory %s for the socket", s->dir);
	bow_err_hint(err, "set TMPDIR to a directory that can be written to");
	s->dir[0] = '\0';
	return ret;
}

void bow_nbd_remove_dir(struct bow_nbd *s)
{
	if (s->dir[0])
		rmdir(s->dir);
	s->dir[0] = '\0';
	if (s->dir_lock >= 0)
		close(s->dir_lock);
	s->dir_lock = -1;
}
