/* SPDX-License-Identifier: MIT */
/*
 * Directories, locks and names of the served images.
 *
 * Only the owner may write below the runtime directory: that is checked, and its name may not be a
 * symbolic link. So this program, run by the same user, has written all that is found in it.
 */
#include "bowimg/serve/runtime.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/uri.h"
#include "bowimg/fuse/fuse.h"
#include "bowimg/host/process.h"
#include "bowimg/serve/runtime_dir.h"

/* Partitions have the names that the kernel gives to those of a device. */
static void set_file(char *out, size_t bytes, const char *dir, const char *name, unsigned partition)
{
	if (partition)
		snprintf(out, bytes, "%s/%s%u", dir, name, partition);
	else
		snprintf(out, bytes, "%s/%s", dir, name);
}

void bow_session_disk(const struct bow_session *e, char *out, size_t bytes)
{
	set_file(out, bytes, e->fuse_dir, e->before_only ? BOW_FUSE_BEFORE : BOW_FUSE_FILE,
		 e->partition);
}

void bow_session_before(const struct bow_session *e, char *out, size_t bytes)
{
	set_file(out, bytes, e->fuse_dir, BOW_FUSE_BEFORE, e->before_partition);
	if (strcmp(e->before_mark, e->mark) == 0)
		return;
	size_t used = strlen(out);
	snprintf(out + used, bytes - used, "%c%s", BOW_FUSE_AT,
		 e->before_mark[0] ? e->before_mark : BOW_FUSE_AT_PREPARE);
}

/* A device is known by its number: it may have several nodes. */
static int set_id(const char *image, char *id, size_t bytes, struct bowimg_error *err)
{
	struct stat st;

	if (bow_uri_is_nbd(image))
		snprintf(id, bytes, "nbd-%016" PRIx64, bow_uri_key(image));
	else if (stat(image, &st) < 0)
		return bow_err_errno(err, -errno, "cannot access %s", image);
	else if (S_ISBLK(st.st_mode))
		snprintf(id, bytes, "device-%u-%u", major(st.st_rdev), minor(st.st_rdev));
	else
		snprintf(id, bytes, "%llx-%llx", (unsigned long long)st.st_dev,
			 (unsigned long long)st.st_ino);
	return 0;
}

enum { LOCK_TRIES = 50, LOCK_PAUSE_MS = 5 };

/* `image` comes from bow_image_name(). */
static int set_dir(const char *image, struct bow_session *e, struct bowimg_error *err)
{
	char base[PATH_MAX], id[64];
	int ret = set_id(image, id, sizeof(id), err);

	if (!ret)
		ret = bow_runtime_base(base, sizeof(base), err);
	if (ret)
		return ret;
	ret = snprintf(e->dir, sizeof(e->dir), "%s/%s", base, id);
	return ret < (int)sizeof(e->dir) ? 0 : -ENAMETOOLONG;
}

/* 0 locked; 1: another command has just removed the directory: try again; -errno. */
static int lock_once(struct bow_session *e)
{
	char path[PATH_MAX + 16];
	struct stat st;

	if (mkdir(e->dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/lock", e->dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno == ENOENT ? 1 : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int ret = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return ret;
	}
	if (fstat(fd, &st) < 0 || st.st_nlink == 0) {
		close(fd);
		return 1;
	}
	e->lock_fd = fd;
	return 0;
}

/* Who only looks (bow_served_is_busy()) has the lock for a moment; nobody is sent away for that. */
static int lock_soon(struct bow_session *e)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
	int ret = 1;

	for (int i = 0; i < LOCK_TRIES && (ret == 1 || ret == -EBUSY); i++) {
		if (ret == -EBUSY)
			nanosleep(&pause, NULL);
		ret = lock_once(e);
	}
	return ret;
}

static int lock(struct bow_session *e, const char *name, struct bowimg_error *err)
{
	int ret = lock_soon(e);

	if (ret == 0)
		return 0;
	if (ret == 1 || ret == -EBUSY) {
		ret = bow_err(err, -EBUSY, "%s: another bowimg command is working on it", name);
		bow_err_hint(err, "wait for it to end, then try again");
		return ret;
	}
	return bow_err_errno(err, ret, "cannot lock %s", e->dir);
}

bool bow_session_try_lock(struct bow_session *e)
{
	return lock_once(e) == 0;
}

int bow_runtime_enter(const char *image, struct bow_session *out, struct bowimg_error *err)
{
	memset(out, 0, sizeof(*out));
	out->lock_fd = -1;
	int ret = bow_image_name(image, out->image, err);
	if (!ret)
		ret = set_dir(out->image, out, err);
	if (!ret)
		ret = lock(out, image, err);
	if (ret)
		return ret;
	ret = bow_state_read(out->dir, out);
	/* The state has the name that was used at attach; this command uses its own. */
	if (!ret)
		ret = bow_image_name(image, out->image, err);
	if (ret < 0)
		bow_session_leave(out, false);
	return ret;
}

static int nothing_there(const char *name, struct bowimg_error *err)
{
	int ret = bow_err(err, -ENODATA, "%s is not attached or mounted by bowimg", name);

	bow_err_hint(err, "name the image, or the directory it is mounted at, as the same user");
	return ret;
}

/* Does not resolve the last component: it could be a stuck mount. */
static bool absolute(const char *name, char *out)
{
	char parent[PATH_MAX];
	size_t bytes = strlen(name);

	while (bytes > 1 && name[bytes - 1] == '/')
		bytes--;
	if (bytes == 0 || bytes >= sizeof(parent))
		return false;
	size_t last = bytes;
	while (last > 0 && name[last - 1] != '/')
		last--;
	int tail = (int)(bytes - last);
	if (tail == 0 || (name[last] == '.' && tail <= 2))
		return realpath(name, out) != NULL;
	snprintf(parent, sizeof(parent), "%.*s", last ? (int)last : 1, last ? name : ".");
	if (!realpath(parent, out))
		return false;
	size_t used = strcmp(out, "/") == 0 ? 0 : strlen(out);
	size_t room = PATH_MAX - used;
	return snprintf(out + used, room, "/%.*s", tail, name + last) < (int)room;
}

static bool is_at(const struct bow_session *e, const char *path)
{
	return strcmp(e->mount_dir, path) == 0 || strcmp(e->fuse_dir, path) == 0 ||
	       strcmp(e->before_dir, path) == 0;
}

/* The number of a device that is gone is used again: it must be on our file. */
static bool is_on(const struct bow_session *e, const char *device, const char *path,
		  void (*file_of)(const struct bow_session *e, char *out, size_t bytes))
{
	char file[PATH_MAX + 64];

	if (!device[0] || strcmp(device, path) != 0)
		return false;
	file_of(e, file, sizeof(file));
	return bow_loop_is_on(device, file, e->connection ? makedev(0, e->connection) : 0);
}

static bool is_attached_as(const struct bow_session *e, const char *path)
{
	return is_on(e, e->loop, path, bow_session_disk) ||
	       is_on(e, e->before_loop, path, bow_session_before);
}

/* Read again under the lock: the state may have changed since it was found. */
static int enter_found(struct bow_session *e, const char *name, struct bowimg_error *err)
{
	int ret = lock(e, name, err);

	if (ret)
		return ret;
	if (bow_state_read(e->dir, e) == 1)
		return 0;
	bow_session_leave(e, true);
	return nothing_there(name, err);
}

static bool is_called(const struct bow_session *e, const char *path)
{
	return strcmp(e->image, path) == 0;
}

/* Returns 1 if a session was found and locked, 0 if there is none. */
static int find_by(bool (*matches)(const struct bow_session *e, const char *what), const char *path,
		   const char *name, struct bow_session *out, struct bowimg_error *err)
{
	int ret = bow_runtime_search(matches, path, out, err);

	if (ret != 1)
		return ret;
	ret = enter_found(out, name, err);
	out->named_before = strcmp(out->before_dir, path) == 0 ||
			    strcmp(out->before_loop, path) == 0;
	out->named_loop = strcmp(out->loop, path) == 0;
	return ret ?: 1;
}

static int find_by_image(const char *name, struct bow_session *out, struct bowimg_error *err)
{
	struct stat st;

	if (!bow_uri_is_nbd(name) && (stat(name, &st) < 0 || S_ISDIR(st.st_mode)))
		return 0;
	int ret = bow_runtime_enter(name, out, err);
	if (ret == 0)
		bow_session_leave(out, true);
	return ret;
}

/* First what cannot hang, last what is only a name. */
int bow_runtime_find(const char *name, struct bow_session *out, struct bowimg_error *err)
{
	char plain[PATH_MAX], real[PATH_MAX];
	bool named = !bow_uri_is_nbd(name) && absolute(name, plain);

	memset(out, 0, sizeof(*out));
	out->lock_fd = -1;
	int ret = named ? find_by(is_at, plain, name, out, err) : 0;
	if (ret == 0)
		ret = find_by_image(name, out, err);
	if (ret == 0 && named && realpath(name, real))
		ret = find_by(is_at, real, name, out, err);
	if (ret == 0 && named)
		ret = find_by(is_attached_as, plain, name, out, err);
	/* The image may have been moved or deleted since. */
	if (ret == 0 && named)
		ret = find_by(is_called, plain, name, out, err);
	if (ret == 0)
		return nothing_there(name, err);
	return ret < 0 ? ret : 0;
}

int bow_session_save(const struct bow_session *e, struct bowimg_error *err)
{
	return bow_state_write(e->dir, e, err);
}

void bow_session_leave(struct bow_session *e, bool remove)
{
	static const char *const names[] = {"state.json", BOW_RESULT, BOW_REFUSAL, "lock"};
	char path[PATH_MAX + 32];

	if (e->lock_fd < 0)
		return;
	if (remove) {
		snprintf(path, sizeof(path), "%s/fuse", e->dir);
		rmdir(path);
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			snprintf(path, sizeof(path), "%s/%s", e->dir, names[i]);
			unlink(path);
		}
		rmdir(e->dir);
	}
	close(e->lock_fd);
	e->lock_fd = -1;
}

bool bow_session_alive(const struct bow_session *e)
{
	return e->pid > 0 && e->start_time && bow_process_start_time(e->pid) == e->start_time;
}
