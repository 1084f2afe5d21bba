/* SPDX-License-Identifier: MIT */
/* See mem_dev.h. Holes are kept per 4 KiB block, as one byte each, in a mapping of their own. */
#include "mem_dev.h"

#include <stdlib.h>
#include <sys/mman.h>
#include "lib/base/bytes.h"

#define HOLE_BLOCK 4096u

struct mem_dev {
	struct bowimg_disk dev; /* must be first */
	uint8_t *bytes;
	uint8_t *written; /* per block: 1 = something was written there, so not a hole */
	uint64_t max_size;
	uint64_t mtime_ns; /* atomic */
};

static struct mem_dev *self(struct bowimg_disk *dev)
{
	return (struct mem_dev *)dev;
}

/* Real clocks are too coarse to move at every write; this one does. */
static void touch(struct mem_dev *m)
{
	__atomic_add_fetch(&m->mtime_ns, 1, __ATOMIC_RELAXED);
}

static int64_t mem_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	memcpy(buf, self(dev)->bytes + off, bytes);
	return (int64_t)bytes;
}

static int64_t mem_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	struct mem_dev *m = self(dev);

	if (!bow_range_ok(off, bytes, m->max_size))
		return -ENOSPC;
	memcpy(m->bytes + off, buf, bytes);
	for (uint64_t b = off / HOLE_BLOCK; b <= (off + bytes - 1) / HOLE_BLOCK; b++)
		__atomic_store_n(&m->written[b], 1, __ATOMIC_RELAXED);
	touch(m);
	return (int64_t)bytes;
}

static int mem_flush(struct bowimg_disk *dev)
{
	(void)dev;
	return 0;
}

static int mem_close(struct bowimg_disk *dev)
{
	struct mem_dev *m = self(dev);

	munmap(m->bytes, m->max_size);
	munmap(m->written, bow_div_up(m->max_size, HOLE_BLOCK));
	free(m);
	return 0;
}

static int mem_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode)
{
	struct mem_dev *m = self(dev);
	uint64_t first = bow_div_up(off, HOLE_BLOCK), end = (off + bytes) / HOLE_BLOCK;

	if (mode == BOW_ZERO_PUNCH && first < end) {
		memset(m->bytes + off, 0, first * HOLE_BLOCK - off);
		/* Gives the pages back, so that huge sparse devices cost nothing. */
		madvise(m->bytes + first * HOLE_BLOCK, (end - first) * HOLE_BLOCK, MADV_DONTNEED);
		memset(m->bytes + end * HOLE_BLOCK, 0, off + bytes - end * HOLE_BLOCK);
		memset(m->written + first, 0, end - first);
	} else {
		memset(m->bytes + off, 0, bytes);
	}
	touch(m);
	return 0;
}

static int mem_resize(struct bowimg_disk *dev, uint64_t size)
{
	struct mem_dev *m = self(dev);
	uint64_t old = bow_disk_size(dev);

	if (size > m->max_size)
		return -ENOSPC;
	if (size < old)
		return mem_zero(dev, size, old - size, BOW_ZERO_PUNCH);
	touch(m);
	return 0;
}

static int mem_reserve(struct bowimg_disk *dev, uint64_t bytes_past_end)
{
	return bytes_past_end > self(dev)->max_size - bow_disk_size(dev) ? -ENOSPC : 0;
}

/* Tests may fill mem_dev_bytes() directly, so a block counts as a hole only if it is zero, too. */
static bool is_hole(struct mem_dev *m, uint64_t block)
{
	uint64_t off = block * HOLE_BLOCK;

	return !__atomic_load_n(&m->written[block], __ATOMIC_RELAXED) &&
	       bow_is_zero(m->bytes + off, bow_min(HOLE_BLOCK, bow_disk_size(&m->dev) - off));
}

static int mem_extent(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	struct mem_dev *m = self(dev);
	uint64_t b = off / HOLE_BLOCK, end = bow_div_up(bow_disk_size(dev), HOLE_BLOCK);

	*hole = is_hole(m, b);
	do {
		b++;
	} while (b < end && is_hole(m, b) == *hole);
	*bytes = b * HOLE_BLOCK - off;
	return 0;
}

static int mem_get_mtime(struct bowimg_disk *dev, struct timespec *t)
{
	uint64_t ns = __atomic_load_n(&self(dev)->mtime_ns, __ATOMIC_RELAXED);

	t->tv_sec = (time_t)(ns / 1000000000u);
	t->tv_nsec = (long)(ns % 1000000000u);
	return 0;
}

static int mem_set_mtime(struct bowimg_disk *dev, const struct timespec *t)
{
	uint64_t ns = (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;

	__atomic_store_n(&self(dev)->mtime_ns, ns, __ATOMIC_RELAXED);
	return 0;
}

static const struct bow_backend_ops file_ops = {
	.read = mem_read,
	.write = mem_write,
	.flush = mem_flush,
	.close = mem_close,
	.zero = mem_zero,
	.resize = mem_resize,
	.reserve = mem_reserve,
	.extent = mem_extent,
	.get_mtime = mem_get_mtime,
	.set_mtime = mem_set_mtime,
};

static const struct bow_backend_ops device_ops = {
	.read = mem_read,
	.write = mem_write,
	.flush = mem_flush,
	.close = mem_close,
};

static uint8_t *reserve_address_space(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct bowimg_disk *mem_dev_new(uint64_t size, uint64_t max_size)
{
	struct mem_dev *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->max_size = bow_max(size, max_size);
	m->bytes = reserve_address_space(m->max_size);
	m->written = reserve_address_space(bow_div_up(m->max_size, HOLE_BLOCK));
	if (!m->bytes || !m->written) {
		if (m->bytes)
			munmap(m->bytes, m->max_size);
		if (m->written)
			munmap(m->written, bow_div_up(m->max_size, HOLE_BLOCK));
		free(m);
		return NULL;
	}
	m->mtime_ns = 1000000000u; /* not 0, which callers may take for "none" */
	m->dev = (struct bowimg_disk){
		.ops = &file_ops,
		.name = "memory",
		.size = size,
		.sector_size = 512,
		.can_grow = max_size > size,
	};
	return &m->dev;
}

void mem_dev_make_device(struct bowimg_disk *dev)
{
	dev->ops = &device_ops;
	dev->can_grow = false;
}

uint8_t *mem_dev_bytes(struct bowimg_disk *dev)
{
	return self(dev)->bytes;
}
