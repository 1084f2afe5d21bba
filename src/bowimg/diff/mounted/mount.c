/* SPDX-License-Identifier: MIT */
/* The process that uses both versions: its loop devices and mounts. */
#include "bowimg/diff/mounted/mount.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/cleanup.h"
#include "lib/base/message.h"
#include "bowimg/host/mounts.h"

struct view {
	int file_fd, mount_fd;
	struct bow_loop loop;
};

struct bow_views {
	struct bow_child child;
	struct bow_loop_options opts;
	struct view view[BOW_VERSIONS];
};

/* ---- the other process ----------------------------------------------------------- */

#define CHILD "the process that exposes both versions"

struct part {
	const struct bow_diff_source *source;
	uint64_t off, bytes;
};

static int run_server(int sock, void *ctx)
{
	const struct part *part = ctx;

	return bow_views_serve(sock, part->source, part->off, part->bytes);
}

static int start(struct bow_views *v, struct part *part, struct bowimg_error *err)
{
	int ret = bow_child_fork(&v->child, run_server, part);

	return ret ? bow_err_errno(err, ret, "cannot start " CHILD) : 0;
}

static int receive_files(struct bow_views *v, struct bowimg_error *err)
{
	int ret = bow_message_recv(v->child.sock, BOW_VIEWS_READY, CHILD, err);

	for (int version = 0; !ret && version < BOW_VERSIONS; version++) {
		v->view[version].file_fd = bow_fd_recv(v->child.sock);
		if (v->view[version].file_fd < 0)
			ret = bow_err(err, -EIO, CHILD " has ended unexpectedly");
	}
	return ret;
}

int bow_views_open(const struct bow_diff_source *source, const char *image, uint64_t off,
		   uint64_t bytes, struct bow_views **out, struct bowimg_error *err)
{
	struct bow_views *v = calloc(1, sizeof(*v));
	struct part part = {source, off, bytes};
	int ret;

	if (!v)
		return bow_err_errno(err, -ENOMEM, "cannot expose both versions");
	*v = (struct bow_views){.child = BOW_NO_CHILD, .opts.readonly = true};
	for (int version = 0; version < BOW_VERSIONS; version++)
		v->view[version] = (struct view){-1, -1, {.fd = -1}};
	ret = bow_loop_ask(image, &v->opts, err);
	if (!ret)
		ret = start(v, &part, err);
	if (!ret)
		ret = receive_files(v, err);
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
	for (int version = 0; version < BOW_VERSIONS; version++) {
		bow_views_unmount(v, (enum bow_version)version);
		if (v->view[version].file_fd >= 0)
			close(v->view[version].file_fd);
	}
	bow_child_end(&v->child);
	free(v);
}

/* ---- loop devices and mounts ----------------------------------------------------- */

int bow_views_mount(struct bow_views *v, enum bow_version version, const char *driver,
		    const char *option, struct bowimg_error *err)
{
	struct view *view = &v->view[version];
	char file[64];
	int ret;

	snprintf(file, sizeof(file), "/proc/self/fd/%d", view->file_fd);
	ret = bow_loop_attach(file, &v->opts, &view->loop, err);
	if (ret)
		return ret;
	view->mount_fd = bow_mounts_detached(driver, view->loop.path, option, err);
	return view->mount_fd;
}

/* btrfs remembers devices, and would take the other version for a stale copy. */
static void forget(const struct bow_loop *loop)
{
	CLEANUP_CLOSE int fd = open("/dev/btrfs-control", O_RDWR | O_CLOEXEC);
	struct btrfs_ioctl_vol_args args = {0};

	if (fd < 0)
		return;
	snprintf(args.name, sizeof(args.name), "%s", loop->path);
	ioctl(fd, BTRFS_IOC_FORGET_DEV, &args); /* fails if btrfs does not know it: fine */
}

void bow_views_unmount(struct bow_views *v, enum bow_version version)
{
	struct view *view = &v->view[version];

	if (view->mount_fd >= 0)
		close(view->mount_fd);
	if (view->loop.fd >= 0) {
		forget(&view->loop);
		close(view->loop.fd); /* the kernel detaches it with the last close */
	}
	view->mount_fd = view->loop.fd = -1;
}
