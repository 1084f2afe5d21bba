/* SPDX-License-Identifier: MIT */
/*
 * Every structure on disk: golden bytes, round trips, single flipped bits, newer versions. The
 * golden bytes and checksums were worked out from bowimg-format(5) by another program; a change
 * here is a change of the format.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/format/format.h"

#define CHECKSUM_AT 496u /* in the superblock and in a segment header */

/* What is not named by a piece is zero. */
struct piece {
	size_t at;
	const char *hex;
};

static const uint8_t uuid[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static const struct piece golden_super[] = {
	{0, "424f57494d471a0a"},
	{8, "01000000"},
	{20, "03000000"},
	{24, "7856341200000000"},
	{32, "00100000"},
	{36, "13000000"},
	{40, "000102030405060708090a0b0c0d0e0f"},
	{56, "0700000000000000"},
	{64, "1111000000000000"},
	{72, "2222000000000000"},
	{80, "33000000"},
	{88, "4444000000000000"},
	{96, "5555000000000000"},
	{104, "7777666600000000"},
	{112, "ffc99a3b"},
	{120, "0000006800000000"},
	{128, "8888000000000000"},
	{136, "6d6170"},
	{152, "9999000000000000"},
	{160, "aaaa000000000000"},
	{168, "ddddccccbbbbbbbb"},
	{496, "18ea7732b99b0a2a"},
	{0, NULL},
};

static const struct piece golden_segment[] = {
	{0, "626f775345471a0a"},   {8, "01000000"},
	{12, "00020000"},	   {16, "000102030405060708090a0b0c0d0e0f"},
	{32, "3412000000000000"},  {40, "08000000"},
	{44, "05000000"},	   {48, "2143000000000000"},
	{56, "6300000000000000"},  {64, "4d00000000000000"},
	{72, "7856341200000000"},  {80, "13000000"},
	{88, "1111000000000000"},  {96, "0000006800000000"},
	{104, "8888000000000000"}, {112, "6d6170"},
	{496, "3ac138597e234210"}, {0, NULL},
};

static const struct piece golden_record[] = {
	{0, "424f5243"},
	{4, "02000000"},
	{8, "0d0c0b0a00000000"},
	{16, "b4fb8e2fcd71d894"},
	{32, "0101000040000000"},
	{40, "0807060504030201"},
	{48, "1817161514131211"},
	{56, "2827262524232221"},
	{64, "0202000003000000"},
	{72, "0900000000000000"},
	{0, NULL},
};

static const struct piece golden_list[] = {
	{0, "626f775a45524f0a"},    {8, "000102030405060708090a0b0c0d0e0f"},
	{24, "02000000"},	    {32, "7777000000000000"},
	{64, "1000000000000000"},   {72, "0100000000000000"},
	{80, "2000000000000000"},   {88, "0003000000000000"},
	{4088, "fe37bc624801ddb1"}, {0, NULL},
};

static const struct piece golden_footer[] = {
	{0, "626f775441494c0a"},
	{8, "7856341200000000"},
	{16, "ddddccccbbbbbbbb"},
	{4088, "344af08a31e4774a"},
	{0, NULL},
};

/* With an entry that gives blocks back, and what announces it in the superblock. */
static const struct piece golden_give[] = {
	{0, "424f5243"},
	{4, "02000000"},
	{8, "0d0c0b0a00000000"},
	{16, "a522bdaa28338bcb"},
	{32, "0101000040000000"},
	{40, "0807060504030201"},
	{48, "1817161514131211"},
	{56, "2827262524232221"},
	{64, "0800000003000000"},
	{72, "0900000000000000"},
	{0, NULL},
};

static const struct bow_entry two_entries[2] = {
	{BOW_ENTRY_COPY, BOW_ENTRY_MOVE, 64, 0x0102030405060708, 0x1112131415161718,
	 0x2122232425262728},
	{BOW_ENTRY_ZERO, BOW_ENTRY_HOLE, 3, 9, 0, 0},
};

static const struct bow_run two_runs[2] = {{0x10, 1}, {0x20, 0x300}};

static uint8_t nibble(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void assert_golden(const uint8_t *got, size_t bytes, const struct piece *p)
{
	uint8_t want[BOW_BLOCK] = {0};

	for (; p->hex; p++)
		for (size_t i = 0; p->hex[2 * i]; i++)
			want[p->at + i] =
				(uint8_t)(nibble(p->hex[2 * i]) << 4 | nibble(p->hex[2 * i + 1]));
	for (size_t i = 0; i < bytes; i++)
		if (got[i] != want[i])
			fail_msg("byte %zu is %02x, not %02x", i, got[i], want[i]);
}

static struct bow_super a_super(void)
{
	struct bow_super sb = {
		.state = BOW_SUPER_COMMITTING,
		.flags = BOW_SUPER_EXACT | BOW_SUPER_ATTACHED | BOW_SUPER_MTIME,
		.image_size = 0x12345678,
		.updates = 7,
		.live0_blk = 0x1111,
		.seg_blk = 0x2222,
		.seg_len_blk = 0x33,
		.seg_first_seq = 0x4444,
		.clean_seq = 0x5555,
		.mtime_sec = 0x66667777,
		.mtime_nsec = 999999999,
		.prepared_at = 0x68000000,
		.free_total_blk = 0x8888,
		.free_source = "map",
		.finish_list_blk = 0x9999,
		.finish_block0_blk = 0xaaaa,
		.finish_block0_hash = 0xbbbbbbbbccccdddd,
	};

	bow_super_set_uuid(&sb, uuid);
	return sb;
}

static struct bow_segment_header a_segment(void)
{
	return (struct bow_segment_header){
		.sector_size = 512,
		.start_blk = 0x1234,
		.len_blk = 8,
		.first_seq = 99,
		.prev_blk = 0x4321,
		.prev_len_blk = 5,
		.prev_first_seq = 77,
	};
}

static enum bow_decoded decode_super(const uint8_t *bytes)
{
	struct bow_super sb;

	return bow_super_decode(bytes, &sb);
}

static enum bow_decoded decode_segment(const uint8_t *bytes)
{
	struct bow_super sb = a_super();
	struct bow_segment_header h;

	return bow_segment_decode(bytes, &sb, &h);
}

static enum bow_decoded decode_record(const uint8_t *bytes)
{
	uint64_t seq;
	uint32_t n;

	return bow_record_decode(bytes, bow_record_bytes(2), a_super().seed, &seq, &n)
		       ? BOW_DECODE_OK
		       : BOW_DECODE_DAMAGED;
}

static enum bow_decoded decode_list(const uint8_t *bytes)
{
	struct bow_run runs[BOW_FINISH_RUNS];
	struct bow_super sb = a_super();
	uint64_t next;
	uint32_t n;

	return bow_finish_decode(bytes, &sb, runs, &n, &next) ? BOW_DECODE_OK : BOW_DECODE_DAMAGED;
}

static enum bow_decoded decode_footer(const uint8_t *bytes)
{
	struct bow_footer f;

	return bow_footer_decode(bytes, &f) ? BOW_DECODE_OK : BOW_DECODE_DAMAGED;
}

static void assert_every_flip_is_rejected(uint8_t *bytes, size_t n,
					  enum bow_decoded (*decode)(const uint8_t *))
{
	assert_int_equal(decode(bytes), BOW_DECODE_OK);
	for (size_t bit = 0; bit < n * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (decode(bytes) == BOW_DECODE_OK)
			fail_msg("bit %zu of byte %zu may be flipped", bit % 8, bit / 8);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(decode(bytes), BOW_DECODE_OK);
}

static void the_seed_comes_from_the_uuid(void **state)
{
	struct bow_super sb = a_super();

	(void)state;
	assert_true(sb.seed == 0x46dc6400eefd0fe6);
}

static void the_superblock_is_these_bytes_and_reads_back(void **state)
{
	struct bow_super sb = a_super(), back;
	uint8_t bytes[BOW_SUPER_BYTES], again[BOW_SUPER_BYTES];

	(void)state;
	bow_super_encode(&sb, bytes);
	assert_golden(bytes, sizeof(bytes), golden_super);
	assert_int_equal(bow_super_decode(bytes, &back), BOW_DECODE_OK);
	assert_true(back.seed == sb.seed);
	bow_super_encode(&back, again);
	assert_memory_equal(again, bytes, sizeof(bytes));
	assert_every_flip_is_rejected(bytes, CHECKSUM_AT + 8, decode_super);
}

static void what_gives_blocks_back_is_these_bytes(void **state)
{
	const struct bow_entry e[2] = {two_entries[0], {BOW_ENTRY_GIVE, 0, 3, 9, 0, 0}};
	uint8_t bytes[BOW_SUPER_BYTES];
	struct bow_super sb = a_super(), back;

	(void)state;
	bow_record_encode(bytes, 0x0a0b0c0d, e, 2, sb.seed);
	assert_golden(bytes, bow_record_bytes(2), golden_give);
	sb.incompat = BOW_INCOMPAT_GIVE;
	bow_super_encode(&sb, bytes);
	assert_int_equal(bow_get32(bytes + 16), 1);
	assert_true(bow_get64(bytes + CHECKSUM_AT) == 0x61ce67b3b04ca86d);
	assert_int_equal(bow_super_decode(bytes, &back), BOW_DECODE_OK);
	assert_int_equal(back.incompat, BOW_INCOMPAT_GIVE);
}

static void a_segment_header_is_these_bytes_and_reads_back(void **state)
{
	struct bow_super sb = a_super();
	struct bow_segment_header h = a_segment(), back;
	uint8_t bytes[BOW_SEGMENT_HEADER_BYTES], again[BOW_SEGMENT_HEADER_BYTES];

	(void)state;
	bow_segment_encode(&h, &sb, bytes);
	assert_golden(bytes, sizeof(bytes), golden_segment);
	assert_int_equal(bow_segment_decode(bytes, &sb, &back), BOW_DECODE_OK);
	bow_segment_encode(&back, &sb, again);
	assert_memory_equal(again, bytes, sizeof(bytes));
	assert_every_flip_is_rejected(bytes, CHECKSUM_AT + 8, decode_segment);
}

static void a_record_is_these_bytes_and_reads_back(void **state)
{
	uint8_t bytes[BOW_RECORD_HEADER_BYTES + 2 * BOW_ENTRY_BYTES];
	struct bow_entry e[2];
	uint64_t seq;
	uint32_t n;

	(void)state;
	bow_record_encode(bytes, 0x0a0b0c0d, two_entries, 2, a_super().seed);
	assert_golden(bytes, sizeof(bytes), golden_record);
	assert_true(bow_record_decode(bytes, sizeof(bytes), a_super().seed, &seq, &n));
	assert_int_equal(seq, 0x0a0b0c0d);
	assert_int_equal(n, 2);
	assert_int_equal(bow_record_count(bytes), 2);
	memset(e, 0, sizeof(e)); /* padding as well */
	for (uint32_t i = 0; i < n; i++) {
		bow_record_entry(bytes, i, &e[i]);
		assert_int_equal(e[i].type, two_entries[i].type);
		assert_int_equal(e[i].flags, two_entries[i].flags);
		assert_int_equal(e[i].count_blk, two_entries[i].count_blk);
		assert_true(e[i].source_blk == two_entries[i].source_blk);
		assert_true(e[i].dest_blk == two_entries[i].dest_blk);
		assert_true(e[i].hash == two_entries[i].hash);
	}
	assert_every_flip_is_rejected(bytes, sizeof(bytes), decode_record);
}

static void a_list_block_is_these_bytes_and_reads_back(void **state)
{
	struct bow_run runs[BOW_FINISH_RUNS];
	struct bow_super sb = a_super();
	uint8_t bytes[BOW_BLOCK];
	uint64_t next;
	uint32_t n;

	(void)state;
	bow_finish_encode(&sb, two_runs, 2, 0x7777, bytes);
	assert_golden(bytes, sizeof(bytes), golden_list);
	assert_true(bow_finish_decode(bytes, &sb, runs, &n, &next));
	assert_int_equal(n, 2);
	assert_int_equal(next, 0x7777);
	assert_memory_equal(runs, two_runs, sizeof(two_runs));
	assert_every_flip_is_rejected(bytes, sizeof(bytes), decode_list);
}

static void a_full_list_block_reads_back_and_a_fuller_one_is_refused(void **state)
{
	struct bow_run runs[BOW_FINISH_RUNS], back[BOW_FINISH_RUNS];
	struct bow_super sb = a_super();
	uint8_t bytes[BOW_BLOCK];
	uint64_t next;
	uint32_t n;

	(void)state;
	for (uint32_t i = 0; i < BOW_FINISH_RUNS; i++)
		runs[i] = (struct bow_run){i * 3 + 1, i + 1};
	bow_finish_encode(&sb, runs, BOW_FINISH_RUNS, BOW_NO_BLK, bytes);
	assert_true(bow_finish_decode(bytes, &sb, back, &n, &next));
	assert_int_equal(n, BOW_FINISH_RUNS);
	assert_true(next == BOW_NO_BLK);
	assert_memory_equal(back, runs, sizeof(runs));
	bow_put32(bytes + 24, BOW_FINISH_RUNS + 1);
	bow_put64(bytes + 4088, bow_hash(bytes, 4088, sb.seed));
	assert_false(bow_finish_decode(bytes, &sb, back, &n, &next));
}

static void the_footer_is_these_bytes_and_reads_back(void **state)
{
	struct bow_footer f = {0x12345678, 0xbbbbbbbbccccdddd}, back;
	uint8_t bytes[BOW_BLOCK];

	(void)state;
	bow_footer_encode(&f, bytes);
	assert_golden(bytes, sizeof(bytes), golden_footer);
	assert_true(bow_footer_decode(bytes, &back));
	assert_true(back.image_size == f.image_size && back.block0_hash == f.block0_hash);
	assert_every_flip_is_rejected(bytes, sizeof(bytes), decode_footer);
}

/* Give field `at` this value, with a checksum that is right again. */
static enum bow_decoded super_with(size_t at, size_t width, uint64_t value)
{
	struct bow_super sb = a_super();
	uint8_t bytes[BOW_SUPER_BYTES];

	bow_super_encode(&sb, bytes);
	if (width == 4)
		bow_put32(bytes + at, (uint32_t)value);
	else
		bow_put64(bytes + at, value);
	bow_put64(bytes + CHECKSUM_AT, bow_hash(bytes, CHECKSUM_AT, sb.seed));
	return decode_super(bytes);
}

static void a_newer_superblock_is_told_from_a_damaged_one(void **state)
{
	(void)state;
	assert_int_equal(super_with(8, 4, 2), BOW_DECODE_NEWER);
	assert_int_equal(super_with(8, 4, 0), BOW_DECODE_NEWER);
	assert_int_equal(super_with(16, 4, 1u << 31), BOW_DECODE_NEWER);
	assert_int_equal(super_with(16, 4, 1u << 2), BOW_DECODE_NEWER);
	assert_int_equal(super_with(16, 4, BOW_INCOMPAT_GIVE), BOW_DECODE_OK);
	assert_int_equal(super_with(16, 4, BOW_INCOMPAT_MARKS), BOW_DECODE_OK);
	assert_int_equal(super_with(32, 4, 8192), BOW_DECODE_NEWER);
	assert_int_equal(super_with(36, 4, 1u << 7), BOW_DECODE_NEWER);
	/* Compatible features are such that who does not know them may go on. */
	assert_int_equal(super_with(12, 4, UINT32_MAX), BOW_DECODE_OK);
}

static void superblock_fields_outside_their_limits_are_damage(void **state)
{
	(void)state;
	assert_int_equal(super_with(20, 4, 0), BOW_DECODE_DAMAGED);
	assert_int_equal(super_with(20, 4, 5), BOW_DECODE_DAMAGED);
	assert_int_equal(super_with(24, 8, BOWIMG_MIN_SIZE - 1), BOW_DECODE_DAMAGED);
	assert_int_equal(super_with(24, 8, BOWIMG_MIN_SIZE), BOW_DECODE_OK);
	assert_int_equal(super_with(24, 8, INT64_MAX - 2 * BOW_BLOCK), BOW_DECODE_OK);
	assert_int_equal(super_with(24, 8, INT64_MAX - 2 * BOW_BLOCK + 1), BOW_DECODE_DAMAGED);
	assert_int_equal(super_with(24, 8, UINT64_MAX), BOW_DECODE_DAMAGED);
	assert_int_equal(super_with(80, 4, 0), BOW_DECODE_DAMAGED);
	assert_int_equal(super_with(80, 4, BOW_SEGMENT_MAX_BLK), BOW_DECODE_OK);
	assert_int_equal(super_with(80, 4, BOW_SEGMENT_MAX_BLK + 1), BOW_DECODE_DAMAGED);
	assert_int_equal(super_with(88, 8, 0), BOW_DECODE_DAMAGED);
	/* The free map's source: without an end, and with a control character. */
	assert_int_equal(super_with(144, 8, 0x6161616161616161), BOW_DECODE_OK);
	assert_int_equal(super_with(136, 8, 0x1b), BOW_DECODE_DAMAGED);
}

static void a_source_name_without_an_end_is_damage(void **state)
{
	struct bow_super sb = a_super();
	uint8_t bytes[BOW_SUPER_BYTES];

	(void)state;
	memset(sb.free_source, 'a', sizeof(sb.free_source));
	bow_super_encode(&sb, bytes);
	assert_int_equal(decode_super(bytes), BOW_DECODE_DAMAGED);
}

static void a_segment_header_belongs_to_one_checkpoint(void **state)
{
	struct bow_super sb = a_super(), other = a_super();
	struct bow_segment_header h = a_segment();
	uint8_t bytes[BOW_SEGMENT_HEADER_BYTES];

	(void)state;
	other.uuid[15] ^= 1;
	bow_super_set_uuid(&other, other.uuid);
	bow_segment_encode(&h, &other, bytes);
	assert_int_equal(bow_segment_decode(bytes, &sb, &h), BOW_DECODE_FOREIGN);
	/* The other's UUID replaced by ours: its checksum has another seed. */
	memcpy(bytes + 16, sb.uuid, 16);
	assert_int_equal(bow_segment_decode(bytes, &sb, &h), BOW_DECODE_DAMAGED);
}

static void a_segment_of_another_version_or_sector_size_is_refused(void **state)
{
	struct bow_super sb = a_super();
	struct bow_segment_header h = a_segment(), back;
	uint8_t bytes[BOW_SEGMENT_HEADER_BYTES];

	(void)state;
	bow_segment_encode(&h, &sb, bytes);
	bow_put32(bytes + 8, 2);
	bow_put64(bytes + CHECKSUM_AT, bow_hash(bytes, CHECKSUM_AT, sb.seed));
	assert_int_equal(decode_segment(bytes), BOW_DECODE_NEWER);
	h.sector_size = 4096;
	bow_segment_encode(&h, &sb, bytes);
	assert_int_equal(bow_segment_decode(bytes, &sb, &back), BOW_DECODE_OK);
	h.sector_size = 1024;
	bow_segment_encode(&h, &sb, bytes);
	assert_int_equal(decode_segment(bytes), BOW_DECODE_DAMAGED);
}

static void a_superblock_that_lost_only_its_magic_is_damaged_not_foreign(void **state)
{
	struct bow_super sb = a_super(), back;
	uint8_t bytes[BOW_SUPER_BYTES];

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		bow_super_encode(&sb, bytes);
		bytes[bit / 8] ^= 1u << bit % 8;
		assert_int_equal(bow_super_decode(bytes, &back), BOW_DECODE_DAMAGED);
		bytes[200] ^= 1;
		assert_int_equal(bow_super_decode(bytes, &back), BOW_DECODE_FOREIGN);
	}
}

static void the_note_is_text_that_names_the_uuid(void **state)
{
	struct bow_super sb = a_super();
	char note[BOW_NOTE_BYTES];
	size_t text;

	(void)state;
	bow_note_render(&sb, note);
	text = strnlen(note, sizeof(note));
	assert_int_equal(text, 588);
	assert_non_null(strstr(note, "(00010203-0405-0607-0809-0a0b0c0d0e0f).\n"));
	for (size_t i = 0; i < sizeof(note); i++)
		assert_true(i < text ? note[i] == '\n' || (note[i] >= ' ' && note[i] <= '~')
				     : note[i] == 0);
	/* An image in use is compared with it, so that another text is another format. */
	assert_true(bow_hash(note, sizeof(note), 0) == 0xd75099513be38481);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_seed_comes_from_the_uuid),
		cmocka_unit_test(the_superblock_is_these_bytes_and_reads_back),
		cmocka_unit_test(what_gives_blocks_back_is_these_bytes),
		cmocka_unit_test(a_segment_header_is_these_bytes_and_reads_back),
		cmocka_unit_test(a_record_is_these_bytes_and_reads_back),
		cmocka_unit_test(a_list_block_is_these_bytes_and_reads_back),
		cmocka_unit_test(a_full_list_block_reads_back_and_a_fuller_one_is_refused),
		cmocka_unit_test(the_footer_is_these_bytes_and_reads_back),
		cmocka_unit_test(a_newer_superblock_is_told_from_a_damaged_one),
		cmocka_unit_test(superblock_fields_outside_their_limits_are_damage),
		cmocka_unit_test(a_source_name_without_an_end_is_damage),
		cmocka_unit_test(a_segment_header_belongs_to_one_checkpoint),
		cmocka_unit_test(a_segment_of_another_version_or_sector_size_is_refused),
		cmocka_unit_test(a_superblock_that_lost_only_its_magic_is_damaged_not_foreign),
		cmocka_unit_test(the_note_is_text_that_names_the_uuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
