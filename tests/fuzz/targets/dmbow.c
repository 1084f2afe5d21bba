/* SPDX-License-Identifier: MIT */
/*
 * Every operation on a hostile disk of dm-bow's. What must hold, whatever it says: what only looks
 * writes nothing; damage is found before the first write [I6]; a rollback comes to what going back
 * entry by entry comes to, writes nowhere else, and comes to the same after a cut [I5]; a commit
 * writes block 0 only.
 *
 * Checksums would stop every mutation, so the input is a history: {block size, what to do, blocks
 * (2)}, then steps of 8 bytes {kind, n, source (2), dest (2), value (2)}. Copies get the right
 * checksum, wherever they go.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz/fuzz.h"
#include "lib/dmbow/log.h"
#include "mem_dev.h"
#include "lib/verbs/operations.h"

#define HEAD 4u
#define STEP 8u
#define STEPS_MAX 2000u

enum op { LOOK, ROLLBACK, COMMIT, PARTIAL, FORWARD, OPS };
enum kind { SAVE, ENTRY, NEXT, LIVE, SCRIBBLE, FLIP, RESTORING, FIELD, KINDS };

struct history {
	struct bowimg_disk *dev;
	struct bow_dmbow_header head;
	uint32_t blocks;
};

static uint8_t *block(struct history *h, uint64_t blk)
{
	return mem_dev_bytes(h->dev) + blk * h->head.block_size;
}

/* ---- a history ------------------------------------------------------------------- */

static void put_entry(struct history *h, uint64_t source, uint64_t dest, uint64_t n, uint32_t sum)
{
	struct bow_dmbow_entry e = {source, dest, n, sum};

	if (h->head.count >= bow_dmbow_capacity(h->head.block_size))
		return;
	bow_dmbow_entry_encode(&e, h->head.block_size,
			       block(h, 0) + bow_dmbow_entry_off(h->head.count++));
	bow_dmbow_encode(&h->head, block(h, 0));
}

/* As far as there is a place; the entry says it in any case. */
static uint32_t copy(struct history *h, uint64_t source, uint64_t dest, uint64_t n)
{
	if (bow_range_ok(source, n, h->blocks) && bow_range_ok(dest, n, h->blocks))
		memmove(block(h, dest), block(h, source), n * h->head.block_size);
	return bow_range_ok(dest, n, h->blocks)
		       ? bow_dmbow_crc((uint32_t)source, block(h, dest), n * h->head.block_size)
		       : 1;
}

static void set_field(struct history *h, uint8_t which, uint16_t value)
{
	static const uint8_t at[] = {4, 6, 8, 12, 16, 20, 24};

	if (which % 8 < 7)
		bow_put16(block(h, 0) + at[which % 8], value);
	else
		h->head.sector0 = value;
}

static void step(struct history *h, const uint8_t *in)
{
	uint64_t source = bow_get16(in + 2), dest = bow_get16(in + 4), n = in[1] % 32 + 1;
	uint32_t sectors = h->head.block_size / BOW_DMBOW_SECTOR, sum;
	uint16_t value = bow_get16(in + 6);

	switch ((enum kind)(in[0] % KINDS)) {
	case SAVE:
		sum = copy(h, source, dest, n);
		put_entry(h, source, dest, n, sum);
		break;
	case ENTRY:
		/* Numbers that wrap, too. */
		if (value & 1)
			source = (0 - source) / sectors;
		if (value & 2)
			dest = (0 - dest) / sectors;
		put_entry(h, source, dest, in[1] == 255 ? UINT32_MAX : n, value >> 2);
		break;
	case NEXT:
		sum = copy(h, 0, dest, 1);
		h->head.sequence++;
		h->head.count = 0;
		put_entry(h, 0, dest, 1, sum);
		break;
	case LIVE:
		source = h->head.sector0 / sectors;
		copy(h, source, dest, 1);
		put_entry(h, source, dest, 1, 0);
		h->head.sector0 = dest * sectors;
		break;
	case SCRIBBLE:
		if (bow_range_ok(source, n, h->blocks))
			memset(block(h, source), value, n * h->head.block_size);
		break;
	case FLIP:
		block(h, 0)[(source | (uint64_t)in[1] << 16) % h->dev->size] ^= (uint8_t)value;
		break;
	case RESTORING:
		h->head.restoring = true;
		h->head.count = bow_min(n, h->head.count);
		bow_dmbow_encode(&h->head, block(h, 0));
		break;
	default:
		set_field(h, in[1], value);
	}
}

static bool build(struct history *h, const uint8_t *data, size_t size)
{
	if (size < HEAD)
		return false;
	h->head.block_size = 512u << data[0] % 4;
	h->blocks = 8 + bow_get16(data + 2) % 500;
	h->dev = mem_dev_new((uint64_t)h->blocks * h->head.block_size,
			     (uint64_t)h->blocks * h->head.block_size);
	if (!h->dev)
		abort();
	for (uint64_t b = 0; b < h->blocks; b++)
		memset(block(h, b), (int)b + 1, h->head.block_size);
	h->head.sector0 = (h->blocks - 1) * (uint64_t)(h->head.block_size / BOW_DMBOW_SECTOR);
	memset(block(h, h->blocks - 2), 'o', h->head.block_size);
	memset(block(h, h->blocks - 1), 'l', h->head.block_size);
	memset(block(h, 0), 0, h->head.block_size);
	put_entry(h, 0, h->blocks - 2, 1,
		  bow_dmbow_crc(0, block(h, h->blocks - 2), h->head.block_size));
	data += HEAD;
	size -= HEAD;
	for (unsigned i = 0; i < STEPS_MAX && size >= STEP; i++, data += STEP, size -= STEP)
		step(h, data);
	return true;
}

/* ---- what a rollback must come to ------------------------------------------------ */

struct model {
	uint8_t *bytes;	 /* the disk after going back entry by entry */
	uint8_t *parked; /* per block: a destination, or block 0's live content once */
	bool torn;
};

/* Back over one entry after the other; the log has been found good. */
static void go_back(struct history *h, struct model *m)
{
	uint32_t size = h->head.block_size, sequence;
	uint8_t log[BOW_DMBOW_MAX_BLOCK];
	bool newest = true;

	do {
		memcpy(log, m->bytes, size);
		sequence = bow_get32(log + 16);
		for (uint32_t i = bow_get32(log + 12) - (newest && m->torn); i-- > 0;) {
			struct bow_dmbow_entry e;
			const char *why;

			if (!bow_dmbow_entry_decode(log, i, size, h->blocks, &e, &why))
				fuzz_die("rolled back with an impossible entry: %s", why);
			memset(m->parked + e.dest_blk, 1, e.count_blk);
			if (e.checksum == 0 && e.source_blk && e.count_blk == 1 &&
			    bow_dmbow_crc((uint32_t)e.source_blk, m->bytes + e.dest_blk * size,
					  size))
				m->parked[e.source_blk] = 1;
			memmove(m->bytes + e.source_blk * size, m->bytes + e.dest_blk * size,
				e.count_blk * size);
		}
		newest = false;
	} while (sequence > 0);
}

static void check_rolled_back(struct history *h, struct model *m, const uint8_t *before)
{
	uint32_t size = h->head.block_size;

	go_back(h, m);
	for (uint64_t b = 0; b < h->blocks; b++) {
		const uint8_t *now = block(h, b);

		/* What was only parked there may stay; but a hostile log can save it, too. */
		if (m->parked[b] && !memcmp(now, before + b * size, size))
			continue;
		if (memcmp(now, m->bytes + b * size, size))
			fuzz_die("block %d is not what going back over the log makes it", (int)b);
	}
}

static void check_committed(struct history *h, const uint8_t *before)
{
	uint32_t size = h->head.block_size;

	if (memcmp(block(h, 1), before + size, (h->blocks - 1) * (size_t)size))
		fuzz_die("a commit wrote more than block 0");
}

/* ---- the operations -------------------------------------------------------------- */

static void look(struct fuzz_fence *f)
{
	static const struct bowimg_end_options dry = {.dry_run = true};
	struct bowimg_end_report report;
	struct bowimg_status status;
	struct bowimg_error err = {0};

	f->look_only = true;
	fuzz_check_error(bow_status_dev(&f->dev, 0, &status, &err), &err);
	memset(&err, 0, sizeof(err));
	fuzz_check_error(bow_verify_dev(&f->dev, &dry, &report, &err), &err);
	memset(&err, 0, sizeof(err));
	fuzz_check_error(bow_rollback_dev(&f->dev, &dry, &report, &err), &err);
	memset(&err, 0, sizeof(err));
	fuzz_check_error(bow_commit_dev(&f->dev, &dry, &report, &err), &err);
	f->look_only = false;
}

static char last_error[512];

static int run_end(struct fuzz_fence *f, enum op op, struct bowimg_end_report *report)
{
	struct bowimg_end_options opts = {.force = op == PARTIAL   ? BOWIMG_FORCE_PARTIAL
						   : op == FORWARD ? BOWIMG_FORCE_FORWARD
								   : 0};
	struct bowimg_error err = {0};
	int rc = op == COMMIT ? bow_commit_dev(&f->dev, &opts, report, &err)
			      : bow_rollback_dev(&f->dev, &opts, report, &err);

	memcpy(last_error, err.message, sizeof(last_error));
	return fuzz_check_error(rc, &err);
}

static bool is_torn(struct bowimg_disk *dev, uint32_t *block_size)
{
	struct bow_dmbow d;
	bool torn = !bow_dmbow_open(&d, dev, NULL) && d.torn;

	*block_size = d.head.block_size;
	bow_dmbow_release(&d);
	return torn;
}

/* Cut behind some writes, and run again. */
static int run_cut(struct fuzz_fence *f, enum op op, uint8_t after,
		   struct bowimg_end_report *report)
{
	uint64_t lost;
	int rc;

	f->cut = true;
	f->writes_left = after / 4 % 8;
	fuzz_expect_success(false);
	rc = run_end(f, op, report);
	f->cut = false;
	if (rc != -EIO)
		return rc;
	/* What was lost before may be forgotten when only block 0 is left to do. */
	lost = report->lost_entries;
	rc = run_end(f, op, report);
	report->lost_entries += lost;
	return rc;
}

static void run_op(struct history *h, struct fuzz_fence *f, enum op op, uint8_t after)
{
	struct bowimg_end_report report = {0};
	struct model m = {0};
	uint8_t *before = malloc(h->dev->size);
	uint32_t size;
	int rc;

	m.bytes = malloc(h->dev->size);
	m.parked = calloc(1, h->blocks);
	if (!before || !m.bytes || !m.parked)
		abort();
	memcpy(before, mem_dev_bytes(h->dev), h->dev->size);
	memcpy(m.bytes, before, h->dev->size);
	m.torn = is_torn(h->dev, &size);
	rc = after < 128 ? run_end(f, op, &report) : run_cut(f, op, after, &report);
	/* To bring back a part does not stop at contradictions, and has no state of its own. */
	if (rc && (op != PARTIAL || after < 128) &&
	    memcmp(before, mem_dev_bytes(h->dev), h->dev->size))
		fuzz_die("it was refused (%d), and something was written: %s", rc, last_error);
	/* Another block size than the history's makes another history of it. */
	if (!rc && size == h->head.block_size) {
		if (op == COMMIT || report.committed)
			check_committed(h, before);
		else if (op != PARTIAL || !report.lost_entries)
			check_rolled_back(h, &m, before);
	}
	fuzz_expect_success(false);
	look(f);
	free(before);
	free(m.bytes);
	free(m.parked);
}

static void run(const uint8_t *data, size_t size)
{
	struct history h = {0};
	struct fuzz_fence f;
	enum op op;

	if (!build(&h, data, size))
		return;
	op = (enum op)(data[1] % OPS);
	fuzz_fence_init(&f, h.dev);
	if (op == LOOK)
		look(&f);
	else
		run_op(&h, &f, op, data[0] & 0xfc);
	fuzz_fence_release(&f);
}

/* Saved, moved on, block 0's live content moved, the next log block. */
static const uint8_t steps[][STEP] = {
	{SAVE, 2, 4, 0, 40, 0},	 {SCRIBBLE, 2, 4, 0, 0, 0, 1},	{LIVE, 0, 0, 0, 50, 0},
	{SAVE, 0, 41, 0, 45, 0}, {SCRIBBLE, 0, 41, 0, 0, 0, 2}, {NEXT, 0, 0, 0, 51, 0},
	{SAVE, 0, 51, 0, 52, 0}, {SCRIBBLE, 0, 51, 0, 0, 0, 3}, {SAVE, 9, 10, 0, 30, 0},
	{NEXT, 0, 0, 0, 54, 0},	 {SAVE, 0, 24, 0, 56, 0},	{RESTORING, 1},
};

static bool seed(unsigned i, struct fuzz_buf *out)
{
	unsigned n = 1 + i / (4 * OPS) * 3;
	uint8_t head[HEAD] = {(uint8_t)(i / OPS % 4), (uint8_t)(i % OPS), 72, 0};
	enum op op = (enum op)(i % OPS);

	if (n > sizeof(steps) / sizeof(steps[0]))
		return false;
	if (op == ROLLBACK || op == PARTIAL)
		head[0] |= (uint8_t)(i * 4);
	fuzz_put(out, head, sizeof(head));
	fuzz_put(out, steps, n * (size_t)STEP);
	return true;
}

const struct fuzz_target fuzz_dmbow = {"dmbow", run, seed, NULL};
