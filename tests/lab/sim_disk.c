/* SPDX-License-Identifier: MIT */
/* The simulated disk as a thing: its making, its owners, and what is pending on it. */
#include "sim_ops.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"

/* Room for `space` pending sectors of the largest kind. */
static bool grow_pending(struct sim_disk *disk, uint32_t space)
{
	struct sim_pending *pending = realloc(disk->pending, space * sizeof(*pending));
	uint8_t *data = realloc(disk->pending_data, (size_t)space * SIM_BLOCK);

	if (pending)
		disk->pending = pending;
	if (data)
		disk->pending_data = data;
	if (pending && data)
		disk->pending_space = space;
	return pending && data;
}

void sim_add_pending(struct sim_disk *disk, struct sim_pending pending)
{
	uint32_t unit = disk->dev.sector_size;

	if (disk->pending_count == disk->pending_space &&
	    !grow_pending(disk, disk->pending_space * 2))
		abort();
	pending.op = disk->pending_ops;
	disk->pending[disk->pending_count] = pending;
	if (!pending.is_size && !pending.is_zero)
		memcpy(disk->pending_data + (size_t)disk->pending_count * unit,
		       disk->cache + pending.off, unit);
	disk->pending_count++;
}

void sim_apply_sector(struct sim_disk *dst, uint8_t *bytes, const struct sim_disk *src, uint32_t i)
{
	uint32_t unit = src->dev.sector_size;
	uint64_t off = src->pending[i].off;

	if (!src->pending[i].is_zero)
		memcpy(bytes + off, src->pending_data + (size_t)i * unit, unit);
	else if (dst->touched[off / SIM_BLOCK])
		memset(bytes + off, 0, unit);
}

void sim_changed(struct sim_disk *disk, uint64_t off, uint64_t bytes)
{
	versions_changed(&disk->versions, off / SIM_BLOCK, bow_div_up(off + bytes, SIM_BLOCK));
}

void sim_clear(struct sim_disk *disk, uint8_t *bytes, uint64_t off)
{
	uint64_t end;

	for (; off < disk->used; off = end) {
		end = (off / SIM_BLOCK + 1) * SIM_BLOCK;
		if (!disk->touched[off / SIM_BLOCK])
			continue;
		memset(bytes + off, 0, end - off);
		sim_changed(disk, off, end - off);
	}
}

void sim_forget_tail(struct sim_disk *disk)
{
	uint64_t end = bow_div_up(bow_max(disk->size, disk->stable_size), SIM_BLOCK);

	if (end * SIM_BLOCK >= disk->used)
		return;
	memset(disk->touched + end, false, disk->used / SIM_BLOCK - end);
	disk->used = end * SIM_BLOCK;
}

/* Pending versions reach the stable bytes in the order in which they were written. */
void sim_make_stable(struct sim_disk *disk)
{
	uint32_t unit = disk->dev.sector_size, i;

	for (i = 0; i < disk->pending_count; i++) {
		const struct sim_pending *p = &disk->pending[i];

		if (p->is_size) {
			sim_clear(disk, disk->stable, p->off);
			continue;
		}
		sim_apply_sector(disk, disk->stable, disk, i);
		sim_changed(disk, p->off, unit);
	}
	disk->stable_size = disk->size;
	sim_forget_tail(disk);
	disk->stable_mtime = disk->mtime;
	disk->pending_count = 0;
	disk->pending_ops = 0;
}

int sim_init(struct sim_disk *disk, uint64_t capacity)
{
	memset(disk, 0, sizeof(*disk));
	disk->capacity = bow_div_up(capacity, SIM_BLOCK) * SIM_BLOCK;
	disk->cache = calloc(1, disk->capacity);
	disk->stable = calloc(1, disk->capacity);
	disk->touched = calloc(disk->capacity / SIM_BLOCK, sizeof(bool));
	pthread_mutex_init(&disk->lock, NULL);
	/* Enough for nearly every epoch, so that injected allocation failures spare the disk. */
	if (disk->cache && disk->stable && disk->touched && grow_pending(disk, 16384) &&
	    versions_init(&disk->versions, disk->capacity / SIM_BLOCK))
		return 0;
	sim_release(disk);
	return -ENOMEM;
}

void sim_release(struct sim_disk *disk)
{
	pthread_mutex_destroy(&disk->lock);
	free(disk->cache);
	free(disk->stable);
	free(disk->touched);
	versions_release(&disk->versions);
	free(disk->pending);
	free(disk->pending_data);
}

void sim_format(struct sim_disk *disk, uint64_t size, uint32_t sector_size, bool can_grow)
{
	assert(size <= disk->capacity);
	sim_clear(disk, disk->cache, 0);
	sim_clear(disk, disk->stable, 0);
	memset(disk->touched, 0, disk->capacity / SIM_BLOCK * sizeof(bool));
	disk->dev.sector_size = sector_size;
	disk->dev.can_grow = can_grow;
	disk->size = disk->stable_size = size;
	disk->used = bow_div_up(size, SIM_BLOCK) * SIM_BLOCK;
	disk->host_limit = can_grow ? disk->capacity : size;
	disk->reserved = 0;
	disk->cache_lies = false;
	disk->has_mtime = false;
	disk->open = disk->rested = disk->dead = disk->die_at_sector_0 = false;
	disk->pending_count = disk->pending_ops = 0;
	disk->ops = disk->changes = disk->die_at = disk->barriers = 0;
	disk->jitter = 0;
	disk->fault = (struct sim_fault){0};
	disk->hooks = (struct sim_hooks){0};
	clock_gettime(CLOCK_REALTIME, &disk->mtime);
	disk->stable_mtime = disk->mtime;
}

void sim_load(struct sim_disk *disk, uint64_t off, const void *bytes, uint64_t count)
{
	assert(bow_range_ok(off, count, disk->used + 1));
	memset(disk->touched + off / SIM_BLOCK, true,
	       bow_div_up(off + count, SIM_BLOCK) - off / SIM_BLOCK);
	memcpy(disk->cache + off, bytes, count);
	memcpy(disk->stable + off, bytes, count);
	sim_changed(disk, off, count);
}

struct bowimg_disk *sim_open(struct sim_disk *disk)
{
	assert(!disk->open);
	disk->open = disk->rested = true;
	disk->dev.ops = &sim_dev_ops;
	disk->dev.name = "simulated disk";
	disk->dev.size = disk->size;
	disk->dev.readonly = false;
	disk->dev.changes = disk->dev.flushed = 0;
	return &disk->dev;
}

void sim_kill(struct sim_disk *disk)
{
	disk->open = false;
	disk->dead = false;
	disk->die_at = 0;
	disk->die_at_sector_0 = false;
	if (disk->trace)
		fprintf(disk->trace, "  *** the process is gone; %u writes pending\n",
			disk->pending_count);
}

void sim_write_back(struct sim_disk *disk)
{
	sim_make_stable(disk);
}
