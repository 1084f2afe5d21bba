/* SPDX-License-Identifier: MIT */
/* Mounting by mount(8), which knows file system types and options; unmounting. */
#include "bowimg/host/mounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "lib/base/show.h"
#include "bowimg/host/holder.h"
#include "bowimg/host/process.h"

static int describe_failure(int wstatus, const char *device, const char *target,
			    struct bowimg_error *err)
{
	if (WIFSIGNALED(wstatus))
		return bow_err(err, -EIO, "cannot mount %s at %s: mount was killed by signal %d",
			       device, target, WTERMSIG(wstatus));
	int ret = bow_err(err, -EIO, "cannot mount %s at %s: mount ended with status %d", device,
			  target, WEXITSTATUS(wstatus));
	bow_err_hint(err, "see its own message above");
	return ret;
}

/*
 * The image may come from another host. So its set-user-ID files give no rights and its device
 * nodes are no devices, unless the user's options, which come later, allow it.
 */
#define SAFE_OPTIONS "nosuid,nodev"

int bow_mounts_add(const char *device, const char *target, const char *options, int signal_fd,
		   struct bowimg_error *err)
{
	CLEANUP_FREE char *all = NULL;
	int wstatus = 0, caught = 0;

	if (asprintf(&all, SAFE_OPTIONS "%s%s", options ? "," : "", options ? options : "") < 0) {
		all = NULL;
		return bow_err_errno(err, -ENOMEM, "cannot mount %s at %s", device, target);
	}
	char *argv[] = {"mount", "-t",		 "auto",	 "-o", all,
			"--",	 (char *)device, (char *)target, NULL};
	pid_t pid = bow_process_spawn(argv, err);
	if (pid < 0)
		return pid;
	int ret = bow_process_wait(pid, signal_fd, &wstatus, &caught, err);
	if (ret)
		return ret;
	if (caught)
		return bow_err(err, -EINTR, "cannot mount %s at %s: interrupted by signal %d",
			       device, target, caught);
	if (!WIFEXITED(wstatus) || WEXITSTATUS(wstatus) != 0)
		return describe_failure(wstatus, device, target, err);
	return 0;
}

/* A mount below the target. */
static int is_below(void *ctx, const struct bow_mount *m)
{
	struct bow_mount *out = ctx;
	size_t bytes = strlen(out->target);

	if (strncmp(m->target, out->target, bytes) != 0 || m->target[bytes] != '/')
		return 0;
	*out = *m;
	return 1;
}

static int busy(const char *target, const char *why, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));
	struct bow_holder holder;

	bow_err(err, -EBUSY, "cannot unmount %s: %s", target, why);
	if (!m || bow_mounts_at(target, m, NULL) != 1) {
		;
	} else if (bow_mounts_each(is_below, m, NULL) == 1) {
		bow_err(err, -EBUSY, "cannot unmount %s: %s: %s is mounted on it", target, why,
			m->target);
		bow_err_hint(err, "unmount that first: umount %s", BOW_WORD(m->target));
	} else if (bow_holder_of_mount(m->id, &holder)) {
		bow_err(err, -EBUSY, "cannot unmount %s: %s: %s", target, why, holder.who);
		bow_err_hint(err, "%s", holder.hint);
	}
	bow_err_hint(err, "close what uses it (fuser -vm %s) and try again", BOW_WORD(target));
	return -EBUSY;
}

/* Only the setuid helper may do that for a user; its exit status does not say why it failed. */
static int remove_as_user(const char *target, int flags, struct bowimg_error *err)
{
	char *plain[] = {"fusermount3", "-u", "--", (char *)target, NULL};
	char *lazy[] = {"fusermount3", "-u", "-z", "--", (char *)target, NULL};
	int wstatus = 0, caught = 0;

	pid_t pid = bow_process_spawn(flags & MNT_DETACH ? lazy : plain, err);
	if (pid < 0)
		return pid;
	int ret = bow_process_wait(pid, -1, &wstatus, &caught, err);
	if (ret)
		return ret;
	if (!WIFEXITED(wstatus) || WEXITSTATUS(wstatus) != 0) {
		ret = bow_err(err, -EBUSY, "cannot unmount %s: fusermount3 refused", target);
		bow_err_hint(err, "close what uses it (fuser -vm %s) and try again",
			     BOW_WORD(target));
	}
	return ret;
}

int bow_mounts_remove(const char *target, int flags, struct bowimg_error *err)
{
	if (geteuid() != 0)
		return remove_as_user(target, flags, err);
	if (umount2(target, flags | UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno == EBUSY)
		return busy(target, "it is busy", err);
	return bow_err_errno(err, -errno, "cannot unmount %s", target);
}

/* A bound, in case the list keeps changing. */
enum { REMOVALS_MAX = 1000 };

int bow_mounts_remove_all(dev_t device, int flags, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));
	int ret = m ? 0 : bow_err_errno(err, -ENOMEM, "cannot search for mounts");

	for (int i = 0; i < REMOVALS_MAX && !ret && bow_mounts_of(device, NULL, m, err) == 1; i++)
		ret = bow_mounts_remove(m->target, flags, err);
	return ret;
}
