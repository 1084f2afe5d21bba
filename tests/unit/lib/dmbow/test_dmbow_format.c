/* SPDX-License-Identifier: MIT */
/* dm-bow's bytes: those of a real disk, and everything that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/dmbow/format.h"

/* The first bytes of a disk that a kernel left, 4096-byte blocks: 67 entries in log block 3. */
static const uint8_t real[] = {
	0x42, 0x4f, 0x57, 0x00, 0x00, 0x01, 0x1c, 0x00, 0x00, 0x10, 0x00, 0x00, 0x43,
	0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x98, 0x90, 0x03, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x38, 0x5c, 0x03,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0xe4, 0xff, 0x6d, 0xbb,
};

static void the_bytes_of_a_real_disk_are_read_and_written(void **state)
{
	struct bow_dmbow_header h;
	struct bow_dmbow_entry e;
	uint8_t out[sizeof(real)];
	const char *why;

	(void)state;
	assert_int_equal(bow_dmbow_decode(real, &h), BOW_DECODE_OK);
	assert_false(h.restoring);
	assert_int_equal(h.block_size, 4096);
	assert_int_equal(h.count, 67);
	assert_int_equal(h.sequence, 3);
	assert_int_equal(h.sector0, 233624);
	assert_true(bow_dmbow_entry_decode(real, 0, 4096, 32768, &e, &why));
	assert_int_equal(e.source_blk, 0);
	assert_int_equal(e.dest_blk, 220216 / 8);
	assert_int_equal(e.count_blk, 1);
	assert_int_equal(e.checksum, 0xbb6dffe4);
	bow_dmbow_encode(&h, out);
	bow_dmbow_entry_encode(&e, 4096, out + bow_dmbow_entry_off(0));
	assert_memory_equal(out, real, sizeof(real));
	h.restoring = true;
	bow_dmbow_encode(&h, out);
	assert_memory_equal(out, "WOB", 4);
	assert_int_equal(bow_dmbow_decode(out, &h), BOW_DECODE_OK);
	assert_true(h.restoring);
}

static void a_log_block_holds_as_many_entries_as_fit(void **state)
{
	(void)state;
	assert_int_equal(bow_dmbow_capacity(512), 20);
	assert_int_equal(bow_dmbow_capacity(4096), 169);
	assert_int_equal(bow_dmbow_entry_off(20), 508);
}

static void the_checksum_is_a_crc_32_without_inversions(void **state)
{
	(void)state;
	assert_int_equal(bow_dmbow_crc(0xffffffff, "123456789", 9), (uint32_t)~0xcbf43926u);
	assert_int_equal(bow_dmbow_crc(0, "\0\0\0\0", 4), 0);
	assert_int_equal(bow_dmbow_crc(bow_dmbow_crc(5, "ab", 2), "cd", 2),
			 bow_dmbow_crc(5, "abcd", 4));
}

static enum bow_decoded decode_with(size_t at, uint8_t byte)
{
	struct bow_dmbow_header h;
	uint8_t in[BOW_DMBOW_HEADER_BYTES];

	memcpy(in, real, sizeof(in));
	in[at] = byte;
	return bow_dmbow_decode(in, &h);
}

static void an_impossible_header_is_damaged(void **state)
{
	(void)state;
	assert_int_equal(decode_with(0, 'b'), BOW_DECODE_FOREIGN);
	assert_int_equal(decode_with(3, 1), BOW_DECODE_FOREIGN);
	assert_int_equal(decode_with(5, 2), BOW_DECODE_NEWER);
	assert_int_equal(decode_with(6, 29), BOW_DECODE_DAMAGED);
	assert_int_equal(decode_with(9, 0x30), BOW_DECODE_DAMAGED);
	assert_int_equal(decode_with(9, 0x20), BOW_DECODE_DAMAGED);
	assert_int_equal(decode_with(9, 0x01), BOW_DECODE_DAMAGED);
	assert_int_equal(decode_with(9, 0), BOW_DECODE_DAMAGED);
	assert_int_equal(decode_with(12, 0), BOW_DECODE_DAMAGED);
	assert_int_equal(decode_with(12, 170), BOW_DECODE_DAMAGED);
	assert_int_equal(decode_with(12, 169), BOW_DECODE_OK);
	assert_int_equal(decode_with(15, 0x80), BOW_DECODE_DAMAGED);
}

/* Entry i of a log in 1024-byte blocks on a disk of 100 blocks, its numbers as on the disk. */
static const char *refusal(uint32_t i, uint64_t source, uint64_t dest, uint32_t bytes)
{
	uint8_t block[1024] = {0}, *at = block + bow_dmbow_entry_off(i);
	struct bow_dmbow_entry e;
	const char *why = "";

	bow_put64(at, source);
	bow_put64(at + 8, dest);
	bow_put32(at + 16, bytes);
	return bow_dmbow_entry_decode(block, i, 1024, 100, &e, &why) ? "" : why;
}

static void an_entry_that_no_disk_can_have_is_refused(void **state)
{
	const uint64_t huge = UINT64_MAX - 1;

	(void)state;
	assert_string_equal(refusal(1, 10, 20, 5 * 1024), "");
	assert_string_equal(refusal(1, 198, 20, 1024), "");
	assert_non_null(strstr(refusal(1, 200, 20, 1024), "source is outside"));
	assert_non_null(strstr(refusal(1, 198, 20, 2048), "source is outside"));
	assert_non_null(strstr(refusal(1, huge, 20, 2048), "source is outside"));
	assert_non_null(strstr(refusal(1, 10, 198, 2048), "destination is outside"));
	assert_non_null(strstr(refusal(1, 10, huge, 1024), "destination is outside"));
	assert_non_null(strstr(refusal(1, 10, 20, 0), "is outside the disk"));
	assert_non_null(strstr(refusal(1, 10, 20, 0xfffffc00), "is outside the disk"));
	assert_non_null(strstr(refusal(1, 11, 20, 1024), "whole blocks"));
	assert_non_null(strstr(refusal(1, 10, 21, 1024), "whole blocks"));
	assert_non_null(strstr(refusal(1, 10, 20, 1000), "whole blocks"));
	assert_non_null(strstr(refusal(1, 10, 0, 1024), "block 0"));
	assert_non_null(strstr(refusal(1, 0, 20, 1024), "block 0"));
	assert_non_null(strstr(refusal(0, 10, 20, 1024), "block 0"));
	assert_non_null(strstr(refusal(0, 0, 20, 2048), "block 0"));
	assert_non_null(strstr(refusal(1, 10, 12, 2048), "overlap"));
	assert_non_null(strstr(refusal(1, 12, 10, 4096), "overlap"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_bytes_of_a_real_disk_are_read_and_written),
		cmocka_unit_test(a_log_block_holds_as_many_entries_as_fit),
		cmocka_unit_test(the_checksum_is_a_crc_32_without_inversions),
		cmocka_unit_test(an_impossible_header_is_damaged),
		cmocka_unit_test(an_entry_that_no_disk_can_have_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
