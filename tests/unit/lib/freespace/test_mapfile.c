/* SPDX-License-Identifier: MIT */
/* Map files: what ddrescue and partclone write, and what an attacker might. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "host.h"
#include "lib/freespace/freemap.h"
#include "rng.h"

#define BLOCKS 16u
#define BLOCK BOWIMG_BLOCK_SIZE
#define IMAGE_BYTES (BLOCKS * BLOCK + 100) /* the last block is a partial one */

struct place {
	char dir[HOST_PATH_BYTES], path[HOST_PATH_BYTES + 8];
};

static int read_map(struct place *p, const void *text, size_t bytes, struct bow_bitmap *map,
		    struct bow_freemap_info *info, struct bowimg_error *err)
{
	FILE *f;

	/* Not over the last one: ext4 writes a file that replaces another to disk at once. */
	remove(p->path);
	f = fopen(p->path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, bytes, f), bytes);
	assert_int_equal(fclose(f), 0);
	return bow_freemap_mapfile(p->path, IMAGE_BYTES, map, info, err);
}

/* The map as a picture: one character a block. */
static void reads_as(struct place *p, const char *text, const char *picture, uint64_t free_bytes)
{
	struct bow_bitmap *map = bow_bitmap_new(BLOCKS + 1);
	struct bow_freemap_info info;
	struct bowimg_error err = {0};
	char got[BLOCKS + 2] = "";

	if (read_map(p, text, strlen(text), map, &info, &err))
		fail_msg("%s", err.message);
	for (uint64_t b = 0; b <= BLOCKS; b++)
		got[b] = bow_bitmap_test(map, b) ? '?' : '+';
	assert_string_equal(got, picture);
	assert_string_equal(info.source, "map");
	assert_int_equal(info.fs_free_bytes, free_bytes);
	bow_bitmap_free(map);
}

static void refused_bytes(struct place *p, const void *text, size_t bytes, const char *words)
{
	struct bow_bitmap *map = bow_bitmap_new(BLOCKS + 1);
	struct bow_freemap_info info;
	struct bowimg_error err = {0};

	assert_int_equal(read_map(p, text, bytes, map, &info, &err), -EUCLEAN);
	if (!strstr(err.message, words))
		fail_msg("\"%s\" lacks \"%s\"", err.message, words);
	assert_non_null(strstr(err.message, p->path));
	assert_non_null(strstr(err.hint, "ddrescue"));
	assert_int_equal(bow_bitmap_count(map), 0);
	bow_bitmap_free(map);
}

static void refused(struct place *p, const char *text, const char *words)
{
	refused_bytes(p, text, strlen(text), words);
}

static void a_ddrescue_map_is_read_with_only_non_tried_as_free(void **state)
{
	reads_as(*state,
		 "# Mapfile. Created by GNU ddrescue version 1.27\n"
		 "# current_pos  current_status  current_pass\n"
		 "0x00010000     +               1\n"
		 "#      pos        size  status\n"
		 "0x00000000  0x00002000  +\n"
		 "0x00002000  0x00002000  ?\n"
		 "0x00004000  0x00001000  *\n"
		 "0x00005000  0x00001000  /\n"
		 "0x00006000  0x00001000  -\n"
		 "0x00007000  0x00001000  ?\n",
		 "++??+++?+++++++++", 3 * BLOCK);
}

static void a_partclone_domain_file_in_decimal_with_other_line_ends_is_read(void **state)
{
	reads_as(*state,
		 "# Domain logfile created by partclone\r\n"
		 "0x04000000     ?\r\n"
		 "8192 4096 ?\r\n"
		 "\t 12288\t4096 \t+ # used\r\n"
		 "\r\n"
		 "16384 8192 ?",
		 "++?+??+++++++++++", 3 * BLOCK);
}

static void block_0_and_a_partial_last_block_are_never_free(void **state)
{
	char text[100];

	snprintf(text, sizeof(text), "0 ? 1\n0 %u ?\n", IMAGE_BYTES);
	reads_as(*state, text,
		 "+???????????"
		 "????+",
		 IMAGE_BYTES);
}

static void free_runs_shrink_and_used_runs_grow_to_whole_blocks(void **state)
{
	reads_as(*state, "0 +\n4097 12287 ?\n20480 12288 ?\n28671 1 +\n",
		 "++??+?+?"
		 "+++++++++",
		 12287 + 12288);
}

static void lines_that_continue_each_other_free_the_block_between_them(void **state)
{
	reads_as(*state, "0 +\n4096 1024 ?\n5120 1024 ?\n6144 2049 ?\n", "+?+++++++++++++++",
		 1024 + 1024 + 2049);
}

static void in_any_order_used_wins_over_free(void **state)
{
	reads_as(*state, "0 +\n16384 4096 +\n4096 32768 ?\n8192 1 -\n4096 8192 ?\n",
		 "+?+?+????++++++++", 32768 + 8192);
	reads_as(*state, "0 +\n4096 32768 ?\n8192 1 -\n16384 4096 +\n", "+?+?+????++++++++", 32768);
}

static void empty_entries_say_nothing(void **state)
{
	char text[100];

	snprintf(text, sizeof(text), "0 +\n4096 0 +\n4096 4096 ?\n%u 0 ?\n", IMAGE_BYTES);
	reads_as(*state, text, "+?+++++++++++++++", 4096);
}

static void what_is_no_map_is_refused_with_the_line_that_shows_it(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{"", "without a map"},
		{"# nothing\n\n# at all\n", "without a map"},
		{"hello\n", "line 1: the first line"},
		{"#\n0 1 ?\n", "line 2: the first line"},
		{"0 +\n4096 4096 x\n", "line 2: expected"},
		{"0 +\n4096 4096\n", "line 2: expected"},
		{"0 +\n4096 ?\n", "line 2: expected"},
		{"0 +\n4096 4096 ??\n", "line 2: expected"},
		{"0 +\n4096 4096 ? 1\n", "line 2: expected"},
		{"0 +\n4096 4096 F\n", "line 2: expected"},
		{"0 +\n-4096 4096 ?\n", "line 2: expected"},
		{"0 +\n4096 -1 ?\n", "line 2: expected"},
		{"0 +\n4096 +1 ?\n", "line 2: expected"},
		{"0 +\n0x 4096 ?\n", "line 2: expected"},
		{"0 +\n09 4096 ?\n", "line 2: expected"},
		{"0 +\n4k 4096 ?\n", "line 2: expected"},
		{"0 +\n4096 99999999999999999999999 ?\n", "line 2: expected"},
		{"0 +\n4096 4096 ?\n65536 101 ?\n", "line 3: it reaches beyond"},
		{"0 +\n65636 1 +\n", "line 2: it reaches beyond"},
		{"0 +\n0xffffffffffffffff 2 ?\n", "line 2: it reaches beyond"},
		{"0 +\n2 0xffffffffffffffff ?\n", "line 2: it reaches beyond"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(*state, cases[i].text, cases[i].words);
	refused_bytes(*state, "0 +\n4096\0 4096 ?\n", 17, "line 2: a NUL byte");
	refused_bytes(*state, "#\0\n", 3, "line 1: a NUL byte");
}

static void huge_lines_are_skipped_as_comments_and_refused_otherwise(void **state)
{
	const size_t bytes = 3u << 20;
	char *text = malloc(bytes + 100);

	memset(text, ' ', bytes);
	text[0] = '#';
	strcpy(text + bytes, "\n0 +\n4096 4096 ?\n");
	reads_as(*state, text, "+?+++++++++++++++", 4096);
	memset(text, '7', bytes);
	refused(*state, text, "line 1: it is too long");
	free(text);
}

static void a_file_that_cannot_be_read_keeps_its_own_error(void **state)
{
	struct place *p = *state;
	struct bow_bitmap *map = bow_bitmap_new(BLOCKS + 1);
	struct bow_freemap_info info;
	struct bowimg_error err = {0};

	assert_int_equal(bow_freemap_mapfile("/nonexistent/map", IMAGE_BYTES, map, &info, &err),
			 -ENOENT);
	assert_non_null(strstr(err.message, "/nonexistent/map: open the free map"));
	assert_non_null(strstr(err.hint, "map:FILE"));
	assert_int_equal(bow_freemap_mapfile(p->dir, IMAGE_BYTES, map, &info, &err), -EISDIR);
	assert_int_equal(bow_freemap_mapfile("/nonexistent/map", IMAGE_BYTES, map, &info, NULL),
			 -ENOENT);
	bow_bitmap_free(map);
}

/* Text made of the format's own pieces, so that much of it is nearly right. */
static void random_text_is_survived(void **state)
{
	static const char *const pieces[] = {"0x", "1", "0",	 "4096",  " ", " ", "\n", "\n",
					     "+",  "?", "12288", "0 +\n", "#", "-", "\t", "f"};
	struct rng rng = {99};

	for (int round = 0; round < 3000; round++) {
		struct bow_bitmap *map = bow_bitmap_new(BLOCKS + 1);
		struct bow_freemap_info info;
		char text[400] = "0 +\n";
		int rc;

		for (uint32_t n = rng_below(&rng, 50); n > 0; n--)
			strcat(text, pieces[rng_below(&rng, sizeof(pieces) / sizeof(pieces[0]))]);
		rc = read_map(*state, text, strlen(text), map, &info, NULL);
		assert_true(rc == 0 || rc == -EUCLEAN);
		assert_false(bow_bitmap_test(map, 0) || bow_bitmap_test(map, BLOCKS));
		bow_bitmap_free(map);
	}
}

static int setup(void **state)
{
	static struct place p;

	if (!host_temp_dir(p.dir))
		return -1;
	snprintf(p.path, sizeof(p.path), "%s/map", p.dir);
	*state = &p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	host_remove_tree(p->dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ddrescue_map_is_read_with_only_non_tried_as_free),
		cmocka_unit_test(a_partclone_domain_file_in_decimal_with_other_line_ends_is_read),
		cmocka_unit_test(block_0_and_a_partial_last_block_are_never_free),
		cmocka_unit_test(free_runs_shrink_and_used_runs_grow_to_whole_blocks),
		cmocka_unit_test(lines_that_continue_each_other_free_the_block_between_them),
		cmocka_unit_test(in_any_order_used_wins_over_free),
		cmocka_unit_test(empty_entries_say_nothing),
		cmocka_unit_test(what_is_no_map_is_refused_with_the_line_that_shows_it),
		cmocka_unit_test(huge_lines_are_skipped_as_comments_and_refused_otherwise),
		cmocka_unit_test(a_file_that_cannot_be_read_keeps_its_own_error),
		cmocka_unit_test(random_text_is_survived),
	};

	return cmocka_run_group_tests_name("mapfile", tests, setup, teardown);
}
