/* SPDX-License-Identifier: MIT */
/* Applying a patch to a file: whole or not at all, whenever it is stopped or killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "host.h"
#include "patch_forge.h"
#include "rng.h"

#define BLOCK FORGE_BLOCK
#define RUNS 6u

/* An image, what it is before and after the patch, and the patch. */
struct place {
	char dir[HOST_PATH_BYTES], image[HOST_PATH_BYTES + 8];
	uint8_t before[FORGE_IMAGE], after[FORGE_IMAGE];
	int patch;
};

static const struct {
	uint64_t off;
	uint32_t bytes;
	bool any, zero;
} runs[RUNS] = {
	{0, BLOCK, false, false},
	{2 * BLOCK, 3 * BLOCK, false, false},
	{7 * BLOCK, 2 * BLOCK, false, true},
	{20 * BLOCK, BLOCK, true, false},
	{30 * BLOCK, 8 * BLOCK, false, false},
	{63 * BLOCK, BLOCK + 100, false, false},
};

static void put(const struct place *p, const uint8_t *bytes)
{
	int fd = open(p->image, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, FORGE_IMAGE), FORGE_IMAGE);
	close(fd);
}

static bool is(const struct place *p, const uint8_t *bytes)
{
	static uint8_t now[FORGE_IMAGE + 1];
	int fd = open(p->image, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, now, sizeof(now));

	close(fd);
	return n == FORGE_IMAGE && memcmp(now, bytes, FORGE_IMAGE) == 0;
}

static void write_patch(struct place *p)
{
	struct bow_patch_totals totals;
	struct bow_patch_writer *w;
	struct bowimg_error err;

	p->patch = forge_file("", 0);
	assert_int_equal(bow_patch_writer_open(p->patch, BOW_PATCH_ZSTD, &forge_head, &w, &err), 0);
	for (size_t i = 0; i < RUNS; i++) {
		struct bow_patch_run run = {.off = runs[i].off,
					    .bytes = runs[i].bytes,
					    .any = runs[i].any,
					    .zero = runs[i].zero,
					    .before = bow_hash(p->before + runs[i].off,
							       runs[i].bytes, 0)};

		assert_int_equal(bow_patch_writer_add(w, &run, p->after + run.off, &err), 0);
	}
	assert_int_equal(bow_patch_writer_finish(w, &totals, &err), 0);
	bow_patch_writer_free(w);
}

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p || !host_temp_dir(p->dir))
		return -1;
	snprintf(p->image, sizeof(p->image), "%s/image", p->dir);
	rng_fill(p->before, FORGE_IMAGE, 1);
	memcpy(p->after, p->before, FORGE_IMAGE);
	for (size_t i = 0; i < RUNS; i++) {
		if (runs[i].zero)
			memset(p->after + runs[i].off, 0, runs[i].bytes);
		else
			rng_fill(p->after + runs[i].off, runs[i].bytes, 100 + i);
	}
	write_patch(p);
	put(p, p->before);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;

	close(p->patch);
	host_remove_tree(p->dir);
	free(p);
	return 0;
}

static int apply_with(struct place *p, bool dry_run, bool (*stop)(void *), void *ctx,
		      struct bow_patch_apply_report *report, struct bowimg_error *err)
{
	const struct bow_patch_apply_options opts = {
		.events = {.stop = stop, .ctx = ctx}, .dry_run = dry_run, .name = "patch"};

	return bow_patch_apply(p->patch, p->image, &opts, report, err);
}

static void applies(struct place *p, bool already)
{
	struct bow_patch_apply_report report;
	struct bowimg_error err = {0};

	if (apply_with(p, false, NULL, NULL, &report, &err))
		fail_msg("%s", err.message);
	assert_int_equal(report.already, already);
	assert_int_equal(report.totals.runs, RUNS);
	assert_true(is(p, p->after));
}

static void refused(struct place *p, const char *words)
{
	struct bow_patch_apply_report report;
	struct bowimg_error err = {0};

	assert_int_equal(apply_with(p, false, NULL, NULL, &report, &err), -ESTALE);
	if (!strstr(err.message, words))
		fail_msg("\"%s\" lacks \"%s\"", err.message, words);
	assert_non_null(strstr(err.hint, "nothing was changed"));
}

static void it_is_applied_once_and_then_already(void **state)
{
	applies(*state, false);
	applies(*state, true);
}

static void a_dry_run_changes_nothing(void **state)
{
	struct place *p = *state;
	struct bow_patch_apply_report report;
	struct bowimg_error err = {0};

	assert_int_equal(apply_with(p, true, NULL, NULL, &report, &err), 0);
	assert_false(report.already);
	assert_int_equal(report.totals.runs, RUNS);
	assert_true(is(p, p->before));
}

static void a_dry_run_opens_the_image_for_reading_only(void **state)
{
	struct place *p = *state;
	struct bow_patch_apply_report report;
	struct bowimg_error err = {0};
	bowimg_disk *image;

	assert_int_equal(bowimg_open_plain(p->image, NULL, &image, &err), 0);
	assert_true(bowimg_disk_is_readonly(image));
	assert_int_equal(bowimg_disk_write(image, p->after, BLOCK, 0, 0, &err), -EROFS);
	/* Two that only read do not mind each other; who wants to write does. */
	assert_int_equal(apply_with(p, true, NULL, NULL, &report, &err), 0);
	assert_int_equal(apply_with(p, false, NULL, NULL, &report, &err), -EBUSY);
	assert_int_equal(bowimg_disk_close(image, &err), 0);
	assert_true(is(p, p->before));
}

/* Each run is looked at, and to its last byte; but where anything may be, it may. */
static void one_other_byte_in_a_run_is_refused(void **state)
{
	struct place *p = *state;

	for (size_t i = 0; i < RUNS; i++) {
		uint64_t at = runs[i].off + runs[i].bytes - 1;

		p->before[at] ^= 1;
		put(p, p->before);
		if (runs[i].any)
			applies(p, false);
		else
			refused(p, "unexpected content");
		assert_true(is(p, runs[i].any ? p->after : p->before));
		p->before[at] ^= 1;
	}
}

static void an_image_that_is_half_changed_is_refused(void **state)
{
	struct place *p = *state;

	memcpy(p->before + runs[0].off, p->after + runs[0].off, runs[0].bytes);
	put(p, p->before);
	refused(p, "has the content after the patch, the run");
	assert_true(is(p, p->before));
}

static void an_image_of_another_size_is_refused(void **state)
{
	struct place *p = *state;

	assert_int_equal(truncate(p->image, FORGE_IMAGE + 512), 0);
	refused(p, "is for an image of 262244 bytes");
	assert_int_equal(truncate(p->image, FORGE_IMAGE), 0);
	assert_true(is(p, p->before));
}

static void an_image_with_a_checkpoint_is_left_alone(void **state)
{
	struct place *p = *state;
	const struct bowimg_prepare_options opts = {.free_from = "none"};
	struct bow_patch_apply_report report;
	struct bowimg_prepare_report prepared;
	struct bowimg_end_options end = {0};
	struct bowimg_end_report ended;
	struct bowimg_error err = {0};

	assert_int_equal(bowimg_prepare(p->image, &opts, &prepared, &err), 0);
	assert_int_equal(apply_with(p, false, NULL, NULL, &report, &err), -EALREADY);
	assert_non_null(strstr(err.hint, "rollback"));
	assert_int_equal(bowimg_rollback(p->image, &end, &ended, &err), 0);
	assert_true(is(p, p->before));
}

/* ---- stopped, killed ------------------------------------------------------------- */

struct countdown {
	unsigned left;
	bool kill;
};

/* After so many questions: stop, or die as by a power cut that loses nothing. */
static bool count(void *ctx)
{
	struct countdown *c = ctx;

	if (c->left--)
		return false;
	if (c->kill)
		raise(SIGKILL);
	return true;
}

static void stopped_anywhere_it_leaves_the_image_as_it_was(void **state)
{
	struct place *p = *state;
	unsigned n = 0;

	for (;; n++) {
		struct bow_patch_apply_report report;
		struct bowimg_error err = {0};
		struct countdown c = {.left = n};
		int rc = apply_with(p, false, count, &c, &report, &err);

		if (rc == 0)
			break;
		assert_int_equal(rc, -ECANCELED);
		assert_true(is(p, p->before));
	}
	assert_int_equal(n, 2 * RUNS); /* it was asked for each run, in both passes */
	assert_true(is(p, p->after));
}

static int killed_after(struct place *p, unsigned n)
{
	int wstatus;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct countdown c = {.left = n, .kill = true};
		struct bow_patch_apply_report report;

		_exit(apply_with(p, false, count, &c, &report, NULL) != 0);
	}
	assert_int_equal(waitpid(pid, &wstatus, 0), pid);
	return wstatus;
}

static void killed_anywhere_it_is_rolled_back_and_applied_again(void **state)
{
	struct place *p = *state;
	unsigned open = 0, n;

	for (n = 0; killed_after(p, n) != 0; n++) {
		struct bowimg_status now;
		struct bowimg_error err = {0};
		struct bowimg_end_options opts = {0};
		struct bowimg_end_report report;

		assert_int_equal(bowimg_status(p->image, NULL, &now, &err), 0);
		if (now.state != BOWIMG_STATE_NONE) {
			open++;
			assert_int_equal(now.state, BOWIMG_STATE_CHECKPOINT);
			assert_int_equal(bowimg_rollback(p->image, &opts, &report, &err), 0);
		}
		assert_true(is(p, p->before));
		applies(p, false);
		put(p, p->before);
	}
	assert_int_equal(n, 2 * RUNS);
	assert_int_equal(open, RUNS); /* the first pass touches nothing */
	assert_true(is(p, p->after));
}

/* ---- somebody else in between ---------------------------------------------------- */

/* The patch is replaced between the passes: what was checked is not what is written. */
static bool swap_patch(void *ctx)
{
	struct place *p = ctx;
	static const char other[] = "no patch at all";
	off_t at = lseek(p->patch, 0, SEEK_CUR);

	assert_int_equal(pwrite(p->patch, other, sizeof(other), 0), sizeof(other));
	assert_int_equal(lseek(p->patch, 0, SEEK_CUR), at);
	return false;
}

static void a_patch_that_changes_in_between_is_refused(void **state)
{
	struct place *p = *state;
	struct bow_patch_apply_report report;
	struct bowimg_error err = {0};

	assert_true(apply_with(p, false, swap_patch, p, &report, &err) < 0);
	assert_true(is(p, p->before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_applied_once_and_then_already, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_dry_run_changes_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_dry_run_opens_the_image_for_reading_only, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(one_other_byte_in_a_run_is_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_image_that_is_half_changed_is_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_image_of_another_size_is_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_image_with_a_checkpoint_is_left_alone, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(stopped_anywhere_it_leaves_the_image_as_it_was,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(killed_anywhere_it_is_rolled_back_and_applied_again,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_patch_that_changes_in_between_is_refused, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
