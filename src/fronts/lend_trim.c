/* SPDX-License-Identifier: MIT */
/*
 * Asking the kernel what is free: a volume as a FUSE file, a loop device on it, a mount for
 * reading, FITRIM, and all down again.
 *
 * The mounting is another process's (lend_mount.c). One that serves a file and waits for the kernel
 * to use it can never be killed: its end would wait for itself. With two, the end of this one cuts
 * the connection, which lets the other go on; the end of the other takes mount and loop device
 * away, since neither has a name or an owner besides.
 *
 * Happy path: fork; FUSE; SERVED; the other attaches, mounts, says MOUNTED; what is punched from
 * here on counts as free; GO; the other trims, unmounts, detaches, says DONE; the FUSE threads end
 * when the last request is through, so that none can come later.
 */
#include "fronts/lend.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fronts/fuse.h"
#include "fronts/memory.h"

struct session {
	char dir[PATH_MAX];
	const char *fs_type;
	pid_t pid;
	int sock, hold;
	struct bow_fuse *fuse;
};

static int start_mounter(struct session *s, struct bowimg_error *err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return bow_err_errno(err, -errno, "starting a process that mounts");
	s->pid = fork();
	if (s->pid == 0)
		bow_lend_mount(ends[1], s->dir, s->fs_type);
	int ret = s->pid < 0 ? bow_err_errno(err, -errno, "starting a process that mounts") : 0;
	close(ends[1]);
	if (ret)
		close(ends[0]);
	else
		s->sock = ends[0];
	return ret;
}

static int serve(struct session *s, bowimg_volume *vol, struct bowimg_error *err)
{
	int ret = bow_fuse_new_volume(vol, "bowimg-lend", s->dir, &s->fuse, err);

	if (!ret)
		ret = bow_fuse_start(s->fuse, err);
	if (!ret && (s->hold = bow_lend_hold(s->dir, err)) < 0)
		ret = s->hold;
	return ret;
}

static int say(const struct session *s, enum bow_lend_what what, struct bowimg_error *err)
{
	const struct bow_lend_packet packet = {.what = what};

	if (send(s->sock, &packet, sizeof(packet), MSG_NOSIGNAL) == (ssize_t)sizeof(packet))
		return 0;
	return bow_err(err, -EIO, "the process that mounts has ended unexpectedly");
}

static int hear(const struct session *s, enum bow_lend_what what, struct bowimg_error *err)
{
	struct bow_lend_packet packet;
	ssize_t n;

	do
		n = recv(s->sock, &packet, sizeof(packet), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(packet))
		return bow_err(err, -EIO, "the process that mounts has ended unexpectedly");
	if (packet.err.code && err)
		*err = packet.err;
	if (packet.err.code)
		return packet.err.code;
	return packet.what == what
		       ? 0
		       : bow_err(err, -EIO, "the process that mounts has lost its thread");
}

static int converse(struct session *s, struct bowimg_error *err)
{
	int ret = say(s, BOW_LEND_SERVED, err);

	if (!ret)
		ret = hear(s, BOW_LEND_MOUNTED, err);
	if (ret)
		return ret;
	/* The mount is through, and a replay with it; it writes no zeros any more. */
	bow_fuse_punched_is_free(s->fuse);
	ret = say(s, BOW_LEND_GO, err);
	return ret ? ret : hear(s, BOW_LEND_DONE, err);
}

static int take_down(struct session *s, int ret, struct bowimg_error *err)
{
	int stop;

	if (s->sock >= 0)
		close(s->sock);
	if (s->pid > 0)
		while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
			;
	stop = bow_lend_take_down(s->fuse, s->hold, s->dir, ret ? NULL : err);
	return ret ? ret : stop;
}

int bow_lend_trim(void *ctx, bowimg_volume *vol, const char *fs_type, struct bowimg_error *err)
{
	struct session s = {.fs_type = fs_type, .sock = -1, .hold = -1};

	(void)ctx;
	if (geteuid() != 0) {
		int ret = bow_err(err, -EOPNOTSUPP, "only root can let the kernel mount it");
		bow_err_hint(err, "run bowimg prepare --free-from=trim as root; partclone needs no "
				  "root");
		return ret;
	}
	int ret = bow_cgroup_refuse_limited(err);
	if (!ret)
		ret = bow_lend_make_dir(s.dir, err);
	if (ret)
		return ret;
	ret = start_mounter(&s, err);
	if (!ret)
		ret = serve(&s, vol, err);
	if (!ret)
		ret = converse(&s, err);
	return take_down(&s, ret, err);
}
