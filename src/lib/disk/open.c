/* SPDX-License-Identifier: MIT */
/*
 * Opening an image by its path.
 *
 * The path is followed once, by an O_PATH descriptor that touches nothing: no FIFO waits, no tape
 * rewinds. The kind of file is decided there. The real open goes through /proc/self/fd, which leads
 * to that very file, whatever the path means by then.
 */
#include "lib/disk/disk.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "lib/base/cleanup.h"
#include "lib/base/show.h"
#include "lib/base/uri.h"
#include "lib/disk/file.h"
#include "lib/disk/nbd/nbd.h"
#include "lib/inuse/inuse.h"

/*
 * How long to wait for another process's lease to end; another bowimg holds one for microseconds.
 */
#define LEASE_TRIES 100
#define LEASE_PAUSE_NS 10000000

static const char *kind_of(mode_t mode)
{
	if (S_ISDIR(mode))
		return "a directory";
	if (S_ISFIFO(mode))
		return "a FIFO";
	if (S_ISCHR(mode))
		return "a character device";
	if (S_ISSOCK(mode))
		return "a socket";
	return "neither a file nor a block device";
}

static int refuse_empty(const char *path, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: open: it is empty", path);
	bow_err_hint(err, "give the path of a raw disk image or a block device");
	return -EOPNOTSUPP;
}

static int refuse_protected(const char *path, struct bowimg_error *err)
{
	bow_err(err, -EROFS, "%s: open for writing: the device is write-protected", path);
	bow_err_hint(err, "make it writable: blockdev --setrw %s", BOW_WORD(path));
	return -EROFS;
}

/* Before the real open, so that a device that waits or acts on being opened is left alone. */
static int refuse_kind(const char *path, const struct stat *st, struct bowimg_error *err)
{
	if (S_ISREG(st->st_mode))
		return st->st_size == 0 ? refuse_empty(path, err) : 0;
	if (S_ISBLK(st->st_mode))
		return 0;
	bow_err(err, -EOPNOTSUPP, "%s: open: it is %s", path, kind_of(st->st_mode));
	bow_err_hint(err, "give the path of a raw disk image or a block device");
	return -EOPNOTSUPP;
}

/* The kernel refuses a write-protected device with EACCES, as if it were about permissions. */
static bool write_protected(const struct stat *st)
{
	CLEANUP_CLOSE int fd = -1;
	char path[64], flag = '0';

	if (!S_ISBLK(st->st_mode))
		return false;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/ro", major(st->st_rdev),
		 minor(st->st_rdev));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &flag, 1) == 1 && flag == '1';
}

/* The kernel's own refusals, as far as they are about other users of the image. */
static int fail_busy(const char *path, const struct stat *st, int code, struct bowimg_error *err)
{
	const char *why = "the kernel uses it, for a mount or a device on top of it";

	if (code == -EAGAIN)
		why = "another process holds a lease on it";
	else if (code == -ETXTBSY)
		why = "it is running as a program or is swap space";
	bow_err(err, -EBUSY, "%s: in use: %s", path, why);
	bow_err_hint(err, "%s shows who uses it", S_ISBLK(st->st_mode) ? "lsblk" : "fuser -v");
	return -EBUSY;
}

static int fail_open(const char *path, const struct stat *st, int code, struct bowimg_error *err)
{
	bool denied = code == -EACCES || code == -EPERM;

	if (code == -EBUSY || code == -EAGAIN || code == -ETXTBSY)
		return fail_busy(path, st, code, err);
	if ((denied || code == -EROFS) && write_protected(st))
		return refuse_protected(path, err);
	bow_err_errno(err, code, "%s: open", path);
	if (denied)
		bow_err_hint(err, "run this as root or as a user who may write the image; see "
				  "ls -l and lsattr");
	else if (code == -EROFS)
		bow_err_hint(err, "make the file system that holds it writable: mount -o "
				  "remount,rw");
	else if (code == -ENOENT)
		bow_err_hint(err, "/proc must be mounted");
	return code;
}

/* O_NONBLOCK turns waiting for a lease into EAGAIN, so that the wait can be bounded here. */
static int reopen(int path_fd, int flags)
{
	const struct timespec pause = {.tv_nsec = LEASE_PAUSE_NS};
	char link[32];
	int fd = -1;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	for (int i = 0; i < LEASE_TRIES; i++) {
		fd = open(link, flags | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
		nanosleep(&pause, NULL);
	}
	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_SETFL, 0) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

/* Check everything that must hold before the image may be written; returns a descriptor. */
static int open_exclusive(int path_fd, const char *path, const struct stat *st,
			  struct bowimg_error *err)
{
	int fd, rc = bow_guard_check(path_fd, path, err);

	if (rc)
		return rc;
	fd = reopen(path_fd, O_RDWR | (S_ISBLK(st->st_mode) ? O_EXCL : 0));
	if (fd < 0)
		return fail_open(path, st, fd, err);
	rc = bow_guard_lock(fd, path, err);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

/* The same for looking at it for a while: no other program may write meanwhile. */
static int open_shared(int path_fd, const char *path, const struct stat *st,
		       struct bowimg_error *err)
{
	int fd, rc = bow_guard_check(path_fd, path, err);

	if (rc)
		return rc;
	fd = reopen(path_fd, O_RDONLY);
	if (fd < 0)
		return fail_open(path, st, fd, err);
	rc = bow_guard_lock_shared(fd, path, err);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

/* With sectors above 4 KiB, writing one block would mean rewriting its neighbours. */
static int ask_block_device(int fd, const char *path, struct bow_file_geometry *geometry,
			    struct bowimg_error *err)
{
	int sector = 0, write_protected = 0;

	if (ioctl(fd, BLKGETSIZE64, &geometry->size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0 ||
	    ioctl(fd, BLKROGET, &write_protected) < 0)
		return bow_err_errno(err, -errno, "%s: ask the device for its geometry", path);
	if (sector != 512 && sector != 1024 && sector != 2048 && sector != 4096) {
		bow_err(err, -EOPNOTSUPP, "%s: open: the device has sectors of %d bytes", path,
			sector);
		bow_err_hint(err, "bowimg needs sectors of 512 to 4096 bytes");
		return -EOPNOTSUPP;
	}
	geometry->sector_size = (uint32_t)sector;
	/* Some drivers let a write-protected device be opened for writing, and fail later. */
	return write_protected && !geometry->readonly ? refuse_protected(path, err) : 0;
}

/* Found in the middle of a rollback, this would leave it half done. */
static int refuse_limited(const char *path, struct bowimg_error *err)
{
	bow_err_errno(err, -EFBIG, "%s: open: a limit on the size of files forbids writing to it",
		      path);
	bow_err_hint(err,
		     "nothing was changed; raise the limit (ulimit -f unlimited, or LimitFSIZE= "
		     "of the service)");
	return -EFBIG;
}

static int ask(int fd, const char *path, struct bow_file_geometry *geometry,
	       struct bowimg_error *err)
{
	struct stat st;
	int rc = 0;

	if (fstat(fd, &st) < 0)
		return bow_err_errno(err, -errno, "%s: look at the open file", path);
	geometry->block_device = S_ISBLK(st.st_mode);
	geometry->size = (uint64_t)st.st_size;
	geometry->sector_size = 512;
	if (geometry->block_device)
		rc = ask_block_device(fd, path, geometry, err);
	if (rc == 0 && geometry->size == 0)
		rc = refuse_empty(path, err);
	if (rc == 0 && !geometry->block_device && !geometry->readonly &&
	    bow_file_beyond_limit(geometry->size))
		rc = refuse_limited(path, err);
	return rc;
}

/* Takes over fd, also on failure. */
static int serve(int fd, const char *path, bool readonly, struct bowimg_disk **out,
		 struct bowimg_error *err)
{
	struct bow_file_geometry geometry = {.readonly = readonly};
	struct bowimg_disk *dev = NULL;
	int rc = ask(fd, path, &geometry, err);

	if (rc == 0) {
		dev = bow_file_new(fd, path, &geometry);
		if (!dev)
			rc = bow_err_errno(err, -ENOMEM, "%s: open", path);
	}
	if (rc)
		close(fd);
	else
		*out = dev;
	return rc;
}

static int open_path(const char *path, enum bow_open_mode mode, struct bowimg_disk **out,
		     struct bowimg_error *err)
{
	CLEANUP_CLOSE int path_fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;
	int fd, rc;

	if (path_fd < 0 || fstat(path_fd, &st) < 0) {
		rc = bow_err_errno(err, -errno, "%s: open", path);
		bow_err_hint(err, "check the path and the permissions of the directories on it");
		return rc;
	}
	rc = refuse_kind(path, &st, err);
	if (rc)
		return rc;
	if (mode == BOW_OPEN_EXCLUSIVE) {
		fd = open_exclusive(path_fd, path, &st, err);
	} else if (mode == BOW_OPEN_SHARED) {
		fd = open_shared(path_fd, path, &st, err);
	} else {
		fd = reopen(path_fd, O_RDONLY);
		if (fd < 0)
			fd = fail_open(path, &st, fd, err);
	}
	if (fd < 0)
		return fd;
	return serve(fd, path, mode != BOW_OPEN_EXCLUSIVE, out, err);
}

static int refuse_size(struct bowimg_disk *dev, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"%s: open: it is %" PRIu64 " bytes long, which is more than an image and its tail "
		"can be (%llu bytes)",
		dev->name, dev->size, (unsigned long long)BOW_DEV_MAX_SIZE);
	bow_err_hint(err, "images of up to 1 PiB are supported");
	bow_disk_close(dev, NULL);
	return -EOPNOTSUPP;
}

int bow_disk_open_file(const char *path, enum bow_open_mode mode,
		       const struct bowimg_events *events, struct bowimg_disk **out,
		       struct bowimg_error *err)
{
	int rc = bow_uri_is_nbd(path) ? bow_nbd_open(path, mode, events, out, err)
				      : open_path(path, mode, out, err);

	return !rc && (*out)->size > BOW_DEV_MAX_SIZE ? refuse_size(*out, err) : rc;
}
