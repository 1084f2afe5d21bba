/* SPDX-License-Identifier: MIT */
/* The process that uses both sides: loop devices, mounts. */
#include "fronts/views.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fronts/fd_passing.h"
#include "fronts/mounts.h"

enum { SIDES = 2 };

struct view {
	int file_fd, mount_fd;
	struct bow_loop loop;
};

struct bow_views {
	pid_t pid;
	int sock;
	struct bow_loop_options opts;
	struct view view[SIDES];
};

/* ---- the other process ----------------------------------------------------------------------- */

static int start(struct bow_views *v, bowimg_look *look, uint64_t off, uint64_t bytes,
		 struct bowimg_error *err)
{
	int ends[2], ret = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return bow_err_errno(err, -errno, "starting a process that shows both sides");
	v->pid = fork();
	if (v->pid == 0) {
		close(ends[0]);
		bow_views_serve(ends[1], look, off, bytes);
	}
	if (v->pid < 0)
		ret = bow_err_errno(err, -errno, "starting a process that shows both sides");
	close(ends[1]);
	v->sock = ends[0];
	return ret;
}

static int hear(struct bow_views *v, struct bowimg_error *err)
{
	struct bowimg_error theirs;
	ssize_t n;

	do
		n = recv(v->sock, &theirs, sizeof(theirs), 0);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(theirs) && theirs.code && err)
		*err = theirs;
	if (n == (ssize_t)sizeof(theirs) && theirs.code)
		return theirs.code;
	for (int side = 0; n == (ssize_t)sizeof(theirs) && side < SIDES; side++) {
		v->view[side].file_fd = bow_fd_receive(v->sock);
		if (v->view[side].file_fd < 0)
			n = 0;
	}
	return n == (ssize_t)sizeof(theirs)
		       ? 0
		       : bow_err(err, -EIO, "the process that shows both sides has ended");
}

int bow_views_open(bowimg_look *look, const char *image, uint64_t off, uint64_t bytes,
		   struct bow_views **out, struct bowimg_error *err)
{
	struct bow_views *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return bow_err_errno(err, -ENOMEM, "showing both sides");
	*v = (struct bow_views){.sock = -1, .opts.readonly = true};
	for (int side = 0; side < SIDES; side++)
		v->view[side] = (struct view){-1, -1, {.fd = -1}};
	ret = bow_loop_ask(image, &v->opts, err);
	if (!ret)
		ret = start(v, look, off, bytes, err);
	if (!ret)
		ret = hear(v, err);
	if (ret)
		bow_views_close(v);
	else
		*out = v;
	return ret;
}

void bow_views_close(struct bow_views *v)
{
	if (!v)
		return;
	for (int side = 0; side < SIDES; side++) {
		bow_views_unmount(v, (enum bowimg_side)side);
		if (v->view[side].file_fd >= 0)
			close(v->view[side].file_fd);
	}
	if (v->sock >= 0)
		close(v->sock); /* by which it ends */
	if (v->pid > 0)
		while (waitpid(v->pid, NULL, 0) < 0 && errno == EINTR)
			;
	free(v);
}

/* ---- loop devices and mounts ----------------------------------------------------------------- */

int bow_views_mount(struct bow_views *v, enum bowimg_side side, const char *driver,
		    const char *option, struct bowimg_error *err)
{
	struct view *view = &v->view[side];
	char file[64];
	int ret;

	snprintf(file, sizeof(file), "/proc/self/fd/%d", view->file_fd);
	ret = bow_loop_attach(file, &v->opts, &view->loop, err);
	if (ret)
		return ret;
	view->mount_fd = bow_mounts_detached(driver, view->loop.path, option, err);
	return view->mount_fd;
}

/* btrfs remembers devices, and takes another state of one for a stale copy. */
static void forget(const struct bow_loop *loop)
{
	CLEANUP_CLOSE int fd = open("/dev/btrfs-control", O_RDWR | O_CLOEXEC);
	struct btrfs_ioctl_vol_args args = {0};

	if (fd < 0)
		return;
	snprintf(args.name, sizeof(args.name), "%s", loop->path);
	ioctl(fd, BTRFS_IOC_FORGET_DEV, &args); /* unknown to it: as well */
}

void bow_views_unmount(struct bow_views *v, enum bowimg_side side)
{
	struct view *view = &v->view[side];

	if (view->mount_fd >= 0)
		close(view->mount_fd);
	if (view->loop.fd >= 0) {
		forget(&view->loop);
		close(view->loop.fd); /* the kernel detaches it with the last close */
	}
	view->mount_fd = view->loop.fd = -1;
}
