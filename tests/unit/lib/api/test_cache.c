/* SPDX-License-Identifier: MIT */
/*
 * A served image with the write-back cache in a file, over the engine: its process is killed, and
 * the next one with the same files has what was answered.
 *
 * KILLS=N	how many times a process is killed under load (60)
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "rng.h"
#include "bowimg.h"
#include "lib/base/bytes.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define SIZE (2u << 20)
#define MOST (100u << 10)

/* What outlives a process. */
struct world {
	uint8_t answered[SIZE];
	atomic_bool made; /* a request that has no answer yet */
	uint64_t off, bytes;
	uint8_t byte;
	bool discards;
	atomic_uint answers;
};

static struct {
	struct world *world;
	char path[64];
	int carry, cache;
	bowimg_disk *disk;
	bool noticed;
} f;

static int set_up(void **state)
{
	const struct bowimg_prepare_options opts = {.free_from = "none"};
	struct rng r = {5};

	(void)state;
	memset(&f, 0, sizeof(f));
	f.world = mmap(NULL, sizeof(*f.world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	assert_true(f.world != MAP_FAILED);
	for (unsigned i = 0; i < SIZE; i++)
		f.world->answered[i] = (uint8_t)rng_below(&r, 256);
	strcpy(f.path, "/tmp/bowimg-cache.XXXXXX");
	int fd = mkstemp(f.path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, f.world->answered, SIZE), SIZE);
	close(fd);
	f.carry = memfd_create("carry", MFD_CLOEXEC);
	f.cache = memfd_create("cache", MFD_CLOEXEC);
	return bowimg_prepare(f.path, &opts, NULL, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(f.path);
	munmap(f.world, sizeof(*f.world));
	close(f.carry);
	close(f.cache);
	return 0;
}

static void notice(void *ctx, const char *text)
{
	(void)ctx;
	f.noticed = f.noticed || strstr(text, "lost");
}

static int open_disk(bool with_files)
{
	const struct bowimg_open_options opts = {
		.carry = with_files ? f.carry : 0,
		.writeback_carry = with_files ? f.cache : 0,
		.writeback_bytes = with_files ? 64 * BLOCK : 0,
		.events.notice = notice,
	};

	return bowimg_open(f.path, &opts, &f.disk, NULL);
}

static bool is_carried(void)
{
	struct bowimg_counters now;

	bowimg_disk_get_counters(f.disk, &now);
	return now.carried;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "in the child: %s\n", what);
	_exit(1);
}

/* ---- a process that is killed at any moment -------------------------------------------- */

static int ask(unsigned kind, uint64_t off, uint64_t bytes, uint8_t byte)
{
	static uint8_t data[MOST];

	memset(data, byte, bytes);
	if (kind == 0)
		return bowimg_disk_zero(f.disk, off, bytes, 0, NULL);
	if (kind == 1)
		return bowimg_disk_discard(f.disk, off, bytes, NULL);
	return bowimg_disk_write(f.disk, data, bytes, off, kind == 2 ? BOWIMG_FUA : 0, NULL);
}

/* What was discarded may be anything, until it is written again; so it is at once. */
static void make_some(struct rng *r)
{
	struct world *w = f.world;
	unsigned kind = rng_below(r, 40);
	size_t most = kind < 2 || !rng_below(r, 30) ? MOST : rng_below(r, 3) ? 2 * BLOCK : 300;

	w->off = rng_below(r, SIZE);
	w->bytes = bow_min(1 + rng_below(r, (uint32_t)most - 1), SIZE - w->off);
	w->byte = kind ? (uint8_t)(1 + rng_below(r, 255)) : 0;
	w->discards = kind == 1;
	atomic_store(&w->made, true);
	must(!ask(kind, w->off, w->bytes, w->byte), "a request failed");
	if (kind == 1)
		must(!ask(3, w->off, w->bytes, w->byte), "a request failed");
	memset(w->answered + w->off, w->byte, w->bytes);
	atomic_store(&w->made, false);
	atomic_fetch_add(&w->answers, 1);
}

/* A request without an answer may have had its effect or not; a discard has any. */
static void settle_request(const uint8_t *seen)
{
	struct world *w = f.world;

	for (uint64_t i = w->off; i < w->off + w->bytes; i++)
		must(w->discards || seen[i] == w->byte || seen[i] == w->answered[i],
		     "a request is there in part");
	memcpy(w->answered + w->off, seen + w->off, w->bytes);
	atomic_store(&w->made, false);
}

static void find_all(void)
{
	static uint8_t seen[SIZE];

	must(!bowimg_disk_read(f.disk, seen, SIZE, 0, NULL), "a read failed");
	if (atomic_load(&f.world->made))
		settle_request(seen);
	must(!memcmp(seen, f.world->answered, SIZE), "a write that was answered is missing");
}

static void child(unsigned life)
{
	struct rng r = {life};

	must(!open_disk(true) && !f.noticed, "the image does not open");
	must(!atomic_load(&f.world->answers) || is_carried(), "the next process does not go on");
	find_all();
	for (;;)
		make_some(&r);
}

static unsigned number_of(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

/* On a slow machine a process may be killed before it has done anything: let most of them begin. */
static void await_answers(unsigned more)
{
	unsigned until = atomic_load(&f.world->answers) + more;

	for (unsigned i = 0; i < 100000 && atomic_load(&f.world->answers) < until; i++)
		usleep(100);
}

static void test_a_killed_process_loses_nothing_that_was_answered(void **state)
{
	unsigned kills = number_of("KILLS", 60);
	struct rng r = {1};
	int status;

	(void)state;
	for (unsigned life = 0; life < kills; life++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid)
			child(life);
		if (life % 4)
			await_answers(1 + rng_below(&r, 20));
		usleep(rng_below(&r, life % 4 ? 5000 : 60000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSIGNALED(status))
			fail_msg("life %u", life);
	}
	printf("# %u processes were killed, %u requests answered\n", kills, f.world->answers);
	assert_true(f.world->answers >= kills / 4 * 3);
	assert_int_equal(open_disk(true), 0);
	find_all();
	assert_int_equal(bowimg_disk_close(f.disk, NULL), 0);
	assert_int_equal(open_disk(false), 0);
	find_all();
	assert_int_equal(bowimg_disk_close(f.disk, NULL), 0);
}

/* ---- another process in between -------------------------------------------------------- */

static void write_and_die(bool with_files, const char *text)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		must(!open_disk(with_files), "the image does not open");
		must(!bowimg_disk_write(f.disk, text, strlen(text), 5 * BLOCK, 0, NULL),
		     "a write failed");
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void test_what_is_overtaken_by_another_process_is_lost_and_named(void **state)
{
	char seen[8] = {0};

	(void)state;
	write_and_die(true, "stale");
	write_and_die(false, "newer");
	assert_int_equal(open_disk(true), 0);
	assert_true(f.noticed);
	assert_false(is_carried());
	assert_int_equal(bowimg_disk_flush(f.disk, NULL), 0);
	assert_int_equal(bowimg_disk_read(f.disk, seen, 5, 5 * BLOCK, NULL), 0);
	assert_string_equal(seen, "newer");
	assert_int_equal(bowimg_disk_close(f.disk, NULL), 0);
}

/* The engine goes on, but the cache cannot: then nothing may be promised. */
static void test_a_cache_that_does_not_fit_is_no_promise(void **state)
{
	(void)state;
	write_and_die(true, "stale");
	assert_int_equal(ftruncate(f.cache, 5000), 0);
	assert_int_equal(open_disk(true), 0);
	assert_true(f.noticed);
	assert_false(is_carried());
	assert_int_equal(bowimg_disk_close(f.disk, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_killed_process_loses_nothing_that_was_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_is_overtaken_by_another_process_is_lost_and_named, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(test_a_cache_that_does_not_fit_is_no_promise,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
