/* SPDX-License-Identifier: MIT */
/* A server that is lost and comes back: when the connection is made again, and when it must not be.
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/disk/nbd/lock.h"
#include "lib/nbd_liar.h"
#include "lib/nbd_server.h"
#include "lib/rng.h"

#define THREADS 8

/* ---- a disk that is open, and what is said of it --------------------------------- */

struct told {
	unsigned times; /* atomic */
	char last[512];
};

static void told(void *ctx, const char *text)
{
	struct told *t = ctx;

	snprintf(t->last, sizeof(t->last), "%s", text);
	__atomic_add_fetch(&t->times, 1, __ATOMIC_RELEASE);
}

/* As every verb: it begins with block 0. */
static void open_disk(struct nbd_server *s, enum bow_open_mode mode, struct told *t)
{
	const struct bowimg_events events = {.waiting = told, .ctx = t};
	struct bowimg_error err = {0};
	uint8_t block[4096];

	if (bow_disk_open_file(s->uri, mode, &events, &s->dev, &err))
		fail_msg("%s (%s)", err.message, err.hint);
	assert_int_equal(bow_disk_read(s->dev, block, sizeof(block), 0, NULL), 0);
}

static void restart(struct nbd_server *s, const char *filters, const char *parameters)
{
	nbd_server_kill(s);
	nbd_server_start(s, filters, parameters);
}

static void assert_reads(struct nbd_server *s, uint64_t off)
{
	uint8_t got[5000], want[5000];
	struct bowimg_error err = {0};

	if (bow_disk_read(s->dev, got, sizeof(got), off, &err))
		fail_msg("%s (%s)", err.message, err.hint);
	nbd_server_look(s, want, sizeof(want), off);
	assert_memory_equal(got, want, sizeof(got));
}

/* All that follows fails, and the message has these words. */
static void assert_lost(struct nbd_server *s, const char *words)
{
	struct bowimg_error err = {0};
	uint8_t buf[512];

	for (int i = 0; i < 2; i++) {
		if (bow_disk_read(s->dev, buf, sizeof(buf), 1u << 20, &err) != -EIO)
			fail_msg("read %d was answered, not refused: \"%s\"", i + 1, words);
		if (!strstr(err.message, "the connection was lost") || !strstr(err.message, words))
			fail_msg("\"%s\", not \"%s\"", err.message, words);
		assert_non_null(strstr(err.hint, "NBD server"));
	}
}

static void write_block(struct nbd_server *s, uint64_t off, int byte)
{
	uint8_t block[4096];

	memset(block, byte, sizeof(block));
	assert_int_equal(bow_disk_write(s->dev, block, sizeof(block), off, NULL), 0);
}

/* ---- safe ------------------------------------------------------------------------ */

struct reader {
	pthread_t thread;
	struct nbd_server *server;
	const uint8_t *image;
	const bool *stop;
	uint64_t seed;
	unsigned done; /* atomic */
	int rc;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;
	struct rng rng = {.state = r->seed};
	uint8_t buf[9000];

	while (!r->rc && !__atomic_load_n(r->stop, __ATOMIC_RELAXED)) {
		uint64_t off = rng_below(&rng, NBD_IMAGE_BYTES - sizeof(buf));

		r->rc = bow_disk_read(r->server->dev, buf, sizeof(buf), off, NULL);
		if (!r->rc && memcmp(buf, r->image + off, sizeof(buf)) != 0)
			r->rc = -EBADMSG;
		__atomic_add_fetch(&r->done, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void await_reads(struct reader *r)
{
	unsigned before = __atomic_load_n(&r->done, __ATOMIC_RELAXED);

	for (int i = 0; i < 10000 && __atomic_load_n(&r->done, __ATOMIC_RELAXED) < before + 5; i++)
		usleep(1000);
}

static void reads_of_many_threads_go_on_when_the_server_comes_back(void **state)
{
	static uint8_t image[NBD_IMAGE_BYTES];
	struct nbd_server *s = *state;
	struct reader readers[THREADS];
	struct told t = {0};
	bool stop = false;

	nbd_server_start(s, "--filter=delay", "rdelay=5ms");
	nbd_server_look(s, image, sizeof(image), 0);
	open_disk(s, BOW_OPEN_LOOK, &t);
	for (unsigned i = 0; i < THREADS; i++) {
		readers[i] =
			(struct reader){.server = s, .image = image, .stop = &stop, .seed = i + 1};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		await_reads(&readers[i]);
		restart(s, "--filter=delay", "rdelay=5ms");
	}
	await_reads(&readers[THREADS - 1]);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].rc, 0);
	}
	assert_int_equal(__atomic_load_n(&t.times, __ATOMIC_ACQUIRE), 4);
	assert_non_null(strstr(t.last, "lost the connection to "));
	assert_non_null(strstr(t.last, s->socket));
	assert_non_null(strstr(t.last, "; connected again"));
}

static void *read_once(void *arg)
{
	struct reader *r = arg;
	uint8_t block[4096];

	r->rc = bow_disk_read(r->server->dev, block, sizeof(block), 8192, NULL);
	return NULL;
}

static void a_server_that_says_that_it_ends_is_awaited(void **state)
{
	struct nbd_server *s = *state;
	struct reader r = {.server = s, .rc = 1};
	struct told t = {0};
	char parameters[512];

	snprintf(parameters, sizeof(parameters),
		 "error-pread=ESHUTDOWN error-pread-rate=100%% error-pread-file='%s/ends'", s->dir);
	nbd_server_start(s, "--filter=error", parameters);
	open_disk(s, BOW_OPEN_LOOK, &t);
	assert_int_equal(host_run("touch '%s/ends'", s->dir), 0);
	assert_int_equal(pthread_create(&r.thread, NULL, read_once, &r), 0);
	usleep(300000);
	assert_int_equal(host_run("rm '%s/ends'", s->dir), 0);
	pthread_join(r.thread, NULL);
	assert_int_equal(r.rc, 0);
	assert_int_equal(t.times, 1);
}

static void what_is_flushed_may_be_written_on_after_a_loss(void **state)
{
	struct nbd_server *s = *state;
	struct told t = {0};
	uint8_t block[4096];

	nbd_server_start(s, "", "");
	open_disk(s, BOW_OPEN_EXCLUSIVE, &t);
	for (int i = 1; i <= 3; i++) {
		write_block(s, 8192, i);
		write_block(s, 0, i);
		assert_int_equal(bow_disk_zero(s->dev, 1u << 20, 8192, BOW_ZERO_KEEP, NULL), 0);
		assert_int_equal(bow_disk_flush(s->dev, NULL), 0);
		restart(s, "", "");
		/* The first thing that goes by the new connection is a read, a write, or a zero. */
		if (i == 1)
			assert_reads(s, 8000);
		if (i == 3)
			assert_int_equal(bow_disk_zero(s->dev, 4096, 4096, BOW_ZERO_KEEP, NULL), 0);
		write_block(s, 12288, i);
		nbd_server_look(s, block, sizeof(block), 12288);
		assert_int_equal(block[0], i);
		assert_int_equal(t.times, i);
	}
	/* It is locked as before. */
	nbd_server_assert_refused(s, -EBUSY, "another bowimg");
}

/* ---- not safe -------------------------------------------------------------------- */

static void after_an_unflushed_change_it_is_not_made_again(void **state)
{
	struct nbd_server *s = *state;
	struct told t = {0};

	for (int i = 0; i < 3; i++) {
		nbd_server_start(s, "", "");
		open_disk(s, BOW_OPEN_EXCLUSIVE, &t);
		write_block(s, 8192, 1);
		if (i) {
			assert_int_equal(bow_disk_flush(s->dev, NULL), 0);
			assert_reads(s, 8000);
		}
		if (i == 1)
			write_block(s, 12288, 1);
		if (i == 2)
			assert_int_equal(bow_disk_zero(s->dev, 0, 4096, BOW_ZERO_KEEP, NULL), 0);
		restart(s, "", "");
		assert_lost(s, "what was written and not flushed");
		assert_int_equal(bow_disk_flush(s->dev, NULL), -EIO);
		assert_int_equal(t.times, 0);
		nbd_server_close(s);
		nbd_server_kill(s);
	}
}

static void *write_once(void *arg)
{
	struct reader *w = arg;
	uint8_t block[4096] = {1};

	w->rc = bow_disk_write(w->server->dev, block, sizeof(block), 8192, NULL);
	return NULL;
}

static void *flush_once(void *arg)
{
	struct reader *f = arg;

	f->rc = bow_disk_flush(f->server->dev, NULL);
	return NULL;
}

static void with_a_change_in_flight_it_is_not_made_again(void **state)
{
	struct nbd_server *s = *state;
	struct reader w = {.server = s};
	struct told t = {0};

	nbd_server_start(s, "--filter=delay", "wdelay=60");
	open_disk(s, BOW_OPEN_EXCLUSIVE, &t);
	assert_int_equal(pthread_create(&w.thread, NULL, write_once, &w), 0);
	usleep(200000);
	restart(s, "", "");
	pthread_join(w.thread, NULL);
	assert_int_equal(w.rc, -EIO);
	assert_lost(s, "what was written and not flushed");
}

#define SINK                                                                            \
	"eval get_size='echo 4M' pread='head -c $3 /dev/zero' pwrite='cat >/dev/null' " \
	"can_write='exit 0' can_flush='exit 0' thread_model='echo parallel' "

/* The flush covers what was answered before it was sent, and no more. */
static void what_is_written_beside_a_flush_is_not_flushed(void **state)
{
	struct nbd_server *s = *state;
	struct reader f = {.server = s};
	struct told t = {0};

	nbd_server_start_plugin(s, SINK "flush='sleep 1'");
	open_disk(s, BOW_OPEN_EXCLUSIVE, &t);
	write_block(s, 4096, 1);
	assert_int_equal(pthread_create(&f.thread, NULL, flush_once, &f), 0);
	usleep(300000);
	write_block(s, 8192, 1);
	pthread_join(f.thread, NULL);
	assert_int_equal(f.rc, 0);
	nbd_server_kill(s);
	nbd_server_start_plugin(s, SINK "flush='exit 0'");
	assert_lost(s, "what was written and not flushed");
}

static void after_a_flush_that_failed_it_is_not_made_again(void **state)
{
	struct nbd_server *s = *state;
	struct told t = {0};

	nbd_server_start_plugin(s, SINK "flush='echo EIO >&2; exit 1'");
	open_disk(s, BOW_OPEN_EXCLUSIVE, &t);
	assert_int_equal(bow_disk_flush(s->dev, NULL), -EIO);
	nbd_server_kill(s);
	nbd_server_start_plugin(s, SINK "flush='exit 0'");
	assert_lost(s, "a flush had failed");
}

static void what_a_server_cannot_flush_is_not_read_on(void **state)
{
	struct nbd_server *s = *state;
	struct told t = {0};

	nbd_server_start_plugin(s, "eval get_size='echo 4M' pread='head -c $3 /dev/zero' "
				   "can_flush='exit 3'");
	open_disk(s, BOW_OPEN_LOOK, &t);
	restart(s, "", "");
	assert_lost(s, "may lose what was read");
}

/* ---- not the same ---------------------------------------------------------------- */

static void another_disk_is_refused(void **state)
{
	static const struct {
		const char *change, *filters, *parameters, *words;
	} others[] = {
		{"truncate -s +4096 '%s'", "", "", "4198400 bytes long, not 4194304"},
		{"truncate -s 1M '%s'", "", "", "1048576 bytes long"},
		/* One byte would be the same as before in one of 256 random images. */
		{"head -c 64 /dev/zero | dd of='%s' bs=64 seek=63 conv=notrunc status=none", "", "",
		 "another block 0"},
		{"true '%s'", "--filter=blocksize-policy",
		 "blocksize-minimum=512 blocksize-preferred=4096 blocksize-error-policy=error",
		 "sectors of 512 bytes, not 1"},
		{"true '%s'", "--filter=blocksize-policy",
		 "blocksize-minimum=1 blocksize-maximum=64K blocksize-preferred=4096 "
		 "blocksize-error-policy=error",
		 "takes less"},
		{"true '%s'", "--filter=nozero", "", "takes less"},
		{"true '%s'", "-r", "", "read-only"},
	};
	struct nbd_server *s = *state;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct told t = {0};

		unlink(s->image);
		nbd_server_start(s, "", "");
		open_disk(s, BOW_OPEN_EXCLUSIVE, &t);
		nbd_server_kill(s);
		/* NOLINTNEXTLINE(clang-diagnostic-format-nonliteral) */
		assert_int_equal(host_run(others[i].change, s->image), 0);
		nbd_server_start(s, others[i].filters, others[i].parameters);
		assert_lost(s, others[i].words);
		assert_int_equal(t.times, 0);
		nbd_server_close(s);
		nbd_server_kill(s);
	}
}

/* As if somebody had cleaned up. */
static void remove_locks(struct nbd_server *s)
{
	struct bow_nbd_export e;

	bow_nbd_export_set(&e, s->uri);
	host_run("rm -f '%s'/.bowimg-nbd-* /run/bowimg/lock/.bowimg-nbd-%016" PRIx64
		 "-* /tmp/bowimg-%u/lock/.bowimg-nbd-%016" PRIx64
		 "-* \"${XDG_RUNTIME_DIR:-/none}\"/bowimg/lock/.bowimg-nbd-%016" PRIx64 "-*",
		 s->dir, e.by_name, (unsigned)geteuid(), e.by_name, e.by_name);
}

static void a_lock_that_is_gone_is_taken_again_or_the_connection_is_not_made(void **state)
{
	struct nbd_server *s = *state;
	struct bowimg_disk *other = NULL;
	struct told t = {0};

	nbd_server_start(s, "", "");
	open_disk(s, BOW_OPEN_EXCLUSIVE, &t);
	nbd_server_kill(s);
	remove_locks(s);
	nbd_server_start(s, "", "");
	assert_reads(s, 5000);
	nbd_server_assert_refused(s, -EBUSY, "another bowimg");
	nbd_server_kill(s);
	remove_locks(s);
	nbd_server_start(s, "", "");
	assert_int_equal(bow_disk_open_file(s->uri, BOW_OPEN_EXCLUSIVE, NULL, &other, NULL), 0);
	assert_lost(s, "another bowimg");
	assert_int_equal(bow_disk_close(other, NULL), 0);
}

/* ---- no end ---------------------------------------------------------------------- */

static void a_server_that_stays_away_is_given_up_soon(void **state)
{
	struct nbd_server *s = *state;
	struct told t = {0};
	time_t began;

	nbd_server_start(s, "", "");
	open_disk(s, BOW_OPEN_LOOK, &t);
	nbd_server_kill(s);
	began = time(NULL);
	assert_lost(s, "within 10 seconds it could not be made again: connect: ");
	assert_in_range(time(NULL) - began, 9, 15);
	/* That it is waited for. */
	assert_int_equal(t.times, 1);
	assert_non_null(strstr(t.last, "waiting for "));
}

/* Flushes, reads block 0, and hangs up instead of reading anything else. */
static void answer_block_0_only(int fd, const uint8_t request[28])
{
	static const uint8_t zeros[4096];
	static const uint8_t block_0[8];

	if (request[7] == 0 && memcmp(request + 16, block_0, sizeof(block_0)) != 0) {
		shutdown(fd, SHUT_RDWR);
		return;
	}
	nbd_liar_reply(fd, request, 0, 0);
	if (request[7] == 0)
		nbd_liar_say(fd, zeros, sizeof(zeros));
}

static void a_server_that_hangs_up_every_time_is_asked_a_few_times(void **state)
{
	struct nbd_server *s = *state;
	struct nbd_liar l = {.size = 4u << 20,
			     .flags = LIAR_HAS_FLAGS | LIAR_SEND_FLUSH,
			     .answer = answer_block_0_only};
	struct told t = {0};
	pthread_t thread;
	uint8_t buf[512];

	nbd_server_start(s, "", ""); /* skips the test where NBD is missing */
	nbd_server_kill(s);
	thread = nbd_liar_start(s, &l);
	open_disk(s, BOW_OPEN_LOOK, &t);
	for (int i = 0; i < 100; i++)
		assert_int_equal(bow_disk_read(s->dev, buf, sizeof(buf), 8192, NULL), -EIO);
	assert_lost(s, "ten times within a minute");
	nbd_server_close(s);
	nbd_liar_end(&l, thread);
	assert_in_range(l.clients, 2, 11);
	assert_in_range(t.times, 1, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		NBD_TEST(reads_of_many_threads_go_on_when_the_server_comes_back),
		NBD_TEST(a_server_that_says_that_it_ends_is_awaited),
		NBD_TEST(what_is_flushed_may_be_written_on_after_a_loss),
		NBD_TEST(after_an_unflushed_change_it_is_not_made_again),
		NBD_TEST(with_a_change_in_flight_it_is_not_made_again),
		NBD_TEST(what_is_written_beside_a_flush_is_not_flushed),
		NBD_TEST(after_a_flush_that_failed_it_is_not_made_again),
		NBD_TEST(what_a_server_cannot_flush_is_not_read_on),
		NBD_TEST(another_disk_is_refused),
		NBD_TEST(a_lock_that_is_gone_is_taken_again_or_the_connection_is_not_made),
		NBD_TEST(a_server_that_stays_away_is_given_up_soon),
		NBD_TEST(a_server_that_hangs_up_every_time_is_asked_a_few_times),
	};

	return cmocka_run_group_tests_name("nbd_again", tests, NULL, NULL);
}
