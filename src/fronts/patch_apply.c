/* SPDX-License-Identifier: MIT */
/*
 * Applying a patch: whole or not at all.
 *
 * Happy path:
 * 1. The patch is read to its end and each run is compared with the image, which is opened for
 *    nothing but that; nothing is written yet, to no sector.
 * 2. A checkpoint is opened. For a file its backups go past the file's end (free map `none`), so it
 *    asks nothing of the file system and no free block is touched that the patch does not name; a
 *    device cannot grow, there the free blocks of the file system are taken, and wiped in the end.
 * 3. The patch is read again and written, through the engine; every run of the patch and of the
 *    image is checked once more just before, since others may have been quick in between.
 * 4. Flush, close, commit.
 *
 * Failure modes: before 2 nothing was changed. From 2 on everything that fails, and a signal, ends
 * in a rollback; a crash leaves an open checkpoint, which is rolled back by hand. A commit that was
 * begun can only be finished, and then the patch is applied. So it is never half there [I3, I5].
 */
#include "fronts/patch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

struct job {
	const char *image;
	const struct bow_patch_apply_options *opts;
	struct bow_patch_apply_report *report;
	int fd;
	uint64_t fd_bytes;
	uint8_t *now; /* one run of the image */
};

/* Where the first run is that is not so; UINT64_MAX: all are. */
struct findings {
	uint64_t not_before, not_after;
};

static int between_runs(struct job *job, const char *what, struct bowimg_error *err)
{
	const struct bow_patch_options *o = &job->opts->common;
	off_t at = lseek(job->fd, 0, SEEK_CUR);

	if (o->events.progress && at > 0)
		o->events.progress(o->events.ctx, what, (uint64_t)at, job->fd_bytes);
	if (o->stop && o->stop(o->stop_ctx))
		return bow_err(err, -EINTR, "stopped by a signal");
	return 0;
}

/* What is wrong with the patch: say which one. */
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

/* ---- 1: does it fit? ------------------------------------------------------------------------- */

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
			"%s is not what %s expects: its content in the run at byte %" PRIu64
			" is as after the patch, in that at byte %" PRIu64 " it is not",
			job->image, job->opts->name, f->not_before, f->not_after);
	else
		bow_err(err, -ESTALE,
			"%s is not what %s expects: its content in the run at byte %" PRIu64
			" is another",
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

static int check_runs(struct job *job, struct bow_patch_reader *r, bowimg_learner *image,
		      struct findings *f, struct bowimg_error *err)
{
	struct bow_patch_run run;
	const void *after;
	int rc, got;

	while ((got = bow_patch_reader_next(r, &run, &after, err)) > 0) {
		rc = bowimg_learn_read(image, job->now, run.bytes, run.off, err);
		if (!rc)
			rc = between_runs(job, "check", err);
		if (rc)
			return rc;
		compare(&run, bow_hash(job->now, run.bytes, 0), f);
		if (f->not_before != UINT64_MAX && f->not_after != UINT64_MAX)
			return mismatch(job, f, err);
	}
	return got ? bad_patch(job, got, err) : 0;
}

static int check_patch(struct job *job, bowimg_learner *image, struct findings *f,
		       struct bowimg_error *err)
{
	struct bow_patch_reader *r = NULL;
	int rc = open_patch(job, &r, err);

	if (rc)
		return rc;
	rc = check_size(job, bowimg_learn_size(image), err);
	if (!rc)
		rc = check_runs(job, r, image, f, err);
	bow_patch_reader_totals(r, &job->report->totals);
	bow_patch_reader_close(r);
	return rc;
}

/* The way to look at an image without a checkpoint that nobody else has. Nothing is written. */
static int check(struct job *job, struct bowimg_error *err)
{
	struct findings f = {UINT64_MAX, UINT64_MAX};
	bowimg_learner *image;
	int rc = bowimg_learn_open(job->image, &image, err), rc_close;

	if (rc == -EALREADY && err)
		snprintf(
			err->hint, sizeof(err->hint),
			"if an apply was cut short: 'bowimg rollback' undoes what it did, then run "
			"it again");
	if (rc)
		return rc;
	rc = check_patch(job, image, &f, err);
	rc_close = bowimg_learn_close(image, NULL, NULL, rc ? NULL : err);
	job->report->already = f.not_after == UINT64_MAX;
	return rc ? rc : rc_close;
}

/* ---- 2 to 4: under a checkpoint -------------------------------------------------------------- */

static int prepare(struct job *job, struct bowimg_error *err)
{
	bool exact = job->report->head.exact;
	struct bowimg_prepare_options opts = {.free_from = job->opts->free_from,
					      .events = job->opts->common.events};
	struct bowimg_prepare_report report;
	struct stat st;

	opts.events.progress = NULL; /* of reading the free map: the bar is ours */
	if (stat(job->image, &st) == 0 && S_ISREG(st.st_mode) && !opts.free_from) {
		opts.free_from = "none";
		opts.store = BOWIMG_STORE_TAIL;
		opts.exact = BOWIMG_NO;
	} else if (exact) {
		opts.exact = BOWIMG_YES;
	}
	return bowimg_prepare(job->image, &opts, &report, err);
}

static int write_run(struct job *job, bowimg *img, const struct bow_patch_run *run,
		     const void *after, struct bowimg_error *err)
{
	struct findings f = {UINT64_MAX, UINT64_MAX};
	int rc = run->any ? 0 : bowimg_read(img, job->now, run->bytes, run->off, err);

	if (rc)
		return rc;
	if (!run->any)
		compare(run, bow_hash(job->now, run->bytes, 0), &f);
	if (f.not_before != UINT64_MAX)
		return mismatch(job, &f, err);
	return run->zero ? bowimg_zero(img, run->off, run->bytes, 0, err)
			 : bowimg_write(img, after, run->bytes, run->off, 0, err);
}

static int write_runs(struct job *job, bowimg *img, struct bow_patch_reader *r,
		      struct bowimg_error *err)
{
	struct bow_patch_run run;
	const void *after;
	int rc, got;

	rc = check_size(job, bowimg_size(img), err);
	if (rc)
		return rc;
	while ((got = bow_patch_reader_next(r, &run, &after, err)) > 0) {
		rc = between_runs(job, "apply", err);
		if (!rc)
			rc = write_run(job, img, &run, after, err);
		if (rc)
			return rc;
	}
	return got ? bad_patch(job, got, err) : bowimg_flush(img, err);
}

static int write_patch(struct job *job, struct bowimg_error *err)
{
	struct bowimg_open_options opts = {.events = job->opts->common.events};
	struct bow_patch_reader *r = NULL;
	bowimg *img;
	int rc_close, rc = open_patch(job, &r, err);

	if (rc)
		return rc;
	rc = bowimg_open(job->image, &opts, &img, err);
	if (!rc) {
		rc = write_runs(job, img, r, err);
		rc_close = bowimg_close(img, rc ? NULL : err);
		rc = rc ? rc : rc_close;
	}
	bow_patch_reader_close(r);
	return rc;
}

/* Returns rc, why it came to this. */
static int roll_back(struct job *job, int rc, struct bowimg_error *err)
{
	struct bowimg_end_options opts = {0};
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
	struct bowimg_end_options opts = {.wipe = job->report->head.exact};
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
	job.now = malloc(BOW_PATCH_RUN_MAX);
	if (!job.now)
		return bow_err_errno(err, -ENOMEM, "applying the patch");
	job.fd_bytes = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	rc = check(&job, err);
	if (!rc && !report->already && !opts->dry_run) {
		rc = prepare(&job, err);
		if (!rc && (rc = write_patch(&job, err)))
			rc = roll_back(&job, rc, err);
		else if (!rc)
			rc = commit(&job, err);
	}
	free(job.now);
	return rc;
}
