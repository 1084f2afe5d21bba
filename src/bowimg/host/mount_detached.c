/* SPDX-License-Identifier: MIT */
/* A mount that is not in the tree of files: no other process finds it, and none is left behind. */
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "bowimg/host/mounts.h"

/* With the kernel's own message if there is one; it has the form "e text". */
static int fail_mount(const char *type, int fs_fd, int code, struct bowimg_error *err)
{
	char text[200];
	ssize_t n = read(fs_fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (n > 2)
		bow_err(err, code, "cannot mount it as %s: %s (\"%s\")", type, strerror(-code),
			text + 2);
	else
		bow_err_errno(err, code, "cannot mount it as %s", type);
	bow_err_hint(err, "check the file system with its own tools; the kernel's messages (dmesg) "
			  "say more");
	return code;
}

static int set_option(int fs_fd, const char *option)
{
	char key[64];
	const char *value = strchr(option, '=');

	if (!value)
		return fsconfig(fs_fd, FSCONFIG_SET_FLAG, option, NULL, 0);
	snprintf(key, sizeof(key), "%.*s", (int)(value - option), option);
	return fsconfig(fs_fd, FSCONFIG_SET_STRING, key, value + 1, 0);
}

int bow_mounts_detached(const char *type, const char *device, const char *option,
			struct bowimg_error *err)
{
	CLEANUP_CLOSE int fs_fd = fsopen(type, FSOPEN_CLOEXEC);

	if (fs_fd < 0 && errno == ENODEV)
		return bow_err(err, -EOPNOTSUPP, "this kernel cannot mount %s", type);
	if (fs_fd < 0)
		return bow_err_errno(err, -errno, "cannot mount it as %s", type);
	if (fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", device, 0) < 0 ||
	    fsconfig(fs_fd, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    (option && set_option(fs_fd, option) < 0) ||
	    fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fail_mount(type, fs_fd, -errno, err);
	int fd = fsmount(fs_fd, FSMOUNT_CLOEXEC,
			 MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				 MOUNT_ATTR_NOEXEC);
	return fd < 0 ? fail_mount(type, fs_fd, -errno, err) : fd;
}
