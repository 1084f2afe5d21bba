/* SPDX-License-Identifier: MIT */
/* Real images, small and of little content, so that their descriptions are short. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz.h"
#include "mem_dev.h"
#include "lib/engine/engine.h"
#include "rng.h"
#include "lib/engine/open.h"
#include "lib/verbs/operations.h"

struct life {
	uint16_t blocks;
	uint16_t odd_bytes;
	uint16_t first_free;
	bool device, exact, tail, much_divided, sector_4k, detached;
};

static const struct life lives[FUZZ_LIVES] = {
	{40, 0, 20, false, true, false, false, false, false},
	{40, 0, 20, true, false, false, false, false, false},
	{64, 700, 20, false, false, false, false, false, true},
	{64, 0, 40, true, true, false, false, true, false},
	{30, 0, 16, true, false, false, false, false, false},
	{160, 0, 8, true, true, false, true, false, false},
	{160, 100, 8, false, false, false, true, true, true},
	{24, 0, 12, false, true, true, false, false, false},
	{24, 0, 24, false, false, true, false, false, true},
	{400, 0, 150, true, false, false, false, false, false},
	{48, 1, 30, false, true, false, false, false, true},
	{80, 0, 20, false, false, false, true, false, false},
};

static void few_bytes(uint8_t *block, uint64_t token)
{
	memset(block, 0, BOW_BLOCK);
	rng_fill(block, 8, token);
}

static struct bow_bitmap *free_map(const struct life *l, uint64_t size)
{
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(size, BOW_BLOCK));

	if (!map)
		abort();
	for (uint64_t b = l->first_free; b < size / BOW_BLOCK; b++)
		if ((!l->much_divided || b % 3) && bow_bitmap_set(map, b, 1))
			abort();
	return map;
}

static void prepare(struct bowimg_disk *dev, const struct life *l, unsigned i)
{
	struct bow_bitmap *map = free_map(l, dev->size);
	struct bow_prepare_plan plan = {
		.free = map,
		.free_source = "map",
		.exact = l->exact,
		.store = l->tail ? BOWIMG_STORE_TAIL : BOWIMG_STORE_FREE,
		.on_full = l->device ? BOWIMG_ON_FULL_STOP : BOWIMG_ON_FULL_TAIL,
		.uuid = {'f', 'u', 'z', 'z', (uint8_t)i, 1},
	};
	struct bowimg_prepare_report report;
	struct bowimg_error err = {0};

	if (bow_prepare_dev(dev, &plan, &report, &err))
		fuzz_die("a seed: %s", err.message);
	bow_bitmap_free(map);
}

/* Some of everything; a full image refuses some of it, which is as good. */
static void guest(bowimg_disk *img, struct rng *r, uint32_t requests)
{
	uint8_t block[BOW_BLOCK];
	uint32_t blocks = (uint32_t)(bowimg_disk_size(img) / BOW_BLOCK);

	while (requests--) {
		uint64_t off = rng_below(r, blocks) * (uint64_t)BOW_BLOCK;

		few_bytes(block, rng_next(r));
		switch (rng_below(r, 8)) {
		case 0:
			bowimg_disk_zero(img, off, BOW_BLOCK, 0, NULL);
			break;
		case 1:
			bowimg_disk_flush(img, NULL);
			break;
		case 2:
			bowimg_disk_write(img, block, BOW_BLOCK, 0, 0, NULL);
			break;
		default:
			bowimg_disk_write(img, block, BOW_BLOCK, off, 0, NULL);
		}
	}
}

static void serve(struct bowimg_disk *dev, const struct life *l, unsigned i)
{
	static const struct bowimg_open_options opts = {.force = BOWIMG_FORCE_CHANGED};
	struct rng r = {i};
	struct bowimg_error err = {0};
	struct bow_engine *engine;
	bowimg_disk *img;

	if (bow_serve_dev(dev, &opts, &img, &err))
		fuzz_die("a seed: %s", err.message);
	guest(img, &r, 40 + 2 * i);
	bowimg_disk_flush(img, NULL);
	engine = bow_engine_of(img);
	if (l->detached)
		bow_checkpoint_mark_clean(dev, &engine->sb, engine->log.next_seq - 1, NULL);
	bow_engine_free(img);
}

struct bowimg_disk *fuzz_life(unsigned i)
{
	const struct life *l = &lives[i];
	uint64_t size = l->blocks * (uint64_t)BOW_BLOCK + l->odd_bytes;
	/* A tail of a few blocks: there is not room for the 16 MiB that the engine asks for first.
	 */
	uint64_t most = (l->blocks + (l->tail ? 800 : 60)) * (uint64_t)BOW_BLOCK;
	struct bowimg_disk *dev = mem_dev_new(size, l->device ? size : most);

	if (!dev)
		abort();
	if (l->device)
		mem_dev_make_device(dev);
	dev->sector_size = l->sector_4k ? 4096 : 512;
	for (uint64_t b = 0; b < l->first_free; b++)
		if (b % 5)
			few_bytes(mem_dev_bytes(dev) + b * BOW_BLOCK, i * 1000 + b);
	prepare(dev, l, i);
	serve(dev, l, i);
	return dev;
}

struct bowimg_disk *fuzz_finishing_life(unsigned i, bool commit)
{
	struct bowimg_end_options opts = {.force = BOWIMG_FORCE_CHANGED};
	struct bowimg_disk *dev = fuzz_life(i);
	struct bowimg_end_report report;
	struct fuzz_fence f;

	fuzz_fence_init(&f, dev);
	f.cut_at_finishing = true;
	if (commit)
		bow_commit_dev(&f.dev, &opts, &report, NULL);
	else
		bow_rollback_dev(&f.dev, &opts, &report, NULL);
	if (f.cut) {
		free(f.touched);
		return dev;
	}
	fuzz_fence_release(&f); /* it needed no plan */
	return NULL;
}
