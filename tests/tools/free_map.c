/* SPDX-License-Identifier: MIT */
/*
 * For the end-to-end tests: what the free map of an image is, and whether it is right.
 *
 *	free_map scribble IMAGE			fill what a checkpoint has as free with random bytes
 *	free_map compare IMAGE SOURCE SOURCE	"BOTH FIRST SECOND": bytes free by both, or by one
 *only
 *	free_map changed IMAGE OTHER SOURCE	bytes in used blocks of IMAGE that OTHER has
 *otherwise
 *	free_map part IMAGE OFF BYTES SOURCE	fill what is free in that part of an image
 *
 * The random bytes depend on the seed in the environment's SEED alone (1 if there is none).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "bowimg/helpers/expose.h"
#include "lib/verbs/open.h"
#include "rng.h"
#include "lib/freespace/freemap.h"

#define PIECE_BLK 256u

static int fail(const struct bowimg_error *err)
{
	fprintf(stderr, "free_map: %s\n", err->message);
	return 1;
}

static int fill(struct bowimg_disk *dev, struct rng *rng, uint64_t start, uint64_t count,
		struct bowimg_error *err)
{
	static uint64_t words[PIECE_BLK * BOW_BLOCK / 8];

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		words[i] = rng_next(rng);
	return bow_disk_write(dev, words, count * BOW_BLOCK, start * BOW_BLOCK, err);
}

/* All but what bowimg keeps there: that it has overwritten itself. */
static int fill_free(struct bowimg_disk *dev, const struct bow_blocks *b, uint64_t *blocks,
		     struct bowimg_error *err)
{
	const char *seed = getenv("SEED");
	struct rng rng = {seed ? strtoull(seed, NULL, 0) : 1};
	uint64_t start = 0, n;
	int rc = 0;

	for (; !rc && bow_blocks_next_free(b, &start, &n, b->count, PIECE_BLK); start += n) {
		rc = fill(dev, &rng, start, n, err);
		*blocks += n;
	}
	return rc;
}

static int scribble(const char *image)
{
	struct bowimg_error err = {0};
	struct bow_opened o;
	struct bowimg_disk *dev;
	uint64_t blocks = 0;

	if (bow_disk_open_file(image, BOW_OPEN_EXCLUSIVE, NULL, &dev, &err))
		return fail(&err);
	int rc = bow_checkpoint_open(dev, BOW_OPEN_TO_WRITE, 0, &o, &err);
	if (!rc && !o.loaded)
		rc = bow_err(&err, -EINVAL, "there is no checkpoint");
	if (!rc)
		rc = fill_free(dev, &o.cp.blocks, &blocks, &err);
	bow_opened_release(&o);
	int closed = bow_disk_close(dev, rc ? NULL : &err);
	if (rc || closed)
		return fail(&err);
	printf("%llu\n", (unsigned long long)blocks * BOW_BLOCK);
	return 0;
}

static int read_map(struct bowimg_disk *dev, const char *source, struct bow_bitmap **out,
		    struct bowimg_error *err)
{
	const struct bowimg_events events = {.helpers = &bow_helpers};
	const struct bow_freemap_options opts = {.free_from = source, .events = &events};
	struct bow_freemap_info info;

	*out = bow_bitmap_new(bow_div_up(dev->size, BOW_BLOCK));
	return *out ? bow_freemap_read(dev, &opts, *out, &info, err) : -ENOMEM;
}

static int read_part(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, const char *source,
		     struct bow_bitmap *map, struct bowimg_error *err)
{
	const struct bowimg_events events = {.helpers = &bow_helpers};
	const struct bow_freemap_options opts = {.events = &events};
	struct bow_freemap_job job = {.dev = dev, .opts = &opts};
	struct bow_freemap_info info;
	struct bow_content content;
	int rc = bow_source_parse(source, &job.source, err);

	if (!rc)
		rc = bow_content_probe(dev, off, bytes, &content, err);
	return rc ? rc : bow_freemap_volume(&job, &content, map, &info, err);
}

/* There is no checkpoint: the map as such, of one file system somewhere on the image. */
static int part(const char *image, uint64_t off, uint64_t bytes, const char *source)
{
	struct rng rng = {1};
	struct bowimg_error err = {0};
	uint64_t start = 0, n, sum = 0;
	struct bowimg_disk *dev;

	if (bow_disk_open_file(image, BOW_OPEN_EXCLUSIVE, NULL, &dev, &err))
		return fail(&err);
	struct bow_bitmap *map = bow_bitmap_new(bow_div_up(dev->size, BOW_BLOCK));
	int rc = map ? read_part(dev, off, bytes, source, map, &err) : -ENOMEM;
	for (; !rc && bow_bitmap_next_run(map, &start, &n, bow_bitmap_bits(map)); start += n) {
		n = bow_min(n, PIECE_BLK);
		rc = fill(dev, &rng, start, n, &err);
		sum += n * BOW_BLOCK;
	}
	bow_bitmap_free(map);
	int closed = bow_disk_close(dev, rc ? NULL : &err);
	if (rc || closed)
		return fail(&err);
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}

static uint64_t only_in(const struct bow_bitmap *a, const struct bow_bitmap *b)
{
	const uint64_t end = bow_bitmap_bits(a);
	uint64_t start = 0, n, sum = 0;

	for (; bow_bitmap_next_run(a, &start, &n, end); start += n)
		sum += n - bow_bitmap_count_range(b, start, n);
	return sum * BOW_BLOCK;
}

static int compare(const char *image, const char *first, const char *second)
{
	struct bow_bitmap *a = NULL, *b = NULL;
	struct bowimg_error err = {0};
	struct bowimg_disk *dev;

	if (bow_disk_open_file(image, BOW_OPEN_EXCLUSIVE, NULL, &dev, &err))
		return fail(&err);
	int rc = read_map(dev, first, &a, &err);
	if (!rc)
		rc = read_map(dev, second, &b, &err);
	if (!rc)
		printf("%llu %llu %llu\n",
		       (unsigned long long)(bow_bitmap_count(a) * BOW_BLOCK - only_in(a, b)),
		       (unsigned long long)only_in(a, b), (unsigned long long)only_in(b, a));
	bow_bitmap_free(a);
	bow_bitmap_free(b);
	bow_disk_close(dev, NULL);
	return rc ? fail(&err) : 0;
}

/* Bytes in blocks [start, start + count) that differ. */
static int count_changed(struct bowimg_disk *a, struct bowimg_disk *b, uint64_t start,
			 uint64_t count, uint64_t *changed, struct bowimg_error *err)
{
	uint8_t x[BOW_BLOCK], y[BOW_BLOCK];
	int rc = 0;

	for (uint64_t at = start * BOW_BLOCK; at < (start + count) * BOW_BLOCK && !rc;
	     at += BOW_BLOCK) {
		size_t bytes = (size_t)bow_min(BOW_BLOCK, a->size - at);

		rc = bow_disk_read(a, x, bytes, at, err);
		if (!rc)
			rc = bow_disk_read(b, y, bytes, at, err);
		for (size_t i = 0; i < bytes && !rc; i++)
			*changed += x[i] != y[i];
	}
	return rc;
}

static int changed(const char *image, const char *other, const char *source)
{
	struct bow_bitmap *map = NULL;
	struct bowimg_error err = {0};
	uint64_t at = 0, next, sum = 0;
	struct bowimg_disk *a, *b;

	if (bow_disk_open_file(image, BOW_OPEN_EXCLUSIVE, NULL, &a, &err) ||
	    bow_disk_open_file(other, BOW_OPEN_EXCLUSIVE, NULL, &b, &err))
		return fail(&err);
	a->readonly = b->readonly = true;
	int rc = read_map(a, source, &map, &err);
	uint64_t end = map ? bow_bitmap_bits(map) : 0;
	for (; !rc && (at = bow_bitmap_next(map, at, end, false)) < end; at = next) {
		next = bow_bitmap_next(map, at, end, true);
		rc = count_changed(a, b, at, next - at, &sum, &err);
	}
	bow_bitmap_free(map);
	bow_disk_close(a, NULL);
	bow_disk_close(b, NULL);
	if (rc)
		return fail(&err);
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "scribble"))
		return scribble(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "compare"))
		return compare(argv[2], argv[3], argv[4]);
	if (argc == 5 && !strcmp(argv[1], "changed"))
		return changed(argv[2], argv[3], argv[4]);
	if (argc == 6 && !strcmp(argv[1], "part"))
		return part(argv[2], strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0),
			    argv[5]);
	fprintf(stderr, "usage: free_map scribble IMAGE | compare IMAGE SOURCE SOURCE | changed "
			"IMAGE OTHER SOURCE | part IMAGE OFF BYTES SOURCE\n");
	return 2;
}
