/* SPDX-License-Identifier: MIT */
/*
 * Who else uses this image? No other program may, while bowimg writes to it: a mounted file system,
 * a loop device or a virtual machine keeps blocks in memory that would then be written over ours.
 *
 * No single place knows all users, so every place that knows some is asked: the mount table, swap,
 * loop devices, device holders, and what a device is on (each in a file of its own); locks and
 * leases in lock.c, once the image is really open. The kernel's O_EXCL covers block devices as
 * well, but says only "busy", so the checks that name a user come first.
 */
#include "lib/inuse/guard.h"

#include "lib/inuse/inuse.h"

static int find_user(const struct stat *st, struct bow_guard_user *user)
{
	int rc = bow_guard_find_swap(st, user);

	if (rc == 0)
		rc = bow_guard_find_loop(st, user);
	if (rc == 0 && S_ISBLK(st->st_mode))
		rc = bow_guard_find_block_user(st->st_rdev, user);
	if (rc == 0 && S_ISBLK(st->st_mode))
		rc = bow_guard_find_below(st->st_rdev, user);
	return rc;
}

int bow_guard_check(int fd, const char *path, struct bowimg_error *err)
{
	struct bow_guard_user user = {0};
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return bow_err_errno(err, -errno, "%s: look at the open file", path);
	rc = find_user(&st, &user);
	if (rc == 0)
		return 0;
	if (rc < 0) {
		bow_err_errno(err, rc, "%s: find out whether it is in use", path);
		if (rc == -EMFILE || rc == -ENFILE)
			bow_err_hint(err, "raise the limit on open files (ulimit -n)");
		bow_err_hint(err, "/proc and /sys must be mounted and readable");
		return rc;
	}
	bow_err(err, -EBUSY, "%s: in use: %s", path, user.who);
	bow_err_hint(err, "%s", user.hint);
	return -EBUSY;
}
