/* SPDX-License-Identifier: MIT */
/*
 * The process that exposes both versions. It ends with the other end of its socket, and takes down
 * what it made. Nothing is left if it is killed, either: its mount is in a namespace of its own,
 * and detached from the tree as soon as the files are open.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/message.h"
#include "bowimg/fuse/fuse.h"
#include "bowimg/helpers/expose.h"
#include "bowimg/diff/mounted/mount.h"

struct server {
	struct bow_fuse *fuse;
	int hold;
	int fd[BOW_VERSIONS];
	bowimg_disk *part[BOW_VERSIONS];
	char dir[PATH_MAX];
};

/* A reader of our output waits for the other process only, and an interrupt is for that one. */
static void stand_aside(void)
{
	bow_child_use_null(STDIN_FILENO, STDOUT_FILENO);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

static int separate(struct bowimg_error *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return bow_err_errno(err, -errno, "cannot make a namespace for mounts");
	return 0;
}

/*
 * In that namespace only. It has a copy of each mount of the machine, which would keep busy what
 * others unmount meanwhile; nothing here needs a path any more.
 */
static void drop_mounts(void)
{
	umount2("/", MNT_DETACH);
}

static int open_files(struct server *s, struct bowimg_error *err)
{
	static const char *const names[] = {[BOW_NEW] = BOW_FUSE_FILE, [BOW_OLD] = BOW_FUSE_BEFORE};
	char path[PATH_MAX + 16];

	s->hold = bow_expose_hold(s->dir, err);
	if (s->hold < 0)
		return s->hold;
	for (int version = 0; version < BOW_VERSIONS; version++) {
		snprintf(path, sizeof(path), "%s/%s", s->dir, names[version]);
		s->fd[version] = bow_expose_open(path);
		if (s->fd[version] < 0)
			return bow_err_errno(err, s->fd[version], "cannot open %s", path);
	}
	bow_expose_detach(s->dir);
	drop_mounts();
	return 0;
}

/* They end with this process. */
static int make_parts(struct server *s, const struct bow_diff_source *source, uint64_t off,
		      uint64_t bytes, struct bowimg_error *err)
{
	int ret = 0;

	for (int version = 0; !ret && version < BOW_VERSIONS; version++)
		ret = bowimg_disk_part(source->disk[version], off, bytes, &s->part[version], err);
	return ret;
}

static int expose(struct server *s, const struct bow_diff_source *source, uint64_t off,
		  uint64_t bytes, struct bowimg_error *err)
{
	int ret = separate(err);

	if (!ret)
		ret = bow_expose_make_dir(s->dir, err);
	if (!ret)
		ret = make_parts(s, source, off, bytes, err);
	if (!ret)
		ret = bow_fuse_new_brief(s->part[BOW_NEW], s->part[BOW_OLD], "bowimg-diff", s->dir,
					 &s->fuse, err);
	if (!ret)
		ret = bow_fuse_start(s->fuse, err);
	return ret ? ret : open_files(s, err);
}

static bool hand_over(struct server *s, int sock, const struct bowimg_error *err)
{
	bool ok = bow_message_send(sock, BOW_VIEWS_READY, err) == 0;

	for (int version = 0; version < BOW_VERSIONS; version++) {
		if (ok && !err->code)
			ok = bow_fd_send(sock, s->fd[version]) == 0;
		if (s->fd[version] >= 0)
			close(s->fd[version]);
	}
	return ok && !err->code;
}

int bow_views_serve(int sock, const struct bow_diff_source *source, uint64_t off, uint64_t bytes)
{
	struct server s = {.hold = -1, .fd = {-1, -1}};
	struct bowimg_error err = {0};
	char byte;

	stand_aside();
	err.code = expose(&s, source, off, bytes, &err);
	/* No message comes: this returns when the other end is closed. */
	if (hand_over(&s, sock, &err))
		bow_packet_recv(sock, &byte, sizeof(byte));
	/* Nothing was written: there is nothing to lose. */
	bow_unexpose(s.fuse, s.hold, s.dir, NULL);
	return 0;
}
