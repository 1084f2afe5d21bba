/* SPDX-License-Identifier: MIT */
/* What a served disk says to be zeros: holes, pending zeros, and what bowimg holds; never data. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/host.h"
#include "lib/base/bytes.h"
#include "lib/verbs/operations.h"

#define MIB (1u << 20)

/* Four MiB: used data, used holes, free holes, used data; the last block is a partial one. */
#define IMAGE_BYTES (4u * MIB - 1000)

struct fixture {
	char dir[HOST_PATH_BYTES], image[HOST_PATH_BYTES + 16], map[HOST_PATH_BYTES + 16];
	bowimg_disk *img;
};

static int set_up(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	if (!t || !host_temp_dir(t->dir))
		return -1;
	snprintf(t->image, sizeof(t->image), "%s/disk.img", t->dir);
	snprintf(t->map, sizeof(t->map), "map:%s/map", t->dir);
	*state = t;
	return host_run("head -c %u /dev/urandom >'%s' && fallocate -p -o 1M -l 2M '%s' && printf '"
			"0 ? 1\\n0 0x200000 +\\n0x200000 0x100000 ?\\n0x300000 %#x +\\n' >'%s'",
			IMAGE_BYTES, t->image, t->image, IMAGE_BYTES - 3 * MIB, t->map + 4);
}

static int tear_down(void **state)
{
	struct fixture *t = *state;

	bowimg_disk_close(t->img, NULL);
	host_remove_tree(t->dir);
	free(t);
	return 0;
}

static void serve(struct fixture *t)
{
	const struct bowimg_prepare_options opts = {.free_from = t->map};
	struct bowimg_error err = {0};

	if (bowimg_prepare(t->image, &opts, NULL, &err) ||
	    bowimg_open(t->image, NULL, &t->img, &err))
		fail_msg("%s (%s)", err.message, err.hint);
}

static void assert_extent(struct fixture *t, uint64_t off, bool want_zero, uint64_t want_bytes)
{
	uint64_t bytes = 0;
	bool zero;

	assert_int_equal(bowimg_disk_extent(t->img, off, &zero, &bytes, NULL), 0);
	if (zero != want_zero || bytes != want_bytes)
		fail_msg("at %#llx: %s for %#llx bytes", (unsigned long long)off,
			 zero ? "zeros" : "data", (unsigned long long)bytes);
}

static void holes_and_what_is_parked_in_them_are_zeros(void **state)
{
	struct fixture *t = *state;
	uint64_t bytes, off;
	bool zero;

	serve(t);
	assert_extent(t, 0, false, 4096);
	assert_extent(t, 4096, false, MIB - 4096);
	for (off = MIB; off < 3 * MIB; off += bytes) {
		assert_int_equal(bowimg_disk_extent(t->img, off, &zero, &bytes, NULL), 0);
		assert_true(zero);
	}
	assert_extent(t, 3 * MIB, false, IMAGE_BYTES - 3 * MIB);
	assert_extent(t, IMAGE_BYTES - 1, false, 1);
	assert_int_equal(bowimg_disk_extent(t->img, IMAGE_BYTES, &zero, &bytes, NULL), -EINVAL);
	assert_int_equal(bowimg_disk_extent(t->img, UINT64_MAX, &zero, &bytes, NULL), -EINVAL);
}

static void a_pending_zero_is_zeros_until_it_is_written_to(void **state)
{
	struct fixture *t = *state;
	const uint8_t data[512] = {1};

	serve(t);
	assert_int_equal(bowimg_disk_zero(t->img, 65536, 65536, 0, NULL), 0);
	assert_extent(t, 4096, false, 65536 - 4096);
	assert_extent(t, 65536, true, 65536);
	assert_extent(t, 65536 + 100, true, 65536 - 100);
	assert_int_equal(bowimg_disk_zero(t->img, 3 * MIB + 65536, IMAGE_BYTES - 3 * MIB - 65536, 0,
					  NULL),
			 0);
	assert_extent(t, 3 * MIB + 65536, true, IMAGE_BYTES - 3 * MIB - 65536);
	assert_int_equal(bowimg_disk_write(t->img, data, sizeof(data), 65536 + 8192, 0, NULL), 0);
	assert_extent(t, 65536, true, 8192);
	assert_extent(t, 65536 + 8192, false, 4096);
	assert_extent(t, 65536 + 12288, true, 65536 - 12288);
}

/* tmpfs cannot, for one. */
static bool can_zero_ranges(const struct fixture *t)
{
	char path[sizeof(t->dir) + 16];
	bool can;
	int fd;

	snprintf(path, sizeof(path), "%s/probe", t->dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && ftruncate(fd, 65536) == 0);
	can = fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 65536) == 0;
	close(fd);
	return can;
}

static void what_was_written_and_zeroed_again_is_zeros(void **state)
{
	struct fixture *t = *state;
	uint8_t *data = malloc(65536);

	assert_non_null(data);
	memset(data, 7, 65536);
	serve(t);
	assert_int_equal(bowimg_disk_write(t->img, data, 65536, 65536, 0, NULL), 0);
	assert_int_equal(bowimg_disk_write(t->img, data, 65536, 2 * MIB + 65536 * 8, 0, NULL), 0);
	assert_extent(t, 2 * MIB + 65536 * 8, false, 65536);
	assert_int_equal(bowimg_disk_zero(t->img, 65536, 65536, 0, NULL), 0);
	/* Elsewhere zeros are written, and only reading tells. */
	if (can_zero_ranges(t))
		assert_extent(t, 65536, true, 65536);
	assert_int_equal(bowimg_disk_read(t->img, data, 65536, 65536, NULL), 0);
	assert_true(bow_is_zero(data, 65536));
	free(data);
}

#define EXTENT_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EXTENT_TEST(holes_and_what_is_parked_in_them_are_zeros),
		EXTENT_TEST(a_pending_zero_is_zeros_until_it_is_written_to),
		EXTENT_TEST(what_was_written_and_zeroed_again_is_zeros),
	};

	return cmocka_run_group_tests_name("extent", tests, NULL, NULL);
}
