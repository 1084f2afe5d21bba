/* SPDX-License-Identifier: MIT */
/* Marks over whole lives of an image, against a plain array: random, without power cuts. */
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

#define BLOCKS 400u
#define MARKS 6u

/* The disk at one point, as its guest has it. */
struct moment {
	char name[8];
	uint8_t *bytes;
	bool *ours; /* blocks that count: used at prepare, or written by the guest since */
	bool deleted;
};

struct life {
	struct rng rng;
	struct bowimg_disk *dev, *disk;
	struct bowimg_error err;
	uint8_t *original, *image; /* as the guest has it now */
	bool free[BLOCKS], ours[BLOCKS];
	struct moment marks[MARKS];
	unsigned n;
	bool exact;
	unsigned made, returns;
};

static void ok(struct life *l, int rc, const char *what)
{
	if (rc)
		fail_msg("%s: %d %s", what, rc, l->err.message);
}

/* ---- the disk -------------------------------------------------------------------- */

static void prepare(struct life *l)
{
	struct bow_bitmap *map = bow_bitmap_new(BLOCKS);
	struct bow_prepare_plan plan = {.free = map, .free_source = "test", .exact = l->exact};
	struct bowimg_prepare_report report;

	plan.on_full = rng_chance(&l->rng, 50) ? BOWIMG_ON_FULL_TAIL : BOWIMG_ON_FULL_STOP;
	if (rng_chance(&l->rng, 20)) {
		plan.store = BOWIMG_STORE_TAIL;
		plan.on_full = BOWIMG_ON_FULL_TAIL;
	}
	for (uint32_t b = 1; b < BLOCKS; b++) {
		l->free[b] = rng_chance(&l->rng, 60);
		l->ours[b] = !l->free[b];
		if (l->free[b])
			assert_int_equal(bow_bitmap_set(map, b, 1), 0);
		if (!l->free[b] || !l->exact)
			memset(mem_dev_bytes(l->dev) + (size_t)b * BOW_BLOCK,
			       rng_chance(&l->rng, 10) ? 0 : (int)rng_between(&l->rng, 1, 255),
			       BOW_BLOCK);
	}
	memset(mem_dev_bytes(l->dev), 7, BOW_BLOCK);
	l->ours[0] = true;
	memcpy(l->original, mem_dev_bytes(l->dev), BLOCKS * BOW_BLOCK);
	ok(l, bow_prepare_dev(l->dev, &plan, &report, &l->err), "prepare");
	bow_bitmap_free(map);
}

static void serve(struct life *l)
{
	ok(l, bow_serve_dev(l->dev, NULL, &l->disk, &l->err), "serve");
}

/* The device of a test is not closed with the disk. */
static void stop(struct life *l)
{
	struct bowimg_disk *keep = mem_dev_new(BLOCKS * BOW_BLOCK, 4u * BLOCKS * BOW_BLOCK);
	uint64_t size;

	assert_non_null(keep);
	ok(l, bowimg_disk_flush(l->disk, &l->err), "flush");
	/* What a detach does, seen from a second device with the same bytes. */
	size = l->dev->size;
	if (size > keep->size)
		ok(l, bow_disk_resize(keep, size, &l->err), "resize");
	memcpy(mem_dev_bytes(keep), mem_dev_bytes(l->dev), size);
	ok(l, bowimg_disk_close(l->disk, &l->err), "detach");
	l->dev = keep;
	l->disk = NULL;
}

/* What nobody wrote may have become bowimg's, and reads as zeros then. */
static void compare(struct life *l, const char *when)
{
	uint8_t *now = malloc(BLOCKS * BOW_BLOCK), *a, *b;

	ok(l, bowimg_disk_read(l->disk, now, BLOCKS * BOW_BLOCK, 0, &l->err), "read");
	for (uint32_t blk = 0; blk < BLOCKS; blk++) {
		a = now + (size_t)blk * BOW_BLOCK;
		b = l->image + (size_t)blk * BOW_BLOCK;
		if (!l->ours[blk] && bow_is_zero(a, BOW_BLOCK))
			memset(b, 0, BOW_BLOCK);
		if (memcmp(a, b, BOW_BLOCK) != 0)
			fail_msg("%s: block %u is %u, not %u", when, blk, *a, *b);
	}
	free(now);
}

/* ---- the guest ------------------------------------------------------------------- */

static void write_run(struct life *l, uint32_t b, uint32_t n)
{
	size_t off = (size_t)b * BOW_BLOCK, bytes = (size_t)n * BOW_BLOCK;
	int rc;

	if (rng_chance(&l->rng, 30)) {
		off += 512u * rng_below(&l->rng, 7);
		bytes = 512;
		n = 1;
	}
	uint8_t *data = malloc(bytes);

	memset(data, rng_chance(&l->rng, 10) ? 0 : (int)rng_between(&l->rng, 1, 255), bytes);
	rc = bowimg_disk_write(l->disk, data, bytes, off, 0, &l->err);
	if (rc && rc != -ENOSPC)
		ok(l, rc, "write");
	/* Around the data of a small write, what did not count so far may be zeros now. */
	if (bytes < BOW_BLOCK && !l->ours[b])
		ok(l,
		   bowimg_disk_read(l->disk, l->image + (size_t)b * BOW_BLOCK, BOW_BLOCK,
				    (uint64_t)b * BOW_BLOCK, &l->err),
		   "read");
	if (!rc)
		memcpy(l->image + off, data, bytes);
	for (uint32_t i = 0; !rc && i < n; i++)
		l->ours[b + i] = true;
	free(data);
}

static void zero_run(struct life *l, uint32_t b, uint32_t n)
{
	size_t off = (size_t)b * BOW_BLOCK, bytes = (size_t)n * BOW_BLOCK;
	int rc = bowimg_disk_zero(l->disk, off, bytes, 0, &l->err);

	if (rc && rc != -ENOSPC)
		ok(l, rc, "zero");
	if (!rc)
		memset(l->image + off, 0, bytes);
	else
		ok(l, bowimg_disk_read(l->disk, l->image + off, bytes, off, &l->err), "read");
}

static void guest(struct life *l)
{
	uint32_t requests = rng_between(&l->rng, 0, 40), b, n;

	serve(l);
	compare(l, "attach");
	for (; requests-- > 0;) {
		b = rng_below(&l->rng, BLOCKS - 1);
		n = rng_between(&l->rng, 1, rng_chance(&l->rng, 80) ? 4 : 60);
		n = (uint32_t)bow_min(n, BLOCKS - b);
		if (rng_chance(&l->rng, 70))
			write_run(l, b, n);
		else
			zero_run(l, b, n);
	}
	compare(l, "write");
	stop(l);
}

/* ---- marks ----------------------------------------------------------------------- */

static void mark(struct life *l)
{
	struct moment *m = &l->marks[l->n];
	struct bowimg_mark made;
	int rc;

	if (l->n == MARKS)
		return;
	snprintf(m->name, sizeof(m->name), "m%u", l->made);
	rc = bow_mark_make_dev(l->dev, m->name, 0, &made, &l->err);
	if (rc == -ENOSPC)
		return;
	ok(l, rc, "mark");
	l->made++;
	m->bytes = malloc(BLOCKS * BOW_BLOCK);
	m->ours = malloc(BLOCKS);
	memcpy(m->bytes, l->image, BLOCKS * BOW_BLOCK);
	memcpy(m->ours, l->ours, BLOCKS);
	m->deleted = false;
	l->n++;
}

static void forget_from(struct life *l, unsigned first)
{
	for (unsigned i = first; i < l->n; i++) {
		free(l->marks[i].bytes);
		free(l->marks[i].ours);
	}
	l->n = first;
}

static void delete (struct life *l)
{
	struct moment *m = &l->marks[rng_below(&l->rng, l->n)];
	int rc;

	if (!l->n)
		return;
	rc = bow_mark_delete_dev(l->dev, m->name, 0, &l->err);
	if (m->deleted)
		assert_int_equal(rc, -ENODATA);
	else if (rc != -ENOSPC)
		ok(l, rc, "delete");
	m->deleted |= !rc;
}

static void accept(struct life *l, const struct moment *m)
{
	memcpy(l->image, m->bytes, BLOCKS * BOW_BLOCK);
	memcpy(l->ours, m->ours, BLOCKS);
	serve(l);
	compare(l, "return");
	stop(l);
}

static void go_back(struct life *l)
{
	unsigned i = l->n ? rng_below(&l->rng, l->n) : 0;
	struct moment *m = &l->marks[i];
	struct bowimg_end_options opts = {.to = m->name};
	struct bowimg_end_report report;
	int rc;

	if (!l->n)
		return;
	opts.dry_run = rng_chance(&l->rng, 20);
	rc = bow_rollback_dev(l->dev, &opts, &report, &l->err);
	if (m->deleted) {
		assert_int_equal(rc, -ENODATA);
		return;
	}
	ok(l, rc, "return");
	if (opts.dry_run)
		return;
	forget_from(l, i + 1);
	accept(l, m);
	l->returns++;
}

static void check_list(struct life *l);

static int see(void *ctx, const struct bowimg_mark *m)
{
	struct life *l = ctx;

	for (unsigned i = 0; i < l->n; i++)
		if (!l->marks[i].deleted && !strcmp(l->marks[i].name, m->name))
			return 0;
	fail_msg("a mark %s is listed that is not there", m->name);
	return 1;
}

static void check_list(struct life *l)
{
	ok(l, bow_marks_dev(l->dev, 0, see, l, &l->err), "marks");
}

static void end(struct life *l)
{
	struct bowimg_end_report report;
	bool commit = rng_chance(&l->rng, 30);
	const uint8_t *now = mem_dev_bytes(l->dev);

	ok(l, bow_verify_dev(l->dev, NULL, &report, &l->err), "verify");
	if (commit)
		ok(l, bow_commit_dev(l->dev, NULL, &report, &l->err), "commit");
	else
		ok(l, bow_rollback_dev(l->dev, NULL, &report, &l->err), "rollback");
	assert_int_equal(l->dev->size, BLOCKS * BOW_BLOCK);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		const uint8_t *want = commit ? l->image : l->original;

		if ((commit ? l->ours[b] : !l->free[b] || l->exact) &&
		    memcmp(now + (size_t)b * BOW_BLOCK, want + (size_t)b * BOW_BLOCK, BOW_BLOCK))
			fail_msg("%s: block %u is %u, not %u", commit ? "commit" : "rollback", b,
				 now[b * BOW_BLOCK], want[b * BOW_BLOCK]);
	}
}

static void live(struct life *l)
{
	prepare(l);
	/* The guest sees zeros where bowimg has put something. */
	serve(l);
	ok(l, bowimg_disk_read(l->disk, l->image, BLOCKS * BOW_BLOCK, 0, &l->err), "read");
	stop(l);
	for (unsigned steps = rng_between(&l->rng, 3, 14); steps-- > 0;) {
		guest(l);
		if (rng_chance(&l->rng, 50))
			mark(l);
		if (rng_chance(&l->rng, 15))
			delete (l);
		if (rng_chance(&l->rng, 45))
			go_back(l);
		check_list(l);
	}
	end(l);
}

static void marks_over_whole_lives_keep_what_they_promise(void **state)
{
	const char *first = getenv("SEED"), *count = getenv("LIVES");
	uint64_t seed = first ? strtoull(first, NULL, 0) : 1;
	uint64_t last = seed + (count ? strtoull(count, NULL, 0) : 150);
	unsigned made = 0, returns = 0;

	(void)state;
	for (; seed < last; seed++) {
		struct life l = {.rng = {seed}};

		printf("# seed %llu\n", (unsigned long long)seed);
		l.dev = mem_dev_new(BLOCKS * BOW_BLOCK, 4u * BLOCKS * BOW_BLOCK);
		l.original = malloc(BLOCKS * BOW_BLOCK);
		l.image = malloc(BLOCKS * BOW_BLOCK);
		assert_true(l.dev && l.original && l.image);
		l.exact = rng_chance(&l.rng, 40);
		live(&l);
		made += l.made;
		returns += l.returns;
		forget_from(&l, 0);
		free(l.original);
		free(l.image);
		bow_disk_close(l.dev, NULL);
	}
	printf("# %u marks, %u returns\n", made, returns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_over_whole_lives_keep_what_they_promise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
