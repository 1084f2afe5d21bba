/* SPDX-License-Identifier: MIT */
/*
 * The wrappers around every backend. They alone check ranges; they complete transfers, and put each
 * failure into words that name the device, the operation and the range.
 *
 * dev->size is read and written atomically here, because writes past the end of a file extend it
 * and several threads may write at once. The caller serialises shrinking: a resize must not run
 * beside requests that touch the part that goes away.
 */
#include "lib/disk/disk.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include "lib/base/bytes.h"

/* Zeros to write where a backend cannot zero; aligned, in case the backend does direct I/O. */
#define ZERO_PIECE 65536u
static const uint8_t zero_piece[ZERO_PIECE] __attribute__((aligned(4096)));

uint64_t bow_disk_size(const struct bowimg_disk *dev)
{
	return __atomic_load_n(&dev->size, __ATOMIC_ACQUIRE);
}

/* A write ended at `end`: the size is at least that. Another thread may have raised it further. */
static void size_at_least(struct bowimg_disk *dev, uint64_t end)
{
	uint64_t size = bow_disk_size(dev);

	while (size < end && !__atomic_compare_exchange_n(&dev->size, &size, end, false,
							  __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
}

static void hint_for(struct bowimg_error *err, int code, const char *io_hint)
{
	if (code == -EIO && io_hint)
		bow_err_hint(err, "%s", io_hint);
	else if (code == -EIO)
		bow_err_hint(err, "the storage under the image failed; see the kernel's messages "
				  "(dmesg) and check it before going on");
	else if (code == -ENOSPC || code == -EDQUOT)
		bow_err_hint(err, "make room on the file system that holds the image, then run the "
				  "same command again");
	else if (code == -EFBIG)
		bow_err_hint(err, "raise the file size limit (ulimit -f), or move the image to a "
				  "file system that allows larger files");
}

/*
 * For a file that must grow, a quota or a limit on its size is a full disk; the text names the
 * limit.
 */
static int no_room(struct bowimg_error *err, int code)
{
	if (code != -EDQUOT && code != -EFBIG)
		return code;
	if (err)
		err->code = -ENOSPC;
	return -ENOSPC;
}

static void explain(struct bowimg_disk *dev, struct bowimg_error *err, int code)
{
	if (dev->ops && dev->ops->explain)
		dev->ops->explain(dev, err);
	hint_for(err, code, dev->io_hint);
}

/* `op` failed with `code` on this range. */
static int fail(struct bowimg_disk *dev, struct bowimg_error *err, int code, const char *op,
		uint64_t bytes, uint64_t off)
{
	bow_err_errno(err, code, "%s: %s %" PRIu64 " bytes at offset %" PRIu64, dev->name, op,
		      bytes, off);
	explain(dev, err, code);
	return code;
}

static int check_range(struct bowimg_disk *dev, struct bowimg_error *err, const char *op,
		       uint64_t bytes, uint64_t off, uint64_t limit)
{
	if (bow_range_ok(off, bytes, limit))
		return 0;
	bow_err(err, -EINVAL,
		"%s: %s %" PRIu64 " bytes at offset %" PRIu64 ": the range is empty or not inside "
		"the %" PRIu64 " bytes that may be accessed",
		dev->name, op, bytes, off, limit);
	bow_err_hint(err, "if the image has its full length, this is a bug in the caller");
	return -EINVAL;
}

static int check_writable(struct bowimg_disk *dev, struct bowimg_error *err, const char *op)
{
	if (!dev->readonly)
		return 0;
	bow_err(err, -EROFS, "%s: %s: the image was opened for reading only", dev->name, op);
	bow_err_hint(err, "use a command that opens the image for writing");
	return -EROFS;
}

static int ends_early(const struct bowimg_disk *dev, struct bowimg_error *err, size_t bytes,
		      uint64_t off, uint64_t end)
{
	bow_err(err, -EIO,
		"%s: read %zu bytes at offset %" PRIu64 ": the image ends early, at %" PRIu64,
		dev->name, bytes, off, end);
	bow_err_hint(err, "another program shortened the image while it was open; give it back its "
			  "length before going on");
	return -EIO;
}

int bow_disk_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off,
		  struct bowimg_error *err)
{
	uint8_t *p = buf;
	size_t done = 0;
	int rc = check_range(dev, err, "read", bytes, off, bow_disk_size(dev));

	if (rc)
		return rc;
	if (dev->built)
		return dev->built->read(dev, buf, bytes, off, err);
	while (done < bytes) {
		int64_t n = dev->ops->read(dev, p + done, bytes - done, off + done);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return fail(dev, err, (int)n, "read", bytes, off);
		if (n == 0)
			return ends_early(dev, err, bytes, off, off + done);
		assert((uint64_t)n <= bytes - done);
		done += (size_t)n;
	}
	return 0;
}

static void count_change(struct bowimg_disk *dev)
{
	__atomic_add_fetch(&dev->changes, 1, __ATOMIC_RELEASE);
}

/* The range has been checked. */
static int write_all(struct bowimg_disk *dev, const uint8_t *p, size_t bytes, uint64_t off)
{
	while (bytes > 0) {
		int64_t n = dev->ops->write(dev, p, bytes, off);

		if (n == -EINTR)
			continue;
		count_change(dev);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO;
		assert((uint64_t)n <= bytes);
		p += n;
		off += (uint64_t)n;
		bytes -= (size_t)n;
		size_at_least(dev, off);
	}
	return 0;
}

int bow_disk_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off,
		   struct bowimg_error *err)
{
	uint64_t limit = dev->can_grow ? BOW_DEV_MAX_SIZE : bow_disk_size(dev);
	int rc = check_writable(dev, err, "write");

	if (!rc)
		rc = check_range(dev, err, "write", bytes, off, limit);
	if (rc)
		return rc;
	if (dev->built)
		return dev->built->write(dev, buf, bytes, off, err);
	rc = write_all(dev, buf, bytes, off);
	return rc ? fail(dev, err, rc, "write", bytes, off) : 0;
}

/*
 * What was not changed since the last barrier needs none. A change is counted when it was made, or
 * has failed half-way, and before its caller hears of it: a barrier that has to cover it begins
 * later. The first barrier is always passed on, because another process may have written before.
 */
int bow_disk_flush(struct bowimg_disk *dev, struct bowimg_error *err)
{
	uint64_t changes;
	int rc;

	if (dev->built)
		return dev->readonly ? 0 : dev->built->flush(dev, err);
	changes = __atomic_load_n(&dev->changes, __ATOMIC_ACQUIRE) + 1;
	if (__atomic_load_n(&dev->flushed, __ATOMIC_ACQUIRE) == changes)
		return 0;
	rc = dev->ops->flush(dev);
	if (!rc) {
		__atomic_store_n(&dev->flushed, changes, __ATOMIC_RELEASE);
		return 0;
	}
	bow_err_errno(err, rc, "%s: flush", dev->name);
	explain(dev, err, rc);
	return rc;
}

static int write_zeros(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	int rc = 0;

	while (bytes > 0 && !rc) {
		size_t piece = (size_t)bow_min(bytes, ZERO_PIECE);

		rc = write_all(dev, zero_piece, piece, off);
		off += piece;
		bytes -= piece;
	}
	return rc;
}

/* If storage may be given back, a hole stays a hole. */
static int write_zeros_to_data(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	uint64_t reach;
	bool hole;
	int rc = 0;

	for (; bytes > 0 && !rc; off += reach, bytes -= reach) {
		if (bow_disk_extent(dev, off, &hole, &reach, NULL))
			return write_zeros(dev, off, bytes);
		reach = bow_min(reach, bytes);
		if (!hole)
			rc = write_zeros(dev, off, reach);
	}
	return rc;
}

int bow_disk_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode,
		  struct bowimg_error *err)
{
	int rc = check_writable(dev, err, "zero");

	if (!rc)
		rc = check_range(dev, err, "zero", bytes, off, bow_disk_size(dev));
	if (rc)
		return rc;
	if (dev->built)
		return dev->built->zero(dev, off, bytes, err);
	do {
		rc = dev->ops->zero ? dev->ops->zero(dev, off, bytes, mode) : -EOPNOTSUPP;
	} while (rc == -EINTR);
	count_change(dev);
	if (rc == -EOPNOTSUPP)
		rc = mode == BOW_ZERO_PUNCH ? write_zeros_to_data(dev, off, bytes)
					    : write_zeros(dev, off, bytes);
	return rc ? fail(dev, err, rc, "zero", bytes, off) : 0;
}

int bow_disk_discard(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		     struct bowimg_error *err)
{
	int rc = check_writable(dev, err, "discard");

	if (!rc)
		rc = check_range(dev, err, "discard", bytes, off, bow_disk_size(dev));
	if (rc || !dev->built || !dev->built->discard)
		return rc;
	return dev->built->discard(dev, off, bytes, err);
}

int bow_disk_resize(struct bowimg_disk *dev, uint64_t size, struct bowimg_error *err)
{
	int rc = check_writable(dev, err, "resize");

	if (!rc)
		rc = check_range(dev, err, "resize to", size, 0, BOW_DEV_MAX_SIZE);
	if (rc)
		return rc;
	do {
		rc = dev->can_grow && dev->ops->resize ? dev->ops->resize(dev, size) : -EOPNOTSUPP;
	} while (rc == -EINTR);
	count_change(dev);
	if (!rc) {
		__atomic_store_n(&dev->size, size, __ATOMIC_RELEASE);
		return 0;
	}
	bow_err_errno(err, rc, "%s: resize from %" PRIu64 " to %" PRIu64 " bytes", dev->name,
		      bow_disk_size(dev), size);
	hint_for(err, rc, dev->io_hint);
	return no_room(err, rc);
}

int bow_disk_reserve(struct bowimg_disk *dev, uint64_t bytes_past_end, struct bowimg_error *err)
{
	uint64_t size = bow_disk_size(dev);
	int rc = check_writable(dev, err, "reserve space");

	if (!rc)
		rc = check_range(dev, err, "reserve", bytes_past_end, size, BOW_DEV_MAX_SIZE);
	if (rc)
		return rc;
	do {
		rc = dev->can_grow && dev->ops->reserve ? dev->ops->reserve(dev, bytes_past_end)
							: -EOPNOTSUPP;
	} while (rc == -EINTR);
	count_change(dev);
	return rc ? no_room(err, fail(dev, err, rc, "reserve", bytes_past_end, size)) : 0;
}

int bow_disk_close(struct bowimg_disk *dev, struct bowimg_error *err)
{
	char name[256]; /* dev->name goes away with dev */
	const char *io_hint;
	int rc;

	if (!dev)
		return 0;
	if (dev->built)
		return dev->built->close(dev, err);
	snprintf(name, sizeof(name), "%s", dev->name);
	io_hint = dev->io_hint;
	rc = dev->ops->close(dev);
	if (rc) {
		bow_err_errno(err, rc, "%s: close", name);
		hint_for(err, rc, io_hint);
	}
	return rc;
}

int bow_disk_extent(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes,
		    struct bowimg_error *err)
{
	uint64_t size = bow_disk_size(dev), reach = 0;
	bool is_hole = false;
	int rc = check_range(dev, err, "look for holes in", 1, off, size);

	if (rc)
		return rc;
	if (dev->built && dev->built->extent)
		return dev->built->extent(dev, off, hole, bytes, err);
	do {
		rc = dev->ops && dev->ops->extent ? dev->ops->extent(dev, off, &is_hole, &reach)
						  : -EOPNOTSUPP;
	} while (rc == -EINTR);
	if (rc == -EOPNOTSUPP) {
		is_hole = false;
		reach = size - off;
	} else if (rc) {
		return fail(dev, err, rc, "look for holes in", size - off, off);
	}
	assert(reach > 0);
	*hole = is_hole;
	*bytes = bow_min(reach, size - off);
	return 0;
}

int bow_disk_drop_cache(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
			struct bowimg_error *err)
{
	int rc = dev->ops && dev->ops->drop_cache ? dev->ops->drop_cache(dev, off, bytes) : 0;

	if (rc == -EOPNOTSUPP)
		rc = 0;
	return rc ? bow_err_errno(err, rc, "%s: drop cached data", dev->name) : 0;
}

int bow_disk_reopen(struct bowimg_disk *dev, uint64_t *off)
{
	*off = 0;
	if (dev->built)
		return dev->built->reopen ? dev->built->reopen(dev, off) : -EOPNOTSUPP;
	return dev->ops->reopen ? dev->ops->reopen(dev, off) : -EOPNOTSUPP;
}

bool bow_disk_room(struct bowimg_disk *dev, struct bow_room *room)
{
	return dev->ops && dev->ops->room && dev->ops->room(dev, room) == 0;
}

bool bow_disk_get_mtime(struct bowimg_disk *dev, struct timespec *t)
{
	return dev->ops && dev->ops->get_mtime && dev->ops->get_mtime(dev, t) == 0;
}

int bow_disk_set_mtime(struct bowimg_disk *dev, const struct timespec *t, struct bowimg_error *err)
{
	int rc = check_writable(dev, err, "set the modification time");

	if (rc)
		return rc;
	rc = dev->ops && dev->ops->set_mtime ? dev->ops->set_mtime(dev, t) : 0;
	count_change(dev);
	if (rc == -EOPNOTSUPP)
		rc = 0;
	return rc ? bow_err_errno(err, rc, "%s: set the modification time", dev->name) : 0;
}
