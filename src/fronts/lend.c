/* SPDX-License-Identifier: MIT */
/*
 * A volume as a file that can only be read, for a helper program.
 *
 * This process serves the file, so it must never wait for it: killed at that moment, it would wait
 * for itself for ever. Another one opens it and passes the descriptor on; a close waits for nothing
 * (fuse_ops.c).
 */
#include "fronts/lend.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fronts/fd_passing.h"
#include "fronts/fuse.h"
#include "fronts/mounts.h"

struct shown {
	struct bow_fuse *fuse;
	int fd, hold;
	char dir[PATH_MAX];
};

int bow_lend_make_dir(char dir[PATH_MAX], struct bowimg_error *err)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, PATH_MAX, "%.*s/bowimg-lend.XXXXXX", PATH_MAX - 32,
		 tmp && tmp[0] == '/' ? tmp : "/tmp");
	return mkdtemp(dir) ? 0 : bow_err_errno(err, -errno, "making a directory as %s", dir);
}

int bow_lend_hold(const char *dir, struct bowimg_error *err)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? bow_err_errno(err, -errno, "opening %s", dir) : fd;
}

/* After a fork among threads: nothing but system calls. */
static _Noreturn void open_and_send(int sock, const char *path)
{
	int fd;

	if (sock > 3)
		close_range(3, (unsigned)sock - 1, 0);
	close_range((unsigned)sock + 1, ~0u, 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	_exit(fd >= 0 && bow_fd_send(sock, fd) == 0 ? 0 : 1);
}

int bow_lend_open(const char *path)
{
	int ends[2], fd;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0)
		open_and_send(ends[1], path);
	fd = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (pid > 0) {
		fd = bow_fd_receive(ends[0]);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	return fd;
}

void bow_lend_hide(const char *dir)
{
	if (bow_mounts_remove(dir, MNT_DETACH, NULL) == 0)
		rmdir(dir);
}

int bow_lend_take_down(struct bow_fuse *fuse, int hold, const char *dir, struct bowimg_error *err)
{
	int ret = 0;

	if (fuse)
		bow_fuse_wait_closed(fuse, BOW_LEND_PATIENCE_MS);
	if (hold >= 0)
		close(hold);
	if (fuse)
		ret = bow_fuse_stop(fuse, err);
	rmdir(dir); /* gone already where it was hidden */
	return ret;
}

static int open_file(struct shown *s, struct bowimg_error *err)
{
	char path[PATH_MAX + 16];

	s->hold = bow_lend_hold(s->dir, err);
	if (s->hold < 0)
		return s->hold;
	snprintf(path, sizeof(path), "%s/" BOW_FUSE_FILE, s->dir);
	s->fd = bow_lend_open(path);
	if (s->fd < 0)
		return bow_err_errno(err, s->fd, "opening %s", path);
	bow_lend_hide(s->dir);
	return 0;
}

static void release(struct shown *s)
{
	if (s->fd >= 0)
		close(s->fd);
	/* Nothing was written: there is nothing to lose. */
	bow_lend_take_down(s->fuse, s->hold, s->dir, NULL);
	free(s);
}

static int show_in(struct shown *s, bowimg_volume *vol, struct bowimg_error *err)
{
	int ret = bow_fuse_new_volume(vol, "bowimg-lend", s->dir, &s->fuse, err);

	if (!ret)
		ret = bow_fuse_start(s->fuse, err);
	return ret ? ret : open_file(s, err);
}

/* Whatever the reason, the library may have another way: so it is told "not here". */
static int show(void *ctx, bowimg_volume *vol, int *fd, void **shown, struct bowimg_error *err)
{
	struct shown *s = calloc(1, sizeof(*s));

	(void)ctx;
	if (!s)
		return bow_err_errno(err, -ENOMEM, "showing a volume");
	s->fd = s->hold = -1;
	int ret = bow_lend_make_dir(s->dir, err);
	if (ret) {
		free(s);
		return bow_err_wrap(err, -EOPNOTSUPP, "showing it to a program");
	}
	ret = show_in(s, vol, err);
	if (ret) {
		release(s);
		return bow_err_wrap(err, -EOPNOTSUPP, "showing it to a program");
	}
	*fd = s->fd;
	*shown = s;
	return 0;
}

static void hide(void *ctx, void *shown)
{
	(void)ctx;
	release(shown);
}

const struct bowimg_helpers bow_lend_helpers = {
	.show = show,
	.hide = hide,
	.trim = bow_lend_trim,
};
