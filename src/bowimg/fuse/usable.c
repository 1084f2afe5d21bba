/* SPDX-License-Identifier: MIT */
/* Can this process mount a FUSE at all? What is missing in a container can be told beforehand. */
#include "bowimg/fuse/fuse.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "lib/base/program.h"

enum { MISC_MAJOR = 10, FUSE_MINOR = 229 };

static int check_device(struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		bow_err_errno(err, -errno, "FUSE does not work here: cannot open /dev/fuse");
		return -EOPNOTSUPP;
	}
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(MISC_MAJOR, FUSE_MINOR))
		return 0;
	return bow_err(err, -EOPNOTSUPP,
		       "FUSE does not work here: /dev/fuse is another kind of file");
}

/* The root of a container may be without it. */
static bool may_mount(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &head, data) == 0 &&
	       data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN);
}

int bow_fuse_usable(struct bowimg_error *err)
{
	char path[PATH_MAX];
	int ret = check_device(err);

	if (ret || may_mount())
		return ret;
	if (geteuid() == 0)
		return bow_err(err, -EOPNOTSUPP,
			       "FUSE does not work here: root may not mount in this container");
	if (bow_program_find(getenv("PATH") ?: "/usr/bin:/bin", "fusermount3", path))
		return 0;
	return bow_err(err, -EOPNOTSUPP,
		       "FUSE does not work here: fusermount3 is not installed (Debian package "
		       "fuse3)");
}
