/* SPDX-License-Identifier: MIT */
/*
 * Views at marks over random lives of an image, against plain copies of what its guest had at each.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/blocks/bitmap.h"
#include "lib/format/format.h"
#include "lib/verbs/operations.h"
#include "mem_dev.h"
#include "rng.h"

#define BLOCKS 160u
#define BYTES ((size_t)BLOCKS * BOW_BLOCK)
#define MARKS 5u
#define LIVES 12u

/* The disk at one point, as its guest has it. */
struct point {
	char name[8];
	uint8_t image[BYTES];
	bool counts[BLOCKS]; /* was used at prepare, or the guest wrote to it since */
	uint64_t record;     /* of the mark */
};

struct life {
	struct rng rng;
	struct bowimg_disk *dev;
	struct bowimg_error err;
	bool exact;
	struct point at[MARKS + 2]; /* prepare, the marks, now */
	unsigned marks, names;
	unsigned views, changes, zeros; /* seen */
};

static void ok(struct life *l, int rc, const char *what)
{
	if (rc)
		fail_msg("%s: %d %s", what, rc, l->err.message);
}

static struct point *now(struct life *l)
{
	return &l->at[MARKS + 1];
}

static void fill(struct life *l, uint8_t *p, size_t bytes)
{
	memset(p, rng_chance(&l->rng, 15) ? 0 : (int)rng_between(&l->rng, 1, 255), bytes);
}

/* ---- the life -------------------------------------------------------------------- */

static void prepare(struct life *l)
{
	struct bow_bitmap *map = bow_bitmap_new(BLOCKS);
	struct bow_prepare_plan plan = {.free = map, .free_source = "test", .exact = l->exact};
	struct bowimg_prepare_report report;
	struct point *p = now(l);

	plan.on_full = BOWIMG_ON_FULL_TAIL;
	if (rng_chance(&l->rng, 20))
		plan.store = BOWIMG_STORE_TAIL;
	memset(p->counts, true, sizeof(p->counts));
	for (uint32_t b = 0; b < BLOCKS; b++) {
		uint8_t *block = mem_dev_bytes(l->dev) + (size_t)b * BOW_BLOCK;

		if (b && rng_chance(&l->rng, 60)) {
			p->counts[b] = false;
			assert_int_equal(bow_bitmap_set(map, b, 1), 0);
		}
		if (p->counts[b] || !l->exact)
			fill(l, block, BOW_BLOCK);
	}
	memcpy(p->image, mem_dev_bytes(l->dev), BYTES);
	l->at[0] = *p;
	ok(l, bow_prepare_dev(l->dev, &plan, &report, &l->err), "prepare");
	bow_bitmap_free(map);
}

/* A second device with the same bytes, because a disk takes its device with it. */
static struct bowimg_disk *twin(struct life *l)
{
	struct bowimg_disk *dev = mem_dev_new(BYTES, 16 * BYTES);

	assert_non_null(dev);
	if (l->dev->size > BYTES)
		ok(l, bow_disk_resize(dev, l->dev->size, &l->err), "resize");
	memcpy(mem_dev_bytes(dev), mem_dev_bytes(l->dev), l->dev->size);
	return dev;
}

/* Free blocks are as the disk has them: what bowimg uses of them reads as zeros. */
static void see_uncounted(struct life *l, bowimg_disk *disk, uint32_t b, uint32_t n)
{
	for (; n-- > 0; b++)
		if (!now(l)->counts[b])
			ok(l,
			   bowimg_disk_read(disk, now(l)->image + (size_t)b * BOW_BLOCK, BOW_BLOCK,
					    (uint64_t)b * BOW_BLOCK, &l->err),
			   "read");
}

static void request(struct life *l, bowimg_disk *disk)
{
	struct point *p = now(l);
	uint32_t b = rng_below(&l->rng, BLOCKS), n = rng_between(&l->rng, 1, 9);
	size_t off = (size_t)b * BOW_BLOCK, bytes;
	bool zero = rng_chance(&l->rng, 35);

	n = (uint32_t)bow_min(rng_chance(&l->rng, 10) ? 9 * n : n, BLOCKS - b);
	bytes = (size_t)n * BOW_BLOCK;
	see_uncounted(l, disk, b, n);
	if (!zero && rng_chance(&l->rng, 30)) {
		off += 512;
		bytes -= 1024;
	}
	if (zero) {
		ok(l, bowimg_disk_zero(disk, off, bytes, 0, &l->err), "zero");
		memset(p->image + off, 0, bytes);
		return;
	}
	fill(l, p->image + off, bytes);
	ok(l, bowimg_disk_write(disk, p->image + off, bytes, off, 0, &l->err), "write");
	memset(p->counts + b, true, n);
}

/* ---- the views ------------------------------------------------------------------- */

static const char *name_of(const struct life *l, uint32_t i)
{
	return i ? l->at[i].name : NULL;
}

/* Content that does not count is zeros in exact mode, and else may be anything. */
static void compare(struct life *l, uint32_t i, const uint8_t *seen)
{
	const struct point *p = &l->at[i];

	for (uint32_t b = 0; b < BLOCKS; b++) {
		const uint8_t *want = p->image + (size_t)b * BOW_BLOCK;
		const uint8_t *got = seen + (size_t)b * BOW_BLOCK;

		if ((p->counts[b] || l->exact) && memcmp(want, got, BOW_BLOCK))
			fail_msg("%s of %u marks: block %u is %u, not %u", i ? p->name : "prepare",
				 l->marks, b, got[600], want[600]);
	}
}

static void read_in_pieces(struct life *l, bowimg_disk *disk, uint8_t *seen)
{
	uint64_t off = 0, n, reach;
	bool zero;

	for (; off < BYTES; off += n) {
		n = bow_min(rng_between(&l->rng, 1, 40 * BOW_BLOCK), BYTES - off);
		ok(l, bowimg_disk_read(disk, seen + off, n, off, &l->err), "read a view");
	}
	for (off = 0; off < BYTES; off += reach) {
		ok(l, bowimg_disk_extent(disk, off, &zero, &reach, &l->err), "extent");
		assert_true(reach > 0 && reach <= BYTES - off);
		assert_true(!zero || bow_is_zero(seen + off, reach));
		l->zeros += zero;
	}
}

/* The one handle and the other are of the same moment, and say so. */
static void assert_moment(const struct life *l, uint32_t i, const bowimg_disk *was)
{
	struct bowimg_disk_info info;

	assert_int_equal(bowimg_disk_get_info(was, &info, NULL), 0);
	assert_int_equal(info.record, i ? l->at[i].record : 0);
	assert_int_equal(info.size, BYTES);
	assert_int_equal(info.exact, l->exact);
}

/* While it is served: some views are open from the start, others are opened now. */
static void look_served(struct life *l, bowimg_disk *disk, bowimg_disk *const *old)
{
	uint32_t i = rng_below(&l->rng, l->marks + 1);
	bowimg_disk *was = NULL;
	uint8_t *seen = malloc(BYTES);

	if (rng_chance(&l->rng, 50))
		ok(l, bowimg_disk_at(disk, name_of(l, i), &was, &l->err), "view a served disk");
	read_in_pieces(l, was ? was : old[i], seen);
	compare(l, i, seen);
	l->views++;
	if (was)
		ok(l, bowimg_disk_close(was, &l->err), "close a view");
	free(seen);
}

/* ---- serving --------------------------------------------------------------------- */

/* Serve, and leave it as a process that is killed behind a flush does. */
static void guest(struct life *l)
{
	bowimg_disk *disk, *old[MARKS + 1];

	ok(l, bow_serve_dev(l->dev, NULL, &disk, &l->err), "serve");
	assert_int_equal(bowimg_disk_at(disk, "nothing", &old[0], &l->err), -ENODATA);
	for (uint32_t i = 0; i <= l->marks; i++) {
		ok(l, bowimg_disk_at(disk, name_of(l, i), &old[i], &l->err), "view");
		assert_moment(l, i, old[i]);
	}
	for (uint32_t i = rng_between(&l->rng, 0, 30); i-- > 0;) {
		request(l, disk);
		if (rng_chance(&l->rng, 12))
			look_served(l, disk, old);
	}
	for (uint32_t i = 0; i <= l->marks; i++)
		ok(l, bowimg_disk_close(old[i], &l->err), "close a view");
	ok(l, bowimg_disk_flush(disk, &l->err), "flush");
	see_uncounted(l, disk, 0, BLOCKS);
	l->dev = twin(l);
	ok(l, bowimg_disk_close(disk, &l->err), "close");
}

static void make_mark(struct life *l)
{
	struct bowimg_mark made;
	struct point *p = &l->at[l->marks + 1];

	if (l->marks == MARKS)
		return;
	*p = *now(l);
	snprintf(p->name, sizeof(p->name), "m%u", l->names++);
	ok(l, bow_mark_make_dev(l->dev, p->name, 0, &made, &l->err), "mark");
	p->record = made.record;
	l->marks++;
}

static void go_back(struct life *l)
{
	uint32_t i = rng_between(&l->rng, 1, l->marks ? l->marks : 1);
	struct bowimg_end_options opts = {.to = l->at[i].name};
	struct bowimg_end_report report;

	if (!l->marks)
		return;
	ok(l, bow_rollback_dev(l->dev, &opts, &report, &l->err), "return");
	l->marks = i;
	*now(l) = l->at[i];
}

struct telling {
	struct life *l;
	const struct point *then;
	const uint8_t *seen, *now; /* the view at the point; the view of now */
	bool told[BLOCKS];
	uint64_t end;
};

static int tell(void *ctx, const struct bowimg_change *c)
{
	struct telling *t = ctx;

	assert_true(c->off >= t->end && c->bytes > 0 && c->off + c->bytes <= BYTES);
	t->end = c->off + c->bytes;
	t->l->changes++;
	for (uint64_t b = c->off / BOW_BLOCK; b < t->end / BOW_BLOCK; b++) {
		t->told[b] = true;
		if (c->zero_now)
			assert_true(bow_is_zero(t->now + b * BOW_BLOCK, BOW_BLOCK));
		if (c->was_zero)
			assert_true(bow_is_zero(t->seen + b * BOW_BLOCK, BOW_BLOCK));
		if (c->was_free)
			assert_true(!t->then->counts[b] ||
				    bow_is_zero(t->seen + b * BOW_BLOCK, BOW_BLOCK));
	}
	return 0;
}

static void check_changes(struct life *l, bowimg_disk *view, uint32_t i, const uint8_t *seen,
			  const uint8_t *is)
{
	struct telling t = {.l = l, .then = &l->at[i], .seen = seen, .now = is};

	ok(l, bowimg_disk_changes_since(view, name_of(l, i), tell, &t, &l->err), "changes");
	for (uint32_t b = 0; b < BLOCKS; b++)
		if ((t.then->counts[b] || l->exact) && !t.told[b] &&
		    memcmp(seen + (size_t)b * BOW_BLOCK, is + (size_t)b * BOW_BLOCK, BOW_BLOCK))
			fail_msg("block %u changed from %u to %u since %s, and that is not told", b,
				 seen[b * BOW_BLOCK + 600], is[b * BOW_BLOCK + 600],
				 i ? t.then->name : "prepare");
}

static void look(struct life *l)
{
	struct bowimg_disk *keep = twin(l);
	bowimg_disk *view, *was[MARKS + 1];
	uint8_t *seen = malloc(BYTES), *is = malloc(BYTES);

	ok(l, bow_view_open(l->dev, 0, &view, &l->err), "view");
	assert_int_equal(bowimg_disk_at(view, "nothing", &was[0], &l->err), -ENODATA);
	assert_int_equal(bowimg_disk_changes_since(view, "nothing", tell, NULL, &l->err), -ENODATA);
	ok(l, bowimg_disk_read(view, is, BYTES, 0, &l->err), "read");
	for (uint32_t i = 0; i <= l->marks; i++)
		ok(l, bowimg_disk_at(view, name_of(l, i), &was[i], &l->err), "view at a mark");
	for (uint32_t i = 0; i <= l->marks; i++) {
		assert_moment(l, i, was[i]);
		read_in_pieces(l, was[i], seen);
		compare(l, i, seen);
		check_changes(l, view, i, seen, is);
		ok(l, bowimg_disk_close(was[i], &l->err), "close a view");
		l->views++;
	}
	ok(l, bowimg_disk_close(view, &l->err), "close");
	l->dev = keep;
	free(seen);
	free(is);
}

static void live(struct life *l)
{
	prepare(l);
	for (uint32_t steps = rng_between(&l->rng, 2, 9); steps-- > 0;) {
		guest(l);
		look(l);
		if (rng_chance(&l->rng, 60))
			make_mark(l);
		if (rng_chance(&l->rng, 25))
			go_back(l);
		look(l);
	}
}

static void views_at_marks_are_what_the_guest_had(void **state)
{
	const char *env = getenv("SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : 1, end = seed + (env ? 1 : LIVES);
	struct life *l = calloc(1, sizeof(*l));
	unsigned views = 0, changes = 0, zeros = 0;

	(void)state;
	assert_non_null(l);
	for (; seed < end; seed++) {
		memset(l, 0, sizeof(*l));
		l->rng = (struct rng){seed};
		l->exact = rng_chance(&l->rng, 40);
		l->dev = mem_dev_new(BYTES, 16 * BYTES);
		assert_non_null(l->dev);
		live(l);
		bow_disk_close(l->dev, NULL);
		views += l->views;
		changes += l->changes;
		zeros += l->zeros;
	}
	print_message("%u views, %u changes, %u runs of zeros\n", views, changes, zeros);
	free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(views_at_marks_are_what_the_guest_had),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
