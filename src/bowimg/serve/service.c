/* SPDX-License-Identifier: MIT */
/*
 * Setting up: session, daemon with FUSE, loop device, mount. Each step is saved in the session
 * before the next begins. Every failure is undone in the same way: our end of the socket is closed,
 * and the daemon takes down what is there. So a command that is killed half-way leaves nothing.
 */
#include "bowimg/serve/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/show.h"
#include "bowimg/host/memory.h"
#include "bowimg/host/mounts.h"
#include "bowimg/host/notice.h"
#include "bowimg/host/process.h"
#include "bowimg/serve/beside.h"
#include "bowimg/serve/device.h"
#include "bowimg/serve/find.h"
#include "bowimg/serve/places.h"
#include "bowimg/serve/stop.h"

static const char *place(const struct bow_session *e, bool mounted)
{
	return mounted ? e->mount_dir : e->loop[0] ? e->loop : e->fuse_dir;
}

static int refuse_served(const struct bow_session *e, struct bowimg_error *err)
{
	bool mounted = bow_service_is_mounted(e);
	int ret = bow_err(err, -EBUSY, "%s is in use: process %d serves it at %s", e->image,
			  (int)e->pid, place(e, mounted));

	if (e->before_only)
		bow_err_hint(err, "only as it was: to use the image itself, first bowimg %s %s",
			     mounted ? "umount" : "detach", BOW_WORD(e->image));
	else
		bow_err_hint(err, "end that first: bowimg %s %s", mounted ? "umount" : "detach",
			     BOW_WORD(e->image));
	return ret;
}

/* There is one directory with files of an image. */
static int refuse_elsewhere(const struct bow_session *e, const char *mark, struct bowimg_error *err)
{
	struct bow_session was = *e;
	char file[PATH_MAX + 64];
	int ret;

	if (e->before_only) {
		ret = bow_err(err, -EBUSY, "%s is offered in %s, and nowhere else", e->image,
			      e->fuse_dir);
		bow_err_hint(err, "there it goes beside what it was: bowimg attach --fuse %s %s",
			     BOW_WORD(e->fuse_dir), BOW_WORD(e->image));
		return ret;
	}
	ret = bow_err(err, -EBUSY, "%s is served already, and can be no file elsewhere", e->image);
	was.before_partition = 0;
	snprintf(was.before_mark, sizeof(was.before_mark), "%s", mark ?: "");
	bow_session_before(&was, file, sizeof(file));
	if (e->wants_loop)
		bow_err_hint(err, "as a device it goes beside it: bowimg attach --before %s",
			     BOW_WORD(e->image));
	else
		bow_err_hint(err, "as it was it is %s", BOW_WORD(file));
	return ret;
}

static bool is_elsewhere(const struct bow_session *e, const struct bow_service_options *opts)
{
	if (!opts->fuse_dir)
		return false;
	return e->before_only ? !opts->serve.before && !e->wants_loop : opts->serve.before;
}

/*
 * Lock the image's session. First take away what a killed daemon left, unless it is in use. 1:
 * there is a daemon, beside whose disk as it was the disk itself can be.
 */
static int enter(struct bow_service *s, const char *image, const struct bow_service_options *opts,
		 struct bowimg_error *err)
{
	int ret = bow_runtime_enter(image, &s->session, err);
	bool alive = ret > 0 && bow_session_alive(&s->session);

	if (ret <= 0 || (alive && bow_beside_possible(&s->session, opts)))
		return ret;
	if (alive)
		ret = is_elsewhere(&s->session, opts)
			      ? refuse_elsewhere(&s->session, opts->serve.mark, err)
			      : refuse_served(&s->session, err);
	else
		ret = bow_service_clear(&s->session, false, err);
	bow_session_leave(&s->session, ret == 0);
	if (ret)
		return ret;
	s->cleared = true;
	return bow_runtime_enter(image, &s->session, err);
}

static int fill_session(struct bow_session *e, const struct bow_service_options *opts,
			struct bowimg_error *err)
{
	int ret = 0;

	e->wants_loop = opts->loop;
	e->partition = opts->partition;
	e->fuse_dir[0] = e->mount_dir[0] = e->before_dir[0] = e->loop[0] = '\0';
	e->before_mark[0] = e->before_loop[0] = '\0';
	e->before_only = opts->serve.before;
	e->disk_device = opts->loop && !opts->serve.before;
	snprintf(e->mark, sizeof(e->mark), "%s", opts->serve.mark ?: "");
	e->pid = 0;
	e->connection = 0;
	e->durability = opts->serve.durability;
	e->force = opts->serve.force;
	if (opts->mount_dir)
		ret = bow_place_directory(opts->mount_dir, e->mount_dir, err);
	if (!ret && opts->fuse_dir)
		return bow_place_empty(opts->fuse_dir, e->fuse_dir, err);
	if (!ret && snprintf(e->fuse_dir, sizeof(e->fuse_dir), "%s/fuse", e->dir) >=
			    (int)sizeof(e->fuse_dir))
		ret = bow_err_errno(err, -ENAMETOOLONG, "%s", e->dir);
	if (!ret && mkdir(e->fuse_dir, 0700) < 0 && errno != EEXIST)
		ret = bow_err_errno(err, -errno, "cannot make %s", e->fuse_dir);
	return ret;
}

static int interrupted(const struct bow_service *s, struct bowimg_error *err)
{
	bool from_terminal;
	int signo = bow_process_take_signal(s->signal_fd, &from_terminal);

	return signo ? bow_err(err, -EINTR, "cannot attach %s: interrupted by signal %d",
			       s->session.image, signo)
		     : 0;
}

/* The daemon takes everything down when the socket is closed; wait for that. */
static void end_daemon(struct bow_service *s)
{
	if (s->daemon.sock >= 0)
		bow_child_end(&s->daemon);
}

static void give_up(struct bow_service *s)
{
	if (s->loop_fd >= 0)
		close(s->loop_fd);
	s->loop_fd = -1;
	if (s->beside)
		bow_beside_give_up(s);
	else
		end_daemon(s);
	/* The daemon has taken down what it could; it may have died. */
	bow_session_leave(&s->session,
			  !s->beside && bow_service_clear(&s->session, true, NULL) == 0);
}

static int bring_up(struct bow_service *s, const struct bow_service_options *opts,
		    struct bowimg_error *err)
{
	int ret = fill_session(&s->session, opts, err);

	/* A command that was killed early may have left a FUSE mount without a state. */
	if (!ret && !opts->fuse_dir)
		ret = bow_service_clear(&s->session, false, err);
	bow_session_forget_result(&s->session, BOW_RESULT);
	if (!ret)
		ret = bow_session_save(&s->session, err);
	if (!ret)
		ret = bow_daemon_start(&s->session, &opts->serve, s->signal_fd, &s->daemon, err);
	return !ret && opts->loop ? bow_device_add(s, opts, err) : ret;
}

int bow_service_start(struct bow_service *s, const char *image,
		      const struct bow_service_options *opts, struct bowimg_error *err)
{
	memset(s, 0, sizeof(*s));
	s->daemon = BOW_NO_CHILD;
	s->session.lock_fd = s->loop_fd = -1;
	/* A disk that is never written to has no pages that wait for memory. */
	int ret = opts->loop && !opts->serve.before ? bow_cgroup_refuse_limited(err) : 0;
	if (!ret && (ret = s->signal_fd = bow_process_catch_signals(err)) >= 0)
		ret = enter(s, image, opts, err);
	if (ret < 0)
		return ret;
	ret = ret ? bow_beside_start(s, opts, err) : bring_up(s, opts, err);
	if (!ret)
		ret = interrupted(s, err);
	if (ret)
		give_up(s);
	return ret;
}

int bow_service_leave(struct bow_service *s, struct bowimg_error *err)
{
	int ret = s->beside ? 0 : bow_daemon_background(&s->daemon, err);

	if (ret)
		end_daemon(s);
	bow_session_leave(&s->session, ret != 0);
	return ret;
}

int bow_service_let_go(struct bow_service *s, struct bowimg_error *err)
{
	int fd = s->loop_fd, ret = fd >= 0 && fsync(fd) < 0 ? -EIO : 0;

	s->loop_fd = -1;
	if (fd >= 0)
		close(fd);
	return ret ? bow_err_errno(err, ret, "cannot write back the cache of %s", s->session.loop)
		   : 0;
}

void bow_service_disk(const struct bow_service *s, char *out, size_t bytes)
{
	if (s->session.loop[0])
		snprintf(out, bytes, "%s", s->session.loop);
	else
		bow_session_disk(&s->session, out, bytes);
}
