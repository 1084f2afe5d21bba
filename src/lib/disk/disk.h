/* SPDX-License-Identifier: MIT */
/*
 * The narrow waist: all code above reads and writes an image through these calls. The wrappers
 * check ranges and turn short or interrupted transfers into whole ones, so no caller checks again.
 * Tests bring devices of their own (memory, tracing, crashing, faulting).
 */
#ifndef BOW_DISK_DISK_H
#define BOW_DISK_DISK_H

#include <time.h>
#include "lib/base/err.h"

struct bowimg_disk;
struct bow_guard_user;

/* What bow_disk_zero() may do to the storage behind the range. */
enum bow_zero_mode {
	BOW_ZERO_KEEP,	/* stays allocated: rewriting it later must not meet a full host disk */
	BOW_ZERO_PUNCH, /* may be given back to the host */
};

/* What a regular file takes on the file system that holds it, and may still take. */
struct bow_room {
	uint64_t left;	    /* bytes that are free for this process */
	uint64_t allocated; /* bytes that the file has there */
};

/*
 * A backend. All calls return 0 or -errno; read and write may also return a positive byte count
 * that is short. Calls may come from several threads. `flush` is the barrier: every change that
 * returned before it is on stable storage when it returns 0. The rest is optional (NULL).
 */
struct bow_backend_ops {
	int64_t (*read)(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off);
	int64_t (*write)(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off);
	int (*flush)(struct bowimg_disk *dev);
	int (*close)(struct bowimg_disk *dev); /* releases dev, also on error */

	/* Zero a range inside the current size. NULL or -EOPNOTSUPP: zeros are written instead. */
	int (*zero)(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode);
	/* Make the file exactly `size` bytes; growth reads as zeros and has its space allocated. */
	int (*resize)(struct bowimg_disk *dev, uint64_t size);
	/* Allocate host space past the end without changing the size. A full host: -ENOSPC. */
	int (*reserve)(struct bowimg_disk *dev, uint64_t bytes_past_end);
	/* Is `off` in a hole? *bytes: how far that answer reaches (at least 1). */
	int (*extent)(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes);
	/* The range is going to be read: begin to get it from the storage. */
	void (*will_read)(struct bowimg_disk *dev, uint64_t off, uint64_t bytes);
	/* Forget cached data, so that the next read sees what the storage has; 0 bytes: all. */
	int (*drop_cache)(struct bowimg_disk *dev, uint64_t off, uint64_t bytes);
	/*
	 * Modification time as a guard against outside changes; set makes it exactly `t`, which the
	 * next barrier makes durable.
	 */
	int (*get_mtime)(struct bowimg_disk *dev, struct timespec *t);
	int (*set_mtime)(struct bowimg_disk *dev, const struct timespec *t);
	/* Read block 0 as the storage has it, past every cache; buf is aligned to its size. */
	int (*read_block0)(struct bowimg_disk *dev, void *buf);
	/*
	 * Does another process hold bowimg's lock on this image, which is open for looking at it?
	 * `user`, if not NULL, becomes that process, and what ends it.
	 */
	bool (*in_use)(struct bowimg_disk *dev, struct bow_guard_user *user);
	/* A new descriptor for reading; *off: where on it the device begins. */
	int (*reopen)(struct bowimg_disk *dev, uint64_t *off);
	/* How much room is there on the host? -EOPNOTSUPP: it does not tell. */
	int (*room)(struct bowimg_disk *dev, struct bow_room *room);
	/* Add to the message of a failure what more is known of its reason. */
	void (*explain)(struct bowimg_disk *dev, struct bowimg_error *err);
};

/* One of several writes that are made at a time. */
struct bow_write {
	const void *buf;
	size_t bytes; /* at most BOW_WRITE_MAX */
	uint64_t off;
	bool begun;
	int result; /* of one that was begun */
};

#define BOW_WRITE_MAX ((size_t)1 << 20)

/*
 * A disk that is built on another one: what a guest sees of an image, the disk as it was, a volume.
 * Requests are whole, inside the disk and not empty, and a read-only disk gets none for writing.
 * Each call puts its own failures into words. Optional calls may be NULL.
 */
struct bow_disk_ops {
	int (*read)(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err);
	int (*close)(struct bowimg_disk *disk, struct bowimg_error *err); /* releases disk */

	/* For disks that are not read-only. */
	int (*write)(struct bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err);
	int (*zero)(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
		    struct bowimg_error *err);
	int (*flush)(struct bowimg_disk *disk, struct bowimg_error *err);

	/* See bow_disk_write_many() in scatter.h. NULL: none is begun. */
	void (*write_many)(struct bowimg_disk *disk, struct bow_write *writes, uint32_t n,
			   struct bowimg_error *err);

	/* NULL: a discard does nothing; no holes are known. */
	int (*discard)(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
		       struct bowimg_error *err);
	int (*extent)(struct bowimg_disk *disk, uint64_t off, bool *hole, uint64_t *bytes,
		      struct bowimg_error *err);

	/* As of a backend: a descriptor, and where in it this disk begins. NULL: there is none. */
	int (*reopen)(struct bowimg_disk *disk, uint64_t *off);

	/*
	 * The calls of bowimg.h about other states of the disk; NULL: this disk has none. `mark`:
	 * its name, or NULL for prepare.
	 */
	int (*before)(struct bowimg_disk *disk, const char *mark, struct bowimg_disk **out,
		      struct bowimg_error *err);
	int (*changes)(struct bowimg_disk *disk, const char *mark,
		       int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
		       struct bowimg_error *err);
	void (*info)(const struct bowimg_disk *disk, struct bowimg_disk_info *out);
	void (*counters)(const struct bowimg_disk *disk, struct bowimg_counters *out);
};

/* One is set: `ops` (storage) or `built` (on another disk). */
struct bowimg_disk {
	const struct bow_backend_ops *ops;
	const struct bow_disk_ops *built;
	const char *name;     /* for messages; belongs to the backend */
	uint64_t size;	      /* bytes; changed by bow_disk_resize() and growing writes only */
	uint32_t sector_size; /* logical sector: 512 or 4096; writes are atomic at this size */
	unsigned queue_depth; /* requests that are worth having in flight; 0: one after the other */
	bool can_grow;	      /* regular file: may have a tail past its end */
	bool readonly;
	const char *io_hint; /* what to do about an I/O error; NULL: see the kernel's messages */

	/* disk.c's: changes through this handle; how many, and one, the last barrier covers. */
	uint64_t changes, flushed;

	/* first.c's: block 0 as it was last read or written by the calls below. */
	uint32_t first_bytes; /* of it that are compared; 0: it was not read */
	uint8_t first[BOWIMG_BLOCK_SIZE];
};

/* The current size; unlike dev->size, safe to ask while other threads extend the file. */
uint64_t bow_disk_size(const struct bowimg_disk *dev);

int bow_disk_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off,
		  struct bowimg_error *err);
int bow_disk_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off,
		   struct bowimg_error *err);
int bow_disk_flush(struct bowimg_disk *dev, struct bowimg_error *err);
int bow_disk_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode,
		  struct bowimg_error *err);
int bow_disk_resize(struct bowimg_disk *dev, uint64_t size, struct bowimg_error *err);
int bow_disk_reserve(struct bowimg_disk *dev, uint64_t bytes_past_end, struct bowimg_error *err);
/* The content of this range is not needed any more. */
int bow_disk_discard(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		     struct bowimg_error *err);
int bow_disk_close(struct bowimg_disk *dev, struct bowimg_error *err);

/* If the backend does not help: everything is data / nothing is cached / there is no mtime. */
int bow_disk_extent(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes,
		    struct bowimg_error *err);
int bow_disk_drop_cache(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
			struct bowimg_error *err);
/*
 * Returns a new descriptor for reading, which the caller closes; dev begins at byte *off of it. It
 * is this image, whatever the image's path leads to now. -EOPNOTSUPP: dev is no file or block
 * device.
 */
int bow_disk_reopen(struct bowimg_disk *dev, uint64_t *off);
/* Returns false if no limit is known: for devices and exports, and where the host does not tell. */
bool bow_disk_room(struct bowimg_disk *dev, struct bow_room *room);
bool bow_disk_get_mtime(struct bowimg_disk *dev, struct timespec *t);
int bow_disk_set_mtime(struct bowimg_disk *dev, const struct timespec *t, struct bowimg_error *err);

static inline bool bow_time_is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* ---- first.c: block 0 has one writer (rule 16) ----------------------------------- */

/* Read block 0 into dev->first: this content is expected from now on. One thread at a time. */
int bow_disk_read_first(struct bowimg_disk *dev, struct bowimg_error *err);

/* These calls write and compare only the first `bytes` of it. */
void bow_disk_narrow_first(struct bowimg_disk *dev, uint32_t bytes);

/* Compare block 0 on the storage with what is expected. -ESTALE: another program wrote there. */
int bow_disk_check_first(struct bowimg_disk *dev, struct bowimg_error *err);

/* Returns -ESTALE with that message. */
int bow_disk_refuse_first(const struct bowimg_disk *dev, struct bowimg_error *err);

/* Check that, then write a part of block 0, which is expected from now on. No barrier. */
int bow_disk_write_first(struct bowimg_disk *dev, const void *buf, size_t bytes, size_t off,
			 struct bowimg_error *err);

/* ---- open.c, file.c, nbd.c: regular files, block devices, exports of NBD servers --- */

enum bow_open_mode {
	BOW_OPEN_LOOK,	    /* read-only, takes no locks: for status, log, map, verify */
	BOW_OPEN_SHARED,    /* read-only, and no other program may write meanwhile */
	BOW_OPEN_EXCLUSIVE, /* read-write; refused if another program uses the image */
};

/*
 * Open an image. Refusals name its user: -EBUSY mounted, behind a loop device, swap, locked by QEMU
 * or another bowimg; -EOPNOTSUPP directory, FIFO, character device, socket, empty; -EROFS, -EACCES.
 * The path is opened once, and everything is decided on that descriptor. The path may be an NBD
 * URI, see nbd.h. `events` (or NULL) may be gone when this returns; what its `waiting` needs not.
 */
int bow_disk_open_file(const char *path, enum bow_open_mode mode,
		       const struct bowimg_events *events, struct bowimg_disk **out,
		       struct bowimg_error *err);

/* Longer images are refused: memory that is kept for each part of an image grows with its size. */
#define BOW_DEV_MAX_SIZE (2 * BOWIMG_MAX_SIZE)

/* Does another process hold bowimg's lock on this image, which is open for looking at it? */
bool bow_disk_file_in_use(struct bowimg_disk *dev);
/* That process: "process 12 (name)". */
void bow_disk_file_user(struct bowimg_disk *dev, struct bow_guard_user *user);
/* Returns -EBUSY with a message that names it. */
int bow_disk_refuse_used(struct bowimg_disk *dev, struct bowimg_error *err);

#endif
