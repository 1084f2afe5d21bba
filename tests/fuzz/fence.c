/* SPDX-License-Identifier: MIT */
/*
 * See fuzz.h. The wrappers of device.c check ranges before a backend is called; this backend checks
 * that they did [I7], and notes what was written.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz.h"

#define JUMP_BYTES (64u << 20) /* a tail does not begin further behind the end than this */

static struct bowimg_disk *inner(struct bowimg_disk *dev)
{
	return ((struct fuzz_fence *)dev)->inner;
}

static void touch(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	struct fuzz_fence *f = (struct fuzz_fence *)dev;
	uint64_t first = off / BOW_BLOCK, end = bow_div_up(off + bytes, BOW_BLOCK);

	if (f->look_only)
		fuzz_die("%" PRIu64 " bytes written at %" PRIu64 ", and nothing may be", bytes,
			 off);
	end = bow_min(end, f->touched_blk);
	if (first < end)
		memset(f->touched + first, 1, end - first);
}

static void check(struct bowimg_disk *dev, const char *what, uint64_t off, uint64_t bytes,
		  uint64_t end)
{
	(void)dev;
	if (!bow_range_ok(off, bytes, end))
		fuzz_die("%s %" PRIu64 " bytes at %" PRIu64 ": the end is %" PRIu64, what, bytes,
			 off, end);
}

static int64_t fence_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	check(dev, "read", off, bytes, bow_disk_size(dev));
	return inner(dev)->ops->read(inner(dev), buf, bytes, off);
}

/* The power is cut behind so many writes. */
static bool cut(struct bowimg_disk *dev)
{
	struct fuzz_fence *f = (struct fuzz_fence *)dev;

	if (!f->cut)
		return false;
	if (!f->writes_left)
		return true;
	f->writes_left--;
	return false;
}

static void see_super(struct bowimg_disk *dev, const uint8_t *buf, size_t bytes)
{
	struct fuzz_fence *f = (struct fuzz_fence *)dev;
	struct bow_super sb;

	if (f->cut_at_finishing && bytes >= BOW_SUPER_BYTES &&
	    bow_super_decode(buf, &sb) == BOW_DECODE_OK && sb.state == BOW_SUPER_FINISHING)
		f->cut = true;
}

static int64_t fence_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	struct bowimg_disk *to = inner(dev);
	int64_t n;

	check(dev, "write", off, bytes, bow_disk_size(dev) + (dev->can_grow ? JUMP_BYTES : 0));
	if (cut(dev))
		return -EIO;
	touch(dev, off, bytes);
	n = to->ops->write(to, buf, bytes, off);
	if (n > 0 && off + (uint64_t)n > to->size)
		to->size = off + (uint64_t)n;
	if (off == 0)
		see_super(dev, buf, bytes);
	return n;
}

static int fence_flush(struct bowimg_disk *dev)
{
	return inner(dev)->ops->flush(inner(dev));
}

static int fence_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		      enum bow_zero_mode mode)
{
	check(dev, "zero", off, bytes, bow_disk_size(dev));
	if (cut(dev))
		return -EIO;
	touch(dev, off, bytes);
	return inner(dev)->ops->zero ? inner(dev)->ops->zero(inner(dev), off, bytes, mode)
				     : -EOPNOTSUPP;
}

static int fence_resize(struct bowimg_disk *dev, uint64_t size)
{
	struct fuzz_fence *f = (struct fuzz_fence *)dev;
	int rc;

	if (f->look_only || size > bow_disk_size(dev) + JUMP_BYTES)
		fuzz_die("resized to %" PRIu64 " bytes", size);
	if (cut(dev))
		return -EIO;
	rc = f->inner->ops->resize ? f->inner->ops->resize(f->inner, size) : -EOPNOTSUPP;
	if (!rc)
		f->inner->size = size;
	return rc;
}

static int fence_extent(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	return inner(dev)->ops->extent ? inner(dev)->ops->extent(inner(dev), off, hole, bytes)
				       : -EOPNOTSUPP;
}

static int fence_close(struct bowimg_disk *dev)
{
	(void)dev; /* fuzz_fence_release() does it */
	return 0;
}

static const struct bow_backend_ops fence_ops = {
	.read = fence_read,
	.write = fence_write,
	.flush = fence_flush,
	.close = fence_close,
	.zero = fence_zero,
	.resize = fence_resize,
	.extent = fence_extent,
};

void fuzz_fence_init(struct fuzz_fence *f, struct bowimg_disk *to)
{
	f->dev = *to;
	f->dev.ops = &fence_ops;
	f->dev.name = "fence";
	f->inner = to;
	f->look_only = f->cut = f->cut_at_finishing = false;
	f->writes_left = 0;
	f->touched_blk = bow_div_up(to->size, BOW_BLOCK);
	f->touched = calloc(1, f->touched_blk);
	if (!f->touched)
		abort();
}

void fuzz_fence_release(struct fuzz_fence *f)
{
	free(f->touched);
	bow_disk_close(f->inner, NULL);
}
