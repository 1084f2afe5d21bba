/* SPDX-License-Identifier: MIT */
/*
 * `make bench-counts`: what writing costs, in what does not depend on the machine: barriers, bytes
 * written for the log, and requests to the image. Each kind of work is done in a fresh checkpoint
 * and in one whose guest wrote here and there in free space before; with one request in flight, so
 * that every run counts the same, with sixteen, and with 2,048 in one call, as the write-back cache
 * makes them.
 *
 *	counts [WORD]...	only rows whose title has each WORD
 *
 * Exits with 1 if a count is above its line. Lines are meant to fall: whoever makes a count smaller
 * moves its line along.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "count_dev.h"
#include "lib/base/bytes.h"
#include "lib/format/format.h"
#include "lib/verbs/operations.h"
#include "pieces.h"
#include "rng.h"

#define MIB_BLK 256u
#define USED_BLK (1024u * MIB_BLK)
#define IMAGE_BLK (2048u * MIB_BLK)
#define STREAM_BLK (192u * MIB_BLK)
#define DENSE_BLK (64u * MIB_BLK)
#define SCATTERED 4096u
#define TOGETHER 2048u
#define MARGIN_BLK (16u * MIB_BLK) /* from where work begins to the area's front */

enum kind { FREE, FIRST, SECOND };
enum work { STREAM, DENSE, SCATTER };

static const char *const kinds[] = {"free", "first", "second"};
static const char *const works[] = {"stream", "dense", "scattered"};

static int prepare(struct bowimg_disk *dev, struct bowimg_error *err)
{
	struct bow_bitmap *map = bow_bitmap_new(IMAGE_BLK);
	struct bow_prepare_plan plan = {.free = map,
					.free_source = "map",
					.uuid = {1},
					.exact = true,
					.store = BOWIMG_STORE_FREE,
					.on_full = BOWIMG_ON_FULL_STOP};
	struct bowimg_prepare_report report;
	int rc = map ? bow_bitmap_set(map, USED_BLK, IMAGE_BLK - USED_BLK) : -ENOMEM;

	rc = rc ? bow_err_errno(err, rc, "make a free map")
		: bow_prepare_dev(dev, &plan, &report, err);
	bow_bitmap_free(map);
	return rc;
}

static bowimg_disk *serve(struct bowimg_error *err)
{
	struct bowimg_disk *dev = count_dev_new(IMAGE_BLK, USED_BLK);
	bowimg_disk *disk;

	if (!dev) {
		bow_err_errno(err, -ENOMEM, "make an image");
		return NULL;
	}
	if (!prepare(dev, err) && !bow_serve_dev(dev, NULL, &disk, err))
		return disk;
	bow_disk_close(dev, NULL);
	return NULL;
}

/* ---- the work ---------------------------------------------------------------------- */

struct request {
	uint32_t blk, n;
};

static struct {
	struct request request[DENSE_BLK];
	uint32_t n;
} todo;

static void add(uint64_t blk, uint64_t n)
{
	todo.request[todo.n++] = (struct request){(uint32_t)blk, (uint32_t)n};
}

static void plan_stream(uint64_t from)
{
	for (uint64_t blk = 0; blk < STREAM_BLK; blk += MIB_BLK)
		add(from + blk, MIB_BLK);
}

/* Each block once, in random order. */
static void plan_dense(uint64_t from)
{
	struct rng r = {1};
	struct request *at = todo.request;
	uint32_t j;

	for (uint32_t i = 0; i < DENSE_BLK; i++) {
		add(from + i, 1);
		j = rng_below(&r, i + 1);
		at[i] = at[j];
		at[j].blk = (uint32_t)from + i;
	}
}

static void plan_scattered(uint64_t seed, uint64_t from, uint64_t end)
{
	struct rng r = {seed};

	for (unsigned i = 0; i < SCATTERED; i++)
		add(from + rng_below(&r, (uint32_t)(end - from)), 1);
}

static void plan(enum work work, enum kind kind)
{
	uint64_t from = kind == FREE ? USED_BLK : 0, end = kind == FREE ? IMAGE_BLK : USED_BLK;

	todo.n = 0;
	if (work == STREAM)
		plan_stream(from + MARGIN_BLK);
	else if (work == DENSE)
		plan_dense(from + MARGIN_BLK);
	else
		plan_scattered(2, bow_max(1, from), end);
}

static const uint8_t *content(void)
{
	static uint8_t bytes[MIB_BLK * BOW_BLOCK];

	if (!bytes[0])
		memset(bytes, COUNT_DEV_CONTENT, sizeof(bytes));
	return bytes;
}

/* Writes what is planned from *next on; returns the first error. */
static int write_planned(bowimg_disk *disk, atomic_uint *next, struct bowimg_error *err)
{
	const struct request *r;
	unsigned i;
	int rc = 0;

	while (!rc && (i = atomic_fetch_add(next, 1)) < todo.n) {
		r = &todo.request[i];
		rc = bowimg_disk_write(disk, content(), (size_t)r->n * BOW_BLOCK,
				       r->blk * (uint64_t)BOW_BLOCK, 0, err);
	}
	return rc;
}

static int by_place(const void *a, const void *b)
{
	const struct request *x = a, *y = b;

	return (x->blk > y->blk) - (x->blk < y->blk);
}

static int write_together(bowimg_disk *disk, struct request *r, uint32_t n,
			  struct bowimg_error *err)
{
	static struct bow_write writes[TOGETHER];

	qsort(r, n, sizeof(*r), by_place);
	for (uint32_t i = 0; i < n; i++)
		writes[i] = (struct bow_write){.buf = content(),
					       .bytes = (size_t)r[i].n * BOW_BLOCK,
					       .off = r[i].blk * (uint64_t)BOW_BLOCK};
	return pieces_write_many(disk, writes, n, err);
}

static int write_all_together(bowimg_disk *disk, struct bowimg_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < todo.n && !rc; i += TOGETHER)
		rc = write_together(disk, &todo.request[i], bow_min(TOGETHER, todo.n - i), err);
	return rc;
}

struct worker {
	pthread_t thread;
	bowimg_disk *disk;
	atomic_uint *next;
	pthread_barrier_t *together;
	struct bowimg_error err;
	int rc;
};

static void *work_on(void *arg)
{
	struct worker *w = arg;

	count_dev_join();
	pthread_barrier_wait(w->together);
	w->rc = write_planned(w->disk, w->next, &w->err);
	count_dev_leave();
	return NULL;
}

/* With so many requests in flight. */
static int do_work(bowimg_disk *disk, unsigned depth, struct bowimg_error *err)
{
	struct worker workers[COUNT_DEV_QUEUE] = {0};
	atomic_uint next = 0;
	pthread_barrier_t together;
	unsigned n;
	int rc = 0;

	if (depth == 1)
		return write_planned(disk, &next, err);
	if (depth == TOGETHER)
		return write_all_together(disk, err);
	pthread_barrier_init(&together, NULL, depth);
	for (n = 0; n < depth; n++) {
		workers[n].disk = disk;
		workers[n].next = &next;
		workers[n].together = &together;
		if (pthread_create(&workers[n].thread, NULL, work_on, &workers[n]))
			abort(); /* the others would wait for it */
	}
	while (n--) {
		pthread_join(workers[n].thread, NULL);
		if (!rc && workers[n].rc) {
			rc = workers[n].rc;
			*err = workers[n].err;
		}
	}
	pthread_barrier_destroy(&together);
	return rc;
}

/* ---- the table --------------------------------------------------------------------- */

struct counts {
	uint64_t barriers, log_kib, requests;
};

/*
 * The most that each row may take. With one request in flight, or many in one call, the count is
 * exact. With sixteen it depends on who comes first, so the middle one of three counts stands for
 * it, and its line lies a third above what a hundred runs counted.
 */
static const struct row {
	enum work work;
	enum kind kind;
	bool after; /* scattered writes to free space */
	unsigned depth;
	struct counts line;
} rows[] = {
	{STREAM, FREE, false, 1, {12, 6, 204}},
	{STREAM, FREE, true, 1, {0, 0, 192}},
	{STREAM, FREE, false, 16, {9, 6, 306}},
	{STREAM, FREE, true, 16, {3, 3, 216}},
	{STREAM, FIRST, false, 1, {20, 32, 1858}},
	{STREAM, FIRST, true, 1, {24, 189, 2577}},
	{STREAM, FIRST, false, 16, {29, 66, 2335}},
	{STREAM, FIRST, true, 16, {44, 1772, 3199}},
	{STREAM, SECOND, false, 1, {0, 0, 192}},
	{STREAM, SECOND, true, 1, {0, 0, 192}},
	{DENSE, FREE, false, 1, {6, 3, 16390}},
	{DENSE, FREE, true, 1, {0, 0, 16384}},
	{DENSE, FREE, false, 16, {5, 4, 18434}},
	{DENSE, FREE, true, 16, {3, 3, 18432}},
	{DENSE, FIRST, false, 1, {1071, 554, 21923}},
	{DENSE, FIRST, true, 1, {1083, 1210, 22145}},
	{DENSE, FIRST, false, 16, {189, 212, 23814}},
	{DENSE, FIRST, true, 16, {201, 940, 24115}},
	{DENSE, SECOND, false, 1, {0, 0, 16384}},
	{DENSE, SECOND, true, 1, {0, 0, 16384}},
	{SCATTER, FREE, false, 1, {21, 134, 4124}},
	{SCATTER, FREE, true, 1, {9, 5, 4115}},
	{SCATTER, FREE, false, 16, {20, 512, 4628}},
	{SCATTER, FREE, true, 16, {12, 192, 4632}},
	{SCATTER, FIRST, false, 1, {4056, 3051, 16461}},
	{SCATTER, FIRST, true, 1, {4075, 4155, 16498}},
	{SCATTER, FIRST, false, 16, {660, 498, 14511}},
	{SCATTER, FIRST, true, 16, {673, 1110, 14532}},
	{DENSE, FREE, false, TOGETHER, {8, 516, 16392}},
	{DENSE, FREE, true, TOGETHER, {0, 0, 16384}},
	{DENSE, FIRST, false, TOGETHER, {8, 447, 30893}},
	{DENSE, FIRST, true, TOGETHER, {22, 1081, 31153}},
	{SCATTER, FREE, false, TOGETHER, {10, 465, 4114}},
	{SCATTER, FREE, true, TOGETHER, {7, 4, 4113}},
	{SCATTER, FIRST, false, TOGETHER, {2, 127, 8188}},
	{SCATTER, FIRST, true, TOGETHER, {10, 635, 8263}},
	{SCATTER, SECOND, false, 1, {0, 0, 4096}},
	{SCATTER, SECOND, true, 1, {0, 0, 4096}},
};

static struct counts count(const bowimg_disk *disk)
{
	struct bowimg_counters c;

	bowimg_disk_get_counters(disk, &c);
	return (struct counts){c.barriers, count_dev_log_bytes(), count_dev_requests()};
}

static int measure_on(bowimg_disk *disk, const struct row *row, struct counts *out,
		      struct bowimg_error *err)
{
	struct counts before;
	int rc = 0;

	if (row->after) {
		todo.n = 0;
		plan_scattered(3, USED_BLK, IMAGE_BLK);
		rc = do_work(disk, 1, err); /* one at a time: the same history each time */
	}
	plan(row->work, row->kind);
	if (!rc && row->kind == SECOND)
		rc = do_work(disk, row->depth, err);
	before = count(disk);
	if (!rc)
		rc = do_work(disk, row->depth, err);
	*out = count(disk);
	out->barriers -= before.barriers;
	out->log_kib = bow_div_up(out->log_kib - before.log_kib, 1024);
	out->requests -= before.requests;
	return rc;
}

static int measure_once(const struct row *row, struct counts *out, struct bowimg_error *err)
{
	bowimg_disk *disk = serve(err);
	int rc = disk ? measure_on(disk, row, out, err) : -EIO;

	if (disk && bowimg_disk_close(disk, rc ? NULL : err))
		rc = rc ? rc : -EIO;
	return rc;
}

static uint64_t middle(uint64_t a, uint64_t b, uint64_t c)
{
	return bow_max(bow_min(a, b), bow_min(bow_max(a, b), c));
}

static int measure(const struct row *row, struct counts *out, struct bowimg_error *err)
{
	struct counts n[3];
	int rc = 0;

	if (row->depth == 1 || row->depth == TOGETHER)
		return measure_once(row, out, err);
	for (int i = 0; !rc && i < 3; i++)
		rc = measure_once(row, &n[i], err);
	if (rc)
		return rc;
	out->barriers = middle(n[0].barriers, n[1].barriers, n[2].barriers);
	out->log_kib = middle(n[0].log_kib, n[1].log_kib, n[2].log_kib);
	out->requests = middle(n[0].requests, n[1].requests, n[2].requests);
	return 0;
}

/* Prints a count and its line; returns whether it is above. */
static bool print(uint64_t n, uint64_t line)
{
	printf(" %8" PRIu64 " %s %-6" PRIu64, n, n > line ? "> " : "<=", line);
	return n > line;
}

/* Returns 1 if a count is above its line, 0 if none is, -1 if it could not be counted. */
static int show(const struct row *row, const char *title)
{
	struct counts n;
	struct bowimg_error err;
	bool above;

	bow_err_clear(&err);
	if (measure(row, &n, &err)) {
		fprintf(stderr, "counts: %s: %s\n", title, err.message);
		return -1;
	}
	printf("%-29s", title);
	above = print(n.barriers, row->line.barriers);
	above |= print(n.log_kib, row->line.log_kib);
	above |= print(n.requests, row->line.requests);
	printf("%s\n", above ? "  ABOVE" : "");
	return above;
}

static bool has_words(const char *title, char **words, int n)
{
	for (int i = 0; i < n; i++)
		if (!strstr(title, words[i]))
			return false;
	return true;
}

int main(int argc, char **argv)
{
	int above = 0, rc;
	char title[64];

	printf("%-29s %18s %18s %18s\n", "what, and the most allowed", "barriers", "log KiB",
	       "requests");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(title, sizeof(title), "%s %s %s QD%u", works[rows[i].work],
			 kinds[rows[i].kind], rows[i].after ? "after" : "fresh", rows[i].depth);
		if (!has_words(title, argv + 1, argc - 1))
			continue;
		rc = show(&rows[i], title);
		if (rc < 0)
			return 2;
		above += rc;
	}
	printf("%d above their lines\n", above);
	return above > 0;
}
