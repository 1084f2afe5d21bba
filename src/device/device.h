/* SPDX-License-Identifier: MIT */
/*
 * The narrow waist: everything above reads and writes an image through these calls. The wrappers
 * check ranges and turn short or interrupted transfers into whole ones, so that nobody above checks
 * again. Tests bring devices of their own (memory, tracing, crashing, faulting) from tests/lib.
 */
#ifndef BOW_DEVICE_H
#define BOW_DEVICE_H

#include <time.h>
#include "base/err.h"

struct bow_dev;

/* What bow_dev_zero() may do to the storage behind the range. */
enum bow_zero_mode {
	BOW_ZERO_KEEP,	/* stays allocated: rewriting it later must not meet a full host disk */
	BOW_ZERO_PUNCH, /* may be given back to the host */
};

/*
 * A backend. All calls return 0 or -errno; read and write may also return a positive byte count
 * that is short. Calls may come from several threads. `flush` is the barrier: every write that
 * returned before it is on stable storage when it returns 0. The rest is optional (NULL).
 */
struct bow_dev_ops {
	int64_t (*read)(struct bow_dev *dev, void *buf, size_t bytes, uint64_t off);
	int64_t (*write)(struct bow_dev *dev, const void *buf, size_t bytes, uint64_t off);
	int (*flush)(struct bow_dev *dev);
	int (*close)(struct bow_dev *dev); /* releases dev, also on error */

	/* Zero a range inside the current size. NULL or -EOPNOTSUPP: zeros are written instead. */
	int (*zero)(struct bow_dev *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode);
	/* Make the file exactly `size` bytes; growth reads as zeros and has its space allocated. */
	int (*resize)(struct bow_dev *dev, uint64_t size);
	/* Allocate host space past the end without changing the size. A full host: -ENOSPC. */
	int (*reserve)(struct bow_dev *dev, uint64_t bytes_past_end);
	/* Is `off` in a hole? *bytes: how far that answer reaches (at least 1). */
	int (*extent)(struct bow_dev *dev, uint64_t off, bool *hole, uint64_t *bytes);
	/* Forget cached data, so that the next read sees what the storage has; 0 bytes: all. */
	int (*drop_cache)(struct bow_dev *dev, uint64_t off, uint64_t bytes);
	/* Modification time as a guard against outside changes; set makes it exactly `t`, durably.
	 */
	int (*get_mtime)(struct bow_dev *dev, struct timespec *t);
	int (*set_mtime)(struct bow_dev *dev, const struct timespec *t);
	/* Does somebody hold bowimg's lock on this (looked-at) image? */
	bool (*in_use)(struct bow_dev *dev);
};

struct bow_dev {
	const struct bow_dev_ops *ops;
	const char *name;     /* for messages; belongs to the backend */
	uint64_t size;	      /* bytes; changed by bow_dev_resize() and growing writes only */
	uint32_t sector_size; /* logical sector: 512 or 4096; writes are atomic at this size */
	bool can_grow;	      /* regular file: may have a tail past its end */
	bool readonly;
	const char *io_hint; /* what to do about an I/O error; NULL: see the kernel's messages */
};

/* The current size; unlike dev->size, safe to ask while other threads extend the file. */
uint64_t bow_dev_size(const struct bow_dev *dev);

int bow_dev_read(struct bow_dev *dev, void *buf, size_t bytes, uint64_t off,
		 struct bowimg_error *err);
int bow_dev_write(struct bow_dev *dev, const void *buf, size_t bytes, uint64_t off,
		  struct bowimg_error *err);
int bow_dev_flush(struct bow_dev *dev, struct bowimg_error *err);
int bow_dev_zero(struct bow_dev *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode,
		 struct bowimg_error *err);
int bow_dev_resize(struct bow_dev *dev, uint64_t size, struct bowimg_error *err);
int bow_dev_reserve(struct bow_dev *dev, uint64_t bytes_past_end, struct bowimg_error *err);
int bow_dev_close(struct bow_dev *dev, struct bowimg_error *err);

/* Without the backend's help: everything is data / nothing is cached / there is no mtime. */
int bow_dev_extent(struct bow_dev *dev, uint64_t off, bool *hole, uint64_t *bytes,
		   struct bowimg_error *err);
int bow_dev_drop_cache(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bowimg_error *err);
bool bow_dev_get_mtime(struct bow_dev *dev, struct timespec *t);
int bow_dev_set_mtime(struct bow_dev *dev, const struct timespec *t, struct bowimg_error *err);

/* ---- open.c, file.c, nbd.c: regular files, block devices, exports of NBD servers ------------- */

enum bow_open_mode {
	BOW_OPEN_LOOK,	    /* read-only, no locks taken: for status, log, map, verify */
	BOW_OPEN_SHARED,    /* read-only, and nobody may write to it meanwhile */
	BOW_OPEN_EXCLUSIVE, /* read-write; refused when anybody else uses the image */
};

/*
 * Open an image. Refusals name who uses it: -EBUSY mounted, behind a loop device, swap, locked by
 * QEMU or another bowimg; -EOPNOTSUPP directory, FIFO, character device, socket, empty; -EROFS,
 * -EACCES. The path is opened once, and everything is decided on that descriptor. Instead of a path
 * it may be an NBD URI, see nbd.h.
 */
int bow_dev_open_file(const char *path, enum bow_open_mode mode, struct bow_dev **out,
		      struct bowimg_error *err);

/* True if somebody holds bowimg's lock on this (looked-at) image. */
bool bow_dev_file_in_use(struct bow_dev *dev);

/*
 * A new descriptor of the image, for reading, that the caller closes; on whatever the image's path
 * leads to now, it is this image. -EOPNOTSUPP: dev is no file or block device.
 */
int bow_dev_file_reopen(struct bow_dev *dev);

/* ---- guard.c: who else uses this file ------------------------------------------------------ */

/*
 * Refuse (-EBUSY) if the image is mounted, swap, behind a loop device or under another device. fd
 * may be an O_PATH descriptor.
 */
int bow_guard_check(int fd, const char *path, struct bowimg_error *err);

/*
 * Take flock and QEMU's byte-range locks on fd, for as long as it is open, and refuse (-EBUSY) if
 * somebody else holds them or has the file open. fd must be open for writing, and be this process's
 * only descriptor of the image.
 */
int bow_guard_lock(int fd, const char *path, struct bowimg_error *err);

/*
 * The same for a reader (fd may be read-only): others may read as well, nobody may write. Refuses
 * (-EBUSY) if somebody may be writing.
 */
int bow_guard_lock_shared(int fd, const char *path, struct bowimg_error *err);

#endif
