/* SPDX-License-Identifier: MIT */
/*
 * Exporting a patch: the log says which blocks changed, and the two views of the image have their
 * content. Blocks with the same content in both are left out: they were overwritten with the same,
 * or the engine only prepared them.
 *
 * What becomes of blocks that were free at prepare, or at the mark:
 *
 *		undo				redo
 *	exact	zeros again			as now; zeros are expected
 *	else	left out: they are free again	as now; whatever is there is overwritten
 */
#include "bowimg/patch/patch.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"
#include "lib/base/stop.h"

/*
 * Chunks of the disk, in ascending order, that are read together: by several threads where requests
 * are slow and many can be in flight, as they may be small and far apart.
 */
#define CHUNKS 128u
#define WINDOW_BYTES(depth) ((size_t)(depth)*BOW_PATCH_RUN_MAX)

struct chunk {
	uint64_t off;
	size_t bytes, at; /* where it is in the buffers */
	bool any;	  /* what was before does not matter */
};

struct job {
	const struct bow_patch_export_options *opts;
	struct bow_patch_head head;
	bowimg_disk *now, *before_disk; /* the two states of the disk */
	struct bow_patch_writer *w;
	uint64_t total, done; /* bytes that the log names */
	struct chunk chunks[CHUNKS];
	uint32_t n;	/* of them, not written yet */
	size_t used;	/* bytes of them */
	unsigned depth; /* requests that are worth having in flight */
	/* Their content, before and after the patch; WINDOW_BYTES(depth) each. */
	uint8_t *before, *after;
	struct bowimg_error *err;
};

/* Blocks in a row that become one run. */
enum kind { SAME, DATA, ZEROS };

static bool is_left_out(const struct job *job, const struct bowimg_change *c)
{
	/* Trimmed free space can be most of a disk, so it is not read to find zeros. */
	if (c->zero_now && (c->was_zero || (c->was_free && job->head.exact)))
		return true;
	return c->was_free && !job->head.exact && job->head.direction == BOW_PATCH_UNDO;
}

static bool any_before(const struct job *job, const struct bowimg_change *c)
{
	return c->was_free && !job->head.exact;
}

/* `at` is a place in the buffers from here on. */
static enum kind kind_of(const struct job *job, size_t at, size_t bytes, bool any)
{
	if (!any && memcmp(job->before + at, job->after + at, bytes) == 0)
		return SAME;
	return bow_is_zero(job->after + at, bytes) ? ZEROS : DATA;
}

static int put_run(struct job *job, const struct chunk *c, size_t at, size_t bytes, enum kind kind)
{
	struct bow_patch_run run = {
		.off = c->off + (at - c->at),
		.bytes = (uint32_t)bytes,
		.any = c->any,
		.zero = kind == ZEROS,
		.before = c->any ? 0 : bow_hash(job->before + at, bytes, 0),
	};

	if (kind == SAME || bytes == 0)
		return 0;
	return bow_patch_writer_add(job->w, &run, job->after + at, job->err);
}

static int put_runs(struct job *job, const struct chunk *c)
{
	enum kind kind = SAME;
	size_t first = c->at, end = c->at + c->bytes;
	int rc = 0;

	for (size_t at = first; !rc && at < end; at += BOWIMG_BLOCK_SIZE) {
		enum kind next = kind_of(job, at, bow_min(end - at, BOWIMG_BLOCK_SIZE), c->any);

		if (next == kind)
			continue;
		rc = put_run(job, c, first, at - first, kind);
		first = at;
		kind = next;
	}
	return rc ? rc : put_run(job, c, first, end - first, kind);
}

static int read_both(void *ctx, unsigned number, size_t i, struct bowimg_error *err)
{
	struct job *job = ctx;
	const struct chunk *c = &job->chunks[i];
	bool undo = job->head.direction == BOW_PATCH_UNDO;
	int rc = bowimg_disk_read(undo ? job->before_disk : job->now, job->after + c->at, c->bytes,
				  c->off, err);

	(void)number;
	if (rc || c->any)
		return rc;
	return bowimg_disk_read(undo ? job->now : job->before_disk, job->before + c->at, c->bytes,
				c->off, err);
}

static int report(struct job *job, uint64_t bytes)
{
	const struct bowimg_events *events = &job->opts->events;

	job->done += bytes;
	if (events->progress)
		events->progress(events->ctx, "export", job->done, job->total);
	return bow_stop_asked(events, job->err);
}

/*
 * How many bytes from here on are known to be zeros in both, holes of the image included. A sparse
 * disk can have far more of them than can be read.
 */
static uint64_t zeros_in_both(const struct job *job, uint64_t off, uint64_t most)
{
	bool now = false, before = false;
	uint64_t n = 0, m = 0;

	if (bowimg_disk_extent(job->now, off, &now, &n, NULL) || !now)
		return 0;
	if (bowimg_disk_extent(job->before_disk, off, &before, &m, NULL) || !before)
		return 0;
	return bow_min(most, bow_min(n, m));
}

/* Read what was collected, and write its runs. */
static int flush(struct job *job)
{
	int rc = bow_crew_each(job->depth, job->n, read_both, job, job->err);

	for (uint32_t i = 0; i < job->n && !rc; i++) {
		rc = put_runs(job, &job->chunks[i]);
		if (!rc)
			rc = report(job, job->chunks[i].bytes);
	}
	job->n = 0;
	job->used = 0;
	return rc;
}

static int add(struct job *job, uint64_t off, size_t bytes, bool any)
{
	int rc = 0;

	if (job->n == CHUNKS || job->used + bytes > WINDOW_BYTES(job->depth))
		rc = flush(job);
	job->chunks[job->n++] = (struct chunk){off, bytes, job->used, any};
	job->used += bytes;
	return rc;
}

/* To ask about a short piece would cost as much as to read it. */
static int export_piece(struct job *job, uint64_t off, uint64_t *bytes, bool any)
{
	uint64_t zeros = any || *bytes <= BOW_PATCH_RUN_MAX ? 0 : zeros_in_both(job, off, *bytes);

	*bytes = zeros ? zeros : bow_min(*bytes, BOW_PATCH_RUN_MAX);
	return zeros ? report(job, zeros) : add(job, off, (size_t)*bytes, any);
}

static int export_change(void *ctx, const struct bowimg_change *c)
{
	struct job *job = ctx;
	bool any = any_before(job, c);
	int rc = 0;

	if (is_left_out(job, c))
		return 0;
	for (uint64_t at = 0, bytes; !rc && at < c->bytes; at += bytes) {
		bytes = c->bytes - at;
		rc = export_piece(job, c->off + at, &bytes, any);
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
	int rc = bowimg_disk_changes_since(job->now, job->opts->mark, count_change, job, job->err);

	if (rc)
		return rc;
	rc = bow_patch_writer_open(fd, job->opts->pack, &job->head, &job->w, job->err);
	if (!rc)
		rc = bowimg_disk_changes_since(job->now, job->opts->mark, export_change, job,
					       job->err);
	if (!rc)
		rc = flush(job);
	if (!rc)
		rc = bow_patch_writer_finish(job->w, totals, job->err);
	bow_patch_writer_free(job->w);
	return rc;
}

/* A damaged backup must not get into a patch. */
static int check_backups(const char *image, const struct bow_patch_export_options *opts,
			 struct bowimg_error *err)
{
	const struct bowimg_end_options end = {.force = opts->force, .events = opts->events};
	struct bowimg_end_report report;

	return bowimg_verify(image, &end, &report, err);
}

static int set_head(struct job *job)
{
	struct bowimg_disk_info info;
	int rc = bowimg_disk_get_info(job->now, &info, job->err);

	if (rc)
		return rc;
	job->head.direction = job->opts->direction;
	job->head.image_size = info.size;
	job->head.exact = info.exact;
	memcpy(job->head.checkpoint, info.uuid, sizeof(job->head.checkpoint));
	return 0;
}

static int export_view(struct job *job, int fd, struct bow_patch_totals *totals)
{
	int rc = set_head(job);

	if (rc)
		return rc;
	job->depth = (unsigned)bow_min(bowimg_disk_in_flight(job->now), BOW_CREW_MAX);
	job->before = malloc(WINDOW_BYTES(job->depth));
	job->after = malloc(WINDOW_BYTES(job->depth));
	rc = job->before && job->after ? export_all(job, fd, totals)
				       : bow_err_errno(job->err, -ENOMEM, "exporting a patch");
	free(job->before);
	free(job->after);
	return rc;
}

int bow_patch_export(const char *image, int fd, const struct bow_patch_export_options *opts,
		     struct bow_patch_totals *totals, struct bowimg_error *err)
{
	const struct bowimg_options call = {opts->force, opts->events};
	struct job job = {.opts = opts, .err = err};
	int rc_close, rc = check_backups(image, opts, err);

	if (!rc)
		rc = bowimg_open_view(image, &call, &job.now, err);
	if (!rc)
		rc = bowimg_disk_at(job.now, opts->mark, &job.before_disk, err);
	if (rc) {
		bowimg_disk_close(job.now, NULL);
		return rc;
	}
	rc = export_view(&job, fd, totals);
	bowimg_disk_close(job.before_disk, NULL);
	rc_close = bowimg_disk_close(job.now, rc ? NULL : err);
	return rc ? rc : rc_close;
}
