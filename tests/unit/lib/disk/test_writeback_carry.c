/* SPDX-License-Identifier: MIT */
/*
 * The write-back cache in a file: its process is killed, and the next one has every write that was
 * answered.
 *
 * KILLS=N	how many times a process is killed under load (300)
 * SEED=N	of the first one (1); where the kill strikes differs all the same
 */
#include <pthread.h>
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
#include "lib/base/bytes.h"
#include "lib/disk/writeback/private.h"

#define BLOCK ((uint64_t)BOWIMG_BLOCK_SIZE)
#define THREADS 3u
#define STRIPE (40u * BLOCK) /* of each thread */
#define SIZE (THREADS * STRIPE + 1536u)
#define MOST (100u << 10) /* more than what counts as small */

/* A request that a thread has made and that has no answer yet. */
struct request {
	atomic_bool made;
	uint64_t off, bytes;
	uint8_t byte;
};

/* What outlives a process: the disk below, and what its clients know. */
struct world {
	uint8_t below[SIZE], answered[SIZE];
	struct request requests[THREADS];
	atomic_uint slow;	     /* microseconds that a write below takes at most */
	atomic_bool fails, holds;    /* a write below; it begins, and does not end */
	atomic_uint writes, answers; /* below; of all requests */
};

static struct {
	struct world *world;
	int file;
	struct bowimg_disk below, *disk;
	pthread_mutex_t moves;
	bool noticed;
} f;

/* ---- the disk below -------------------------------------------------------------------- */

static int64_t below_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	(void)dev;
	pthread_mutex_lock(&f.moves);
	memcpy(buf, f.world->below + off, bytes);
	pthread_mutex_unlock(&f.moves);
	return (int64_t)bytes;
}

/* It ends in the middle of its bytes if the process is killed then. */
static int64_t below_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	unsigned slow = atomic_load(&f.world->slow);
	size_t half = bytes / 2;

	(void)dev;
	atomic_fetch_add(&f.world->writes, 1);
	if (atomic_load(&f.world->fails))
		return -EIO;
	while (atomic_load(&f.world->holds))
		usleep(1000);
	pthread_mutex_lock(&f.moves);
	memcpy(f.world->below + off, buf, half);
	if (slow)
		usleep((useconds_t)(off / BLOCK * 37 % slow));
	memcpy(f.world->below + off + half, (const uint8_t *)buf + half, bytes - half);
	pthread_mutex_unlock(&f.moves);
	return (int64_t)bytes;
}

static int below_nothing(struct bowimg_disk *dev)
{
	(void)dev;
	return 0;
}

static const struct bow_backend_ops below_ops = {
	.read = below_read, .write = below_write, .flush = below_nothing, .close = below_nothing};

static void notice(void *ctx, const char *text)
{
	(void)ctx;
	f.noticed = strstr(text, "lost") != NULL;
}

static int open_cache(uint64_t attach)
{
	const struct bow_writeback_options opts = {
		.bytes = 64 * BLOCK, .file = f.file, .attach = attach, .events.notice = notice};

	f.noticed = false;
	f.below = (struct bowimg_disk){
		.ops = &below_ops, .name = "below", .size = SIZE, .sector_size = 512};
	return bow_writeback_new(&f.below, &opts, &f.disk, NULL);
}

static int close_cache(void)
{
	struct bowimg_disk *disk = f.disk;

	f.disk = NULL;
	return bow_disk_close(disk, NULL);
}

static int set_up(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	f.world = mmap(NULL, sizeof(*f.world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	f.file = memfd_create("cache", MFD_CLOEXEC);
	pthread_mutex_init(&f.moves, NULL);
	return f.world == MAP_FAILED || f.file <= 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (f.disk)
		close_cache();
	munmap(f.world, sizeof(*f.world));
	close(f.file);
	return 0;
}

/* ---- a process that is killed at any moment -------------------------------------------- */

/* In the child: cmocka's failures do not leave it. */
static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "in the child: %s\n", what);
	_exit(1);
}

static void make(struct request *q, unsigned kind, uint64_t off, uint64_t bytes, uint8_t byte)
{
	static _Thread_local uint8_t data[MOST];
	int rc;

	q->off = off;
	q->bytes = bytes;
	q->byte = byte;
	atomic_store(&q->made, true);
	memset(data, byte, bytes);
	rc = kind ? bow_disk_write(f.disk, data, bytes, off, NULL)
		  : bow_disk_zero(f.disk, off, bytes, BOW_ZERO_PUNCH, NULL);
	must(!rc, "a request failed");
	memset(f.world->answered + off, byte, bytes);
	atomic_store(&q->made, false);
	atomic_fetch_add(&f.world->answers, 1);
}

/* Nearly all are writes of some blocks or less; the others go past the cache. */
static void make_some(struct request *q, uint64_t from, struct rng *r)
{
	unsigned kind = rng_below(r, 60);
	size_t most = kind == 1 ? MOST : rng_below(r, 3) ? 2 * BLOCK : 300;
	uint64_t off = rng_below(r, STRIPE),
		 bytes = bow_min(1 + rng_below(r, most - 1), STRIPE - off);

	if (rng_below(r, 2)) {
		off = off / BLOCK * BLOCK;
		bytes = bow_min(bow_div_up(bytes, BLOCK) * BLOCK, MOST / BLOCK * BLOCK);
		bytes = bow_min(bytes, STRIPE - off);
	}
	make(q, kind, from + off, bytes, kind ? 1 + rng_below(r, 255) : 0);
}

static void *live(void *arg)
{
	struct request *q = arg;
	unsigned number = (unsigned)(q - f.world->requests);
	struct rng r = {atomic_load(&f.world->answers) * THREADS + number};

	for (;;) {
		make_some(q, number * STRIPE, &r);
		if (!rng_below(&r, 300))
			must(!bow_disk_flush(f.disk, NULL), "a flush failed");
	}
	return NULL;
}

static bool is_all(const uint8_t *p, uint64_t bytes, uint8_t byte)
{
	while (bytes && *p == byte)
		p++, bytes--;
	return !bytes;
}

/*
 * What had no answer may be there or not, but not a part of a small write inside a block: as on a
 * disk, whose sectors are whole.
 */
static void settle_request(struct request *q, const uint8_t *seen)
{
	bool small = q->bytes <= (64u << 10) && q->byte;

	for (uint64_t off = q->off, end = q->off + q->bytes, k; off < end; off += k) {
		k = small ? bow_min(end - off, BLOCK - off % BLOCK) : 1;
		must(is_all(seen + off, k, q->byte) ||
			     !memcmp(seen + off, f.world->answered + off, k),
		     "a write is there in part");
	}
	memcpy(f.world->answered + q->off, seen + q->off, q->bytes);
	atomic_store(&q->made, false);
}

/* Whatever is there is on the disk below after a flush. */
static void find_all(unsigned life)
{
	static uint8_t seen[SIZE];

	if (life % 2)
		must(!bow_disk_flush(f.disk, NULL), "a flush failed");
	must(!bow_disk_read(f.disk, seen, SIZE, 0, NULL), "a read failed");
	for (unsigned i = 0; i < THREADS; i++)
		if (atomic_load(&f.world->requests[i].made))
			settle_request(&f.world->requests[i], seen);
	must(!memcmp(seen, f.world->answered, SIZE), "a write that was answered is missing");
	must(life % 2 == 0 || !memcmp(f.world->below, seen, SIZE), "a flush has not written all");
}

static void child(unsigned life, uint64_t attach)
{
	pthread_t threads[THREADS];

	must(!open_cache(attach) && !f.noticed, "the cache does not open");
	find_all(life);
	for (unsigned i = 0; i < THREADS; i++)
		must(!pthread_create(&threads[i], NULL, live, &f.world->requests[i]), "no thread");
	for (;;)
		pause();
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

/* Returns false if it ended before it was killed. */
static bool killed_after(unsigned life, unsigned answers, unsigned us)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid)
		child(life, 7);
	await_answers(answers);
	usleep(us);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void test_a_killed_process_loses_nothing_that_was_answered(void **state)
{
	unsigned kills = number_of("KILLS", 300);
	struct rng r = {number_of("SEED", 1)};

	(void)state;
	for (unsigned life = 0; life < kills; life++) {
		atomic_store(&f.world->slow, life % 4 ? 1 + rng_below(&r, 1500) : 0);
		unsigned answers = life % 4 ? 10 + rng_below(&r, 30) : 0;
		unsigned us = rng_below(&r, rng_below(&r, 4) ? 4000 : 60000);

		if (!killed_after(life, answers, us))
			fail_msg("life %u", life);
	}
	printf("# %u processes were killed, %u requests answered, %u writes below\n", kills,
	       atomic_load(&f.world->answers), atomic_load(&f.world->writes));
	assert_true(f.world->answers >= kills / 4 * 3 * 10);
}

/* ---- one moment each ------------------------------------------------------------------- */

/* In a process that is killed: write, and flush if told so. */
static void write_and_die(uint64_t attach, const char *text, uint64_t off, bool flush)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		must(!open_cache(attach), "the cache does not open");
		must(!bow_disk_write(f.disk, text, strlen(text), off, NULL), "a write failed");
		if (flush)
			bow_disk_flush(f.disk, NULL);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void expect(const char *text, uint64_t off)
{
	char seen[64] = {0};

	assert_int_equal(bow_disk_read(f.disk, seen, strlen(text), off, NULL), 0);
	assert_string_equal(seen, text);
}

static void test_the_next_process_writes_what_it_finds(void **state)
{
	(void)state;
	atomic_store(&f.world->holds, true);
	write_and_die(7, "first", 5 * BLOCK + 3, false);
	write_and_die(7, "second", SIZE - 6, false);
	atomic_store(&f.world->holds, false);
	assert_true(is_all(f.world->below, SIZE, 0));
	assert_int_equal(open_cache(7), 0);
	assert_false(f.noticed);
	expect("first", 5 * BLOCK + 3);
	expect("second", SIZE - 6);
	for (int i = 0; i < 1000 && f.world->writes < 2; i++)
		usleep(10000);
	assert_int_equal(close_cache(), 0);
	assert_memory_equal(f.world->below + 5 * BLOCK + 3, "first", 5);
	assert_memory_equal(f.world->below + SIZE - 6, "second", 6);
	/* It is theirs no more. */
	memset(f.world->below, 'x', SIZE);
	assert_int_equal(open_cache(7), 0);
	assert_int_equal(close_cache(), 0);
	assert_true(is_all(f.world->below, SIZE, 'x'));
}

static void test_what_another_attach_left_is_not_written_and_that_is_said(void **state)
{
	(void)state;
	write_and_die(7, "stale", BLOCK, false);
	assert_int_equal(open_cache(8), 0);
	assert_true(f.noticed);
	assert_int_equal(close_cache(), 0);
	assert_true(is_all(f.world->below, SIZE, 0));
	/* No number is none of ours either, and without blocks there is nothing to say. */
	write_and_die(0, "stale", BLOCK, true);
	memset(f.world->below, 0, SIZE);
	assert_int_equal(open_cache(0), 0);
	assert_false(f.noticed);
	assert_int_equal(close_cache(), 0);
	write_and_die(0, "stale", BLOCK, false);
	assert_int_equal(open_cache(0), 0);
	assert_true(f.noticed);
	assert_int_equal(close_cache(), 0);
	assert_true(is_all(f.world->below, SIZE, 0));
}

static void test_what_could_not_be_written_is_tried_by_the_next_process(void **state)
{
	(void)state;
	atomic_store(&f.world->fails, true);
	write_and_die(7, "late", 3 * BLOCK, true);
	assert_int_equal(open_cache(7), 0);
	assert_int_equal(close_cache(), -EIO);
	atomic_store(&f.world->fails, false);
	assert_int_equal(open_cache(7), 0);
	assert_int_equal(close_cache(), 0);
	assert_memory_equal(f.world->below + 3 * BLOCK, "late", 4);
}

/* Memory whose second page cannot be read: who copies it dies there. */
static uint8_t *half_readable(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *p =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED && !mprotect(p + page, page, PROT_NONE), "no memory");
	memset(p, 'n', page);
	signal(SIGSEGV, SIG_DFL);
	return p + page - BLOCK / 2;
}

static void die_within_a_write(const char *before)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		must(!open_cache(7), "the cache does not open");
		if (before)
			must(!bow_disk_write(f.disk, before, BLOCK, 4 * BLOCK, NULL), "failed");
		bow_disk_write(f.disk, half_readable(), BLOCK, 4 * BLOCK, NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void expect_block(uint8_t byte)
{
	uint8_t seen[BOWIMG_BLOCK_SIZE];

	assert_int_equal(open_cache(7), 0);
	assert_int_equal(bow_disk_read(f.disk, seen, BLOCK, 4 * BLOCK, NULL), 0);
	assert_true(is_all(seen, BLOCK, byte));
	assert_int_equal(close_cache(), 0);
}

static void test_a_process_that_dies_within_a_write_leaves_what_was_there(void **state)
{
	char block[BOWIMG_BLOCK_SIZE];

	(void)state;
	memset(f.world->below, 'o', SIZE);
	die_within_a_write(NULL);
	expect_block('o');
	memset(block, 'p', BLOCK);
	die_within_a_write(block);
	expect_block('p');
}

/* ---- the file -------------------------------------------------------------------------- */

static struct bow_store *map_file(size_t *bytes)
{
	struct bow_store *s;

	*bytes = (size_t)lseek(f.file, 0, SEEK_END);
	s = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f.file, 0);
	assert_true(s != MAP_FAILED);
	return s;
}

/* Its place, and the content there. */
static struct bow_dirty *find(struct bow_store *s, size_t bytes, uint64_t blk, uint8_t **data)
{
	uint32_t n = 64, i = 0;

	while (i < n && (s->list[i].state == BOW_CLEAN || s->list[i].blk != blk))
		i++;
	assert_true(i < n);
	*data = (uint8_t *)s + bytes - (n - i) * BLOCK;
	return &s->list[i];
}

static void test_a_write_in_place_that_was_cut_short_is_done_again(void **state)
{
	struct bow_store *s;
	uint8_t *data;
	size_t bytes;

	(void)state;
	write_and_die(7, "what was there", 4 * BLOCK + 9, false);
	s = map_file(&bytes);
	s->redo = (struct bow_redo){
		.valid = 1,
		.place = (uint32_t)(find(s, bytes, 4, &data) - s->list),
		.off = 9,
		.bytes = 8,
		.data = "new text",
	};
	memcpy(data + 9, "new", 3);
	munmap(s, bytes);
	assert_int_equal(open_cache(7), 0);
	expect("new text there", 4 * BLOCK + 9);
}

/* What is noted for a write in place is not valid any more when that has returned. */
static void test_a_write_in_place_leaves_nothing_to_do(void **state)
{
	struct bow_store *s;
	size_t bytes;

	(void)state;
	assert_int_equal(open_cache(7), 0);
	assert_int_equal(bow_disk_write(f.disk, "one", 3, 2 * BLOCK, NULL), 0);
	assert_int_equal(bow_disk_write(f.disk, "two", 3, 2 * BLOCK, NULL), 0);
	s = map_file(&bytes);
	assert_int_equal(s->redo.valid, 0);
	assert_int_equal(s->redo.bytes, 3);
	munmap(s, bytes);
}

static void test_a_hostile_file_harms_nothing_and_is_named(void **state)
{
	struct rng r = {3};
	struct bow_store *s;
	uint8_t *data;
	size_t bytes;

	(void)state;
	write_and_die(7, "good", BLOCK, false);
	s = map_file(&bytes);
	find(s, bytes, 1, &data);
	for (unsigned i = 10; i < 40; i++)
		s->list[i] = (struct bow_dirty){.blk = i % 3 ? 2 : SIZE / BLOCK + 1 + i,
						.next = rng_below(&r, 1u << 31),
						.state = (enum bow_dirty_state)(i % 7)};
	s->redo = (struct bow_redo){.valid = 5, .place = 63, .off = 4000, .bytes = 97};
	munmap(s, bytes);
	assert_int_equal(open_cache(7), 0);
	assert_true(f.noticed);
	expect("good", BLOCK);
	assert_int_equal(close_cache(), 0);
	assert_memory_equal(f.world->below + BLOCK, "good", 4);
	memset(f.world->below + BLOCK, 0, 4);
	assert_true(is_all(f.world->below, SIZE, 0));
	/* Of another size, and shorter than its beginning. */
	for (off_t size = 100; size < 1000000; size *= 10) {
		assert_int_equal(ftruncate(f.file, size), 0);
		assert_int_equal(open_cache(7), 0);
		assert_true(f.noticed);
		assert_int_equal(close_cache(), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_killed_process_loses_nothing_that_was_answered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_next_process_writes_what_it_finds, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_another_attach_left_is_not_written_and_that_is_said, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_could_not_be_written_is_tried_by_the_next_process, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_process_that_dies_within_a_write_leaves_what_was_there, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_write_in_place_that_was_cut_short_is_done_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_write_in_place_leaves_nothing_to_do, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_hostile_file_harms_nothing_and_is_named,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
