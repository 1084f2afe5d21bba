/* SPDX-License-Identifier: MIT */
/* Many threads on one connection to an NBD server; and servers that fail, lie and die under them.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/nbd_liar.h"
#include "lib/nbd_server.h"
#include "lib/rng.h"

#define THREADS 8

struct worker {
	pthread_t thread;
	struct nbd_server *server;
	unsigned number;
	int rc; /* the first error */
	unsigned done;
};

static void run(struct nbd_server *s, struct worker *workers, void *(*body)(void *))
{
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.server = s, .number = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, body, &workers[i]), 0);
	}
}

static void join(struct worker *workers)
{
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- together -------------------------------------------------------------------- */

static void *write_and_read_slowly(void *arg)
{
	struct worker *w = arg;
	uint8_t out[4096], in[4096];

	for (unsigned i = 0; i < 5 && !w->rc; i++) {
		uint64_t off = (w->number * 5 + i) * sizeof(out);

		memset(out, (int)(w->number * 5 + i + 1), sizeof(out));
		w->rc = bow_disk_write(w->server->dev, out, sizeof(out), off, NULL);
		if (!w->rc)
			w->rc = bow_disk_read(w->server->dev, in, sizeof(in), off, NULL);
		if (!w->rc && memcmp(in, out, sizeof(in)))
			w->rc = -EBADMSG;
		if (!w->rc && i == 2)
			w->rc = bow_disk_flush(w->server->dev, NULL);
	}
	return NULL;
}

static void requests_of_several_threads_are_under_way_together(void **state)
{
	struct nbd_server *s = *state;
	struct worker workers[THREADS];
	int64_t start;

	nbd_server_start(s, "--filter=delay", "rdelay=50ms wdelay=50ms");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	start = now_ms();
	run(s, workers, write_and_read_slowly);
	join(workers);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(workers[i].rc, 0);
	/* One after the other they would take 80 times 50 ms. */
	assert_true(now_ms() - start < 2500);
}

/* Each thread has bytes of its own in every sector. */
static void *write_pieces(void *arg)
{
	struct worker *w = arg;
	uint8_t buf[512];

	for (unsigned i = 0; i < 100 && !w->rc; i++) {
		memset(buf, (int)(w->number + 1), sizeof(buf));
		w->rc = bow_disk_write(w->server->dev, buf, sizeof(buf),
				       i % 20 * 4096 + w->number * sizeof(buf), NULL);
	}
	return NULL;
}

static void pieces_of_one_sector_do_not_undo_each_other(void **state)
{
	struct nbd_server *s = *state;
	struct worker workers[THREADS];
	uint8_t all[20 * 4096];

	nbd_server_start(s, "--filter=blocksize-policy",
			 "blocksize-minimum=4096 blocksize-preferred=4096 "
			 "blocksize-error-policy=error");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	run(s, workers, write_pieces);
	join(workers);
	nbd_server_look(s, all, sizeof(all), 0);
	for (size_t i = 0; i < sizeof(all); i++)
		assert_int_equal(all[i], i % 4096 / 512 + 1);
}

static void *write_much(void *arg)
{
	const size_t bytes = 1u << 19;
	struct worker *w = arg;
	uint8_t *buf = malloc(bytes), *back = malloc(bytes);

	memset(buf, (int)(w->number + 1), bytes);
	for (unsigned i = 0; i < 20 && !w->rc; i++) {
		w->rc = bow_disk_write(w->server->dev, buf, bytes, w->number * bytes, NULL);
		if (!w->rc)
			w->rc = bow_disk_read(w->server->dev, back, bytes, w->number * bytes, NULL);
		if (!w->rc && memcmp(buf, back, bytes))
			w->rc = -EBADMSG;
	}
	free(buf);
	free(back);
	return NULL;
}

static void requests_that_fill_the_socket_get_through(void **state)
{
	struct nbd_server *s = *state;
	struct worker workers[THREADS];

	nbd_server_start(s, "--filter=noparallel", "serialize=requests");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	run(s, workers, write_much);
	join(workers);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(workers[i].rc, 0);
}

/* As nbdkit and the daemon do it: opened before a fork, used by the child. */
static void an_open_device_survives_a_fork(void **state)
{
	struct nbd_server *s = *state;
	uint8_t buf[512] = {1};
	int status = -1;
	pid_t pid;

	nbd_server_start(s, "", "");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	assert_int_equal(bow_disk_write(s->dev, buf, sizeof(buf), 0, NULL), 0);
	pid = fork();
	if (pid == 0)
		_exit(bow_disk_write(s->dev, buf, sizeof(buf), 512, NULL) ||
		      bow_disk_flush(s->dev, NULL));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- failing --------------------------------------------------------------------- */

static void the_servers_errors_come_through(void **state)
{
	struct nbd_server *s = *state;
	struct bowimg_error err = {0};
	uint8_t buf[512] = {0};

	nbd_server_start(s, "--filter=error",
			 "error-pwrite=ENOSPC error-pwrite-rate=100% error-pread=ESHUTDOWN "
			 "error-pread-rate=100%");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	assert_int_equal(bow_disk_write(s->dev, buf, sizeof(buf), 0, &err), -ENOSPC);
	assert_int_equal(bow_disk_read(s->dev, buf, sizeof(buf), 0, &err), -EIO);
	assert_non_null(strstr(err.hint, "NBD server"));
	assert_int_equal(bow_disk_flush(s->dev, NULL), 0);
	nbd_server_close(s);
	nbd_server_kill(s);
	nbd_server_start_plugin(s, "eval get_size='echo 1M' pread='exit 1' pwrite='exit 0' "
				   "can_write='exit 0' can_flush='exit 0' "
				   "flush='echo EIO >&2; exit 1'");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	assert_int_equal(bow_disk_flush(s->dev, NULL), -EIO);
}

static void *write_until_it_fails(void *arg)
{
	struct worker *w = arg;
	uint8_t buf[4096] = {0};

	while (!w->rc) {
		w->rc = bow_disk_write(w->server->dev, buf, sizeof(buf), w->number * sizeof(buf),
				       NULL);
		__atomic_add_fetch(&w->done, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void a_killed_server_fails_every_request_and_all_that_follow(void **state)
{
	struct nbd_server *s = *state;
	struct worker workers[THREADS];
	uint8_t buf[512];

	nbd_server_start(s, "--filter=delay", "wdelay=2ms");
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	run(s, workers, write_until_it_fails);
	while (__atomic_load_n(&workers[0].done, __ATOMIC_RELAXED) < 10)
		usleep(1000);
	nbd_server_kill(s);
	join(workers);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(workers[i].rc, -EIO);
	assert_int_equal(bow_disk_flush(s->dev, NULL), -EIO);
	/* Not made again: what had not been flushed may be gone. */
	nbd_server_start(s, "", "");
	assert_int_equal(bow_disk_read(s->dev, buf, sizeof(buf), 0, NULL), -EIO);
	nbd_server_close(s);
	nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
	assert_int_equal(bow_disk_read(s->dev, buf, sizeof(buf), 0, NULL), 0);
}

/* ---- lying ----------------------------------------------------------------------- */

static void answer_garbage(int fd, const uint8_t request[28])
{
	uint8_t garbage[64];
	struct rng rng = {.state = request[15]};

	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (uint8_t)rng_next(&rng);
	nbd_liar_say(fd, garbage, sizeof(garbage));
}

static void answer_somebody_else(int fd, const uint8_t request[28])
{
	nbd_liar_reply(fd, request, 0, 0xff);
}

static void answer_half(int fd, const uint8_t request[28])
{
	nbd_liar_reply(fd, request, 0, 0);
	nbd_liar_say(fd, "only this", 9);
	shutdown(fd, SHUT_RDWR);
}

static void answer_odd_error(int fd, const uint8_t request[28])
{
	nbd_liar_reply(fd, request, 0xdeadbeef, 0);
}

static void answer_nothing_and_leave(int fd, const uint8_t request[28])
{
	(void)request;
	shutdown(fd, SHUT_RDWR);
}

static void a_server_that_talks_nonsense_gets_an_error(void **state)
{
	static void (*const answers[])(int fd, const uint8_t request[28]) = {
		answer_garbage,	  answer_somebody_else,	    answer_half,
		answer_odd_error, answer_nothing_and_leave,
	};
	struct nbd_server *s = *state;
	uint8_t buf[512];

	nbd_server_start(s, "", ""); /* skips the test where NBD is missing */
	nbd_server_kill(s);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct nbd_liar l = {.size = 1u << 20, .flags = LIAR_HAS_FLAGS | LIAR_SEND_FLUSH};
		struct bowimg_error err = {0};
		pthread_t thread;

		l.answer = answers[i];
		thread = nbd_liar_start(s, &l);
		nbd_server_open(s, BOW_OPEN_EXCLUSIVE);
		assert_int_equal(bow_disk_read(s->dev, buf, sizeof(buf), 0, &err), -EIO);
		assert_non_null(strstr(err.hint, "NBD server"));
		nbd_server_close(s);
		nbd_liar_end(&l, thread);
	}
}

static void sizes_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint64_t size;
		uint16_t flags;
		size_t greeting_bytes;
		int code;
	} liars[] = {
		{0, LIAR_HAS_FLAGS | LIAR_SEND_FLUSH, 0, -EOPNOTSUPP},
		{UINT64_MAX, LIAR_HAS_FLAGS | LIAR_SEND_FLUSH, 0, -EIO},
		{1u << 20, LIAR_HAS_FLAGS | LIAR_READ_ONLY | LIAR_SEND_FLUSH, 0, -EROFS},
		{1u << 20, LIAR_HAS_FLAGS, 0, -EOPNOTSUPP},
		{1u << 20, 0, 0, 0},
		{1u << 20, LIAR_HAS_FLAGS | LIAR_SEND_FLUSH, 100, 0},
	};
	struct nbd_server *s = *state;

	nbd_server_start(s, "", "");
	nbd_server_kill(s);
	for (size_t i = 0; i < sizeof(liars) / sizeof(liars[0]); i++) {
		struct nbd_liar l = {.size = liars[i].size,
				     .flags = liars[i].flags,
				     .greeting_bytes = liars[i].greeting_bytes};
		pthread_t thread = nbd_liar_start(s, &l);
		struct bowimg_error err = {0};
		struct bowimg_disk *dev;
		int rc = bow_disk_open_file(s->uri, BOW_OPEN_EXCLUSIVE, NULL, &dev, &err);

		if (rc >= 0 || (liars[i].code && rc != liars[i].code))
			fail_msg("liar %zu: %d \"%s\"", i, rc, err.message);
		nbd_liar_end(&l, thread);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		NBD_TEST(requests_of_several_threads_are_under_way_together),
		NBD_TEST(pieces_of_one_sector_do_not_undo_each_other),
		NBD_TEST(requests_that_fill_the_socket_get_through),
		NBD_TEST(an_open_device_survives_a_fork),
		NBD_TEST(the_servers_errors_come_through),
		NBD_TEST(a_killed_server_fails_every_request_and_all_that_follow),
		NBD_TEST(a_server_that_talks_nonsense_gets_an_error),
		NBD_TEST(sizes_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests_name("nbd_threads", tests, NULL, NULL);
}
