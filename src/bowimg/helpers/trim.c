/* SPDX-License-Identifier: MIT */
/*
 * Asking the kernel what is free: a volume as a FUSE file, a loop device on it, a read-only mount,
 * FITRIM, and all down again.
 *
 * A child does the mounting (mount.c). A single process that serves a file and waits for the kernel
 * to use it could never be killed: its end would wait for itself. With two, the end of this one
 * cuts the connection, and the child goes on; the end of the child takes mount and loop device
 * away, since nothing else keeps them.
 *
 * Happy path: fork; FUSE; SERVED; the child attaches, mounts, sends MOUNTED; what is punched from
 * now on counts as free; GO; the child trims, unmounts, detaches, sends DONE; the FUSE threads end
 * after the last request, so none can come later.
 */
#include "bowimg/helpers/expose.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/message.h"
#include "bowimg/fuse/fuse.h"
#include "bowimg/host/memory.h"

struct session {
	char dir[PATH_MAX];
	const char *fs_type;
	struct bow_child child; /* mounts the file */
	int hold;
	struct bow_fuse *fuse;
};

#define CHILD "the mount process"

static int run_mounter(int sock, void *ctx)
{
	const struct session *s = ctx;

	return bow_expose_mount(sock, s->dir, s->fs_type);
}

static int start_mounter(struct session *s, struct bowimg_error *err)
{
	int ret = bow_child_fork(&s->child, run_mounter, s);

	return ret ? bow_err_errno(err, ret, "cannot start " CHILD) : 0;
}

static int serve(struct session *s, bowimg_disk *vol, struct bowimg_error *err)
{
	int ret = bow_fuse_new_brief(vol, NULL, "bowimg-expose", s->dir, &s->fuse, err);

	if (!ret)
		ret = bow_fuse_start(s->fuse, err);
	if (!ret && (s->hold = bow_expose_hold(s->dir, err)) < 0)
		ret = s->hold;
	return ret;
}

static int send_to(const struct session *s, enum bow_expose_what what, struct bowimg_error *err)
{
	return bow_message_send(s->child.sock, what, NULL)
		       ? bow_err(err, -EIO, CHILD " has ended unexpectedly")
		       : 0;
}

static int converse(struct session *s, struct bowimg_error *err)
{
	int ret = send_to(s, BOW_EXPOSE_SERVED, err);

	if (!ret)
		ret = bow_message_recv(s->child.sock, BOW_EXPOSE_MOUNTED, CHILD, err);
	if (ret)
		return ret;
	/* The mount is complete, and a replay with it; the file system writes no zeros any more. */
	bow_fuse_punched_is_free(s->fuse);
	ret = send_to(s, BOW_EXPOSE_GO, err);
	return ret ? ret : bow_message_recv(s->child.sock, BOW_EXPOSE_DONE, CHILD, err);
}

static int take_down(struct session *s, int ret, struct bowimg_error *err)
{
	bow_child_end(&s->child);
	int stop = bow_unexpose(s->fuse, s->hold, s->dir, ret ? NULL : err);
	return ret ? ret : stop;
}

int bow_expose_trim(void *ctx, bowimg_disk *vol, const char *fs_type, struct bowimg_error *err)
{
	struct session s = {.fs_type = fs_type, .child = BOW_NO_CHILD, .hold = -1};

	(void)ctx;
	if (geteuid() != 0) {
		int ret = bow_err(err, -EOPNOTSUPP, "only root can let the kernel mount it");
		bow_err_hint(err, "run bowimg prepare --free-from=trim as root; partclone needs no "
				  "root");
		return ret;
	}
	int ret = bow_cgroup_refuse_limited(err);
	if (!ret)
		ret = bow_expose_make_dir(s.dir, err);
	if (ret)
		return ret;
	ret = start_mounter(&s, err);
	if (!ret)
		ret = serve(&s, vol, err);
	if (!ret)
		ret = converse(&s, err);
	return take_down(&s, ret, err);
}
