/* SPDX-License-Identifier: MIT */
/* The simulated disk's operations; what a power cut leaves is in sim_cut.c. */
#include "sim_ops.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>
#include "lib/base/bytes.h"
#include "rng.h"
#include "tsan.h"

static struct sim_disk *disk_of(struct bowimg_disk *dev)
{
	struct sim_disk *disk = (struct sim_disk *)dev;

	assert(disk->open);
	if (disk->jitter && rng_mix(disk->jitter++, 0) % 4 == 0)
		usleep(1);
	return disk;
}

static void unlock_scope(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
	tsan_overlook_end();
}

static pthread_mutex_t *lock_scope(pthread_mutex_t *lock)
{
	tsan_overlook_begin();
	pthread_mutex_lock(lock);
	return lock;
}

#define LOCKED(disk)          \
	pthread_mutex_t *held \
		__attribute__((cleanup(unlock_scope), unused)) = lock_scope(&(disk)->lock)

static void set_size(struct sim_disk *disk, uint64_t size, bool by_write)
{
	if (size < disk->size)
		sim_clear(disk, disk->cache, size);
	disk->size = size;
	disk->used = bow_max(disk->used, bow_div_up(size, SIM_BLOCK) * SIM_BLOCK);
	sim_add_pending(disk,
			(struct sim_pending){.off = size, .is_size = true, .by_write = by_write});
}

#define PAUSE_SEC 1 /* between two owners, for all that is compared with an mtime */

/* Here one owner follows the other at once; so the file's clock runs on when one begins. */
static void touch_mtime(struct sim_disk *disk)
{
	struct timespec now;

	if (!disk->has_mtime)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	if (bow_time_is_later(&now, &disk->mtime))
		disk->mtime = now;
	if (disk->rested)
		disk->mtime.tv_sec += PAUSE_SEC;
	disk->rested = false;
}

static void put_data(struct sim_disk *disk, const uint8_t *data, uint64_t bytes, uint64_t off)
{
	memset(disk->touched + off / SIM_BLOCK, true,
	       bow_div_up(off + bytes, SIM_BLOCK) - off / SIM_BLOCK);
	memcpy(disk->cache + off, data, bytes);
}

/* Zeros touch nothing that was not touched before. */
static void put_zeros(struct sim_disk *disk, uint64_t bytes, uint64_t off)
{
	uint64_t n, end = off + bytes;

	for (; off < end; off += n) {
		n = bow_min(SIM_BLOCK - off % SIM_BLOCK, end - off);
		if (disk->touched[off / SIM_BLOCK])
			memset(disk->cache + off, 0, n);
	}
}

/* data NULL: zeros. */
static void store(struct sim_disk *disk, const uint8_t *data, uint64_t bytes, uint64_t off)
{
	uint32_t unit = disk->dev.sector_size;
	uint64_t at;

	if (disk->hooks.write)
		disk->hooks.write(disk->hooks.ctx, off, data, bytes);
	if (off + bytes > disk->size)
		set_size(disk, off + bytes, true);
	if (data)
		put_data(disk, data, bytes, off);
	else
		put_zeros(disk, bytes, off);
	sim_changed(disk, off, bytes);
	for (at = off / unit * unit; at < off + bytes; at += unit)
		sim_add_pending(disk,
				(struct sim_pending){
					.off = at,
					.is_zero = !data && at >= off && at + unit <= off + bytes,
				});
	disk->pending_ops++;
	touch_mtime(disk);
}

/* Of blocks that nobody touched it is known what they hold. */
static void copy_out(const struct sim_disk *disk, uint8_t *to, uint64_t off, uint64_t end)
{
	uint64_t n;

	for (; off < end; off += n, to += n) {
		bool touched = disk->touched[off / SIM_BLOCK];

		for (n = SIM_BLOCK - off % SIM_BLOCK;
		     off + n < end && disk->touched[(off + n) / SIM_BLOCK] == touched;
		     n += SIM_BLOCK)
			;
		n = bow_min(n, end - off);
		if (touched)
			memcpy(to, disk->cache + off, n);
		else
			memset(to, 0, n);
	}
}

static int64_t sim_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	struct sim_disk *disk = disk_of(dev);
	uint64_t count = bytes;
	int rc;

	tsan_writes(buf, bytes);
	LOCKED(disk);
	rc = sim_enter(disk, OP_READ, off, &count);
	if (rc)
		return rc;
	if (off >= disk->size)
		return 0;
	count = bow_min(count, disk->size - off);
	copy_out(disk, buf, off, off + count);
	return (int64_t)count;
}

static int64_t sim_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	struct sim_disk *disk = disk_of(dev);
	uint64_t count = bytes;
	int rc;

	tsan_reads(buf, bytes);
	LOCKED(disk);
	rc = sim_enter(disk, OP_WRITE, off, &count);
	if (rc)
		return rc;
	if (off > disk->host_limit || count > disk->host_limit - off)
		return disk->dev.can_grow ? -ENOSPC : -EIO;
	store(disk, buf, count, off);
	return (int64_t)count;
}

static int sim_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode)
{
	struct sim_disk *disk = disk_of(dev);
	int rc;
	LOCKED(disk);

	(void)mode;
	rc = sim_enter(disk, OP_ZERO, off, &bytes);
	if (rc)
		return rc;
	assert(off + bytes <= disk->size);
	store(disk, NULL, bytes, off);
	return 0;
}

static int sim_flush(struct bowimg_disk *dev)
{
	struct sim_disk *disk = disk_of(dev);
	uint64_t none = 0;
	int rc;
	LOCKED(disk);

	rc = sim_enter(disk, OP_FLUSH, 0, &none);
	if (rc)
		return rc;
	if (disk->hooks.barrier)
		disk->hooks.barrier(disk->hooks.ctx);
	disk->barriers++;
	sim_make_stable(disk);
	return 0;
}

static int sim_resize(struct bowimg_disk *dev, uint64_t size)
{
	struct sim_disk *disk = disk_of(dev);
	uint64_t none = 0;
	int rc;
	LOCKED(disk);

	rc = sim_enter(disk, OP_RESIZE, size, &none);
	if (rc)
		return rc;
	if (size > disk->host_limit)
		return -ENOSPC;
	if (size < disk->size && disk->hooks.shrink)
		disk->hooks.shrink(disk->hooks.ctx, size);
	/* Growth uses up what was reserved; cutting gives it back. */
	disk->reserved -= size > disk->size ? bow_min(disk->reserved, size - disk->size)
					    : disk->reserved;
	set_size(disk, size, false);
	disk->pending_ops++;
	touch_mtime(disk);
	return 0;
}

static int sim_reserve(struct bowimg_disk *dev, uint64_t bytes_past_end)
{
	struct sim_disk *disk = disk_of(dev);
	int rc;
	LOCKED(disk);

	rc = sim_enter(disk, OP_RESERVE, disk->size, &bytes_past_end);
	if (rc)
		return rc;
	if (bytes_past_end > disk->host_limit || disk->size > disk->host_limit - bytes_past_end)
		return -ENOSPC;
	disk->reserved = bow_max(disk->reserved, bytes_past_end);
	return 0;
}

/* A hole is what reads as zeros: good enough, since both must be treated alike. */
static int sim_extent(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	struct sim_disk *disk = disk_of(dev);
	uint64_t start = off / SIM_BLOCK * SIM_BLOCK, one = SIM_BLOCK;
	int rc;
	LOCKED(disk);

	rc = sim_enter(disk, OP_READ, off, &one);
	if (rc)
		return rc;
	*hole = !disk->touched[off / SIM_BLOCK] || bow_is_zero(disk->cache + start, SIM_BLOCK);
	*bytes = start + SIM_BLOCK - off;
	return 0;
}

/* Only clean pages can be dropped: what is pending stays, on top of what the storage has. */
static int sim_drop_cache(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	struct sim_disk *disk = disk_of(dev);
	uint32_t i;
	LOCKED(disk);

	bool all = bytes == 0;

	if (!disk->cache_lies)
		return 0;
	if (all)
		bytes = disk->used - off;
	memcpy(disk->cache + off, disk->stable + off, bytes);
	sim_changed(disk, off, bytes);
	for (i = 0; i < disk->pending_count; i++)
		if (!disk->pending[i].is_size)
			sim_apply_sector(disk, disk->cache, disk, i);
	disk->cache_lies = !all;
	return 0;
}

static int sim_get_mtime(struct bowimg_disk *dev, struct timespec *t)
{
	struct sim_disk *disk = disk_of(dev);
	LOCKED(disk);

	if (!disk->has_mtime)
		return -EOPNOTSUPP;
	*t = disk->mtime;
	return 0;
}

static int sim_set_mtime(struct bowimg_disk *dev, const struct timespec *t)
{
	struct sim_disk *disk = disk_of(dev);
	uint64_t none = 0;
	int rc;
	LOCKED(disk);

	if (!disk->has_mtime)
		return -EOPNOTSUPP;
	rc = sim_enter(disk, OP_META, 0, &none);
	if (rc)
		return rc;
	disk->mtime = *t;
	return 0;
}

static int sim_close(struct bowimg_disk *dev)
{
	disk_of(dev)->open = false;
	return 0;
}

const struct bow_backend_ops sim_dev_ops = {
	.read = sim_read,
	.write = sim_write,
	.flush = sim_flush,
	.close = sim_close,
	.zero = sim_zero,
	.resize = sim_resize,
	.reserve = sim_reserve,
	.extent = sim_extent,
	.drop_cache = sim_drop_cache,
	.get_mtime = sim_get_mtime,
	.set_mtime = sim_set_mtime,
};
