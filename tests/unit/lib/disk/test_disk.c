/* SPDX-License-Identifier: MIT */
/* The wrappers around backends, on a memory device and on a backend that misbehaves on order. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "lib/base/bytes.h"
#include "lib/disk/disk.h"
#include "lib/mem_dev.h"

#define SIZE 65536u
#define MAX_SIZE (1u << 20)

/* ---- a backend that answers each transfer by a script ---------------------------- */

struct odd_dev {
	struct bowimg_disk dev; /* must be first */
	uint8_t bytes[SIZE];	/* the content */
	const int64_t *script;	/* per call: >0 at most so many bytes, 0 nothing, <0 that error */
	size_t calls, script_calls;
};

static int64_t odd_limit(struct odd_dev *odd, size_t bytes)
{
	int64_t step = odd->calls < odd->script_calls ? odd->script[odd->calls] : INT64_MAX;

	odd->calls++;
	return step > 0 ? (int64_t)bow_min((uint64_t)step, bytes) : step;
}

static int64_t odd_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	struct odd_dev *odd = (struct odd_dev *)dev;
	int64_t n = odd_limit(odd, bytes);

	if (n > 0)
		memcpy(buf, odd->bytes + off, (size_t)n);
	return n;
}

static int64_t odd_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	struct odd_dev *odd = (struct odd_dev *)dev;
	int64_t n = odd_limit(odd, bytes);

	if (n > 0)
		memcpy(odd->bytes + off, buf, (size_t)n);
	return n;
}

static int odd_status(struct bowimg_disk *dev)
{
	int64_t n = odd_limit((struct odd_dev *)dev, 1);

	return n < 0 ? (int)n : 0;
}

static int odd_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode)
{
	int rc = odd_status(dev);

	(void)mode;
	if (rc == 0)
		memset(((struct odd_dev *)dev)->bytes + off, 0, bytes);
	return rc;
}

static const struct bow_backend_ops odd_ops = {
	.read = odd_read,
	.write = odd_write,
	.flush = odd_status,
	.close = odd_status,
	.zero = odd_zero,
};

/* Sets up *odd to follow these steps and behave from then on. */
#define ODD(odd, ...)                                                                \
	const int64_t steps[] = {__VA_ARGS__};                                       \
	struct odd_dev odd = {.dev = {.ops = &odd_ops, .name = "odd", .size = SIZE}, \
			      .script = steps,                                       \
			      .script_calls = sizeof(steps) / sizeof(steps[0])}

static void fill(uint8_t *buf, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		buf[i] = (uint8_t)(i * 7 + 1);
}

static void short_and_interrupted_transfers_are_completed(void **state)
{
	ODD(odd, 1, -EINTR, 4095, -EINTR, -EINTR, 10, 1, -EINTR, 5000, 1, 1);
	uint8_t out[12000], in[12000] = {0};

	(void)state;
	fill(out, sizeof(out));
	assert_int_equal(bow_disk_write(&odd.dev, out, sizeof(out), 100, NULL), 0);
	assert_memory_equal(odd.bytes + 100, out, sizeof(out));
	odd.calls = 0;
	assert_int_equal(bow_disk_read(&odd.dev, in, sizeof(in), 100, NULL), 0);
	assert_memory_equal(in, out, sizeof(out));
}

static void failures_name_device_operation_and_range(void **state)
{
	ODD(odd, 4096, -EIO, -ENOSPC, -EIO, -EIO, -EIO);
	struct bowimg_error err = {0};
	uint8_t buf[8192] = {0};

	(void)state;
	assert_int_equal(bow_disk_read(&odd.dev, buf, sizeof(buf), 512, &err), -EIO);
	assert_string_equal(err.message, "odd: read 8192 bytes at offset 512: Input/output error");
	assert_true(err.hint[0]);
	assert_int_equal(bow_disk_write(&odd.dev, buf, 5, 7, &err), -ENOSPC);
	assert_string_equal(err.message, "odd: write 5 bytes at offset 7: No space left on device");
	assert_non_null(strstr(err.hint, "make room"));
	assert_int_equal(bow_disk_zero(&odd.dev, 4096, 4096, BOW_ZERO_KEEP, &err), -EIO);
	assert_string_equal(err.message, "odd: zero 4096 bytes at offset 4096: Input/output error");
	assert_int_equal(bow_disk_flush(&odd.dev, &err), -EIO);
	assert_string_equal(err.message, "odd: flush: Input/output error");
	assert_int_equal(bow_disk_close(&odd.dev, &err), -EIO);
	assert_string_equal(err.message, "odd: close: Input/output error");
}

static void an_image_that_ends_early_is_an_error_not_a_loop(void **state)
{
	ODD(odd, 10, 0, 0);
	struct bowimg_error err = {0};
	uint8_t buf[100];

	(void)state;
	assert_int_equal(bow_disk_read(&odd.dev, buf, sizeof(buf), 0, &err), -EIO);
	assert_non_null(strstr(err.message, "ends early"));
	assert_int_equal(bow_disk_write(&odd.dev, buf, sizeof(buf), 0, &err), -EIO);
}

static void zeros_are_written_where_the_backend_cannot_zero(void **state)
{
	ODD(odd, -EINTR, -EOPNOTSUPP, 100, -EINTR);

	(void)state;
	memset(odd.bytes, 0xff, sizeof(odd.bytes));
	assert_int_equal(bow_disk_zero(&odd.dev, 3, SIZE - 5, BOW_ZERO_PUNCH, NULL), 0);
	assert_true(bow_is_zero(odd.bytes + 3, SIZE - 5));
	assert_int_equal(odd.bytes[2], 0xff);
	assert_int_equal(odd.bytes[SIZE - 2], 0xff);
}

static void a_failed_flush_is_not_tried_again(void **state)
{
	ODD(odd, -EIO);

	(void)state;
	assert_int_equal(bow_disk_flush(&odd.dev, NULL), -EIO);
	assert_int_equal(odd.calls, 1);
}

/* Calls of the backend that one flush makes: 1 if it is passed on. */
static size_t calls_of_flush(struct odd_dev *odd)
{
	size_t before = odd->calls;

	assert_int_equal(bow_disk_flush(&odd->dev, NULL), 0);
	return odd->calls - before;
}

static void a_barrier_is_left_out_if_nothing_was_changed(void **state)
{
	ODD(odd, 0, 0, -EIO, 0);
	const struct timespec t = {.tv_sec = 1};

	(void)state;
	/* Another process may have written before this one came. */
	assert_int_equal(calls_of_flush(&odd), 1);
	assert_int_equal(calls_of_flush(&odd), 0);
	assert_int_equal(bow_disk_zero(&odd.dev, 0, 1, BOW_ZERO_KEEP, NULL), 0);
	/* A barrier that failed covers nothing. */
	assert_int_equal(bow_disk_flush(&odd.dev, NULL), -EIO);
	assert_int_equal(calls_of_flush(&odd), 1);
	assert_int_equal(bow_disk_write(&odd.dev, "x", 1, 0, NULL), 0);
	assert_int_equal(calls_of_flush(&odd), 1);
	assert_int_equal(bow_disk_set_mtime(&odd.dev, &t, NULL), 0);
	assert_int_equal(calls_of_flush(&odd), 1);
	assert_int_equal(bow_disk_read(&odd.dev, odd.bytes, 1, 0, NULL), 0);
	assert_int_equal(calls_of_flush(&odd), 0);
}

static void what_a_backend_lacks_has_a_harmless_answer(void **state)
{
	ODD(odd, 1);
	const struct timespec t = {1, 2};
	struct timespec got;
	uint64_t bytes = 0;
	bool hole = true;

	(void)state;
	assert_int_equal(bow_disk_extent(&odd.dev, 100, &hole, &bytes, NULL), 0);
	assert_false(hole);
	assert_true(bytes == SIZE - 100);
	assert_int_equal(bow_disk_drop_cache(&odd.dev, 0, 0, NULL), 0);
	assert_false(bow_disk_get_mtime(&odd.dev, &got));
	assert_int_equal(bow_disk_set_mtime(&odd.dev, &t, NULL), 0);
	assert_int_equal(bow_disk_resize(&odd.dev, SIZE * 2, NULL), -EOPNOTSUPP);
	assert_int_equal(bow_disk_reserve(&odd.dev, 1, NULL), -EOPNOTSUPP);
	assert_int_equal(bow_disk_close(NULL, NULL), 0);
}

/* ---- on the memory device -------------------------------------------------------- */

static int make_mem(void **state)
{
	*state = mem_dev_new(SIZE, MAX_SIZE);
	return *state ? 0 : -1;
}

static int close_mem(void **state)
{
	return bow_disk_close(*state, NULL);
}

static void ranges_outside_the_image_are_refused(void **state)
{
	struct bowimg_disk *dev = *state;
	struct bowimg_error err = {0};
	uint64_t n;
	uint8_t b[8] = {0};
	bool hole;

	assert_int_equal(bow_disk_read(dev, b, 0, 0, &err), -EINVAL);
	assert_int_equal(bow_disk_read(dev, b, 8, SIZE - 7, &err), -EINVAL);
	assert_non_null(strstr(err.message, "memory: read 8 bytes at offset 65529"));
	assert_int_equal(bow_disk_read(dev, b, 8, UINT64_MAX - 3, &err), -EINVAL);
	assert_int_equal(bow_disk_write(dev, b, 0, 0, &err), -EINVAL);
	assert_int_equal(bow_disk_write(dev, b, 8, (uint64_t)INT64_MAX - 7, &err), -EINVAL);
	assert_int_equal(bow_disk_zero(dev, 0, 0, BOW_ZERO_KEEP, &err), -EINVAL);
	assert_int_equal(bow_disk_zero(dev, 1, SIZE, BOW_ZERO_KEEP, &err), -EINVAL);
	assert_int_equal(bow_disk_extent(dev, SIZE, &hole, &n, &err), -EINVAL);
	assert_int_equal(bow_disk_reserve(dev, UINT64_MAX, &err), -EINVAL);
	assert_int_equal(bow_disk_resize(dev, 0, &err), -EINVAL);
	assert_int_equal(bow_disk_resize(dev, UINT64_MAX, &err), -EINVAL);
	mem_dev_make_device(dev);
	assert_int_equal(bow_disk_write(dev, b, 8, SIZE - 7, &err), -EINVAL);
	assert_true(dev->size == SIZE);
}

static void writes_past_the_end_extend_a_file(void **state)
{
	struct bowimg_disk *dev = *state;
	struct bowimg_error err = {0};
	uint8_t b[100];

	fill(b, sizeof(b));
	assert_int_equal(bow_disk_write(dev, b, sizeof(b), SIZE + 1000, NULL), 0);
	assert_true(bow_disk_size(dev) == SIZE + 1100);
	assert_true(bow_is_zero(mem_dev_bytes(dev) + SIZE, 1000));
	assert_memory_equal(mem_dev_bytes(dev) + SIZE + 1000, b, sizeof(b));
	assert_int_equal(bow_disk_write(dev, b, sizeof(b), MAX_SIZE - 50, &err), -ENOSPC);
	assert_true(bow_disk_size(dev) == SIZE + 1100);
	assert_int_equal(bow_disk_resize(dev, SIZE, NULL), 0);
	assert_true(bow_disk_size(dev) == SIZE);
	assert_int_equal(bow_disk_resize(dev, SIZE * 2, NULL), 0);
	assert_true(bow_is_zero(mem_dev_bytes(dev) + SIZE, SIZE));
}

static void nothing_is_changed_on_a_read_only_device(void **state)
{
	struct bowimg_disk *dev = *state;
	struct bowimg_error err = {0};
	const struct timespec t = {1, 2};

	dev->readonly = true;
	assert_int_equal(bow_disk_write(dev, "x", 1, 0, &err), -EROFS);
	assert_non_null(strstr(err.message, "memory: write"));
	assert_int_equal(bow_disk_zero(dev, 0, 1, BOW_ZERO_PUNCH, &err), -EROFS);
	assert_int_equal(bow_disk_resize(dev, SIZE + 1, &err), -EROFS);
	assert_int_equal(bow_disk_reserve(dev, 1, &err), -EROFS);
	assert_int_equal(bow_disk_set_mtime(dev, &t, &err), -EROFS);
	assert_true(bow_is_zero(mem_dev_bytes(dev), SIZE));
}

static void the_memory_device_keeps_track_of_its_holes(void **state)
{
	struct bowimg_disk *dev = *state;
	uint64_t bytes;
	bool hole;

	assert_int_equal(bow_disk_write(dev, "x", 1, 8192, NULL), 0);
	assert_int_equal(bow_disk_extent(dev, 100, &hole, &bytes, NULL), 0);
	assert_true(hole && bytes == 8192 - 100);
	assert_int_equal(bow_disk_extent(dev, 8192, &hole, &bytes, NULL), 0);
	assert_true(!hole && bytes == 4096);
	assert_int_equal(bow_disk_zero(dev, 8192, 4096, BOW_ZERO_KEEP, NULL), 0);
	assert_int_equal(bow_disk_extent(dev, 8192, &hole, &bytes, NULL), 0);
	assert_true(!hole && bytes == 4096);
	assert_int_equal(bow_disk_zero(dev, 8000, 8192, BOW_ZERO_PUNCH, NULL), 0);
	assert_int_equal(bow_disk_extent(dev, 0, &hole, &bytes, NULL), 0);
	assert_true(hole && bytes == SIZE);
	mem_dev_bytes(dev)[SIZE - 1] = 1; /* behind the device's back: still no hole */
	assert_int_equal(bow_disk_extent(dev, SIZE - 1, &hole, &bytes, NULL), 0);
	assert_true(!hole && bytes == 1);
}

static void every_change_moves_the_mtime_of_the_memory_device(void **state)
{
	struct bowimg_disk *dev = *state;
	struct timespec a, b;

	assert_true(bow_disk_get_mtime(dev, &a));
	assert_int_equal(bow_disk_write(dev, "x", 1, 0, NULL), 0);
	assert_true(bow_disk_get_mtime(dev, &b));
	assert_false(a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec);
	assert_int_equal(bow_disk_set_mtime(dev, &a, NULL), 0);
	assert_true(bow_disk_get_mtime(dev, &b));
	assert_true(a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec);
}

#define WRITERS 4
#define WRITES 500
#define PIECE 64

struct writer {
	struct bowimg_disk *dev;
	unsigned number;
};

/* Each writer has every WRITERS-th piece past the end. */
static void *extend(void *arg)
{
	const struct writer *w = arg;
	uint8_t piece[PIECE];

	memset(piece, (int)w->number + 1, sizeof(piece));
	for (unsigned i = 0; i < WRITES; i++) {
		uint64_t off = SIZE + (uint64_t)(i * WRITERS + w->number) * PIECE;

		if (bow_disk_write(w->dev, piece, sizeof(piece), off, NULL) ||
		    bow_disk_size(w->dev) < off + PIECE)
			return arg;
	}
	return NULL;
}

static void several_threads_may_extend_a_file_at_once(void **state)
{
	struct bowimg_disk *dev = *state;
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){dev, i};
		assert_int_equal(pthread_create(&threads[i], NULL, extend, &writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		void *failed = NULL;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_true(bow_disk_size(dev) == SIZE + (uint64_t)WRITERS * WRITES * PIECE);
	for (uint64_t i = 0; i < (uint64_t)WRITERS * WRITES; i++)
		assert_int_equal(mem_dev_bytes(dev)[SIZE + i * PIECE], i % WRITERS + 1);
}

#define ON_MEM(test) cmocka_unit_test_setup_teardown(test, make_mem, close_mem)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_and_interrupted_transfers_are_completed),
		cmocka_unit_test(failures_name_device_operation_and_range),
		cmocka_unit_test(an_image_that_ends_early_is_an_error_not_a_loop),
		cmocka_unit_test(zeros_are_written_where_the_backend_cannot_zero),
		cmocka_unit_test(a_failed_flush_is_not_tried_again),
		cmocka_unit_test(a_barrier_is_left_out_if_nothing_was_changed),
		cmocka_unit_test(what_a_backend_lacks_has_a_harmless_answer),
		ON_MEM(ranges_outside_the_image_are_refused),
		ON_MEM(writes_past_the_end_extend_a_file),
		ON_MEM(nothing_is_changed_on_a_read_only_device),
		ON_MEM(the_memory_device_keeps_track_of_its_holes),
		ON_MEM(every_change_moves_the_mtime_of_the_memory_device),
		ON_MEM(several_threads_may_extend_a_file_at_once),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
