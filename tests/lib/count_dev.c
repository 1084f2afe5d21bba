/* SPDX-License-Identifier: MIT */
/* See count_dev.h. */
#include "count_dev.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/format/format.h"
#include "mem_dev.h"

static struct {
	const struct bow_backend_ops *memory;
	uint64_t used_blk;
	struct bow_backend_ops ops;
	atomic_uint_fast64_t requests, log_bytes;
} image; /* a device's operations carry no context of a test */

/* A backup that moves is read as zeros, since it was not stored. */
static bool is_content(const uint8_t *p, size_t bytes)
{
	return bytes >= BOW_BLOCK && (p[0] == COUNT_DEV_CONTENT || p[0] == 0) &&
	       !memcmp(p, p + 1, BOW_BLOCK - 1);
}

static int64_t counted_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	int64_t rc = image.memory->read(dev, buf, bytes, off);
	uint8_t *p = buf;

	image.requests++;
	for (uint64_t blk = off / BOW_BLOCK; off >= BOW_BLOCK && off % BOW_BLOCK == 0 &&
					     blk < image.used_blk && p < (uint8_t *)buf + bytes;
	     blk++, p += BOW_BLOCK)
		memset(p, COUNT_DEV_CONTENT,
		       bow_min(BOW_BLOCK, (uint64_t)((uint8_t *)buf + bytes - p)));
	return rc;
}

static int64_t counted_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	image.requests++;
	if (is_content(buf, bytes))
		return (int64_t)bytes;
	if (off >= BOW_BLOCK)
		image.log_bytes += bytes;
	return image.memory->write(dev, buf, bytes, off);
}

static int counted_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
			enum bow_zero_mode mode)
{
	image.requests++;
	return image.memory->zero(dev, off, bytes, mode);
}

/* Blocks in use are data; what is free may be holes. */
static int counted_extent(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	uint64_t used = image.used_blk * BOW_BLOCK, next = (off / BOW_BLOCK + 1) * BOW_BLOCK;

	*hole = off >= used && bow_is_zero(mem_dev_bytes(dev) + off, next - off);
	*bytes = (off < used ? used : next) - off;
	return 0;
}

/* ---- the queue ---------------------------------------------------------------------- */

static atomic_int queue[COUNT_DEV_QUEUE]; /* thread ids; 0: none */

void count_dev_join(void)
{
	int none = 0;

	for (unsigned i = 0; !atomic_compare_exchange_strong(&queue[i], &none, gettid()); none = 0)
		i = (i + 1) % COUNT_DEV_QUEUE;
}

void count_dev_leave(void)
{
	for (unsigned i = 0; i < COUNT_DEV_QUEUE; i++)
		if (atomic_load(&queue[i]) == gettid())
			atomic_store(&queue[i], 0);
}

/* A thread that has ended counts as asleep. */
static bool is_asleep(int tid)
{
	char path[64], text[256] = "", *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (!f)
		return true;
	end = fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
	fclose(f);
	return !end || end[2] != 'R';
}

static bool all_wait(void)
{
	for (unsigned i = 0; i < COUNT_DEV_QUEUE; i++) {
		int tid = atomic_load(&queue[i]);

		if (tid && tid != gettid() && !is_asleep(tid))
			return false;
	}
	return true;
}

static int counted_flush(struct bowimg_disk *dev)
{
	const struct timespec moment = {.tv_nsec = 20000};

	while (!all_wait())
		nanosleep(&moment, NULL);
	return image.memory->flush(dev);
}

struct bowimg_disk *count_dev_new(uint64_t blocks, uint64_t used_blk)
{
	struct bowimg_disk *dev = mem_dev_new(blocks * BOW_BLOCK, 2 * blocks * BOW_BLOCK);

	if (!dev)
		return NULL;
	image.memory = dev->ops;
	image.used_blk = used_blk;
	image.ops = *dev->ops;
	image.ops.read = counted_read;
	image.ops.write = counted_write;
	image.ops.zero = counted_zero;
	image.ops.flush = counted_flush;
	image.ops.extent = counted_extent;
	dev->ops = &image.ops;
	return dev;
}

uint64_t count_dev_requests(void)
{
	return image.requests;
}

uint64_t count_dev_log_bytes(void)
{
	return image.log_bytes;
}
