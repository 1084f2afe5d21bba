/* SPDX-License-Identifier: MIT */
/* Patches: what was written is read, and nothing else is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <archive_entry.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "patch_forge.h"
#include "rng.h"

#define BLOCK FORGE_BLOCK

static const enum bow_patch_pack packs[] = {BOW_PATCH_NONE, BOW_PATCH_GZIP, BOW_PATCH_ZSTD};

/* ---- what is written is read ----------------------------------------------------- */

static void add(struct bow_patch_writer *w, uint64_t off, uint32_t bytes, bool any, bool zero)
{
	struct bow_patch_run run = {
		.off = off, .bytes = bytes, .any = any, .zero = zero, .before = off + 1};
	uint8_t *after = calloc(1, bytes);
	struct bowimg_error err;

	if (!zero)
		rng_fill(after, bytes, off);
	assert_int_equal(bow_patch_writer_add(w, &run, after, &err), 0);
	free(after);
}

static int write_patch(const struct bow_patch_head *head, enum bow_patch_pack pack,
		       void (*fill)(struct bow_patch_writer *w))
{
	struct bow_patch_totals totals;
	struct bow_patch_writer *w;
	struct bowimg_error err;
	int fd = forge_file("", 0);

	assert_int_equal(bow_patch_writer_open(fd, pack, head, &w, &err), 0);
	fill(w);
	assert_int_equal(bow_patch_writer_finish(w, &totals, &err), 0);
	bow_patch_writer_free(w);
	return fd;
}

static void some_runs(struct bow_patch_writer *w)
{
	add(w, 0, BLOCK, false, false);
	add(w, 3 * BLOCK, 2 * BLOCK, true, false);
	add(w, 5 * BLOCK, 8 * BLOCK, false, true);
	add(w, 64 * BLOCK, 100, false, false);
}

/* A digest of all that was read. */
static void digest(void *ctx, const struct bow_patch_run *run, const void *after)
{
	uint64_t *d = ctx,
		 facts[5] = {run->off, run->bytes, run->any, run->zero, run->any ? 0 : run->before};

	*d = bow_hash(facts, sizeof(facts), *d);
	*d = bow_hash(after, run->bytes, *d);
}

static uint64_t digest_of(int fd)
{
	struct bowimg_error err = {0};
	uint64_t d = 1;

	if (forge_read(fd, digest, &d, &err))
		fail_msg("%s", err.message);
	return d;
}

static void see_some_runs(void *ctx, const struct bow_patch_run *run, const void *after)
{
	static const uint64_t offs[] = {0, 3 * BLOCK, 5 * BLOCK, 64 * BLOCK};
	unsigned *n = ctx;
	uint8_t wanted[2 * BLOCK];

	assert_int_equal(run->off, offs[*n]);
	assert_int_equal(run->any, *n == 1);
	assert_int_equal(run->zero, *n == 2);
	if (!run->any)
		assert_int_equal(run->before, run->off + 1);
	assert_int_equal(run->after, bow_hash(after, run->bytes, 0));
	rng_fill(wanted, sizeof(wanted), run->off);
	if (run->zero)
		assert_true(bow_is_zero(after, run->bytes));
	else
		assert_memory_equal(after, wanted, run->bytes);
	++*n;
}

static void what_was_written_is_read_in_every_compression(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(packs) / sizeof(packs[0]); i++) {
		int fd = write_patch(&forge_head, packs[i], some_runs);
		struct bowimg_error err = {0};
		unsigned n = 0;

		if (forge_read(fd, see_some_runs, &n, &err))
			fail_msg("%s", err.message);
		assert_int_equal(n, 4);
		close(fd);
	}
}

static void the_head_is_what_it_was(void **state)
{
	static const struct bow_patch_head head = {.direction = BOW_PATCH_UNDO,
						   .image_size = INT64_MAX,
						   .exact = true,
						   .checkpoint =
							   "ffffffff-89ab-4cde-8f01-23456789abcd"};
	struct bow_patch_head got = {0};
	char *text = bow_patch_head_encode(&head);
	struct bowimg_error err = {0};

	(void)state;
	assert_non_null(text);
	assert_int_equal(bow_patch_head_decode(text, strlen(text), &got, &err), 0);
	assert_int_equal(got.direction, BOW_PATCH_UNDO);
	assert_int_equal(got.image_size, INT64_MAX);
	assert_true(got.exact);
	assert_string_equal(got.checkpoint, head.checkpoint);
	free(text);
}

/* More runs than a piece has, and more data. */
static void many_runs(struct bow_patch_writer *w)
{
	for (uint64_t i = 0; i < 2 * BOW_PATCH_PIECE_RUNS + 7; i++)
		add(w, 2 * i * BLOCK, BLOCK, i % 3 == 0, i % 2);
	for (uint64_t i = 34; i < 54; i++)
		add(w, i << 20, 1 << 20, false, false);
}

static void a_patch_of_many_pieces_is_read(void **state)
{
	struct bow_patch_head head = forge_head;
	uint64_t plain, packed;
	int fd;

	(void)state;
	head.image_size = 54 << 20;
	fd = write_patch(&head, BOW_PATCH_NONE, many_runs);
	plain = digest_of(fd);
	close(fd);
	fd = write_patch(&head, BOW_PATCH_ZSTD, many_runs);
	packed = digest_of(fd);
	close(fd);
	assert_true(plain == packed);
}

static void no_runs(struct bow_patch_writer *w)
{
	(void)w;
}

static void a_patch_without_a_run_is_one(void **state)
{
	int fd = write_patch(&forge_head, BOW_PATCH_NONE, no_runs);

	(void)state;
	assert_true(digest_of(fd) == 1);
	close(fd);
}

static void equal_patches_are_equal_files(void **state)
{
	uint8_t a[65536], b[65536];

	(void)state;
	for (size_t i = 0; i < sizeof(packs) / sizeof(packs[0]); i++) {
		int one = write_patch(&forge_head, packs[i], some_runs);
		int two = write_patch(&forge_head, packs[i], some_runs);
		ssize_t n = pread(one, a, sizeof(a), 0);

		assert_int_equal(n, pread(two, b, sizeof(b), 0));
		assert_memory_equal(a, b, n);
		close(one);
		close(two);
	}
}

/* ---- and nothing else is believed ------------------------------------------------ */

/* `fd` is closed. */
static void refused(int fd, int code, const char *words)
{
	struct bowimg_error err = {0};
	int rc = forge_read(fd, NULL, NULL, &err);

	if (rc != code || !strstr(err.message, words))
		fail_msg("%d \"%s\" instead of %d \"%s\"", rc, err.message, code, words);
	close(fd);
}

static void what_is_no_archive_is_no_patch(void **state)
{
	static const uint8_t zeros[20480];
	uint8_t noise[20480];

	(void)state;
	rng_fill(noise, sizeof(noise), 1);
	refused(forge_file("", 0), -EOPNOTSUPP, "no patch");
	refused(forge_file("x", 1), -EOPNOTSUPP, "no patch");
	refused(forge_file(noise, sizeof(noise)), -EOPNOTSUPP, "no patch");
	refused(forge_file(zeros, sizeof(zeros)), -EOPNOTSUPP, "no patch");
	refused(forge_file("\x1f\x8b\x08nonsense", 11), -EUCLEAN, "compression");
	refused(forge_file("\xfd\x37zXZ\0nonsense", 14), -EOPNOTSUPP, "by xz");
	refused(forge_file("\x28\xb5\x2f\xfdnonsense", 12), -EUCLEAN, "compression");
}

/* Whatever a cut leaves: an error with words, never a patch. */
static void a_patch_cut_anywhere_is_refused(void **state)
{
	static uint8_t bytes[1 << 16];

	(void)state;
	for (size_t i = 0; i < sizeof(packs) / sizeof(packs[0]); i++) {
		int whole = write_patch(&forge_head, packs[i], some_runs);
		ssize_t n = pread(whole, bytes, sizeof(bytes), 0);
		/* tar's own end, 1024 zeros, may be missing. */
		ssize_t end = packs[i] == BOW_PATCH_NONE ? n - 1024 : n;

		assert_true(n > 0 && n < (ssize_t)sizeof(bytes));
		for (ssize_t cut = 0; cut < end; cut += 97) {
			struct bowimg_error err = {0};
			int fd = forge_file(bytes, (size_t)cut);

			assert_true(forge_read(fd, NULL, NULL, &err) < 0);
			assert_true(err.message[0]);
			close(fd);
		}
		close(whole);
	}
}

/* A flipped bit is noticed, or it is in tar's padding and changes nothing. */
static void a_flipped_bit_is_noticed_or_means_nothing(void **state)
{
	static uint8_t bytes[1 << 16];
	uint64_t wanted;

	(void)state;
	for (size_t i = 0; i < sizeof(packs) / sizeof(packs[0]); i++) {
		int whole = write_patch(&forge_head, packs[i], some_runs);
		ssize_t n = pread(whole, bytes, sizeof(bytes), 0);

		wanted = digest_of(whole);
		for (ssize_t at = 0; at < n; at += packs[i] == BOW_PATCH_NONE ? 5 : 13) {
			struct bowimg_error err = {0};
			uint64_t d = 1;

			bytes[at] ^= (uint8_t)(1 << at % 8);
			int fd = forge_file(bytes, (size_t)n);
			if (!forge_read(fd, digest, &d, &err))
				assert_true(d == wanted);
			else
				assert_true(err.message[0]);
			close(fd);
			bytes[at] ^= (uint8_t)(1 << at % 8);
		}
		close(whole);
	}
}

static void nothing_may_follow_the_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(packs) / sizeof(packs[0]); i++) {
		int fd = write_patch(&forge_head, packs[i], some_runs);

		assert_int_equal(write(fd, "more", 4), 4);
		/* libarchive goes on to a next frame of Zstandard by itself. */
		refused(fd, -EUCLEAN,
			packs[i] == BOW_PATCH_ZSTD ? "compression is damaged" : "behind its end");
	}
	/* tar's padding is no garbage. */
	int fd = write_patch(&forge_head, BOW_PATCH_NONE, some_runs);
	assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) + 9000), 0);
	digest_of(fd);
	close(fd);
}

static void runs_refused(const char *runs, size_t data_bytes, const char *words)
{
	static const uint8_t data[4 * BLOCK];
	struct forge_texts t = {
		.runs = runs, .data = data_bytes ? data : NULL, .data_bytes = data_bytes};

	refused(forge_texts(&t), -EUCLEAN, words);
}

#define HASHES "\"before\":null,\"after\":\"0123456789abcdef\""

static void runs_that_cannot_be_are_refused(void **state)
{
	(void)state;
	runs_refused("{\"runs\":[{\"offset\":0,\"length\":0," HASHES "}]}", 0, "out of range");
	runs_refused("{\"runs\":[{\"offset\":-4096,\"length\":4096," HASHES "}]}", 0,
		     "out of range");
	runs_refused("{\"runs\":[{\"offset\":0,\"length\":1052672," HASHES "}]}", 0,
		     "out of range");
	runs_refused("{\"runs\":[{\"offset\":512,\"length\":4096," HASHES "}]}", BLOCK, "whole");
	runs_refused("{\"runs\":[{\"offset\":0,\"length\":512," HASHES "}]}", 512, "whole");
	runs_refused("{\"runs\":[{\"offset\":262144,\"length\":4096," HASHES "}]}", BLOCK,
		     "beyond");
	runs_refused("{\"runs\":[{\"offset\":9223372036854771712,\"length\":4096," HASHES "}]}",
		     BLOCK, "beyond");
	runs_refused("{\"runs\":[{\"offset\":8192,\"length\":4096," HASHES
		     "},{\"offset\":0,\"length\":4096," HASHES "}]}",
		     2 * BLOCK, "before the end of another");
	runs_refused("{\"runs\":[{\"offset\":0,\"length\":8192," HASHES
		     "},{\"offset\":4096,\"length\":4096," HASHES "}]}",
		     3 * BLOCK, "before the end of another");
	runs_refused("{\"runs\":[]}", 0, "no list");
	runs_refused("{\"runs\":{}}", 0, "no list");
	runs_refused("{\"runs\":[7]}", 0, "run 0");
	runs_refused("[[[", 0, "JSON");
	runs_refused("{\"runs\":1,\"runs\":2}", 0, "JSON");
	runs_refused("{\"runs\":[{\"offset\":0,\"length\":4096,\"before\":7,\"after\":"
		     "\"0123456789abcdef\"}]}",
		     BLOCK, "no hash");
	runs_refused("{\"runs\":[{\"offset\":0,\"length\":4096,\"before\":null,\"after\":\"zz\"}]}",
		     BLOCK, "no hash");
	runs_refused("{\"runs\":[{\"offset\":0.5,\"length\":4096," HASHES "}]}", BLOCK, "Expected");
}

static void data_that_does_not_fit_is_refused(void **state)
{
	static const char runs[] = "{\"runs\":[{\"offset\":0,\"length\":4096," HASHES "}]}";
	static const uint8_t zeros[BLOCK];
	struct forge_texts t = {.runs = runs, .data = zeros, .data_bytes = BLOCK};

	(void)state;
	refused(forge_texts(&t), -EBADMSG, "checksum");
	runs_refused(runs, BLOCK - 1, "impossible size");
	runs_refused(runs, BLOCK + 1, "impossible size");
	runs_refused(runs, 0, "in place of '00000000.data'");
	t.runs = "{\"runs\":[{\"offset\":0,\"length\":4096,\"zero\":true," HASHES "}]}";
	t.data = NULL;
	refused(forge_texts(&t), -EBADMSG, "checksum");
}

static void more_runs_than_a_piece_has_are_refused(void **state)
{
	static const char run[] = "{\"offset\":0,\"length\":4096," HASHES "},";
	size_t n = BOW_PATCH_PIECE_RUNS + 1, bytes = sizeof(run) - 1;
	char *text = malloc(64 + n * bytes), *end = stpcpy(text, "{\"runs\":[");

	(void)state;
	for (size_t i = 0; i < n; i++)
		end = stpcpy(end, run);
	strcpy(end - 1, "]}");
	runs_refused(text, 0, "no list of 1 to 2048");
	free(text);
}

static void a_head_that_cannot_be_is_refused(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *words;
	} heads[] = {
		{"{}", -EOPNOTSUPP, "no patch"},
		{"{\"format\":\"bowimg-patch\"}", -EUCLEAN, "missing"},
		{"{\"format\":\"bowimg-patch\",\"version\":2,\"incompat\":[]}", -EOPNOTSUPP,
		 "version 2"},
		{"{\"format\":\"bowimg-patch\",\"version\":1,\"incompat\":[\"holes\"]}",
		 -EOPNOTSUPP, "'holes'"},
		{"{\"format\":\"bowimg-patch\",\"version\":1,\"incompat\":[]}", -EUCLEAN,
		 "direction"},
		{"{\"format\":\"bowimg-patch\",\"version\":1,\"incompat\":[],\"direction\":\"up\","
		 "\"image-size\":65536,\"block-size\":4096,\"exact\":true,\"checkpoint\":"
		 "\"01234567-89ab-4cde-8f01-23456789abcd\"}",
		 -EUCLEAN, "neither"},
		{"{\"format\":\"bowimg-patch\",\"version\":1,\"incompat\":[],\"direction\":"
		 "\"undo\",\"image-size\":-1,\"block-size\":4096,\"exact\":true,\"checkpoint\":"
		 "\"01234567-89ab-4cde-8f01-23456789abcd\"}",
		 -EUCLEAN, "out of range"},
		{"{\"format\":\"bowimg-patch\",\"version\":1,\"incompat\":[],\"direction\":"
		 "\"undo\",\"image-size\":65536,\"block-size\":4096,\"exact\":true,\"checkpoint\":"
		 "\"\"}",
		 -EUCLEAN, "UUID"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct forge_texts t = {.manifest = heads[i].text};

		refused(forge_texts(&t), heads[i].code, heads[i].words);
	}
}

static void an_end_that_is_missing_or_wrong_is_refused(void **state)
{
	struct forge_texts t = {.end = ""};

	(void)state;
	refused(forge_texts(&t), -EUCLEAN, "cut off");
	t.end = "{}";
	refused(forge_texts(&t), -EUCLEAN, "end.json");
	t.end = "{\"runs\":0,\"run-bytes\":0,\"data-bytes\":0,\"hash\":\"0123456789abcdef\"}";
	refused(forge_texts(&t), -EBADMSG, "whole");
}

/* ---- members --------------------------------------------------------------------- */

static void members_refused(const char *second, unsigned type, const char *words)
{
	char *head = bow_patch_head_encode(&forge_head);
	struct forge_member m[] = {
		{"manifest.json", head, strlen(head), 0},
		{second, "{}", type ? 0 : 2, type},
		{0},
	};

	refused(forge_archive(m, BOW_PATCH_NONE), -EUCLEAN, words);
	free(head);
}

static void members_that_are_not_expected_are_refused(void **state)
{
	(void)state;
	members_refused("../../etc/passwd", 0, "'../../etc/passwd' in place of");
	members_refused("manifest.json", 0, "'manifest.json' in place of");
	members_refused("00000001.json", 0, "in place of '00000000.json'");
	members_refused("00000000.json", AE_IFLNK, "no plain file");
	members_refused("00000000.json/", AE_IFDIR, "in place of");
	members_refused("00000000.json", AE_IFIFO, "no plain file");
	members_refused("end.json", AE_IFCHR, "no plain file");
}

static void a_member_behind_the_end_is_refused(void **state)
{
	char *head = bow_patch_head_encode(&forge_head);
	struct bow_patch_totals totals = {0};
	char *end = bow_patch_end_encode(&totals, bow_hash(head, strlen(head), 0));
	struct forge_member m[] = {
		{"manifest.json", head, strlen(head), 0},
		{"end.json", end, strlen(end), 0},
		{"end.json", end, strlen(end), 0},
		{0},
	};

	(void)state;
	refused(forge_archive(m, BOW_PATCH_NONE), -EUCLEAN, "behind end.json");
	free(head);
	free(end);
}

/* ---- bombs ----------------------------------------------------------------------- */

#define BOMB_BYTES (64u << 20)

static void a_huge_member_of_json_is_refused_unread(void **state)
{
	uint8_t *zeros = calloc(1, BOMB_BYTES);
	struct forge_member m[] = {{"manifest.json", zeros, BOMB_BYTES, 0}, {0}};

	(void)state;
	refused(forge_archive(m, BOW_PATCH_ZSTD), -EUCLEAN, "impossible size");
	free(zeros);
}

static void endless_padding_is_refused(void **state)
{
	uint8_t *bytes = calloc(1, BOMB_BYTES);
	int fd = write_patch(&forge_head, BOW_PATCH_NONE, some_runs);

	(void)state;
	assert_true(pread(fd, bytes, BOMB_BYTES, 0) > 0);
	close(fd);
	fd = forge_file(bytes, BOMB_BYTES);
	refused(fd, -EUCLEAN, "more data than a patch");
	free(bytes);
}

/* One inside another: what comes out is no archive. */
static void nested_compression_is_no_patch(void **state)
{
	int inner = write_patch(&forge_head, BOW_PATCH_GZIP, some_runs), fd;
	uint8_t bytes[1 << 16];
	ssize_t n = pread(inner, bytes, sizeof(bytes), 0);
	struct forge_member m[] = {{"manifest.json", bytes, (size_t)n, 0}, {0}};

	(void)state;
	fd = forge_archive(m, BOW_PATCH_GZIP);
	refused(fd, -EUCLEAN, "JSON");
	close(inner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read_in_every_compression),
		cmocka_unit_test(the_head_is_what_it_was),
		cmocka_unit_test(a_patch_of_many_pieces_is_read),
		cmocka_unit_test(a_patch_without_a_run_is_one),
		cmocka_unit_test(equal_patches_are_equal_files),
		cmocka_unit_test(what_is_no_archive_is_no_patch),
		cmocka_unit_test(a_patch_cut_anywhere_is_refused),
		cmocka_unit_test(a_flipped_bit_is_noticed_or_means_nothing),
		cmocka_unit_test(nothing_may_follow_the_end),
		cmocka_unit_test(runs_that_cannot_be_are_refused),
		cmocka_unit_test(data_that_does_not_fit_is_refused),
		cmocka_unit_test(more_runs_than_a_piece_has_are_refused),
		cmocka_unit_test(a_head_that_cannot_be_is_refused),
		cmocka_unit_test(an_end_that_is_missing_or_wrong_is_refused),
		cmocka_unit_test(members_that_are_not_expected_are_refused),
		cmocka_unit_test(a_member_behind_the_end_is_refused),
		cmocka_unit_test(a_huge_member_of_json_is_refused_unread),
		cmocka_unit_test(endless_padding_is_refused),
		cmocka_unit_test(nested_compression_is_no_patch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
