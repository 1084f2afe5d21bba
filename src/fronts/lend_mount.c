/* SPDX-License-Identifier: MIT */
/*
 * The process that mounts a lent volume and lets the kernel discard what is free there.
 *
 * The mount has no place in the tree of files: it is made and used by its descriptor alone, so that
 * FITRIM cannot meet another file system (where a mount has failed, its directory would be one of
 * the host's), and so that it ends with this process.
 */
#include "fronts/lend.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fronts/fuse.h"
#include "fronts/loop.h"
#include "fronts/mounts.h"

/* How long the kernel may take to let go of the device after the unmount. */
enum { IDLE_TRIES = 500, IDLE_PAUSE_MS = 20 };

enum { LOOP_TRIES = 64 };

struct mounter {
	int sock, mount_fd;
	const char *dir, *fs_type;
	struct bow_loop loop;
};

static bool say(const struct mounter *m, enum bow_lend_what what, const struct bowimg_error *err)
{
	struct bow_lend_packet packet = {.what = what};

	if (err)
		packet.err = *err;
	return send(m->sock, &packet, sizeof(packet), MSG_NOSIGNAL) == (ssize_t)sizeof(packet);
}

static bool hear(const struct mounter *m, enum bow_lend_what what)
{
	struct bow_lend_packet packet;
	ssize_t n = recv(m->sock, &packet, sizeof(packet), 0);

	return n == (ssize_t)sizeof(packet) && packet.what == what;
}

/* The descriptors of the server would keep alive what must end with it. */
static void leave_server(int sock)
{
	if (sock > 3)
		close_range(3, (unsigned)sock - 1, 0);
	close_range((unsigned)sock + 1, ~0u, 0);
}

static bool can_discard(const struct bow_loop *loop)
{
	char path[128], limit = '0';

	snprintf(path, sizeof(path), "/sys/block/%s/queue/discard_max_bytes",
		 loop->path + strlen("/dev/"));
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, &limit, 1) == 1 && limit != '0';
}

/*
 * A limit that somebody once set on a device outlives its file, and where it is 0 the kernel lets
 * nobody raise it again. Such a device is held while another is looked for, lest it comes back.
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
		ret = bow_err(err, -EOPNOTSUPP, "no loop device here passes discards on");
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
	/* The loop device holds the file; nobody needs its name any more. */
	if (umount2(m->dir, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		rmdir(m->dir);
	return ret;
}

static int mount_it(struct mounter *m, struct bowimg_error *err)
{
	/* An XFS that is a copy of a mounted one would be refused for its UUID. */
	m->mount_fd = bow_mounts_detached(m->fs_type, m->loop.path,
					  strcmp(m->fs_type, "xfs") == 0 ? "nouuid" : NULL, err);
	if (m->mount_fd == -EOPNOTSUPP)
		bow_err_hint(err, "install the package partclone (apt install partclone)");
	return m->mount_fd < 0 ? m->mount_fd : 0;
}

/* Is this root really on our device? btrfs has device numbers of its own. */
static int check_root(const struct mounter *m, int root_fd, struct bowimg_error *err)
{
	struct stat root, device;

	if (fstat(root_fd, &root) < 0 || fstat(m->loop.fd, &device) < 0)
		return bow_err_errno(err, -errno, "looking at the mount");
	if (root.st_dev == device.st_rdev || !strcmp(m->fs_type, "btrfs"))
		return 0;
	return bow_err(err, -EIO, "the mount is not on %s", m->loop.path);
}

static int trim(const struct mounter *m, struct bowimg_error *err)
{
	CLEANUP_CLOSE int root_fd = openat(m->mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct fstrim_range all = {.len = UINT64_MAX};

	if (root_fd < 0)
		return bow_err_errno(err, -errno, "opening the mount");
	int ret = check_root(m, root_fd, err);
	if (ret)
		return ret;
	if (!say(m, BOW_LEND_MOUNTED, NULL) || !hear(m, BOW_LEND_GO))
		return bow_err(err, -EIO, "the serving process has ended");
	if (ioctl(root_fd, FITRIM, &all) == 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOTTY)
		return bow_err_errno(err, -errno, "asking for what is free (FITRIM)");
	bow_err(err, -EOPNOTSUPP, "this kernel cannot tell what is free on %s", m->fs_type);
	bow_err_hint(err, "install the package partclone (apt install partclone)");
	return -EOPNOTSUPP;
}

/* After the last close of the mount the file system is gone when its device can be had alone. */
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
	return bow_err(err, -EBUSY, "unmounting it: %s is still in use", m->loop.path);
}

static int take_down(struct mounter *m, int ret, struct bowimg_error *err)
{
	if (m->mount_fd >= 0)
		close(m->mount_fd);
	if (!ret)
		ret = wait_idle(m, err);
	if (!ret && fsync(m->loop.fd) < 0)
		ret = bow_err_errno(err, -errno, "writing back what %s has cached", m->loop.path);
	if (m->loop.fd >= 0)
		close(m->loop.fd); /* the kernel detaches it with the last close */
	return ret;
}

_Noreturn void bow_lend_mount(int sock, const char *dir, const char *fs_type)
{
	struct mounter m = {.sock = sock,
			    .mount_fd = -1,
			    .dir = dir,
			    .fs_type = !strcmp(fs_type, "ntfs") ? "ntfs3" : fs_type,
			    .loop.fd = -1};
	struct bowimg_error err = {0};

	leave_server(sock);
	if (!hear(&m, BOW_LEND_SERVED))
		_exit(1);
	int ret = attach(&m, &err);
	if (!ret)
		ret = mount_it(&m, &err);
	if (!ret)
		ret = trim(&m, &err);
	ret = take_down(&m, ret, &err);
	err.code = ret;
	_exit(say(&m, BOW_LEND_DONE, &err) ? 0 : 1);
}
