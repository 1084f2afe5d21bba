/* SPDX-License-Identifier: MIT */
/*
 * The backend for regular files and block devices, on a descriptor that open.c has vetted.
 *
 * Barriers. fdatasync() is enough for data and for a size that grew with it. It need not persist a
 * size that shrank, space that was allocated ahead or a time that was set, so the first flush after
 * one of these is a full fsync(). `inode_changes` counts them; `synced` is the count that the last
 * successful fsync covered: a flush that runs beside it must not take the short way before that
 * fsync has returned.
 *
 * Zeroing. Only calls that guarantee zeros are used: PUNCH_HOLE and ZERO_RANGE, on block devices
 * too. A discard (BLKDISCARD) guarantees nothing.
 */
#include "lib/disk/file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/inuse/guard.h"

struct file_dev {
	struct bowimg_disk dev; /* must be first */
	int fd;
	uint64_t inode_changes, synced; /* atomic; see above */
	char name[];
};

static struct file_dev *self(struct bowimg_disk *dev)
{
	return (struct file_dev *)dev;
}

static int64_t file_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	ssize_t n = pread(self(dev)->fd, buf, bytes, (off_t)off);

	return n < 0 ? -errno : n;
}

static int64_t file_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	ssize_t n = pwrite(self(dev)->fd, buf, bytes, (off_t)off);

	return n < 0 ? -errno : n;
}

/*
 * EINTR means that the wait was cut short, not that the storage failed, so waiting again gives lost
 * data no second chance. Any other error is final.
 */
static int file_flush(struct bowimg_disk *dev)
{
	struct file_dev *f = self(dev);
	uint64_t changes = __atomic_load_n(&f->inode_changes, __ATOMIC_ACQUIRE);
	bool full = changes != __atomic_load_n(&f->synced, __ATOMIC_ACQUIRE);
	int rc;

	do {
		rc = full ? fsync(f->fd) : fdatasync(f->fd);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -errno;
	if (full)
		__atomic_store_n(&f->synced, changes, __ATOMIC_RELEASE);
	return 0;
}

static int file_close(struct bowimg_disk *dev)
{
	struct file_dev *f = self(dev);
	/* Linux has released the descriptor even when a signal cut the call short. */
	int rc = close(f->fd) < 0 && errno != EINTR ? -errno : 0;

	free(f);
	return rc;
}

/*
 * The range is good, so EINVAL can only mean that this file system or device cannot do it for this
 * range (sub-sector, say). If a punch finds no room to split the file's bookkeeping, writing may
 * still do.
 */
static int file_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode)
{
	int flags = mode == BOW_ZERO_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;

	if (fallocate(self(dev)->fd, flags | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)bytes) == 0)
		return 0;
	if (errno == EINVAL || errno == ENOSYS || errno == ENODEV ||
	    (errno == ENOSPC && mode == BOW_ZERO_PUNCH))
		return -EOPNOTSUPP;
	return -errno;
}

/* For file systems without fallocate(): the C library then writes a byte into each new block. */
static int grow_by_writing(struct file_dev *f, uint64_t old_size, uint64_t size)
{
	int rc = posix_fallocate(f->fd, (off_t)old_size, (off_t)(size - old_size));

	/* Blocks written before the host was full must not stay as a tail that nothing names. */
	if (rc && ftruncate(f->fd, (off_t)old_size) < 0)
		return -errno;
	return -rc;
}

/*
 * Space can be allocated beyond the limit on the size of files, but the size cannot follow: space
 * reserved there for the last step of a rollback would be of no use.
 */
bool bow_file_beyond_limit(uint64_t end)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	       end > limit.rlim_cur;
}

/*
 * Space first, size second: if the host is full, the size is as it was, and what was reserved
 * before is still there.
 */
static int grow(struct file_dev *f, uint64_t old_size, uint64_t size)
{
	off_t more = (off_t)(size - old_size);

	if (bow_file_beyond_limit(size))
		return -EFBIG;
	if (fallocate(f->fd, FALLOC_FL_KEEP_SIZE, (off_t)old_size, more) < 0)
		return errno == EOPNOTSUPP ? grow_by_writing(f, old_size, size) : -errno;
	return ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
}

/* The same size is allowed: cutting a file there gives back what was reserved past its end. */
static int file_resize(struct bowimg_disk *dev, uint64_t size)
{
	struct file_dev *f = self(dev);
	uint64_t old_size = bow_disk_size(dev);
	int rc;

	if (size > old_size)
		rc = grow(f, old_size, size);
	else
		rc = ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
	__atomic_add_fetch(&f->inode_changes, 1, __ATOMIC_ACQ_REL);
	return rc;
}

static int file_reserve(struct bowimg_disk *dev, uint64_t bytes_past_end)
{
	struct file_dev *f = self(dev);

	if (bow_file_beyond_limit(bow_disk_size(dev) + bytes_past_end))
		return -EFBIG;
	if (fallocate(f->fd, FALLOC_FL_KEEP_SIZE, (off_t)bow_disk_size(dev),
		      (off_t)bytes_past_end) < 0)
		return errno == ENOSYS || errno == ENODEV ? -EOPNOTSUPP : -errno;
	/* Counts like a resize: a later flush must persist the allocation, too. */
	__atomic_add_fetch(&f->inode_changes, 1, __ATOMIC_ACQ_REL);
	return 0;
}

static int file_extent(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	struct file_dev *f = self(dev);
	off_t start = (off_t)off, data = lseek(f->fd, start, SEEK_DATA), end;

	if (data < 0 && errno != ENXIO)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	*hole = data != start;
	if (*hole) {
		/* ENXIO: no data from here to the end. */
		*bytes = data < 0 ? bow_disk_size(dev) - off : (uint64_t)(data - start);
		return 0;
	}
	end = lseek(f->fd, start, SEEK_HOLE);
	if (end <= start)
		return end < 0 ? -errno : -EOPNOTSUPP;
	*bytes = (uint64_t)(end - start);
	return 0;
}

static void file_will_read(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	posix_fadvise(self(dev)->fd, (off_t)off, (off_t)bytes, POSIX_FADV_WILLNEED);
}

static int file_drop_cache(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	return -posix_fadvise(self(dev)->fd, (off_t)off, (off_t)bytes, POSIX_FADV_DONTNEED);
}

static int block_drop_cache(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	if (bytes)
		return file_drop_cache(dev, off, bytes);
	if (ioctl(self(dev)->fd, BLKFLSBUF, 0) == 0)
		return 0;
	/* This needs privileges; a user who was merely given the device node gets advice only. */
	return errno == EACCES || errno == EPERM ? file_drop_cache(dev, off, bytes) : -errno;
}

/*
 * Direct I/O reads what the storage has; dirty cached data is written out first. It needs a
 * descriptor of its own, since a flag set on f->fd would apply to all threads.
 */
static int file_read_block0(struct bowimg_disk *dev, void *buf)
{
	CLEANUP_CLOSE int fd = -1;
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", self(dev)->fd);
	fd = open(link, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return -EOPNOTSUPP;
	do {
		n = pread(fd, buf, BOWIMG_BLOCK_SIZE, 0);
	} while (n < 0 && errno == EINTR);
	if (n == BOWIMG_BLOCK_SIZE)
		return 0;
	return n < 0 && errno != EINVAL ? -errno : -EOPNOTSUPP;
}

static int file_get_mtime(struct bowimg_disk *dev, struct timespec *t)
{
	struct stat st;

	if (fstat(self(dev)->fd, &st) < 0)
		return -errno;
	*t = st.st_mtim;
	return 0;
}

static int file_set_mtime(struct bowimg_disk *dev, const struct timespec *t)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, *t};
	struct file_dev *f = self(dev);

	if (futimens(f->fd, times) < 0)
		return -errno;
	__atomic_add_fetch(&f->inode_changes, 1, __ATOMIC_ACQ_REL);
	return 0;
}

static bool file_in_use(struct bowimg_disk *dev, struct bow_guard_user *user)
{
	bool used = bow_guard_locked_by_other(self(dev)->fd);

	if (used && user)
		bow_guard_name_opener(self(dev)->fd, user);
	return used;
}

static int file_reopen(struct bowimg_disk *dev, uint64_t *off)
{
	char link[32];
	int fd;

	*off = 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", self(dev)->fd);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * A file system without a limit, or one on a network that does not know, says 0 blocks, or -1. What
 * is kept for root does not count.
 */
bool bow_file_room_left(const struct statvfs *fs, uint64_t *left)
{
	if (!fs->f_frsize || !fs->f_blocks || fs->f_blocks == (fsblkcnt_t)-1 ||
	    fs->f_bavail > fs->f_blocks || fs->f_bavail > UINT64_MAX / fs->f_frsize)
		return false;
	*left = (uint64_t)fs->f_bavail * fs->f_frsize;
	return true;
}

static int file_room(struct bowimg_disk *dev, struct bow_room *room)
{
	struct statvfs fs;
	struct stat st;

	if (fstatvfs(self(dev)->fd, &fs) < 0 || fstat(self(dev)->fd, &st) < 0)
		return -errno;
	if (!bow_file_room_left(&fs, &room->left))
		return -EOPNOTSUPP;
	room->allocated = (uint64_t)st.st_blocks * 512; /* whatever the block size is */
	return 0;
}

static const struct bow_backend_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.close = file_close,
	.zero = file_zero,
	.resize = file_resize,
	.reserve = file_reserve,
	.extent = file_extent,
	.will_read = file_will_read,
	.drop_cache = file_drop_cache,
	.get_mtime = file_get_mtime,
	.set_mtime = file_set_mtime,
	.read_block0 = file_read_block0,
	.in_use = file_in_use,
	.reopen = file_reopen,
	.room = file_room,
};

static const struct bow_backend_ops block_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.close = file_close,
	.zero = file_zero,
	.will_read = file_will_read,
	.drop_cache = block_drop_cache,
	.read_block0 = file_read_block0,
	.in_use = file_in_use,
	.reopen = file_reopen,
};

struct bowimg_disk *bow_file_new(int fd, const char *name, const struct bow_file_geometry *geometry)
{
	size_t name_bytes = strlen(name) + 1;
	struct file_dev *f = calloc(1, sizeof(*f) + name_bytes);

	if (!f)
		return NULL;
	memcpy(f->name, name, name_bytes);
	f->fd = fd;
	f->dev = (struct bowimg_disk){
		.ops = geometry->block_device ? &block_ops : &file_ops,
		.name = f->name,
		.size = geometry->size,
		.sector_size = geometry->sector_size,
		.can_grow = !geometry->block_device && !geometry->readonly,
		.readonly = geometry->readonly,
	};
	return &f->dev;
}
