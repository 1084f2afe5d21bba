/* SPDX-License-Identifier: MIT */
/*
 * Setting up: entry, daemon with FUSE, loop device, mount; each step is written to the entry before
 * the next begins. Every failure is undone the same way: our end of the control pipe is closed, and
 * the daemon takes down whatever is there. That also covers a command that is killed half-way.
 */
#include "fronts/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fronts/memory.h"
#include "fronts/mounts.h"
#include "fronts/notice.h"
#include "fronts/process.h"
#include "fronts/service_stop.h"

static int refuse_served(const struct bow_entry *e, struct bowimg_error *err)
{
	bool mounted = e->mount_dir[0] != '\0';
	int ret = bow_err(err, -EBUSY, "%s is in use: process %d serves it at %s", e->image,
			  (int)e->pid,
			  mounted      ? e->mount_dir
			  : e->loop[0] ? e->loop
				       : e->fuse_dir);

	if (e->before_only)
		bow_err_hint(err,
			     "only as it was at prepare: to use the disk itself, first bowimg "
			     "umount %s",
			     e->image);
	else
		bow_err_hint(err, "end that first: bowimg %s %s", mounted ? "umount" : "detach",
			     e->image);
	return ret;
}

/* Lock the image's entry; what a killed daemon left there goes first, if nobody uses it. */
static int enter(struct bow_service *s, const char *image, struct bowimg_error *err)
{
	int ret = bow_runtime_enter(image, &s->entry, err);

	if (ret <= 0)
		return ret;
	if (bow_entry_alive(&s->entry))
		ret = refuse_served(&s->entry, err);
	else
		ret = bow_service_clear(&s->entry, false, err);
	bow_entry_leave(&s->entry, ret == 0);
	if (ret)
		return ret;
	s->cleared = true;
	return bow_runtime_enter(image, &s->entry, err);
}

/* An existing directory, as an absolute path. */
static int set_directory(const char *dir, char *out, struct bowimg_error *err)
{
	struct stat st;

	if (!realpath(dir, out) || stat(out, &st) < 0)
		return bow_err_errno(err, -errno, "looking at the directory %s", dir);
	if (!S_ISDIR(st.st_mode))
		return bow_err_errno(err, -ENOTDIR, "looking at the directory %s", dir);
	return 0;
}

static int fill_entry(struct bow_entry *e, const struct bow_service_options *opts,
		      struct bowimg_error *err)
{
	int ret = 0;

	e->wants_loop = opts->loop;
	e->partition = opts->partition;
	e->fuse_dir[0] = e->mount_dir[0] = e->before_dir[0] = e->loop[0] = '\0';
	e->before_only = opts->serve.before;
	e->pid = 0;
	e->connection = 0;
	if (opts->mount_dir)
		ret = set_directory(opts->mount_dir, e->mount_dir, err);
	if (!ret && opts->fuse_dir)
		return set_directory(opts->fuse_dir, e->fuse_dir, err);
	if (!ret && snprintf(e->fuse_dir, sizeof(e->fuse_dir), "%s/fuse", e->dir) >=
			    (int)sizeof(e->fuse_dir))
		ret = bow_err_errno(err, -ENAMETOOLONG, "%s", e->dir);
	if (!ret && mkdir(e->fuse_dir, 0700) < 0 && errno != EEXIST)
		ret = bow_err_errno(err, -errno, "making %s", e->fuse_dir);
	return ret;
}

static int interrupted(const struct bow_service *s, struct bowimg_error *err)
{
	bool from_terminal;
	int signo = bow_process_take_signal(s->signal_fd, &from_terminal);

	return signo ? bow_err(err, -EINTR, "attaching %s: interrupted by signal %d",
			       s->entry.image, signo)
		     : 0;
}

/* The whole disk is of use without them, too. */
static void add_partitions(const struct bow_loop *loop)
{
	struct bowimg_error err = {0};

	if (bow_loop_add_partitions(loop, &err))
		bow_notice_error(&err);
}

/* The file system is mounted while the device still goes away by itself if we should die. */
static int add_loop(struct bow_service *s, const struct bow_service_options *opts,
		    struct bowimg_error *err)
{
	struct bow_entry *e = &s->entry;
	struct bow_loop loop;
	char disk[PATH_MAX + 16];

	bow_entry_disk(e, disk, sizeof(disk));
	struct bow_loop_options how = {.partitions = !e->partition && !e->mount_dir[0],
				       .readonly = e->before_only};
	int ret = bow_loop_ask(e->image, &how, err);
	if (!ret)
		ret = bow_loop_attach(disk, &how, &loop, err);
	if (ret)
		return ret;
	if (how.partitions)
		add_partitions(&loop);
	memcpy(e->loop, loop.path, sizeof(e->loop));
	ret = bow_daemon_tie_to_loop(&s->daemon, err);
	if (!ret)
		ret = bow_entry_save(e, err);
	if (!ret && e->mount_dir[0])
		ret = bow_mounts_add(e->loop, e->mount_dir, opts->mount_options, s->signal_fd, err);
	else if (!ret)
		ret = bow_loop_keep(&loop, err);
	close(loop.fd);
	return ret;
}

/* The daemon takes everything down when the pipe closes; wait for that, and forget the entry. */
static void give_up(struct bow_service *s)
{
	close(s->daemon.control);
	bow_process_wait_gone(s->daemon.pid, s->entry.start_time, NULL);
}

static int bring_up(struct bow_service *s, const struct bow_service_options *opts,
		    struct bowimg_error *err)
{
	int ret = fill_entry(&s->entry, opts, err);

	/* A set-up that was killed early may have left a FUSE mount without any state. */
	if (!ret && !opts->fuse_dir)
		ret = bow_service_clear(&s->entry, false, err);
	if (!ret)
		ret = bow_entry_save(&s->entry, err);
	if (!ret)
		ret = bow_daemon_start(&s->entry, &opts->serve, s->signal_fd, &s->daemon, err);
	if (ret)
		return ret;
	if (opts->loop)
		ret = add_loop(s, opts, err);
	if (!ret)
		ret = interrupted(s, err);
	if (ret)
		give_up(s);
	return ret;
}

int bow_service_start(struct bow_service *s, const char *image,
		      const struct bow_service_options *opts, struct bowimg_error *err)
{
	memset(s, 0, sizeof(*s));
	s->daemon.control = -1;
	s->entry.lock_fd = -1;
	/* What is never written to has no pages that wait for memory. */
	int ret = opts->loop && !opts->serve.before ? bow_cgroup_refuse_limited(err) : 0;
	if (!ret && (ret = s->signal_fd = bow_process_catch_signals(err)) >= 0)
		ret = enter(s, image, err);
	if (ret)
		return ret;
	ret = bring_up(s, opts, err);
	/* The daemon has taken down what it could; it may have died of the reason for this failure.
	 */
	if (ret)
		bow_entry_leave(&s->entry, bow_service_clear(&s->entry, true, NULL) == 0);
	return ret;
}

int bow_service_leave(struct bow_service *s, struct bowimg_error *err)
{
	int ret = bow_daemon_background(&s->daemon, err);

	if (ret)
		give_up(s);
	bow_entry_leave(&s->entry, ret != 0);
	return ret;
}

void bow_service_disk(const struct bow_service *s, char *out, size_t bytes)
{
	if (s->entry.loop[0])
		snprintf(out, bytes, "%s", s->entry.loop);
	else
		bow_entry_disk(&s->entry, out, bytes);
}
