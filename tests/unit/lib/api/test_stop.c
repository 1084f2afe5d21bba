/* SPDX-License-Identifier: MIT */
/*
 * Stopped at every point where it can be: the image is as it was or in a state that says so, and
 * the same call again comes to the same end as one that was never stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "bowimg.h"
#include "host.h"
#include "rng.h"

enum { IMAGE_BYTES = 3 << 20, HALF = IMAGE_BYTES / 2, ROOM = IMAGE_BYTES + (4 << 20) };

struct content {
	uint8_t *bytes;
	size_t n;
};

struct place {
	char dir[HOST_PATH_BYTES];
	struct content original, changed; /* before prepare; with a checkpoint and changes */
};

/* ---- the image ------------------------------------------------------------------- */

static struct content get(void)
{
	struct content c = {.bytes = malloc(ROOM)};
	FILE *f = fopen("image", "r");

	c.n = fread(c.bytes, 1, ROOM, f);
	fclose(f);
	return c;
}

static void put(const struct content *c)
{
	FILE *f = fopen("image", "w");

	assert_int_equal(fwrite(c->bytes, 1, c->n, f), c->n);
	assert_int_equal(fclose(f), 0);
}

static bool is(const struct content *c)
{
	struct content now = get();
	bool same = now.n == c->n && memcmp(now.bytes, c->bytes, c->n) == 0;

	free(now.bytes);
	return same;
}

/* The second half is free, and zeros. */
static void make_original(struct place *p)
{
	struct rng rng = {.state = 4711};
	FILE *map = fopen("map", "w");

	fprintf(map, "0x0 ? 1\n0x0 0x%x +\n0x%x 0x%x ?\n", HALF, HALF, HALF);
	fclose(map);
	p->original = (struct content){calloc(1, ROOM), IMAGE_BYTES};
	for (size_t i = 0; i < HALF; i++)
		p->original.bytes[i] = (uint8_t)rng_next(&rng);
	put(&p->original);
}

static int prepare(bool (*stop)(void *), void *ctx, const char *from)
{
	const struct bowimg_prepare_options opts = {
		.free_from = from, .exact = BOWIMG_YES, .events = {.stop = stop, .ctx = ctx}};

	return bowimg_prepare("image", &opts, NULL, NULL);
}

/* Scattered writes, and zeros of which some must still be carried out by a commit. */
static void change(void)
{
	const struct bowimg_open_options opts = {.durability = BOWIMG_DURABILITY_PROCESS};
	bowimg_disk *img;
	uint8_t buf[4096];

	assert_int_equal(bowimg_open("image", &opts, &img, NULL), 0);
	for (uint64_t off = 8192; off < HALF; off += 90000) {
		memset(buf, (int)(off % 251), sizeof(buf));
		assert_int_equal(bowimg_disk_write(img, buf, sizeof(buf), off, 0, NULL), 0);
	}
	assert_int_equal(bowimg_disk_write(img, buf, sizeof(buf), HALF + 65536, 0, NULL), 0);
	assert_int_equal(bowimg_disk_zero(img, 200000, 70000, 0, NULL), 0);
	assert_int_equal(bowimg_disk_close(img, NULL), 0);
}

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	*state = p;
	if (!host_temp_dir(p->dir) || chdir(p->dir) < 0)
		return -1;
	make_original(p);
	assert_int_equal(prepare(NULL, NULL, "map:map"), 0);
	change();
	p->changed = get();
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;

	assert_int_equal(chdir("/"), 0);
	host_remove_tree(p->dir);
	free(p->original.bytes);
	free(p->changed.bytes);
	free(p);
	return 0;
}

/* ---- stopping -------------------------------------------------------------------- */

/* False so many times; and from then on true, as a signal does not go away. */
static bool count_down(void *ctx)
{
	unsigned *left = ctx;

	if (!*left)
		return true;
	--*left;
	return false;
}

typedef int end_func(const char *path, const struct bowimg_end_options *opts,
		     struct bowimg_end_report *report, struct bowimg_error *err);

static int end(end_func *func, unsigned *left, bool wipe)
{
	/* The copies are younger than the checkpoint says. */
	struct bowimg_end_options opts = {.force = BOWIMG_FORCE_CHANGED, .wipe = wipe};
	struct bowimg_end_report report;
	struct bowimg_error err = {0};

	if (left)
		opts.events = (struct bowimg_events){.stop = count_down, .ctx = left};
	int rc = func("image", &opts, &report, &err);
	if (rc == -ECANCELED)
		assert_int_equal(err.code, -ECANCELED);
	return rc;
}

static enum bowimg_state state_now(void)
{
	static const struct bowimg_options forced = {.force = BOWIMG_FORCE_CHANGED};
	struct bowimg_status st;

	assert_int_equal(bowimg_status("image", &forced, &st, NULL), 0);
	return st.state;
}

/* Stop it everywhere, once each; `half` is the state in which it may be left. */
static void stopped_everywhere(const struct content *from, end_func *func, bool wipe,
			       enum bowimg_state half, const struct content *in_the_end)
{
	unsigned n, as_it_was = 0, half_done = 0;

	for (n = 0;; n++) {
		unsigned left = n;

		put(from);
		int rc = end(func, &left, wipe);
		if (!rc)
			break;
		assert_int_equal(rc, -ECANCELED);
		if (is(from))
			as_it_was++;
		else
			half_done += state_now() == half;
		/* Twice: what was begun is taken up again, and stopped again. */
		left = n / 2;
		if (end(func, &left, wipe))
			assert_int_equal(end(func, NULL, wipe), 0);
		assert_true(is(in_the_end));
	}
	assert_true(is(in_the_end));
	assert_true(as_it_was + half_done == n);
	assert_true(n > 0);
	if (half != BOWIMG_STATE_NONE)
		assert_true(half_done > 0);
}

static void a_rollback_stopped_anywhere_can_be_finished(void **state)
{
	struct place *p = *state;

	stopped_everywhere(&p->changed, bowimg_rollback, false, BOWIMG_STATE_ROLLING_BACK,
			   &p->original);
}

static void a_commit_stopped_anywhere_can_be_finished(void **state)
{
	struct place *p = *state;

	for (int wipe = 0; wipe < 2; wipe++) {
		put(&p->changed);
		assert_int_equal(end(bowimg_commit, NULL, wipe), 0);
		struct content committed = get();
		stopped_everywhere(&p->changed, bowimg_commit, wipe, BOWIMG_STATE_COMMITTING,
				   &committed);
		free(committed.bytes);
	}
}

static void a_stopped_verify_changes_nothing(void **state)
{
	struct place *p = *state;

	stopped_everywhere(&p->changed, bowimg_verify, false, BOWIMG_STATE_NONE, &p->changed);
}

static void a_stopped_prepare_changes_nothing(void **state)
{
	struct place *p = *state;
	unsigned n = 0;

	for (;; n++) {
		unsigned left = n;

		put(&p->original);
		int rc = prepare(count_down, &left, "map:map");
		if (!rc)
			break;
		assert_int_equal(rc, -ECANCELED);
		assert_true(is(&p->original));
	}
	assert_true(n > 1);
	assert_int_equal(state_now(), BOWIMG_STATE_CHECKPOINT);
}

static int rescue(unsigned *left)
{
	struct bowimg_rescue_options opts = {.write = true, .force = BOWIMG_FORCE_CHANGED};

	if (left)
		opts.events = (struct bowimg_events){.stop = count_down, .ctx = left};
	return bowimg_rescue("image", &opts, NULL, NULL);
}

static void a_stopped_rescue_changes_nothing(void **state)
{
	struct place *p = *state;
	struct content lost = {malloc(ROOM), p->changed.n};
	unsigned n = 0;

	memcpy(lost.bytes, p->changed.bytes, lost.n);
	memset(lost.bytes, 0, 512);
	for (;; n++) {
		unsigned left = n;

		put(&lost);
		int rc = rescue(&left);
		if (!rc)
			break;
		assert_int_equal(rc, -ECANCELED);
		assert_true(is(&lost));
	}
	assert_true(n > 2);
	assert_int_equal(end(bowimg_rollback, NULL, false), 0);
	assert_true(is(&p->original));
	free(lost.bytes);
}

static int on_run(void *ctx, uint64_t off, uint64_t bytes, bool is_free)
{
	(void)off, (void)bytes, (void)is_free;
	++*(unsigned *)ctx;
	return 0;
}

static void a_stopped_map_says_nothing(void **state)
{
	struct place *p = *state;
	unsigned runs = 0, left = 0;
	const struct bowimg_prepare_options opts = {.free_from = "map:map",
						    .events = {.stop = count_down, .ctx = &left}};

	put(&p->original);
	assert_int_equal(bowimg_map("image", &opts, on_run, &runs, NULL), -ECANCELED);
	assert_int_equal(runs, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_rollback_stopped_anywhere_can_be_finished),
		TEST(a_commit_stopped_anywhere_can_be_finished),
		TEST(a_stopped_verify_changes_nothing),
		TEST(a_stopped_prepare_changes_nothing),
		TEST(a_stopped_rescue_changes_nothing),
		TEST(a_stopped_map_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
