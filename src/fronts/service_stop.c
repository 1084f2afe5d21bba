/* SPDX-License-Identifier: MIT */
/*
 * Taking down. With a living daemon strictly from the top, and refused as long as anybody uses it;
 * the daemon ends by itself when its loop device or FUSE mount is gone, and says how it went.
 */
#include "fronts/service_stop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "fronts/fuse.h"
#include "fronts/mounts.h"
#include "fronts/process.h"
#include "fronts/service.h"
#include "fronts/service_before.h"

/* The FUSE mount of this entry, not one that somebody has put in its place since. */
static bool fuse_is_mounted(const struct bow_entry *e)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));

	return m && bow_mounts_at(e->fuse_dir, m, NULL) == 1 &&
	       strcmp(m->type, "fuse.bowimg") == 0 &&
	       (e->connection == 0 || m->minor == e->connection);
}

/*
 * The entry's loop device, and what the kernel calls the file below it. Where somebody has
 * unmounted FUSE by hand, only the name inside of it is left; then the device must be the one
 * written down.
 */
static bool find_loop(const struct bow_entry *e, char device[BOW_LOOP_NAME], char *disk,
		      size_t bytes)
{
	bow_entry_disk(e, disk, bytes);
	if (bow_loop_find(disk, device))
		return true;
	memmove(disk, strrchr(disk, '/'), strlen(strrchr(disk, '/')) + 1);
	memcpy(device, e->loop, BOW_LOOP_NAME);
	return e->loop[0] && bow_loop_is_on(device, disk);
}

static int clear_mount(const struct bow_entry *e, bool lazy, struct bowimg_error *err)
{
	int ret = bow_mounts_remove(e->mount_dir, 0, err);

	return ret == -EBUSY && lazy ? bow_mounts_remove(e->mount_dir, MNT_DETACH, err) : ret;
}

int bow_service_clear(const struct bow_entry *e, bool lazy, struct bowimg_error *err)
{
	char disk[PATH_MAX + 16], device[BOW_LOOP_NAME];
	int ret = 0;

	ret = bow_service_remove_before(e, lazy ? MNT_DETACH : 0, err);
	bool has_loop = find_loop(e, device, disk, sizeof(disk));
	if (!ret && has_loop && bow_mounts_has(e->mount_dir, device))
		ret = clear_mount(e, lazy, err);
	if (!ret && has_loop && !lazy)
		ret = bow_loop_refuse_mounted(device, NULL, err);
	if (!ret && has_loop)
		ret = bow_loop_release(device, disk, err);
	if (!ret && fuse_is_mounted(e))
		ret = bow_mounts_remove(e->fuse_dir, MNT_DETACH, err);
	return ret ? bow_err_wrap(err, ret, "clearing up after a killed daemon of %s", e->image)
		   : 0;
}

static int take_down_loop(const struct bow_entry *e, const char *device, const char *disk,
			  struct bowimg_error *err)
{
	bool mounted = bow_mounts_has(e->mount_dir, device);
	int ret = bow_loop_refuse_mounted(device, mounted ? e->mount_dir : NULL, err);

	if (!ret && mounted)
		ret = bow_mounts_remove(e->mount_dir, 0, err);
	/* After an unmount the kernel is detaching it already; this waits for it. */
	return ret ? ret : bow_loop_detach(device, disk, err);
}

static int take_down(const struct bow_entry *e, struct bowimg_error *err)
{
	char disk[PATH_MAX + 16], device[BOW_LOOP_NAME];

	if (find_loop(e, device, disk, sizeof(disk)))
		return take_down_loop(e, device, disk, err);
	/* Somebody has detached it with the system's own tools: the daemon is on its way out. */
	if (e->wants_loop || !fuse_is_mounted(e))
		return 0;
	return bow_mounts_remove(e->fuse_dir, 0, err);
}

/* Does something still hold the daemon up? */
static bool is_up(const struct bow_entry *e)
{
	char disk[PATH_MAX + 16], device[BOW_LOOP_NAME];

	return e->wants_loop ? find_loop(e, device, disk, sizeof(disk)) : fuse_is_mounted(e);
}

/* Whoever looks at what it was would lose the daemon. */
static int refuse_before(const struct bow_entry *e, struct bowimg_error *err)
{
	char device[BOW_LOOP_NAME];

	if (!bow_service_has_before(e, device))
		return 0;
	const char *where = bow_mounts_has(e->before_dir, device) ? e->before_dir : device;
	int ret = bow_err(err, -EBUSY, "%s as it was is still in use: at %s", e->image, where);
	bow_err_hint(err, "end that first: bowimg umount %s", where);
	return ret;
}

static int stop_living(struct bow_entry *e, struct bowimg_error *err)
{
	int ret = refuse_before(e, err);

	if (ret)
		return ret;
	ret = take_down(e, err);

	if (ret && is_up(e))
		return ret;
	int gone = bow_process_wait_gone(e->pid, e->start_time, ret ? NULL : err);
	return ret ? ret : gone;
}

/* What the daemon itself says of its end. */
static int read_result(const struct bow_entry *e, bool *died, struct bowimg_error *err)
{
	struct bowimg_error result = {0};

	*died = !bow_entry_load_result(e, &result);
	if (*died || result.code == 0)
		return 0;
	int ret = bow_err(err, -EIO, "serving %s ended badly: %s", e->image, result.message);
	bow_err_hint(err, "%s",
		     result.hint[0] ? result.hint
				    : "the checkpoint is still there: see bowimg status");
	return ret;
}

int bow_service_stop_before(struct bow_entry *e, bool *died, struct bowimg_error *err)
{
	*died = false;
	/* With a daemon that is dead, or that nothing else holds up, all of it goes. */
	if (!bow_entry_alive(e))
		return bow_service_stop(e, died, err);
	int ret = bow_service_remove_before(e, 0, err);
	if (!ret && !is_up(e))
		return bow_service_stop(e, died, err);
	if (!ret) {
		e->before_dir[0] = '\0';
		ret = bow_entry_save(e, err);
	}
	bow_entry_leave(e, false);
	return ret;
}

int bow_service_stop(struct bow_entry *e, bool *died, struct bowimg_error *err)
{
	*died = false;
	int ret = bow_entry_alive(e) ? stop_living(e, err) : 0;
	if (ret && bow_entry_alive(e)) {
		bow_entry_leave(e, false);
		return ret;
	}
	int result = read_result(e, died, err);
	int clear = bow_service_clear(e, true, ret || result ? NULL : err);
	bow_entry_leave(e, clear == 0);
	return ret ? ret : result ? result : clear;
}
