/* SPDX-License-Identifier: MIT */
/*
 * Applying a patch: whole or not at all.
 *
 * Happy path:
 * 1. The patch is read to its end and each run is compared with the image, which is opened for
 *    reading only (batch.c).
 * 2. A checkpoint is opened. The backups of a file go past its end (free map `none`): no file
 *    system is read, and no free block is touched that the patch does not name. A device cannot
 *    grow: there the free blocks of the file system are taken, and wiped in the end.
 * 3. The patch is read again and written, through the engine; every run of the patch and of the
 *    image is checked once more just before, since they may have changed in between.
 * 4. Flush, close, commit.
 *
 * Failure modes: before 2 nothing was changed. From 2 on everything that fails, and a wish to stop,
 * ends in a rollback; a crash leaves an open checkpoint, which is rolled back by hand. A commit
 * that was begun can only be finished, and then the patch is applied. So it is never half there
 * [I3, I5].
 */
#include "bowimg/patch/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/stop.h"

struct job {
	const char *image;
	const struct bow_patch_apply_options *opts;
	struct bow_patch_apply_report *report;
	int fd;
	uint64_t fd_bytes;
	struct bow_patch_batch batch;
};

/* The first run whose content is not that before or after the patch; UINT64_MAX: there is none. */
struct findings {
	uint64_t not_before, not_after;
};

/* Asked whenever some runs are dealt with. */
static int between_runs(struct job *job, const char *what, struct bowimg_error *err)
{
	const struct bowimg_events *events = &job->opts->events;
	off_t at = lseek(job->fd, 0, SEEK_CUR);

	if (events->progress && at > 0)
		events->progress(events->ctx, what, (uint64_t)at, job->fd_bytes);
	return bow_stop_asked(events, err);
}

/* Name the patch in the message. */
static int bad_patch(const struct job *job, int rc, struct bowimg_error *err)
{
	bow_err_hint(err, "nothing was changed; export the patch again, or get another copy of it");
	return bow_err_wrap(err, rc, "%s", job->opts->name);
}

static int open_patch(struct job *job, struct bow_patch_reader **out, struct bowimg_error *err)
{
	int rc;

	if (lseek(job->fd, 0, SEEK_SET) < 0)
		return bow_err_errno(err, -errno, "reading %s", job->opts->name);
	rc = bow_patch_reader_open(job->fd, out, err);
	if (rc)
		return bad_patch(job, rc, err);
	job->report->head = *bow_patch_reader_head(*out);
	return 0;
}

/* ---- 1: does it fit? ------------------------------------------------------------- */

static int check_size(struct job *job, uint64_t size, struct bowimg_error *err)
{
	const struct bow_patch_head *head = &job->report->head;

	if (head->image_size == size)
		return 0;
	bow_err(err, -ESTALE, "%s is for an image of %" PRIu64 " bytes, and %s has %" PRIu64,
		job->opts->name, head->image_size, job->image, size);
	bow_err_hint(err, "nothing was changed; it is a patch for another image");
	return -ESTALE;
}

static int mismatch(struct job *job, const struct findings *f, struct bowimg_error *err)
{
	if (f->not_before < f->not_after && f->not_after != UINT64_MAX)
		bow_err(err, -ESTALE,
			"%s is not what %s expects: the run at byte %" PRIu64
			" has the content after the patch, the run at byte %" PRIu64 " does not",
			job->image, job->opts->name, f->not_before, f->not_after);
	else
		bow_err(err, -ESTALE,
			"%s is not what %s expects: unexpected content in the run at byte %" PRIu64,
			job->image, job->opts->name, f->not_before);
	bow_err_hint(err, "nothing was changed; something else wrote there since the export, or it "
			  "is a patch for another image");
	return -ESTALE;
}

static void compare(const struct bow_patch_run *run, uint64_t hash, struct findings *f)
{
	if (!run->any && hash != run->before && f->not_before == UINT64_MAX)
		f->not_before = run->off;
	if (hash != run->after && f->not_after == UINT64_MAX)
		f->not_after = run->off;
}

/* Deals with the runs that were collected. */
typedef int deal_with(struct job *job, bowimg_disk *image, struct findings *f,
		      struct bowimg_error *err);

static int check_batch(struct job *job, bowimg_disk *image, struct findings *f,
		       struct bowimg_error *err)
{
	struct bow_patch_batch *b = &job->batch;
	int rc = between_runs(job, "check", err);

	if (!rc)
		rc = bow_patch_batch_compare(b, image, err);
	for (uint32_t i = 0; i < b->n && !rc; i++) {
		compare(&b->items[i].run, b->items[i].now, f);
		if (f->not_before != UINT64_MAX && f->not_after != UINT64_MAX)
			rc = mismatch(job, f, err);
	}
	return rc;
}

/* Read the patch to its end, and deal with its runs. */
static int all_runs(struct job *job, struct bow_patch_reader *r, bowimg_disk *image,
		    deal_with *deal, struct findings *f, struct bowimg_error *err)
{
	struct bow_patch_run run;
	const void *after;
	int rc = 0, got = 0;

	bow_patch_batch_empty(&job->batch);
	while (!rc && (got = bow_patch_reader_next(r, &run, &after, err)) > 0) {
		if (bow_patch_batch_add(&job->batch, &run, after))
			continue;
		rc = deal(job, image, f, err);
		bow_patch_batch_empty(&job->batch);
		bow_patch_batch_add(&job->batch, &run, after);
	}
	if (rc || got)
		return rc ? rc : bad_patch(job, got, err);
	return deal(job, image, f, err);
}

static int check_patch(struct job *job, bowimg_disk *image, struct findings *f,
		       struct bowimg_error *err)
{
	struct bow_patch_reader *r = NULL;
	int rc = open_patch(job, &r, err);

	if (rc)
		return rc;
	rc = check_size(job, bowimg_disk_size(image), err);
	if (!rc)
		rc = all_runs(job, r, image, check_batch, f, err);
	bow_patch_reader_totals(r, &job->report->totals);
	bow_patch_reader_close(r);
	return rc;
}

static int check(struct job *job, struct bowimg_error *err)
{
	const struct bowimg_options call = {.events = job->opts->events};
	struct findings f = {UINT64_MAX, UINT64_MAX};
	bowimg_disk *image;
	int rc = bowimg_open_plain(job->image, &call, &image, err), rc_close;

	if (rc == -EALREADY && err)
		snprintf(
			err->hint, sizeof(err->hint),
			"if an apply was cut short: 'bowimg rollback' undoes what it did, then run "
			"it again");
	if (rc)
		return rc;
	rc = bow_patch_batch_init(&job->batch, bowimg_disk_in_flight(image), err);
	if (!rc)
		rc = check_patch(job, image, &f, err);
	rc_close = bowimg_disk_close(image, rc ? NULL : err);
	job->report->already = f.not_after == UINT64_MAX;
	return rc ? rc : rc_close;
}

/* ---- 2 to 4: under a checkpoint -------------------------------------------------- */

static int prepare(struct job *job, struct bowimg_error *err)
{
	bool exact = job->report->head.exact;
	struct bowimg_prepare_options opts = {.free_from = job->opts->free_from,
					      .events = job->opts->events};
	struct bowimg_prepare_report report;
	struct stat st;

	opts.events.progress = NULL; /* of the free map: the progress shown is that of the patch */
	if (stat(job->image, &st) == 0 && S_ISREG(st.st_mode) && !opts.free_from) {
		opts.free_from = "none";
		opts.events.stop = NULL; /* it takes no time, and the next run asks again */
		opts.store = BOWIMG_STORE_TAIL;
		opts.exact = BOWIMG_NO;
	} else if (exact) {
		opts.exact = BOWIMG_YES;
	}
	return bowimg_prepare(job->image, &opts, &report, err);
}

static int write_batch(struct job *job, bowimg_disk *img, struct findings *f,
		       struct bowimg_error *err)
{
	struct bow_patch_batch *b = &job->batch;
	int rc = between_runs(job, "apply", err);

	if (!rc)
		rc = bow_patch_batch_write(b, img, err);
	for (uint32_t i = 0; i < b->n && !rc; i++) {
		if (!b->items[i].unexpected)
			continue;
		compare(&b->items[i].run, b->items[i].now, f);
		rc = mismatch(job, f, err);
	}
	return rc;
}

static int write_runs(struct job *job, bowimg_disk *img, struct bow_patch_reader *r,
		      struct bowimg_error *err)
{
	struct findings f = {UINT64_MAX, UINT64_MAX};
	int rc = check_size(job, bowimg_disk_size(img), err);

	if (!rc)
		rc = all_runs(job, r, img, write_batch, &f, err);
	return rc ? rc : bowimg_disk_flush(img, err);
}

static int write_patch(struct job *job, struct bowimg_error *err)
{
	struct bowimg_open_options opts = {.events = job->opts->events};
	struct bow_patch_reader *r = NULL;
	bowimg_disk *img;
	int rc_close, rc = open_patch(job, &r, err);

	if (rc)
		return rc;
	rc = bowimg_open(job->image, &opts, &img, err);
	if (!rc) {
		rc = write_runs(job, img, r, err);
		rc_close = bowimg_disk_close(img, rc ? NULL : err);
		rc = rc ? rc : rc_close;
	}
	bow_patch_reader_close(r);
	return rc;
}

/* Returns rc, the reason for it. */
static int roll_back(struct job *job, int rc, struct bowimg_error *err)
{
	/* It is not to be stopped again, and the progress shown was that of the patch. */
	struct bowimg_end_options opts = {
		.events = {.waiting = job->opts->events.waiting, .ctx = job->opts->events.ctx}};
	struct bowimg_end_report report;
	struct bowimg_error why;

	if (!bowimg_rollback(job->image, &opts, &report, &why)) {
		bow_err_hint(err, "%s was rolled back and is as it was", job->image);
		return rc;
	}
	if (err)
		snprintf(err->hint, sizeof(err->hint),
			 "rolling back failed (%.120s); 'bowimg rollback' brings the image back to "
			 "what it was",
			 why.message);
	return rc;
}

static int commit(struct job *job, struct bowimg_error *err)
{
	struct bowimg_end_options opts = {.wipe = job->report->head.exact,
					  .events = {.waiting = job->opts->events.waiting,
						     .ctx = job->opts->events.ctx}};
	struct bowimg_end_report report;
	int rc = bowimg_commit(job->image, &opts, &report, err);

	if (rc && err)
		snprintf(err->hint, sizeof(err->hint),
			 "everything was written; 'bowimg commit' ends it, and then the patch is "
			 "applied");
	return rc;
}

int bow_patch_apply(int fd, const char *image, const struct bow_patch_apply_options *opts,
		    struct bow_patch_apply_report *report, struct bowimg_error *err)
{
	struct job job = {.image = image, .opts = opts, .report = report, .fd = fd};
	struct stat st;
	int rc;

	*report = (struct bow_patch_apply_report){0};
	job.fd_bytes = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	rc = check(&job, err);
	if (!rc && !report->already && !opts->dry_run) {
		rc = prepare(&job, err);
		if (!rc && (rc = write_patch(&job, err)))
			rc = roll_back(&job, rc, err);
		else if (!rc)
			rc = commit(&job, err);
	}
	bow_patch_batch_release(&job.batch);
	return rc;
}
