/* SPDX-License-Identifier: MIT */
/*
 * The process that mounts an exposed volume and lets the kernel discard its free space.
 *
 * The mount is not in the tree of files: it is made and used by its descriptor alone. So it ends
 * with this process, and FITRIM cannot reach another file system (after a failed mount, the
 * directory would be one of the host's).
 */
#include "bowimg/helpers/expose.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/cleanup.h"
#include "lib/base/message.h"
#include "bowimg/fuse/fuse.h"
#include "bowimg/host/loop.h"
#include "bowimg/host/mounts.h"

/* How long the kernel may take to let go of the device after the unmount. */
enum { IDLE_TRIES = 500, IDLE_PAUSE_MS = 20 };

enum { LOOP_TRIES = 64 };

struct mounter {
	int sock, mount_fd;
	const char *dir, *fs_type;
	struct bow_loop loop;
};

#define PARENT "the serving process"

static bool can_discard(const struct bow_loop *loop)
{
	char path[128], limit = '0';

	snprintf(path, sizeof(path), "/sys/block/%s/queue/discard_max_bytes",
		 loop->path + strlen("/dev/"));
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, &limit, 1) == 1 && limit != '0';
}

/*
 * A discard limit that was once set on a loop device stays after its file, and if it is 0 the
 * kernel does not allow raising it. Such a device is kept open while another one is tried, so the
 * kernel does not offer it again.
 */
static int attach_loop(struct mounter *m, const char *disk, struct bowimg_error *err)
{
	const struct bow_loop_options opts = {.sector_bytes = 512};
	struct bow_loop useless[LOOP_TRIES];
	int ret = 0, n = 0;

	while (!(ret = bow_loop_attach(disk, &opts, &m->loop, err)) && !can_discard(&m->loop)) {
		useless[n++] = m->loop;
		m->loop.fd = -1;
		if (n < LOOP_TRIES)
			continue;
		ret = bow_err(err, -EOPNOTSUPP, "no loop device here supports discards");
		break;
	}
	while (n > 0)
		close(useless[--n].fd);
	return ret;
}

static int attach(struct mounter *m, struct bowimg_error *err)
{
	char disk[PATH_MAX + 16];

	snprintf(disk, sizeof(disk), "%s/" BOW_FUSE_FILE, m->dir);
	int ret = attach_loop(m, disk, err);
	/* The loop device has the file open; its name is not needed any more. */
	if (umount2(m->dir, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		rmdir(m->dir);
	return ret;
}

static int mount_it(struct mounter *m, struct bowimg_error *err)
{
	/* Without it the kernel refuses an XFS that is a copy of a mounted one. */
	m->mount_fd = bow_mounts_detached(m->fs_type, m->loop.path,
					  strcmp(m->fs_type, "xfs") == 0 ? "nouuid" : NULL, err);
	if (m->mount_fd == -EOPNOTSUPP)
		bow_err_hint(err, "install the package partclone (apt install partclone)");
	return m->mount_fd < 0 ? m->mount_fd : 0;
}

/* Is this root on our device? btrfs has device numbers of its own. */
static int check_root(const struct mounter *m, int root_fd, struct bowimg_error *err)
{
	struct stat root, device;

	if (fstat(root_fd, &root) < 0 || fstat(m->loop.fd, &device) < 0)
		return bow_err_errno(err, -errno, "cannot inspect the mount");
	if (root.st_dev == device.st_rdev || !strcmp(m->fs_type, "btrfs"))
		return 0;
	return bow_err(err, -EIO, "the mount is not on %s", m->loop.path);
}

static int trim(const struct mounter *m, struct bowimg_error *err)
{
	CLEANUP_CLOSE int root_fd = openat(m->mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct fstrim_range all = {.len = UINT64_MAX};

	if (root_fd < 0)
		return bow_err_errno(err, -errno, "cannot open the mount");
	int ret = check_root(m, root_fd, err);
	if (ret)
		return ret;
	if (bow_message_send(m->sock, BOW_EXPOSE_MOUNTED, NULL))
		return bow_err(err, -EIO, PARENT " has ended unexpectedly");
	ret = bow_message_recv(m->sock, BOW_EXPOSE_GO, PARENT, err);
	if (ret)
		return ret;
	if (ioctl(root_fd, FITRIM, &all) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOTTY)
		return bow_err_errno(err, -errno, "cannot ask what is free (FITRIM)");
	bow_err(err, -EOPNOTSUPP, "this kernel does not support FITRIM on %s", m->fs_type);
	bow_err_hint(err, "install the package partclone (apt install partclone)");
	return -EOPNOTSUPP;
}

/* The mount is closed. The file system is gone when its device can be opened exclusively. */
static int wait_idle(const struct mounter *m, struct bowimg_error *err)
{
	const struct timespec pause = {.tv_nsec = IDLE_PAUSE_MS * 1000000L};

	for (int i = 0; i < IDLE_TRIES; i++) {
		int fd = open(m->loop.path, O_RDONLY | O_EXCL | O_CLOEXEC);

		if (fd >= 0) {
			close(fd);
			return 0;
		}
		nanosleep(&pause, NULL);
	}
	return bow_err(err, -EBUSY, "cannot unmount it: %s is still in use", m->loop.path);
}

static int take_down(struct mounter *m, int ret, struct bowimg_error *err)
{
	if (m->mount_fd >= 0)
		close(m->mount_fd);
	if (!ret)
		ret = wait_idle(m, err);
	if (!ret && fsync(m->loop.fd) < 0)
		ret = bow_err_errno(err, -errno, "cannot write back the cache of %s", m->loop.path);
	if (m->loop.fd >= 0)
		close(m->loop.fd); /* the kernel detaches it with the last close */
	return ret;
}

int bow_expose_mount(int sock, const char *dir, const char *fs_type)
{
	struct mounter m = {.mount_fd = -1,
			    .dir = dir,
			    .fs_type = !strcmp(fs_type, "ntfs") ? "ntfs3" : fs_type,
			    .loop.fd = -1};
	struct bowimg_error err = {0};

	/* The server's descriptors would keep alive what must end with the server. */
	m.sock = bow_child_keep_only(sock, 3);
	/* A signal ends this process at once, and the mount with it; the parent sees that. */
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	if (bow_message_recv(m.sock, BOW_EXPOSE_SERVED, PARENT, NULL))
		return 1;
	int ret = attach(&m, &err);
	if (!ret)
		ret = mount_it(&m, &err);
	if (!ret)
		ret = trim(&m, &err);
	ret = take_down(&m, ret, &err);
	err.code = ret;
	return bow_message_send(m.sock, BOW_EXPOSE_DONE, &err) ? 1 : 0;
}
