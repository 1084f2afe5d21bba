/* SPDX-License-Identifier: MIT */
/* What prepare asks of a device before it believes what it reads (rule 8). */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "free_end.h"
#include "mem_dev.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define IMAGE_BLK 1024u

static struct {
	struct bow_backend_ops ops;
	const struct bow_backend_ops *below;
	char order[16]; /* Read, Write, Flush, Drop the cache */
	size_t n;
} f;

static void note(char what)
{
	if (f.n < sizeof(f.order) - 1 && (!f.n || f.order[f.n - 1] != what))
		f.order[f.n++] = what;
}

static int64_t noted_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	note('R');
	return f.below->read(dev, buf, bytes, off);
}

static int64_t noted_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	note('W');
	return f.below->write(dev, buf, bytes, off);
}

static int noted_flush(struct bowimg_disk *dev)
{
	note('F');
	return f.below->flush(dev);
}

static int noted_drop(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	(void)dev, (void)off, (void)bytes;
	note('D');
	return 0;
}

static void test_a_barrier_comes_before_the_first_look(void **state)
{
	struct bowimg_disk *dev = mem_dev_new(IMAGE_BLK * BLOCK, IMAGE_BLK * BLOCK);

	(void)state;
	assert_non_null(dev);
	f.below = dev->ops;
	f.ops = *f.below;
	f.ops.read = noted_read;
	f.ops.write = noted_write;
	f.ops.flush = noted_flush;
	f.ops.drop_cache = noted_drop;
	dev->ops = &f.ops;
	assert_int_equal(prepare_free_end(dev, IMAGE_BLK / 2, BOWIMG_ON_FULL_STOP), 0);
	print_message("%s\n", f.order);
	assert_int_equal(strncmp(f.order, "FDR", 3), 0);
	dev->ops = f.below;
	bow_disk_close(dev, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_barrier_comes_before_the_first_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
