/* SPDX-License-Identifier: MIT */
/* What an entry may say, at the edges of the image, of the tail and of 64 bits; sizes of records.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/format/format.h"

#define WHOLE_BLK 100u /* whole blocks of the image; block 100 is its partial last one */
#define IMAGE_BLK 101u
#define END_BLK 200u /* of the tail */

static const struct bow_super sb = {
	.image_size = WHOLE_BLK * BOW_BLOCK + 512,
	.incompat = BOW_INCOMPAT_GIVE,
};

static bool ok(uint8_t type, uint8_t flags, uint64_t source_blk, uint64_t dest_blk, uint32_t count)
{
	struct bow_entry e = {type, flags, count, source_blk, dest_blk, 0};
	const char *why = NULL;
	bool yes = bow_entry_ok(&e, &sb, END_BLK, &why);

	/* A refusal always has its reason. */
	if (!yes)
		assert_non_null(why);
	return yes;
}

static bool copy_ok(uint64_t source_blk, uint64_t dest_blk, uint32_t count)
{
	bool yes = ok(BOW_ENTRY_COPY, 0, source_blk, dest_blk, count);

	assert_int_equal(yes, ok(BOW_ENTRY_COPY, BOW_ENTRY_MOVE, source_blk, dest_blk, count));
	return yes;
}

static void a_source_lies_inside_the_image(void **state)
{
	static const uint8_t types[] = {BOW_ENTRY_COPY,	     BOW_ENTRY_ZERO,
					BOW_ENTRY_TAKE,	     BOW_ENTRY_ZERO_PENDING,
					BOW_ENTRY_ZERO_DONE, BOW_ENTRY_GIVE};

	(void)state;
	for (size_t i = 0; i < sizeof(types); i++) {
		assert_true(ok(types[i], 0, 0, 50, 1));
		assert_true(ok(types[i], 0, IMAGE_BLK - 1, 50, 1)); /* the partial last block */
		assert_false(ok(types[i], 0, IMAGE_BLK, 50, 1));
		assert_false(ok(types[i], 0, IMAGE_BLK - 1, 50, 2));
		assert_false(ok(types[i], 0, 10, 50, 0));
		assert_false(ok(types[i], 0, UINT64_MAX, 50, 1));
		assert_false(ok(types[i], 0, UINT64_MAX - 1, 50, 3));
		assert_false(ok(types[i], 0, 10, 50, UINT32_MAX));
	}
}

static void a_copy_has_at_most_64_blocks_and_others_any_number(void **state)
{
	(void)state;
	assert_true(copy_ok(0, 101, 64));
	assert_false(copy_ok(0, 101, 65));
	assert_true(ok(BOW_ENTRY_ZERO, 0, 0, 0, 65));
	assert_true(ok(BOW_ENTRY_TAKE, 0, 0, 0, IMAGE_BLK));
	assert_false(ok(BOW_ENTRY_TAKE, 0, 0, 0, IMAGE_BLK + 1));
}

static void a_destination_lies_in_whole_blocks_of_the_image_or_in_the_tail(void **state)
{
	(void)state;
	assert_false(copy_ok(5, 0, 1)); /* block 0 is the superblock's */
	assert_true(copy_ok(5, 1, 1));
	assert_true(copy_ok(5, WHOLE_BLK - 1, 1));
	assert_false(copy_ok(5, WHOLE_BLK, 1));	    /* partial */
	assert_false(copy_ok(5, WHOLE_BLK - 1, 2)); /* reaches into the partial one */
	assert_false(copy_ok(5, WHOLE_BLK - 1, 3)); /* and across it into the tail */
	assert_true(copy_ok(5, IMAGE_BLK, 1));	    /* the tail's first */
	assert_true(copy_ok(5, END_BLK - 64, 64));
	assert_false(copy_ok(5, END_BLK - 64 + 1, 64));
	assert_false(copy_ok(5, END_BLK, 1));
	assert_false(copy_ok(5, UINT64_MAX, 1));
	assert_false(copy_ok(5, UINT64_MAX - 1, 3));
}

static void a_destination_may_not_cross_the_end_of_an_image_of_whole_blocks(void **state)
{
	const struct bow_super whole = {.image_size = WHOLE_BLK * BOW_BLOCK};

	(void)state;
	assert_true(bow_parking_ok(&whole, WHOLE_BLK - 1, 1, END_BLK));
	assert_false(bow_parking_ok(&whole, WHOLE_BLK - 1, 2, END_BLK));
	assert_true(bow_parking_ok(&whole, WHOLE_BLK, 1, END_BLK));
	assert_false(bow_parking_ok(&whole, WHOLE_BLK, 1, WHOLE_BLK)); /* no tail */
	assert_false(bow_parking_ok(&whole, 1, 0, END_BLK));
}

static void unknown_types_and_flags_of_a_copy_are_refused(void **state)
{
	(void)state;
	assert_false(ok(0, 0, 5, 50, 1));
	assert_false(ok(9, 0, 5, 50, 1));
	assert_false(ok(255, 0, 5, 50, 1));
	assert_false(ok(BOW_ENTRY_COPY, 2, 5, 50, 1));
	assert_true(ok(BOW_ENTRY_ZERO, BOW_ENTRY_HOLE, 5, 0, 1));
}

static void a_block_is_given_back_only_if_the_superblock_announces_it(void **state)
{
	const struct bow_super older = {.image_size = sb.image_size};
	const struct bow_entry e = {BOW_ENTRY_GIVE, 0, 1, 5, 0, 0};
	const char *why;

	(void)state;
	assert_true(bow_entry_ok(&e, &sb, END_BLK, &why));
	assert_false(bow_entry_ok(&e, &older, END_BLK, &why));
	assert_false(ok(BOW_ENTRY_GIVE, 1, 5, 0, 1)); /* it has no flags */
}

static void a_run_of_the_free_map_lies_inside_the_image(void **state)
{
	(void)state;
	/* Its length is where others have the destination; count is not used. */
	assert_true(ok(BOW_ENTRY_MAP_RUN, 0, 0, IMAGE_BLK, 0));
	assert_false(ok(BOW_ENTRY_MAP_RUN, 0, 0, IMAGE_BLK + 1, 0));
	assert_false(ok(BOW_ENTRY_MAP_RUN, 0, 5, 0, 0));
	assert_false(ok(BOW_ENTRY_MAP_RUN, 0, IMAGE_BLK, 1, 0));
	assert_false(ok(BOW_ENTRY_MAP_RUN, 0, 2, UINT64_MAX, 0));
}

static void a_leaf_of_the_free_map_begins_at_a_multiple_of_its_size(void **state)
{
	(void)state;
	assert_true(ok(BOW_ENTRY_MAP_BITS, 0, 0, 50, 1));
	assert_false(ok(BOW_ENTRY_MAP_BITS, 0, 1, 50, 1));
	assert_false(ok(BOW_ENTRY_MAP_BITS, 0, BOW_MAP_LEAF_BLK, 50, 1)); /* beyond this image */
	assert_false(ok(BOW_ENTRY_MAP_BITS, 0, 0, 0, 1));
	assert_false(ok(BOW_ENTRY_MAP_BITS, 0, 0, WHOLE_BLK, 1));
	assert_false(ok(BOW_ENTRY_MAP_BITS, 0, 0, END_BLK, 1));
}

static void a_record_takes_as_many_entries_as_fit(void **state)
{
	(void)state;
	assert_int_equal(bow_record_bytes(1), 64);
	assert_int_equal(bow_record_fit(0), 0);
	assert_int_equal(bow_record_fit(63), 0);
	assert_int_equal(bow_record_fit(64), 1);
	assert_int_equal(bow_record_fit(512), 15);
	assert_int_equal(bow_record_fit(4096), 127);
	assert_int_equal(bow_record_fit(bow_record_bytes(BOW_RECORD_MAX_ENTRIES)),
			 BOW_RECORD_MAX_ENTRIES);
	assert_int_equal(bow_record_fit(SIZE_MAX), BOW_RECORD_MAX_ENTRIES);
}

static void the_next_record_begins_on_a_fresh_sector(void **state)
{
	(void)state;
	assert_int_equal(bow_record_end(512, 1, 512), 1024);
	assert_int_equal(bow_record_end(512, 15, 512), 1024);
	assert_int_equal(bow_record_end(512, 16, 512), 1536);
	assert_int_equal(bow_record_end(512, 1, 4096), 4096);
	assert_int_equal(bow_record_end(512, 111, 4096), 4096);
	assert_int_equal(bow_record_end(512, 112, 4096), 8192);
	assert_int_equal(bow_record_end(4096, 127, 4096), 8192);
}

static void a_record_is_not_read_beyond_its_room(void **state)
{
	static uint8_t bytes[BOW_RECORD_HEADER_BYTES + BOW_RECORD_MAX_ENTRIES * BOW_ENTRY_BYTES];
	static struct bow_entry e[BOW_RECORD_MAX_ENTRIES];
	uint64_t seq = 0;
	uint32_t n = 0;

	(void)state;
	bow_record_encode(bytes, UINT64_MAX, e, BOW_RECORD_MAX_ENTRIES, 1);
	assert_true(bow_record_decode(bytes, sizeof(bytes), 1, &seq, &n));
	assert_true(seq == UINT64_MAX && n == BOW_RECORD_MAX_ENTRIES);
	assert_false(bow_record_decode(bytes, sizeof(bytes) - 1, 1, &seq, &n));
	assert_false(bow_record_decode(bytes, BOW_RECORD_HEADER_BYTES, 1, &seq, &n));
	assert_false(bow_record_decode(bytes, sizeof(bytes), 2, &seq, &n)); /* another seed */
	for (uint64_t count = 0; count < 2; count++) {
		bow_put32(bytes + 4, count ? UINT32_MAX : 0);
		assert_false(bow_record_decode(bytes, sizeof(bytes), 1, &seq, &n));
	}
}

static void bytes_of_the_last_block_are_its_real_ones(void **state)
{
	(void)state;
	assert_int_equal(bow_super_image_blk(&sb), IMAGE_BLK);
	assert_int_equal(bow_super_bytes(&sb, 99, 1), BOW_BLOCK);
	assert_int_equal(bow_super_bytes(&sb, 100, 1), 512);
	assert_int_equal(bow_super_bytes(&sb, 98, 3), 2 * BOW_BLOCK + 512);
	assert_int_equal(bow_super_bytes(&sb, 101, 2), 2 * BOW_BLOCK); /* the tail */
}

static void every_type_has_a_name(void **state)
{
	static const char *const names[] = {"unknown", "copy",	  "zero",     "take", "promise",
					    "lift",    "map-run", "map-bits", "give"};
	struct bow_entry e = {0};

	(void)state;
	for (e.type = 0; e.type < 9; e.type++)
		assert_string_equal(bow_entry_name(&e), names[e.type]);
	e.type = BOW_ENTRY_COPY;
	e.flags = BOW_ENTRY_MOVE;
	assert_string_equal(bow_entry_name(&e), "move");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_source_lies_inside_the_image),
		cmocka_unit_test(a_copy_has_at_most_64_blocks_and_others_any_number),
		cmocka_unit_test(a_destination_lies_in_whole_blocks_of_the_image_or_in_the_tail),
		cmocka_unit_test(a_destination_may_not_cross_the_end_of_an_image_of_whole_blocks),
		cmocka_unit_test(unknown_types_and_flags_of_a_copy_are_refused),
		cmocka_unit_test(a_block_is_given_back_only_if_the_superblock_announces_it),
		cmocka_unit_test(a_run_of_the_free_map_lies_inside_the_image),
		cmocka_unit_test(a_leaf_of_the_free_map_begins_at_a_multiple_of_its_size),
		cmocka_unit_test(a_record_takes_as_many_entries_as_fit),
		cmocka_unit_test(the_next_record_begins_on_a_fresh_sector),
		cmocka_unit_test(a_record_is_not_read_beyond_its_room),
		cmocka_unit_test(bytes_of_the_last_block_are_its_real_ones),
		cmocka_unit_test(every_type_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
