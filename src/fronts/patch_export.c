/* SPDX-License-Identifier: MIT */
/*
 * Exporting a patch: the log says which blocks changed, the two views of the image say what was and
 * is in them. Blocks that are the same on both sides are left out; whoever wrote there had nothing
 * new to say, or the engine had only prepared them.
 *
 * What becomes of blocks that were free at prepare:
 *
 *		undo				redo
 *	exact	zeros again			as now; zeros are expected
 *	else	left out: they are free again	as now; whatever is there is overwritten
 */
#include "fronts/patch.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct job {
	const struct bow_patch_export_options *opts;
	struct bow_patch_head head;
	bowimg_look *look;
	struct bow_patch_writer *w;
	uint64_t total, done; /* bytes that the log names */
	/* One chunk of the image, on either side; both of BOW_PATCH_RUN_MAX bytes. */
	uint8_t *before, *after; /* applying the patch */
	struct bowimg_error *err;
};

/* Blocks in a row that become one run. */
enum kind { SAME, DATA, ZEROS };

static bool is_left_out(const struct job *job, const struct bowimg_change *c)
{
	/* Trimmed free space can be most of a disk: that is not read to find zeros in it. */
	if (c->zero_now && (c->was_zero || (c->was_free && job->head.exact)))
		return true;
	return c->was_free && !job->head.exact && job->head.direction == BOW_PATCH_UNDO;
}

static bool any_before(const struct job *job, const struct bowimg_change *c)
{
	return c->was_free && !job->head.exact;
}

static enum kind kind_of(const struct job *job, size_t at, size_t bytes, bool any)
{
	if (!any && memcmp(job->before + at, job->after + at, bytes) == 0)
		return SAME;
	return bow_is_zero(job->after + at, bytes) ? ZEROS : DATA;
}

static int put_run(struct job *job, uint64_t off, size_t at, size_t bytes, enum kind kind, bool any)
{
	struct bow_patch_run run = {
		.off = off + at,
		.bytes = (uint32_t)bytes,
		.any = any,
		.zero = kind == ZEROS,
		.before = any ? 0 : bow_hash(job->before + at, bytes, 0),
	};

	if (kind == SAME || bytes == 0)
		return 0;
	return bow_patch_writer_add(job->w, &run, job->after + at, job->err);
}

static int put_runs(struct job *job, uint64_t off, size_t bytes, bool any)
{
	enum kind kind = SAME;
	size_t first = 0;
	int rc = 0;

	for (size_t at = 0; !rc && at < bytes; at += BOWIMG_BLOCK_SIZE) {
		enum kind next = kind_of(job, at, bow_min(bytes - at, BOWIMG_BLOCK_SIZE), any);

		if (next == kind)
			continue;
		rc = put_run(job, off, first, at - first, kind, any);
		first = at;
		kind = next;
	}
	return rc ? rc : put_run(job, off, first, bytes - first, kind, any);
}

static int read_sides(struct job *job, uint64_t off, size_t bytes, bool any)
{
	bool undo = job->head.direction == BOW_PATCH_UNDO;
	int rc = bowimg_look_read(job->look, undo ? BOWIMG_BEFORE : BOWIMG_NOW, job->after, bytes,
				  off, job->err);

	if (rc || any)
		return rc;
	return bowimg_look_read(job->look, undo ? BOWIMG_NOW : BOWIMG_BEFORE, job->before, bytes,
				off, job->err);
}

static int report(struct job *job, uint64_t bytes)
{
	const struct bow_patch_options *o = &job->opts->common;

	job->done += bytes;
	if (o->events.progress)
		o->events.progress(o->events.ctx, "export", job->done, job->total);
	if (o->stop && o->stop(o->stop_ctx))
		return bow_err(job->err, -EINTR, "stopped by a signal");
	return 0;
}

static int export_change(void *ctx, const struct bowimg_change *c)
{
	struct job *job = ctx;
	bool any = any_before(job, c);
	int rc = 0;

	if (is_left_out(job, c))
		return 0;
	for (uint64_t at = 0; !rc && at < c->bytes; at += BOW_PATCH_RUN_MAX) {
		size_t bytes = (size_t)bow_min(c->bytes - at, BOW_PATCH_RUN_MAX);

		rc = read_sides(job, c->off + at, bytes, any);
		if (!rc)
			rc = put_runs(job, c->off + at, bytes, any);
		if (!rc)
			rc = report(job, bytes);
	}
	return rc;
}

static int count_change(void *ctx, const struct bowimg_change *c)
{
	struct job *job = ctx;

	job->total += is_left_out(job, c) ? 0 : c->bytes;
	return 0;
}

static int export_all(struct job *job, int fd, struct bow_patch_totals *totals)
{
	int rc = bowimg_look_changes(job->look, count_change, job, job->err);

	if (rc)
		return rc;
	rc = bow_patch_writer_open(fd, job->opts->pack, &job->head, &job->w, job->err);
	if (!rc)
		rc = bowimg_look_changes(job->look, export_change, job, job->err);
	if (!rc)
		rc = bow_patch_writer_finish(job->w, totals, job->err);
	bow_patch_writer_free(job->w);
	return rc;
}

/* A rotten backup must not become the truth of a patch. */
static int check_backups(const char *image, const struct bow_patch_export_options *opts,
			 struct bowimg_error *err)
{
	const struct bowimg_end_options end = {.force = opts->force, .events = opts->common.events};
	struct bowimg_end_report report;

	return bowimg_verify(image, &end, &report, err);
}

static void set_head(struct job *job)
{
	struct bowimg_look_info info;

	bowimg_look_get_info(job->look, &info);
	job->head.direction = job->opts->direction;
	job->head.image_size = info.size;
	job->head.exact = info.exact;
	memcpy(job->head.checkpoint, info.uuid, sizeof(job->head.checkpoint));
}

static int export_look(struct job *job, int fd, struct bow_patch_totals *totals)
{
	int rc;

	set_head(job);
	job->before = malloc(BOW_PATCH_RUN_MAX);
	job->after = malloc(BOW_PATCH_RUN_MAX);
	rc = job->before && job->after ? export_all(job, fd, totals)
				       : bow_err_errno(job->err, -ENOMEM, "exporting a patch");
	free(job->before);
	free(job->after);
	return rc;
}

int bow_patch_export(const char *image, int fd, const struct bow_patch_export_options *opts,
		     struct bow_patch_totals *totals, struct bowimg_error *err)
{
	struct job job = {.opts = opts, .err = err};
	int rc_close, rc = check_backups(image, opts, err);

	if (!rc)
		rc = bowimg_look_open(image, opts->force, &job.look, err);
	if (rc)
		return rc;
	rc = export_look(&job, fd, totals);
	rc_close = bowimg_look_close(job.look, rc ? NULL : err);
	return rc ? rc : rc_close;
}
