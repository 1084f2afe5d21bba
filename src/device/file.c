/* SPDX-License-Identifier: MIT */
/*
 * The backend for regular files and block devices, on a descriptor that open.c has vetted.
 *
 * Barriers. fdatasync() is enough for data and for a size that grew with it. It need not persist a
 * size that shrank, nor space that was allocated ahead, so the first flush after a resize is a full
 * fsync(). `resizes` counts resizes, `synced` is the count that the last successful fsync covered:
 * a flush that runs beside it must not take the short way before that fsync is through.
 *
 * Zeroing. Only calls that guarantee zeros are used: PUNCH_HOLE and ZERO_RANGE, on block devices
 * too. A discard (BLKDISCARD) guarantees nothing.
 */
#include "device/file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/bytes.h"
#include "device/guard.h"

struct file_dev {
	struct bow_dev dev; /* must be first */
	int fd;
	uint64_t resizes, synced; /* atomic; see above */
	char name[];
};

static struct file_dev *self(struct bow_dev *dev)
{
	return (struct file_dev *)dev;
}

static int64_t file_read(struct bow_dev *dev, void *buf, size_t bytes, uint64_t off)
{
	ssize_t n = pread(self(dev)->fd, buf, bytes, (off_t)off);

	return n < 0 ? -errno : n;
}

static int64_t file_write(struct bow_dev *dev, const void *buf, size_t bytes, uint64_t off)
{
	ssize_t n = pwrite(self(dev)->fd, buf, bytes, (off_t)off);

	return n < 0 ? -errno : n;
}

/*
 * EINTR says that the wait was cut short, not that the storage failed, so waiting again is no
 * second chance for lost data. Any other error is final.
 */
static int file_flush(struct bow_dev *dev)
{
	struct file_dev *f = self(dev);
	uint64_t resizes = __atomic_load_n(&f->resizes, __ATOMIC_ACQUIRE);
	bool full = resizes != __atomic_load_n(&f->synced, __ATOMIC_ACQUIRE);
	int rc;

	do {
		rc = full ? fsync(f->fd) : fdatasync(f->fd);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -errno;
	if (full)
		__atomic_store_n(&f->synced, resizes, __ATOMIC_RELEASE);
	return 0;
}

static int file_close(struct bow_dev *dev)
{
	struct file_dev *f = self(dev);
	/* Linux has released the descriptor even when a signal cut the call short. */
	int rc = close(f->fd) < 0 && errno != EINTR ? -errno : 0;

	free(f);
	return rc;
}

/*
 * The range is known to be good, so EINVAL can only mean that this file system or device cannot do
 * it for this range (sub-sector, say); and a punch that finds no room to split its own bookkeeping
 * may still be done by writing.
 */
static int file_zero(struct bow_dev *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode)
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

	/* What was written before the host was full must not stay as a tail nobody knows about. */
	if (rc && ftruncate(f->fd, (off_t)old_size) < 0)
		return -errno;
	return -rc;
}

/*
 * Space first, size second: when the host is full, the size is as it was, and what had been
 * reserved before is still there.
 */
static int grow(struct file_dev *f, uint64_t old_size, uint64_t size)
{
	off_t more = (off_t)(size - old_size);

	if (fallocate(f->fd, FALLOC_FL_KEEP_SIZE, (off_t)old_size, more) < 0)
		return errno == EOPNOTSUPP ? grow_by_writing(f, old_size, size) : -errno;
	return ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
}

/* To the same size is no mistake: cutting a file there gives back what was reserved past its end.
 */
static int file_resize(struct bow_dev *dev, uint64_t size)
{
	struct file_dev *f = self(dev);
	uint64_t old_size = bow_dev_size(dev);
	int rc;

	if (size > old_size)
		rc = grow(f, old_size, size);
	else
		rc = ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
	__atomic_add_fetch(&f->resizes, 1, __ATOMIC_ACQ_REL);
	return rc;
}

static int file_reserve(struct bow_dev *dev, uint64_t bytes_past_end)
{
	struct file_dev *f = self(dev);

	if (fallocate(f->fd, FALLOC_FL_KEEP_SIZE, (off_t)bow_dev_size(dev), (off_t)bytes_past_end) <
	    0)
		return errno == ENOSYS || errno == ENODEV ? -EOPNOTSUPP : -errno;
	/* Counted like a resize: a later flush must persist the allocation, too. */
	__atomic_add_fetch(&f->resizes, 1, __ATOMIC_ACQ_REL);
	return 0;
}

static int file_extent(struct bow_dev *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	struct file_dev *f = self(dev);
	off_t start = (off_t)off, data = lseek(f->fd, start, SEEK_DATA), end;

	if (data < 0 && errno != ENXIO)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	*hole = data != start;
	if (*hole) {
		/* ENXIO: no data from here to the end. */
		*bytes = data < 0 ? bow_dev_size(dev) - off : (uint64_t)(data - start);
		return 0;
	}
	end = lseek(f->fd, start, SEEK_HOLE);
	if (end <= start)
		return end < 0 ? -errno : -EOPNOTSUPP;
	*bytes = (uint64_t)(end - start);
	return 0;
}

static int file_drop_cache(struct bow_dev *dev, uint64_t off, uint64_t bytes)
{
	return -posix_fadvise(self(dev)->fd, (off_t)off, (off_t)bytes, POSIX_FADV_DONTNEED);
}

static int block_drop_cache(struct bow_dev *dev, uint64_t off, uint64_t bytes)
{
	if (bytes)
		return file_drop_cache(dev, off, bytes);
	if (ioctl(self(dev)->fd, BLKFLSBUF, 0) == 0)
		return 0;
	/* Privileged; a user who was merely given the device node has to do with advice. */
	return errno == EACCES || errno == EPERM ? file_drop_cache(dev, off, bytes) : -errno;
}

static int file_get_mtime(struct bow_dev *dev, struct timespec *t)
{
	struct stat st;

	if (fstat(self(dev)->fd, &st) < 0)
		return -errno;
	*t = st.st_mtim;
	return 0;
}

static int file_set_mtime(struct bow_dev *dev, const struct timespec *t)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, *t};

	if (futimens(self(dev)->fd, times) < 0 || fsync(self(dev)->fd) < 0)
		return -errno;
	return 0;
}

static bool file_in_use(struct bow_dev *dev)
{
	return bow_guard_locked_by_other(self(dev)->fd);
}

static const struct bow_dev_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.close = file_close,
	.zero = file_zero,
	.resize = file_resize,
	.reserve = file_reserve,
	.extent = file_extent,
	.drop_cache = file_drop_cache,
	.get_mtime = file_get_mtime,
	.set_mtime = file_set_mtime,
	.in_use = file_in_use,
};

static const struct bow_dev_ops block_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.close = file_close,
	.zero = file_zero,
	.drop_cache = block_drop_cache,
	.in_use = file_in_use,
};

struct bow_dev *bow_file_new(int fd, const char *name, const struct bow_file_facts *facts)
{
	size_t name_bytes = strlen(name) + 1;
	struct file_dev *f = calloc(1, sizeof(*f) + name_bytes);

	if (!f)
		return NULL;
	memcpy(f->name, name, name_bytes);
	f->fd = fd;
	f->dev = (struct bow_dev){
		.ops = facts->block_device ? &block_ops : &file_ops,
		.name = f->name,
		.size = facts->size,
		.sector_size = facts->sector_size,
		.can_grow = !facts->block_device && !facts->readonly,
		.readonly = facts->readonly,
	};
	return &f->dev;
}

int bow_dev_file_reopen(struct bow_dev *dev)
{
	char link[32];
	int fd;

	if (dev->ops != &file_ops && dev->ops != &block_ops)
		return -EOPNOTSUPP;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", self(dev)->fd);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
