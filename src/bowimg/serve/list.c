/* SPDX-License-Identifier: MIT */
#include "bowimg/serve/list.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/base/cleanup.h"
#include "lib/base/uri.h"
#include "bowimg/host/mounts.h"
#include "bowimg/host/process.h"
#include "bowimg/serve/find.h"
#include "bowimg/serve/runtime_dir.h"
#include "bowimg/serve/servers.h"

const char *bow_served_how_name(enum bow_served_how how)
{
	static const char *const names[] = {
		[BOW_SERVED_MOUNT] = "mount",
		[BOW_SERVED_LOOP] = "loop",
		[BOW_SERVED_FUSE] = "fuse",
		[BOW_SERVED_NBD] = "nbd",
	};

	return names[how];
}

bool bow_served_is_busy(const struct bow_served *s)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/lock", s->dir);
	CLEANUP_CLOSE int fd = s->dir[0] ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

static void set_process(struct bow_served *s, pid_t pid, uint64_t start_time)
{
	s->pid = pid;
	s->alive = pid > 0 && start_time && bow_process_start_time(pid) == start_time;
	s->since = start_time ? bow_process_started_at(start_time) : 0;
}

static void set_before(struct bow_served *s, const struct bow_session *e)
{
	char device[BOW_LOOP_NAME];

	if (!bow_service_has_before(e, device))
		return;
	s->before_attached = e->before_loop[0];
	if (s->before_attached)
		snprintf(s->before_dir, sizeof(s->before_dir), "%s", device);
	else if (bow_mounts_has(e->before_dir, bow_loop_number(device)))
		memcpy(s->before_dir, e->before_dir, sizeof(s->before_dir));
}

static void from_session(struct bow_served *s, const struct bow_session *e)
{
	bool has_loop = bow_service_has_loop(e, s->device);

	memcpy(s->image, e->image, sizeof(s->image));
	memcpy(s->dir, e->dir, sizeof(s->dir));
	s->partition = e->partition;
	s->before_only = e->before_only;
	memcpy(s->mark, e->mark, sizeof(s->mark));
	set_process(s, e->pid, e->start_time);
	set_before(s, e);
	if (!has_loop)
		s->device[0] = '\0';
	if (bow_service_is_mounted(e)) {
		s->how = BOW_SERVED_MOUNT;
		snprintf(s->where, sizeof(s->where), "%s", e->mount_dir);
	} else if (has_loop) {
		s->how = BOW_SERVED_LOOP;
		snprintf(s->where, sizeof(s->where), "%s", s->device);
	} else {
		s->how = BOW_SERVED_FUSE;
		bow_session_disk(e, s->where, sizeof(s->where));
	}
}

static void from_note(struct bow_served *s, const struct bow_server_note *note)
{
	s->how = BOW_SERVED_NBD;
	memcpy(s->image, note->image, sizeof(s->image));
	memccpy(s->where, note->uri, '\0', sizeof(s->where));
	s->before_only = note->before_only;
	set_process(s, note->pid, note->start_time);
}

struct walk {
	int (*one)(void *ctx, const struct bow_served *s);
	void *ctx;
};

/* What a command is only about to set up has no process yet; a dead NBD server left nothing. */
static int on_entry(void *ctx, const char *path)
{
	struct walk *w = ctx;
	struct bow_served s = {0};
	struct bow_session e = {.lock_fd = -1};
	struct bow_server_note note;

	memccpy(e.dir, path, '\0', sizeof(e.dir));
	if (bow_servers_read(path, &note))
		from_note(&s, &note);
	else if (bow_state_read(path, &e) == 1 && e.pid > 0)
		from_session(&s, &e);
	else
		return 0;
	return s.how == BOW_SERVED_NBD && !s.alive ? 0 : w->one(w->ctx, &s);
}

int bow_served_each(int (*one)(void *ctx, const struct bow_served *s), void *ctx,
		    struct bowimg_error *err)
{
	struct walk w = {one, ctx};

	return bow_runtime_each(on_entry, &w, err);
}

struct search {
	char name[PATH_MAX];
	bool has_file, found;
	struct stat st;
	struct bow_served *out;
};

/* A file or device is known by its number, and may have several names. */
static bool is_same(const struct search *look, const char *image)
{
	struct stat st;

	if (strcmp(look->name, image) == 0)
		return true;
	if (!look->has_file || bow_uri_is_nbd(image) || stat(image, &st) < 0)
		return false;
	if (S_ISBLK(look->st.st_mode) || S_ISBLK(st.st_mode))
		return S_ISBLK(look->st.st_mode) && S_ISBLK(st.st_mode) &&
		       look->st.st_rdev == st.st_rdev;
	return look->st.st_dev == st.st_dev && look->st.st_ino == st.st_ino;
}

static int look_at(void *ctx, const struct bow_served *s)
{
	struct search *look = ctx;

	if (!is_same(look, s->image) || (look->found && !s->alive))
		return 0;
	*look->out = *s;
	look->found = true;
	return s->alive;
}

bool bow_served_find(const char *image, struct bow_served *out)
{
	struct search look = {.out = out};

	if (bow_image_name(image, look.name, NULL))
		return false;
	look.has_file = !bow_uri_is_nbd(image) && stat(image, &look.st) == 0;
	return bow_served_each(look_at, &look, NULL) >= 0 && look.found;
}
