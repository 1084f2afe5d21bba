/* SPDX-License-Identifier: MIT */
/* Mounting through mount(8), which knows file system types and options; unmounting. */
#include "fronts/mounts.h"

#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fronts/process.h"

static int describe_failure(int wstatus, const char *device, const char *target,
			    struct bowimg_error *err)
{
	if (WIFSIGNALED(wstatus))
		return bow_err(err, -EIO, "mounting %s at %s: mount was killed by signal %d",
			       device, target, WTERMSIG(wstatus));
	int ret = bow_err(err, -EIO, "mounting %s at %s: mount ended with status %d", device,
			  target, WEXITSTATUS(wstatus));
	bow_err_hint(err, "see its own message above");
	return ret;
}

int bow_mounts_add(const char *device, const char *target, const char *options, int signal_fd,
		   struct bowimg_error *err)
{
	char *with[] = {"mount", "-t",		 "auto",	 "-o", (char *)options,
			"--",	 (char *)device, (char *)target, NULL};
	char *without[] = {"mount", "-t", "auto", "--", (char *)device, (char *)target, NULL};
	int wstatus = 0, caught = 0;

	pid_t pid = bow_process_spawn(options ? with : without, err);
	if (pid < 0)
		return pid;
	int ret = bow_process_wait(pid, signal_fd, &wstatus, &caught, err);
	if (ret)
		return ret;
	if (caught)
		return bow_err(err, -EINTR, "mounting %s at %s: interrupted by signal %d", device,
			       target, caught);
	if (!WIFEXITED(wstatus) || WEXITSTATUS(wstatus) != 0)
		return describe_failure(wstatus, device, target, err);
	return 0;
}

/* Only the setuid helper may do that for a user; it does not say why it failed but in words. */
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
		ret = bow_err(err, -EBUSY, "unmounting %s: fusermount3 refused", target);
		bow_err_hint(err, "close what uses it (fuser -vm %s) and try again", target);
	}
	return ret;
}

int bow_mounts_remove(const char *target, int flags, struct bowimg_error *err)
{
	if (geteuid() != 0)
		return remove_as_user(target, flags, err);
	if (umount2(target, flags | UMOUNT_NOFOLLOW) == 0)
		return 0;
	int ret = bow_err_errno(err, -errno, "unmounting %s", target);
	bow_err_hint(err, "close what uses it (fuser -vm %s) and try again", target);
	return ret;
}
