/* SPDX-License-Identifier: MIT */
/* The backend for NBD, against a real server: what goes through, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "lib/nbd_server.h"
#include "lib/rng.h"

static uint8_t *image_of(struct nbd_server *s)
{
	uint8_t *all = malloc(NBD_IMAGE_BYTES);

	assert_non_null(all);
	nbd_server_look(s, all, NBD_IMAGE_BYTES, 0);
	return all;
}

/* Reads and writes at odd places of odd lengths; afterwards the file is what it must be. */
static void assert_transfers(struct nbd_server *s)
{
	struct rng rng = {.state = 7};
	uint8_t *want = image_of(s), *got = malloc(NBD_IMAGE_BYTES);

	assert_non_null(got);
	for (int i = 0; i < 200; i++) {
		uint64_t off = rng_below(&rng, NBD_IMAGE_BYTES);
		size_t bytes = 1 + rng_below(&rng, i % 8 ? 9000 : 1u << 20);

		if (bytes > NBD_IMAGE_BYTES - off)
			bytes = NBD_IMAGE_BYTES - off;
		if (i & 1) {
			memset(want + off, i, bytes);
			assert_int_equal(bow_disk_write(s->dev, want + off, bytes, off, NULL), 0);
		} else {
			assert_int_equal(bow_disk_read(s->dev, got, bytes, off, NULL), 0);
			assert_memory_equal(got, want + off, bytes);
		}
	}
	assert_int_equal(bow_disk_flush(s->dev, NULL), 0);
	nbd_server_look(s, got, NBD_IMAGE_BYTES, 0);
	assert_memory_equal(got, want, NBD_IMAGE_BYTES);
	free(want);
	free(got);
}

static void what_is_read_and_written_goes_through(void **state)
{
	struct nbd_server *s = *state;

	nbd_server_start(s, "", "");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	assert_int_equal(bow_disk_size(s->dev), NBD_IMAGE_BYTES);
	assert_int_equal(s->dev->sector_size, 512);
	assert_false(s->dev->can_grow);
	assert_transfers(s);
}

#define STRICT "blocksize-preferred=64K blocksize-error-policy=error"
#define STRICT_64K "blocksize-preferred=4096 blocksize-maximum=64K blocksize-error-policy=error"

static void a_server_that_wants_whole_sectors_gets_them(void **state)
{
	static const char *const minima[] = {"blocksize-minimum=512 " STRICT_64K,
					     "blocksize-minimum=4096 " STRICT_64K};
	struct nbd_server *s = *state;

	for (int i = 0; i < 2; i++) {
		nbd_server_start(s, "--filter=blocksize-policy", minima[i]);
		nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
		assert_int_equal(s->dev->sector_size, i ? 4096 : 512);
		assert_transfers(s);
		nbd_server_close(s);
		nbd_server_kill(s);
	}
}

static void a_server_that_cannot_be_served_is_refused(void **state)
{
	struct nbd_server *s = *state;

	nbd_server_start(s, "--filter=blocksize-policy", "blocksize-minimum=64K " STRICT);
	nbd_server_assert_refused(s, -EOPNOTSUPP, "more than 4096");
	nbd_server_kill(s);
	nbd_server_start(s, "--filter=blocksize-policy --filter=truncate",
			 "truncate=1000000 blocksize-minimum=512 " STRICT);
	nbd_server_assert_refused(s, -EOPNOTSUPP, "no multiple");
	nbd_server_kill(s);
	nbd_server_start_plugin(s, "memory 0");
	nbd_server_assert_refused(s, -EOPNOTSUPP, "empty");
	nbd_server_kill(s);
	nbd_server_start_plugin(s, "eval get_size='echo 1M' pread='exit 1' pwrite='exit 1' "
				   "can_write='exit 0' can_flush='exit 3'");
	nbd_server_assert_refused(s, -EOPNOTSUPP, "cannot flush");
	nbd_server_kill(s);
	nbd_server_start(s, "-r", "");
	nbd_server_assert_refused(s, -EROFS, "read-only");
}

static void what_is_read_only_may_be_looked_at(void **state)
{
	struct nbd_server *s = *state;
	uint8_t buf[100], want[100];

	nbd_server_start(s, "-r", "");
	nbd_server_open(s, BOW_OPEN_LOOK);
	assert_int_equal(bow_disk_read(s->dev, buf, sizeof(buf), 4000, NULL), 0);
	nbd_server_look(s, want, sizeof(want), 4000);
	assert_memory_equal(buf, want, sizeof(buf));
	assert_int_equal(bow_disk_write(s->dev, buf, sizeof(buf), 0, NULL), -EROFS);
}

static void what_cannot_be_reached_is_named(void **state)
{
	struct nbd_server *s = *state;

	nbd_server_start(s, "", "");
	nbd_server_kill(s);
	nbd_server_assert_refused(s, -ECONNREFUSED, "connect");
	snprintf(s->uri, sizeof(s->uri), "nbd+unix:///?socket=%s/none", s->dir);
	nbd_server_assert_refused(s, -ENOENT, "connect");
	snprintf(s->uri, sizeof(s->uri), "nbd://127.0.0.1:1/");
	nbd_server_assert_refused(s, -ECONNREFUSED, "connect");
}

static uint64_t allocated(const struct nbd_server *s)
{
	struct stat st;

	assert_int_equal(stat(s->image, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void assert_zeroed(struct nbd_server *s, uint64_t off, uint64_t bytes,
			  enum bow_zero_mode mode)
{
	uint8_t *buf = malloc(bytes);

	assert_non_null(buf);
	assert_int_equal(bow_disk_zero(s->dev, off, bytes, mode, NULL), 0);
	nbd_server_look(s, buf, bytes, off);
	for (uint64_t i = 0; i < bytes; i++)
		assert_int_equal(buf[i], 0);
	free(buf);
}

static void zeroing_keeps_space_or_gives_it_back(void **state)
{
	struct nbd_server *s = *state;
	uint64_t before;

	nbd_server_start(s, "", "");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	assert_int_equal(host_run("sync '%s'", s->image), 0);
	before = allocated(s);
	assert_zeroed(s, 1u << 20, 1u << 20, BOW_ZERO_KEEP);
	assert_true(allocated(s) >= before);
	assert_zeroed(s, 2u << 20, 1u << 20, BOW_ZERO_PUNCH);
	assert_true(allocated(s) <= before - (1u << 20));
}

static void a_server_that_cannot_zero_is_written_to(void **state)
{
	static const struct {
		const char *filters, *parameters;
	} servers[] = {
		{"--filter=nozero", ""},
		/* It says that it can, and does not. */
		{"--filter=error", "error-zero-rate=100% error-zero=EINVAL"},
		/* Never more than this at once. */
		{"--filter=blocksize-policy", "blocksize-minimum=4096 " STRICT_64K},
	};
	struct nbd_server *s = *state;

	for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++) {
		nbd_server_start(s, servers[i].filters, servers[i].parameters);
		nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
		assert_zeroed(s, 100 + i, 300000, BOW_ZERO_PUNCH);
		assert_zeroed(s, 1u << 20, 1u << 20, BOW_ZERO_KEEP);
		nbd_server_close(s);
		nbd_server_kill(s);
	}
}

/* How far the answer for `off` reaches, if it is the one wanted. */
static uint64_t extent(struct nbd_server *s, uint64_t off, bool want_hole)
{
	uint64_t bytes = 0;
	bool hole;

	assert_int_equal(bow_disk_extent(s->dev, off, &hole, &bytes, NULL), 0);
	assert_int_equal(hole, want_hole);
	return bytes;
}

static void holes_are_seen_where_the_server_tells(void **state)
{
	struct nbd_server *s = *state;

	nbd_server_start(s, "", "");
	nbd_server_kill(s);
	assert_int_equal(host_run("fallocate -p -o 1M -l 1M '%s'", s->image), 0);
	nbd_server_start(s, "", "");
	nbd_server_open(s, BOW_OPEN_LOOK);
	assert_int_equal(extent(s, 0, false), 1u << 20);
	assert_int_equal(extent(s, 1u << 20, true), 1u << 20);
	assert_int_equal(extent(s, (1u << 20) + 12345, true), (1u << 20) - 12345);
	assert_int_equal(extent(s, 2u << 20, false), 2u << 20);
	nbd_server_close(s);
	nbd_server_kill(s);
	nbd_server_start(s, "--filter=noextents", "");
	nbd_server_open(s, BOW_OPEN_LOOK);
	assert_int_equal(extent(s, 1u << 20, false), 3u << 20);
	nbd_server_close(s);
	nbd_server_kill(s);
	nbd_server_start(s, "--filter=error", "error-extents-rate=100% error-extents=EIO");
	nbd_server_open(s, BOW_OPEN_LOOK);
	assert_int_equal(extent(s, 1u << 20, false), 3u << 20);
}

static void one_bowimg_at_a_time_may_write(void **state)
{
	struct nbd_server *s = *state;
	struct bowimg_disk *other;

	nbd_server_start(s, "", "");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	nbd_server_assert_refused(s, -EBUSY, "another bowimg");
	assert_int_equal(bow_disk_open_file(s->uri, BOW_OPEN_LOOK, NULL, &other, NULL), 0);
	assert_true(bow_disk_file_in_use(other));
	nbd_server_close(s);
	assert_false(bow_disk_file_in_use(other));
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	assert_int_equal(bow_disk_close(other, NULL), 0);
}

/* One request for each byte would be four million. */
static void extents_of_one_byte_are_asked_for_a_few_hundred_times(void **state)
{
	struct nbd_server *s = *state;
	uint64_t reach;
	unsigned asked = 0;
	bool hole;

	nbd_server_start_plugin(s, "eval get_size='echo 4M' pread='head -c $3 /dev/zero' "
				   "can_extents='exit 0' extents='echo $4 1 hole,zero'");
	nbd_server_open(s, BOW_OPEN_LOOK);
	for (uint64_t off = 0; off < s->dev->size; off += reach, asked++) {
		assert_int_equal(bow_disk_extent(s->dev, off, &hole, &reach, NULL), 0);
		assert_false(hole);
	}
	assert_in_range(asked, 2, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		NBD_TEST(what_is_read_and_written_goes_through),
		NBD_TEST(a_server_that_wants_whole_sectors_gets_them),
		NBD_TEST(a_server_that_cannot_be_served_is_refused),
		NBD_TEST(what_is_read_only_may_be_looked_at),
		NBD_TEST(what_cannot_be_reached_is_named),
		NBD_TEST(zeroing_keeps_space_or_gives_it_back),
		NBD_TEST(a_server_that_cannot_zero_is_written_to),
		NBD_TEST(holes_are_seen_where_the_server_tells),
		NBD_TEST(one_bowimg_at_a_time_may_write),
		NBD_TEST(extents_of_one_byte_are_asked_for_a_few_hundred_times),
	};

	return cmocka_run_group_tests_name("nbd", tests, NULL, NULL);
}
