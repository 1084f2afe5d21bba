/* SPDX-License-Identifier: MIT */
/*
 * The process that shows both sides. It lives as long as the other end of its socket, and takes
 * down what it made; killed, it leaves nothing either: its mount is in a namespace of its own, and
 * out of sight as soon as the files are open.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fronts/fuse.h"
#include "fronts/lend.h"
#include "fronts/fd_passing.h"
#include "fronts/views.h"

struct server {
	struct bow_fuse *fuse;
	int hold;
	int fd[2];
	char dir[PATH_MAX];
};

/* Who reads our output waits for the other process only; an interrupt is for that one, too. */
static void stand_aside(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

static int separate(struct bowimg_error *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return bow_err_errno(err, -errno, "making a namespace for mounts");
	return 0;
}

static int open_files(struct server *s, struct bowimg_error *err)
{
	static const char *const names[] = {
		[BOWIMG_NOW] = BOW_FUSE_FILE, [BOWIMG_BEFORE] = BOW_FUSE_BEFORE};
	char path[PATH_MAX + 16];

	s->hold = bow_lend_hold(s->dir, err);
	if (s->hold < 0)
		return s->hold;
	for (int side = 0; side < 2; side++) {
		snprintf(path, sizeof(path), "%s/%s", s->dir, names[side]);
		s->fd[side] = bow_lend_open(path);
		if (s->fd[side] < 0)
			return bow_err_errno(err, s->fd[side], "opening %s", path);
	}
	bow_lend_hide(s->dir);
	return 0;
}

static int show(struct server *s, bowimg_look *look, uint64_t off, uint64_t bytes,
		struct bowimg_error *err)
{
	int ret = separate(err);

	if (!ret)
		ret = bow_lend_make_dir(s->dir, err);
	if (!ret)
		ret = bow_fuse_new_sides(look, off, bytes, "bowimg-diff", s->dir, &s->fuse, err);
	if (!ret)
		ret = bow_fuse_start(s->fuse, err);
	return ret ? ret : open_files(s, err);
}

static bool hand_over(struct server *s, int sock, const struct bowimg_error *err)
{
	bool ok = send(sock, err, sizeof(*err), MSG_NOSIGNAL) == (ssize_t)sizeof(*err);

	for (int side = 0; side < 2; side++) {
		if (ok && !err->code)
			ok = bow_fd_send(sock, s->fd[side]) == 0;
		if (s->fd[side] >= 0)
			close(s->fd[side]);
	}
	return ok && !err->code;
}

_Noreturn void bow_views_serve(int sock, bowimg_look *look, uint64_t off, uint64_t bytes)
{
	struct server s = {.hold = -1, .fd = {-1, -1}};
	struct bowimg_error err = {0};
	char byte;

	stand_aside();
	err.code = show(&s, look, off, bytes, &err);
	/* Nothing is ever said to us: this returns when the other end is gone. */
	if (hand_over(&s, sock, &err))
		while (recv(sock, &byte, 1, 0) < 0 && errno == EINTR)
			;
	/* Nothing was written: there is nothing to lose. */
	bow_lend_take_down(s.fuse, s.hold, s.dir, NULL);
	_exit(0);
}
