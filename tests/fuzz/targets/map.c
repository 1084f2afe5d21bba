/* SPDX-License-Identifier: MIT */
/*
 * The saved free map on an image of many leaves, compared with one bit per block. The input is
 * {blocks (3)} and entries of 14 bytes {MAP_RUN or MAP_BITS, source (3), number (3), 7 bytes that
 * fill the block of bits}.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz/fuzz.h"
#include "mem_dev.h"

#define HEAD 3u
#define ENTRY 14u
#define ENTRIES_MAX 100u
#define PARKED 200u /* from here on things are parked, on the blocks of the map's own end */

struct maker {
	struct bowimg_disk *dev;
	struct bow_super sb;
	struct bow_log log;
	uint8_t *model; /* a byte per block */
	uint64_t blocks;
	struct bow_entry e[ENTRIES_MAX + 2];
	uint32_t n;
	bool outside; /* an entry named what is not there: must be refused */
	bool twice;   /* or what another one named, or nothing */
};

static uint64_t get24(const uint8_t *p)
{
	return p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16;
}

static void add_run(struct maker *m, uint64_t source, uint64_t n)
{
	m->e[m->n++] =
		(struct bow_entry){.type = BOW_ENTRY_MAP_RUN, .source_blk = source, .dest_blk = n};
	if (!bow_range_ok(source, n, m->blocks)) {
		m->outside = true;
		return;
	}
	m->twice |= memchr(m->model + source, 1, n) != NULL;
	memset(m->model + source, 1, n);
}

/* Mark what these bits name; what was named before is taken out of them, or an error. */
static void mark_bits(struct maker *m, uint64_t source, uint8_t *bits, bool overlap)
{
	bool any = false;

	for (uint64_t i = 0; i < bow_min(BOW_MAP_LEAF_BLK, m->blocks - source); i++) {
		uint8_t mask = (uint8_t)(1 << i % 8);

		if (!(bits[i / 8] & mask))
			continue;
		if (m->model[source + i] && !overlap) {
			bits[i / 8] &= (uint8_t)~mask;
			continue;
		}
		m->twice |= m->model[source + i];
		m->model[source + i] = 1;
		any = true;
	}
	m->twice |= !any;
}

static void add_bits(struct maker *m, uint64_t source, const uint8_t *pattern, bool overlap)
{
	uint64_t dest = PARKED + 4 + m->n;
	uint8_t *bits = mem_dev_bytes(m->dev) + dest * BOW_BLOCK;

	for (size_t i = 0; i < BOW_BLOCK; i++)
		bits[i] = pattern[i % 7] ^ (uint8_t)(pattern[0] & 1 ? i : 0);
	if (source >= m->blocks || source % BOW_MAP_LEAF_BLK)
		m->outside = true;
	else
		mark_bits(m, source, bits, overlap);
	m->e[m->n++] = (struct bow_entry){.type = BOW_ENTRY_MAP_BITS,
					  .count_blk = 1,
					  .source_blk = source,
					  .dest_blk = dest,
					  .hash = bow_hash(bits, BOW_BLOCK, m->sb.seed)};
}

/* Block 0's original, and what bowimg's own blocks need to be free. */
static void add_own(struct maker *m)
{
	struct bow_entry e = {.type = BOW_ENTRY_COPY, .count_blk = 1, .dest_blk = PARKED};
	static const uint8_t zeros[BOW_BLOCK];

	e.hash = bow_hash(zeros, BOW_BLOCK, m->sb.seed);
	m->e[m->n++] = e;
	add_run(m, PARKED, 8 + ENTRIES_MAX);
}

static void make(struct maker *m, const uint8_t *data, size_t size)
{
	for (; size >= ENTRY && m->n < ENTRIES_MAX; data += ENTRY, size -= ENTRY) {
		uint64_t source = get24(data + 1);

		if (data[0] & 1)
			add_run(m, source, get24(data + 4));
		else
			add_bits(m, data[0] & 2 ? source : source * BOW_MAP_LEAF_BLK, data + 7,
				 data[0] & 4);
	}
	m->sb.live0_blk = PARKED + 1;
	for (uint64_t i = 0; i < m->blocks; i++)
		m->sb.free_total_blk += m->model[i];
	if (bow_log_init(&m->log, m->dev, &m->sb, 512) ||
	    bow_log_write_segment(&m->log, PARKED + 2, 2, NULL))
		abort();
	bow_log_use_segment(&m->log, PARKED + 2, 2);
	if (bow_log_append(&m->log, m->e, m->n, NULL))
		abort();
	bow_log_release(&m->log);
}

static void compare(struct maker *m)
{
	struct bow_checkpoint cp = {.dev = m->dev, .sb = m->sb};
	struct bowimg_error err = {0};
	int rc = fuzz_check_error(bow_checkpoint_load(&cp, &err), &err);

	bool wrong = m->outside || m->twice || m->model[0];

	if (rc == 0 && wrong)
		fuzz_die("a map was accepted that names what is not there, a block twice, or block "
			 "0");
	if (rc && !wrong)
		fuzz_die("a map was refused: %s", err.message);
	for (uint64_t i = 0; i < m->blocks && !rc; i++)
		if (bow_bitmap_test(cp.blocks.free, i) != m->model[i])
			fuzz_die("block %d is %sfree", (int)i, m->model[i] ? "not " : "");
	bow_checkpoint_release(&cp);
}

static void run(const uint8_t *data, size_t size)
{
	struct maker m = {0};

	if (size < HEAD)
		return;
	m.blocks = 400 + get24(data) % 100000;
	m.dev = mem_dev_new(m.blocks * BOW_BLOCK, m.blocks * BOW_BLOCK);
	m.model = calloc(1, m.blocks);
	if (!m.dev || !m.model)
		abort();
	bow_super_set_uuid(&m.sb, (const uint8_t *)"the map's target");
	m.sb.state = BOW_SUPER_CHECKPOINT;
	m.sb.image_size = m.dev->size;
	add_own(&m);
	make(&m, data + HEAD, size - HEAD);
	compare(&m);
	bow_disk_close(m.dev, NULL);
	free(m.model);
}

static bool seed(unsigned i, struct fuzz_buf *out)
{
	static const uint8_t entries[][ENTRY] = {{1, 16, 0, 0, 100},
						 {0, 0, 0, 0, 0, 0, 0, 0xf0, 1, 2, 3, 4, 5, 6},
						 {0, 2, 0, 0, 0, 0, 0, 0x11, 9, 9, 9, 9, 9, 0xff},
						 {1, 0, 0x80, 1, 0, 0, 1}};
	static const uint8_t heads[][HEAD] = {{0, 0, 0}, {0, 0x80, 1}, {0xff, 0xff, 2}};

	if (i >= 3)
		return false;
	fuzz_put(out, heads[i], HEAD);
	fuzz_put(out, entries, (i + 1) * (size_t)ENTRY);
	return true;
}

const struct fuzz_target fuzz_map = {"map", run, seed, NULL};
