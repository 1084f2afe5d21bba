/* SPDX-License-Identifier: MIT */
/*
 * Taking down. If the daemon is alive: strictly from the top, and only if nothing is in use. The
 * daemon ends by itself when its loop device or FUSE mount is gone, and leaves its result.
 */
#include "bowimg/serve/stop.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "lib/base/show.h"
#include "bowimg/host/holder.h"
#include "bowimg/host/mounts.h"
#include "bowimg/host/process.h"
#include "bowimg/serve/service.h"
#include "bowimg/serve/before.h"
#include "bowimg/serve/find.h"

/* A loop device of a daemon that is gone. A mount on it is of no use. */
static int clear_loop(const struct bow_session *e, const char *device, bool lazy,
		      struct bowimg_error *err)
{
	dev_t number = bow_loop_number(device);
	char disk[PATH_MAX + 16];
	int ret = 0;

	bow_session_disk(e, disk, sizeof(disk));
	if (bow_mounts_has(e->mount_dir, number))
		ret = bow_mounts_remove(e->mount_dir, 0, err);
	if (lazy)
		ret = bow_mounts_remove_all(number, MNT_DETACH, err);
	else if (!ret)
		ret = bow_loop_refuse_mounted(device, NULL, err);
	return ret ? ret : bow_loop_release(device, disk, bow_service_fs(e), err);
}

int bow_service_clear(const struct bow_session *e, bool lazy, struct bowimg_error *err)
{
	char device[BOW_LOOP_NAME], last[BOW_LOOP_NAME] = "";
	int ret = bow_service_remove_before(e, lazy ? MNT_DETACH : 0, err);

	/* A device that goes with its last user is found twice. */
	while (!ret && bow_service_has_loop(e, device) && strcmp(device, last) != 0) {
		ret = clear_loop(e, device, lazy, err);
		memcpy(last, device, sizeof(last));
	}
	if (!ret && bow_service_has_fuse(e))
		ret = bow_mounts_remove(e->fuse_dir, MNT_DETACH, err);
	return ret ? bow_err_wrap(err, ret, "cannot clear up after a killed daemon of %s", e->image)
		   : 0;
}

/* A process that has the file below the loop device open would keep the daemon alive. */
static int refuse_open(const struct bow_session *e, const char *device, bool mounted,
		       struct bowimg_error *err)
{
	struct bow_holder holder;
	int ret = bow_loop_refuse_open(device, mounted, err);

	if (ret || !bow_holder_of_fs(bow_service_fs(e), BOW_HOLDER_FILES, &holder))
		return ret;
	bow_err(err, -EBUSY, "%s: the file below %s is in use: %s", e->image, device, holder.who);
	bow_err_hint(err, "%s", holder.hint);
	return -EBUSY;
}

/* Looks for other users first; of the files below only if they go, too. */
static int take_down_loop(const struct bow_session *e, const char *device, bool with_files,
			  struct bowimg_error *err)
{
	dev_t number = bow_loop_number(device);
	bool mounted = bow_mounts_has(e->mount_dir, number);
	char disk[PATH_MAX + 16];
	int ret = bow_loop_refuse_mounted(device, mounted ? e->mount_dir : NULL, err);

	if (!ret)
		ret = with_files ? refuse_open(e, device, mounted, err)
				 : bow_loop_refuse_open(device, mounted, err);
	while (!ret && bow_mounts_has(e->mount_dir, number))
		ret = bow_mounts_remove(e->mount_dir, 0, err);
	/* After an unmount the kernel detaches it; this waits for that. */
	bow_session_disk(e, disk, sizeof(disk));
	return ret ? ret : bow_loop_detach(device, disk, bow_service_fs(e), err);
}

static int take_down(const struct bow_session *e, struct bowimg_error *err)
{
	char device[BOW_LOOP_NAME];
	int ret = 0;

	while (!ret && bow_service_has_loop(e, device))
		ret = take_down_loop(e, device, true, err);
	/* Without its loop device the daemon ends, and takes FUSE away itself. */
	if (ret || e->wants_loop || !bow_service_has_fuse(e))
		return ret;
	return bow_mounts_remove(e->fuse_dir, 0, err);
}

/* Does something keep the daemon alive? */
static bool is_up(const struct bow_session *e)
{
	char device[BOW_LOOP_NAME];

	return e->wants_loop ? bow_service_has_loop(e, device) : bow_service_has_fuse(e);
}

/* The disk as it was needs the daemon, whether it is mounted or attached. */
static int refuse_before(const struct bow_session *e, struct bowimg_error *err)
{
	const char *where = e->before_loop[0] ? e->before_loop : e->before_dir;
	char device[BOW_LOOP_NAME];

	if (!bow_service_has_before(e, device))
		return 0;
	/* A user may have taken its mount away. */
	if (!e->before_loop[0] && !bow_mounts_has(e->before_dir, bow_loop_number(device)))
		return bow_service_remove_before(e, 0, err);
	int ret = bow_err(err, -EBUSY, "%s as it was is still in use: %s %s", e->image,
			  e->before_loop[0] ? "as" : "at", where);
	bow_err_hint(err, "end that first: bowimg %s %s", e->before_loop[0] ? "detach" : "umount",
		     BOW_WORD(where));
	return ret;
}

enum { LOOK_AGAIN_MS = 500 };

/*
 * The daemon ends when its file is closed for the last time; writing back may take long. If a
 * process keeps the file open after all is unmounted, that process is named.
 */
static int wait_for_daemon(const struct bow_session *e, struct bowimg_error *err)
{
	/* Under a loop device, only open files keep the daemon alive. */
	unsigned kinds = e->wants_loop ? BOW_HOLDER_FILES | BOW_HOLDER_LOOPS : BOW_HOLDER_ALL;
	struct bow_holder holder;
	int ret, held = 0;

	for (;;) {
		ret = bow_process_wait_gone(e->pid, e->start_time, LOOK_AGAIN_MS, err);
		if (ret != -ETIMEDOUT)
			return ret;
		held = bow_holder_of_fs(bow_service_fs(e), kinds, &holder) ? held + 1 : 0;
		if (held == 2)
			break;
	}
	bow_err(err, -EBUSY, "%s is still served: %s", e->image, holder.who);
	bow_err_hint(err, "%s", holder.hint);
	return -EBUSY;
}

static int stop_living(struct bow_session *e, struct bowimg_error *err)
{
	int ret = refuse_before(e, err);

	if (ret)
		return ret;
	ret = take_down(e, err);
	if (ret && is_up(e))
		return ret;
	int gone = wait_for_daemon(e, ret ? NULL : err);
	return ret ? ret : gone;
}

/* How the daemon says it ended. */
static int read_result(const struct bow_session *e, bool *died, struct bowimg_error *err)
{
	struct bowimg_error result = {0};

	*died = !bow_session_load_result(e, BOW_RESULT, &result);
	if (*died || result.code == 0)
		return 0;
	/* Of all these errors only one, another writer, has its own exit status. */
	int code = result.code == -ESTALE ? -ESTALE : -EIO;
	int ret = bow_err(err, code, "serving %s ended badly: %s", e->image, result.message);
	bow_err_hint(err, "%s",
		     result.hint[0] ? result.hint
				    : "the checkpoint is still there: see bowimg status");
	return ret;
}

int bow_service_stop_before(struct bow_session *e, bool *died, struct bowimg_error *err)
{
	*died = false;
	/* If the daemon is dead, or nothing else keeps it alive, all of it goes. */
	if (!bow_session_alive(e))
		return bow_service_stop(e, died, err);
	int ret = bow_service_remove_before(e, 0, err);
	if (!ret && !is_up(e))
		return bow_service_stop(e, died, err);
	if (!ret) {
		e->before_dir[0] = e->before_loop[0] = '\0';
		ret = bow_session_save(e, err);
	}
	bow_session_leave(e, false);
	return ret;
}

bool bow_service_has_files(const struct bow_session *e)
{
	return !e->wants_loop && e->disk_device && !e->before_only && bow_session_alive(e);
}

/* The files were those of the disk as it was alone, and to later commands they are so again. */
int bow_service_stop_device(struct bow_session *e, bool *died, struct bowimg_error *err)
{
	char device[BOW_LOOP_NAME];
	int ret = refuse_before(e, err);

	*died = false;
	while (!ret && bow_service_has_loop(e, device))
		ret = take_down_loop(e, device, false, err);
	if (!ret) {
		e->mount_dir[0] = e->loop[0] = e->before_dir[0] = e->before_loop[0] = '\0';
		e->partition = 0;
		e->before_only = true;
		e->disk_device = false;
		ret = bow_session_save(e, err);
	}
	bow_session_leave(e, false);
	return ret;
}

int bow_service_stop(struct bow_session *e, bool *died, struct bowimg_error *err)
{
	*died = false;
	int ret = bow_session_alive(e) ? stop_living(e, err) : 0;
	if (ret && bow_session_alive(e)) {
		bow_session_leave(e, false);
		return ret;
	}
	int result = read_result(e, died, err);
	int clear = bow_service_clear(e, true, ret || result ? NULL : err);
	bow_session_leave(e, clear == 0);
	return ret ? ret : result ? result : clear;
}
