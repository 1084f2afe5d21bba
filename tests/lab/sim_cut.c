/* SPDX-License-Identifier: MIT */
/*
 * What a power cut leaves of the writes since the last barrier. Modes:
 *   s  sector i is kept if bit i of the mask is set (all subsets, when there are few)
 *   o  the same for whole operations
 *   p  the first `arg` sectors are kept: cut in the middle, in order
 *   l  all operations but one          k  one operation and no other
 *   r  sectors by chance               q  operations by chance
 * A sector written more than once ends as the last version that was kept.
 */
#include "sim_ops.h"

#include <string.h>
#include "lib/base/bytes.h"
#include "rng.h"

static bool by_chance(uint64_t seed, uint64_t which)
{
	static const uint32_t percent[4] = {50, 90, 10, 75};

	return rng_mix(seed, which + 0x5eed) % 100 < percent[seed & 3];
}

bool sim_cut_keeps(const struct sim_cut *cut, const struct sim_pending *pending, uint32_t index)
{
	switch (cut->mode) {
	case 's':
		return cut->arg >> index & 1;
	case 'o':
		return cut->arg >> pending->op & 1;
	case 'p':
		return index < cut->arg;
	case 'l':
		return pending->op != cut->arg;
	case 'k':
		return pending->op == cut->arg;
	case 'r':
		return by_chance(cut->arg, index);
	default:
		return by_chance(cut->arg, pending->op);
	}
}

/* Sector 0 is old or new on every disk; and the rest of block 0 says whose it is. */
static bool may_be_garbage(const struct sim_cut *cut, const struct sim_pending *pending,
			   uint32_t index)
{
	return cut->garbage && !pending->is_size && pending->off >= SIM_BLOCK &&
	       rng_mix(cut->arg, index + 0xba5e) % 3 == 0;
}

/* The data of the write that made the file grow follows the size in the list. */
static bool size_holds(const struct sim_disk *src, const struct sim_cut *cut, uint32_t index)
{
	const struct sim_pending *p = src->pending;
	uint32_t op = p[index].op;

	if (!p[index].by_write)
		return true;
	for (index++; index < src->pending_count && p[index].op == op; index++)
		if (!sim_cut_keeps(cut, &p[index], index))
			return false;
	return true;
}

static void apply_size(struct sim_disk *dst, const struct sim_disk *src, const struct sim_cut *cut,
		       uint32_t index)
{
	if (!size_holds(src, cut, index))
		return;
	dst->stable_size = src->pending[index].off;
	sim_clear(dst, dst->stable, dst->stable_size);
}

static void put_garbage(struct sim_disk *dst, uint64_t off, uint32_t bytes, uint64_t seed)
{
	dst->touched[off / SIM_BLOCK] = true;
	rng_fill(dst->stable + off, bytes, seed);
}

static void apply_pending(struct sim_disk *dst, const struct sim_disk *src,
			  const struct sim_cut *cut)
{
	uint32_t unit = src->dev.sector_size, i;

	for (i = 0; i < src->pending_count; i++) {
		const struct sim_pending *p = &src->pending[i];

		/* Of what is dropped the cache has something else. */
		if (!p->is_size)
			sim_changed(dst, p->off, unit);
		if (!sim_cut_keeps(cut, p, i)) {
			if (may_be_garbage(cut, p, i))
				put_garbage(dst, p->off, unit, rng_mix(cut->arg, i));
		} else if (p->is_size) {
			apply_size(dst, src, cut, i);
		} else {
			sim_apply_sector(dst, dst->stable, src, i);
		}
	}
}

static void copy_block(struct sim_disk *dst, const struct sim_disk *src, uint64_t b)
{
	uint8_t *stable = dst->stable + b * SIM_BLOCK, *cache = dst->cache + b * SIM_BLOCK;

	if (src->touched[b]) {
		memcpy(stable, src->stable + b * SIM_BLOCK, SIM_BLOCK);
		memcpy(cache, stable, SIM_BLOCK);
	} else if (dst->touched[b]) {
		memset(stable, 0, SIM_BLOCK);
		memset(cache, 0, SIM_BLOCK);
	}
	dst->touched[b] = src->touched[b];
	versions_changed(&dst->versions, b, b + 1);
}

/* The stable bytes, which the cache has as well then. */
static void copy_disk(struct sim_disk *dst, const struct sim_disk *src)
{
	uint64_t b, end = bow_max(dst->used, src->used) / SIM_BLOCK;

	for (b = 0; (b = versions_differ(&dst->versions, &src->versions, b, end)) < end; b++)
		copy_block(dst, src, b);
	versions_copied(&dst->versions, &src->versions);
	dst->used = src->used;
	dst->stable_size = src->stable_size;
	dst->dev.sector_size = src->dev.sector_size;
	dst->dev.can_grow = src->dev.can_grow;
	dst->dev.queue_depth = src->dev.queue_depth;
	dst->host_limit = src->host_limit;
	dst->has_mtime = src->has_mtime;
	dst->stable_mtime = src->stable_mtime;
	dst->mtime = src->mtime;
}

void sim_power_cut(struct sim_disk *dst, const struct sim_disk *src, const struct sim_cut *cut)
{
	uint64_t b, end;

	if (dst->trace)
		fprintf(dst->trace, "  *** power cut %c%llx%s: %u sectors pending\n", cut->mode,
			(unsigned long long)cut->arg, cut->garbage ? "g" : "", src->pending_count);
	if (dst != src)
		copy_disk(dst, src);
	else
		sim_changed(dst, 0, dst->used);
	apply_pending(dst, src, cut);
	sim_clear(dst, dst->stable, dst->stable_size);
	end = dst->used / SIM_BLOCK;
	for (b = 0; (b = versions_since(&dst->versions, b, end)) < end; b++)
		if (dst->touched[b])
			memcpy(dst->cache + b * SIM_BLOCK, dst->stable + b * SIM_BLOCK, SIM_BLOCK);
	/* An inode's time is written back whenever the system likes. */
	if (cut->arg & 1)
		dst->mtime = dst->stable_mtime;
	dst->stable_mtime = dst->mtime;
	dst->size = dst->stable_size;
	sim_forget_tail(dst);
	dst->pending_count = dst->pending_ops = 0;
	dst->ops = dst->die_at = 0;
	dst->reserved = 0;
	dst->open = dst->dead = dst->cache_lies = dst->die_at_sector_0 = false;
}

/* What no cut can have touched is the same in all of them. */
uint64_t sim_cut_trait(const struct sim_disk *dst)
{
	uint64_t b, end = dst->used / SIM_BLOCK;
	uint64_t trait = rng_mix(dst->stable_size, (uint64_t)dst->mtime.tv_sec);

	trait = rng_mix(trait, (uint64_t)dst->mtime.tv_nsec);
	for (b = 0; (b = versions_since(&dst->versions, b, end)) < end; b++)
		if (dst->touched[b])
			trait = bow_hash(dst->stable + b * SIM_BLOCK, SIM_BLOCK, rng_mix(trait, b));
	return trait;
}

/* Too many subsets to try them all: extremes first, then samples of each sort in turn. */
static void sample_cut(const struct sim_disk *disk, uint32_t n, uint64_t seed, struct sim_cut *cut)
{
	static const char modes[] = "rqplrqkr";
	uint64_t r = rng_mix(seed, n);

	if (n < 2) {
		*cut = (struct sim_cut){'p', n ? disk->pending_count : 0, false};
		return;
	}
	*cut = (struct sim_cut){modes[n % (sizeof(modes) - 1)], r & 0xffffff, false};
	if (cut->mode == 'p')
		cut->arg = r % disk->pending_count;
	else if (cut->mode == 'l' || cut->mode == 'k')
		cut->arg = r % disk->pending_ops;
}

bool sim_cut_choose(const struct sim_disk *disk, uint32_t n, uint32_t limit, uint64_t seed,
		    bool garbage, struct sim_cut *cut)
{
	uint32_t sectors = disk->pending_count, ops = disk->pending_ops, whole = 0;

	if (n >= limit || (n > 0 && sectors == 0))
		return false;
	if (sectors < 20 && (1u << sectors) <= limit) {
		*cut = (struct sim_cut){'s', n, false};
		return n < (1u << sectors);
	}
	if (ops < 20 && (1u << ops) <= limit / 2)
		whole = 1u << ops;
	if (n < whole)
		*cut = (struct sim_cut){'o', n, false};
	else
		sample_cut(disk, whole ? n - whole + 2 : n, seed, cut);
	cut->garbage = garbage && disk->dev.sector_size == SIM_SECTOR &&
		       (cut->mode == 'r' || cut->mode == 'q') && (cut->arg >> 8) % 3 == 0;
	return true;
}
