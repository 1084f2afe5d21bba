/* SPDX-License-Identifier: MIT */
/*
 * The nbdkit plugin's end, without nbdkit: what it asks of nbdkit is answered here, so that a
 * request can be held while an order and the end come.
 */
#include <dirent.h>
#include <linux/sockios.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "nbdkit/plugin.h"

#define SIZE (1u << 20)
#define PATIENCE_US 20000

struct nbdkit_plugin *plugin_init(void);

struct fixture {
	char path[64];
	const struct nbdkit_plugin *plugin;
	int control;
	unsigned threads; /* before it was loaded */
};

/* A request for extents waits for the second after it has posted the first. */
static sem_t is_under_way, may_end;

/* ---- what nbdkit offers ---------------------------------------------------------- */

void nbdkit_error(const char *text, ...)
{
	va_list args;

	va_start(args, text);
	vprint_error(text, args);
	va_end(args);
}

void nbdkit_set_error(int code)
{
	(void)code;
}

char *nbdkit_realpath(const char *path)
{
	return realpath(path, NULL);
}

int nbdkit_parse_int(const char *what, const char *text, int *out)
{
	(void)what;
	*out = atoi(text);
	return 0;
}

int nbdkit_parse_bool(const char *text)
{
	return strcmp(text, "yes") == 0;
}

const char *nbdkit_export_name(void)
{
	return "";
}

int nbdkit_add_export(struct nbdkit_exports *exports, const char *name, const char *description)
{
	(void)exports;
	(void)name;
	(void)description;
	return 0;
}

int nbdkit_add_extent(struct nbdkit_extents *extents, uint64_t off, uint64_t bytes, uint32_t type)
{
	(void)extents;
	(void)off;
	(void)bytes;
	(void)type;
	sem_post(&is_under_way);
	sem_wait(&may_end);
	return 0;
}

/* ---- a server that tracks discards ----------------------------------------------- */

static unsigned count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void make_image(struct fixture *f)
{
	uint8_t bytes[BOWIMG_BLOCK_SIZE];

	strcpy(f->path, "/tmp/bowimg-plugin.XXXXXX");
	int fd = mkstemp(f->path);
	assert_true(fd >= 0);
	memset(bytes, 0x5a, sizeof(bytes));
	for (unsigned i = 0; i < SIZE / sizeof(bytes); i++)
		assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
}

static void expect_report(const struct fixture *f, int what, struct bow_nbd_report *out)
{
	assert_int_equal(recv(f->control, out, sizeof(*out), 0), sizeof(*out));
	assert_int_equal(out->what, what);
	if (out->err.code)
		fail_msg("%s", out->err.message);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct bow_nbd_report opened;
	char control[16];
	int ends[2];

	make_image(f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	snprintf(control, sizeof(control), "%d", ends[0]);
	f->control = ends[1];
	f->threads = count_threads();
	sem_init(&is_under_way, 0, 0);
	sem_init(&may_end, 0, 0);
	bow_nbdkit.path = NULL;
	bow_nbdkit.ordered = bow_nbdkit.is_awaiting = false;
	f->plugin = plugin_init();
	assert_int_equal(f->plugin->config("image", f->path), 0);
	assert_int_equal(f->plugin->config("track", "yes"), 0);
	assert_int_equal(f->plugin->config("control", control), 0);
	assert_int_equal(f->plugin->config_complete(), 0);
	assert_int_equal(f->plugin->get_ready(), 0);
	assert_int_equal(f->plugin->after_fork(), 0);
	expect_report(f, BOW_NBD_OPENED, &opened);
	assert_int_equal(f->plugin->trim(f->plugin->open(0), SIZE / 2, SIZE / 4, 0), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->control);
	close(bow_nbdkit.control);
	unlink(f->path);
	free(f);
	return 0;
}

static void wait_until_received(const struct fixture *f)
{
	int left = 1;

	while (left) {
		assert_int_equal(ioctl(f->control, SIOCOUTQ, &left), 0);
		usleep(1000);
	}
	usleep(PATIENCE_US);
}

static void send_order(const struct fixture *f, size_t bytes)
{
	const struct {
		struct bow_nbd_order order;
		char more[16];
	} packet = {.order = {.dry_run = true, .exact = BOWIMG_NO}};

	assert_int_equal(send(f->control, &packet, bytes, 0), bytes);
	wait_until_received(f);
}

static bool was_prepared(const struct fixture *f)
{
	struct bow_nbd_report closed;

	expect_report(f, BOW_NBD_CLOSED, &closed);
	return closed.prepared.free_source[0] != '\0';
}

static void expect_no_checkpoint(const struct fixture *f)
{
	struct bowimg_status now;

	assert_int_equal(bowimg_status(f->path, NULL, &now, NULL), 0);
	assert_int_equal(now.state, BOWIMG_STATE_NONE);
}

static void *ask_extents(void *arg)
{
	const struct fixture *f = arg;

	f->plugin->extents(f->plugin->open(0), SIZE, 0, NBDKIT_FLAG_REQ_ONE, NULL);
	return NULL;
}

/* What nbdkit does after SIGTERM. */
static void *end(void *arg)
{
	const struct fixture *f = arg;

	f->plugin->unload();
	return NULL;
}

static void wait_until_somebody_closes(void)
{
	while (pthread_rwlock_tryrdlock(&bow_nbdkit.in_use) == 0) {
		pthread_rwlock_unlock(&bow_nbdkit.in_use);
		usleep(1000);
	}
}

/* ---- tests ----------------------------------------------------------------------- */

static void an_order_that_comes_as_the_server_ends_is_taken_whole_or_not(void **state)
{
	struct fixture *f = *state;
	pthread_t request, ending;

	assert_int_equal(pthread_create(&request, NULL, ask_extents, f), 0);
	sem_wait(&is_under_way);
	assert_int_equal(pthread_create(&ending, NULL, end, f), 0);
	wait_until_somebody_closes();
	send_order(f, sizeof(struct bow_nbd_order));
	sem_post(&may_end);
	pthread_join(request, NULL);
	pthread_join(ending, NULL);
	/* It was a dry run: with or without it, nothing is written. */
	was_prepared(f);
	expect_no_checkpoint(f);
}

static void an_order_that_came_before_the_end_is_carried_out(void **state)
{
	struct fixture *f = *state;

	send_order(f, sizeof(struct bow_nbd_order));
	f->plugin->unload();
	assert_true(was_prepared(f));
	expect_no_checkpoint(f);
}

static void what_is_no_order_by_its_size_is_none(void **state)
{
	struct fixture *f = *state;

	send_order(f, sizeof(struct bow_nbd_order) - 1);
	send_order(f, sizeof(struct bow_nbd_order) + 1);
	f->plugin->unload();
	assert_false(was_prepared(f));
	expect_no_checkpoint(f);
}

static void no_thread_is_left_when_the_plugin_is_unloaded(void **state)
{
	struct fixture *f = *state;

	assert_true(count_threads() > f->threads);
	f->plugin->unload();
	assert_int_equal(count_threads(), f->threads);
	assert_false(was_prepared(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_order_that_comes_as_the_server_ends_is_taken_whole_or_not, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(an_order_that_came_before_the_end_is_carried_out,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_order_by_its_size_is_none, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(no_thread_is_left_when_the_plugin_is_unloaded,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
