/* SPDX-License-Identifier: MIT */
/* A private mount: made, opened by another process, detached from the tree, taken down. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/message.h"
#include "bowimg/fuse/fuse.h"
#include "bowimg/helpers/expose.h"
#include "bowimg/host/mounts.h"

int bow_expose_make_dir(char dir[PATH_MAX], struct bowimg_error *err)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, PATH_MAX, "%.*s/bowimg-expose.XXXXXX", PATH_MAX - 32,
		 tmp && tmp[0] == '/' ? tmp : "/tmp");
	if (mkdtemp(dir))
		return 0;
	int ret = bow_err_errno(err, -errno, "cannot make the directory %s", dir);
	bow_err_hint(err, "set TMPDIR to a directory that can be written to");
	return ret;
}

int bow_expose_hold(const char *dir, struct bowimg_error *err)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? bow_err_errno(err, -errno, "cannot open %s", dir) : fd;
}

/* In a child of a process with threads: only what is safe in a signal handler. */
static int open_and_send(int sock, void *ctx)
{
	const char *path = ctx;

	sock = bow_child_keep_only(sock, 3);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && bow_fd_send(sock, fd) == 0 ? 0 : 1;
}

int bow_expose_open(const char *path)
{
	struct bow_child child = BOW_NO_CHILD;
	int ret = bow_child_fork(&child, open_and_send, (void *)path);

	if (!ret)
		ret = bow_fd_recv(child.sock);
	bow_child_end(&child);
	return ret;
}

void bow_expose_detach(const char *dir)
{
	if (bow_mounts_remove(dir, MNT_DETACH, NULL) == 0)
		rmdir(dir);
}

int bow_unexpose(struct bow_fuse *fuse, int hold, const char *dir, struct bowimg_error *err)
{
	int ret = 0;

	if (fuse)
		bow_fuse_wait_closed(fuse, BOW_EXPOSE_PATIENCE_MS);
	if (hold >= 0)
		close(hold);
	if (fuse)
		ret = bow_fuse_stop(fuse, err);
	rmdir(dir); /* gone already if it was detached */
	return ret;
}
