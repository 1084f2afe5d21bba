/* SPDX-License-Identifier: MIT */
/* The calls of include/bowimg.h that take a path: open and lock the image, do it, close it. */
#include "lib/api/api.h"
#include "lib/disk/writeback/writeback.h"
#include "lib/engine/engine.h"
#include "lib/verbs/operations.h"

const char *bowimg_version(void)
{
	return BOWIMG_VERSION;
}

int bow_public_done(struct bowimg_disk *dev, const char *path, int rc, struct bowimg_error *err)
{
	int rc_close = bow_disk_close(dev, rc ? NULL : err);

	if (rc)
		return bow_err_name(err, rc, path);
	return rc_close;
}

static unsigned force_of(const struct bowimg_options *opts)
{
	return opts ? opts->force : 0;
}

/* Open for reading an image that no other process serves. */
static int open_idle(const char *path, const struct bowimg_events *events, struct bowimg_disk **dev,
		     struct bowimg_error *err)
{
	int rc = bow_disk_open_file(path, BOW_OPEN_LOOK, events, dev, err);

	if (rc || !bow_disk_file_in_use(*dev))
		return rc;
	return bow_public_done(*dev, path, bow_disk_refuse_used(*dev, err), err);
}

/* ---- status, log ----------------------------------------------------------------- */

/* What the state alone cannot tell. */
static void say_next(struct bowimg_disk *dev, bool in_use, struct bowimg_status *out)
{
	out->in_use = in_use;
	if (in_use && out->state == BOWIMG_STATE_CHECKPOINT)
		bow_next_of_used(dev, out);
	else if (out->state == BOWIMG_STATE_NONE)
		bow_next_of_plain(dev, in_use, out);
}

static int ask_status(struct bowimg_disk *dev, unsigned force, void *out, struct bowimg_error *err)
{
	return bow_status_dev(dev, force, out, err);
}

int bowimg_status(const char *path, const struct bowimg_options *opts, struct bowimg_status *out,
		  struct bowimg_error *err)
{
	struct bowimg_disk *dev;
	bool in_use;
	int rc = bow_disk_open_file(path, BOW_OPEN_LOOK, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	in_use = bow_disk_file_in_use(dev);
	rc = bow_ask_again(dev, in_use, force_of(opts), ask_status, out, err);
	if (!rc)
		say_next(dev, in_use, out);
	return bow_public_done(dev, path, rc, err);
}

int bowimg_log(const char *path, const struct bowimg_options *opts,
	       int (*entry)(void *ctx, const struct bowimg_log_entry *e), void *ctx,
	       struct bowimg_error *err)
{
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_LOOK, bow_events_of(opts), &dev, err);

	return rc ? rc : bow_public_done(dev, path, bow_log_dev(dev, entry, ctx, err), err);
}

/* ---- serving, ending ------------------------------------------------------------- */

static int add_cache(const struct bowimg_open_options *opts, bowimg_disk **disk,
		     struct bowimg_error *err)
{
	const struct bow_writeback_options cache = {
		.bytes = opts->writeback_bytes,
		.file = opts->writeback_carry,
		.attach = bow_carry_attach(*disk),
		.events = opts->events,
	};
	int rc = bow_writeback_new(*disk, &cache, disk, err);

	if (rc)
		bow_disk_close(*disk, NULL);
	return rc;
}

int bowimg_open(const char *path, const struct bowimg_open_options *opts, bowimg_disk **out,
		struct bowimg_error *err)
{
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	rc = bow_serve_dev(dev, opts, out, err);
	if (rc)
		return bow_public_done(dev, path, rc, err);
	return opts && opts->writeback_bytes ? add_cache(opts, out, err) : 0;
}

int bowimg_open_view(const char *path, const struct bowimg_options *opts, bowimg_disk **out,
		     struct bowimg_error *err)
{
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_SHARED, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	rc = bow_view_open(dev, force_of(opts), out, err);
	return rc ? bow_public_done(dev, path, rc, err) : 0;
}

int bowimg_open_plain(const char *path, const struct bowimg_options *opts, bowimg_disk **out,
		      struct bowimg_error *err)
{
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_SHARED, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	rc = bow_prepare_check(dev, err);
	if (rc)
		return bow_public_done(dev, path, rc, err);
	*out = dev;
	return 0;
}

typedef int end_operation(struct bowimg_disk *dev, const struct bowimg_end_options *opts,
			  struct bowimg_end_report *report, struct bowimg_error *err);

static int end(const char *path, const struct bowimg_end_options *opts, bool read_only,
	       end_operation *operation, struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bowimg_end_report unused;
	struct bowimg_disk *dev;
	int rc = read_only ? open_idle(path, bow_events_of(opts), &dev, err)
			   : bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, bow_events_of(opts), &dev,
						err);

	if (rc)
		return rc;
	return bow_public_done(dev, path, operation(dev, opts, report ? report : &unused, err),
			       err);
}

int bowimg_rollback(const char *path, const struct bowimg_end_options *opts,
		    struct bowimg_end_report *report, struct bowimg_error *err)
{
	return end(path, opts, opts && opts->dry_run, bow_rollback_dev, report, err);
}

int bowimg_commit(const char *path, const struct bowimg_end_options *opts,
		  struct bowimg_end_report *report, struct bowimg_error *err)
{
	return end(path, opts, opts && opts->dry_run, bow_commit_dev, report, err);
}

int bowimg_verify(const char *path, const struct bowimg_end_options *opts,
		  struct bowimg_end_report *report, struct bowimg_error *err)
{
	return end(path, opts, true, bow_verify_dev, report, err);
}

/* ---- marks ----------------------------------------------------------------------- */

int bowimg_mark_make(const char *path, const char *name, const struct bowimg_options *opts,
		     struct bowimg_mark *made, struct bowimg_error *err)
{
	struct bowimg_mark unused;
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, bow_events_of(opts), &dev, err);

	if (!rc)
		rc = bow_public_done(dev, path,
				     bow_mark_make_dev(dev, name, force_of(opts),
						       made ? made : &unused, err),
				     err);
	return rc;
}

int bowimg_mark_delete(const char *path, const char *name, const struct bowimg_options *opts,
		       struct bowimg_error *err)
{
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, bow_events_of(opts), &dev, err);

	return rc ? rc
		  : bow_public_done(dev, path, bow_mark_delete_dev(dev, name, force_of(opts), err),
				    err);
}

/* A walk over the marks, and how the caller ended it: that is no answer of the image. */
struct marks_walk {
	int (*mark)(void *ctx, const struct bowimg_mark *m);
	void *ctx;
	int ended;
};

static int pass_mark(void *ctx, const struct bowimg_mark *m)
{
	struct marks_walk *w = ctx;

	w->ended = w->mark(w->ctx, m);
	return w->ended;
}

/* The log is read before the first mark is passed on, so that none comes twice. */
static int ask_marks(struct bowimg_disk *dev, unsigned force, void *ctx, struct bowimg_error *err)
{
	struct marks_walk *w = ctx;
	int rc = bow_marks_dev(dev, force, pass_mark, w, err);

	return w->ended ? 0 : rc;
}

int bowimg_marks(const char *path, const struct bowimg_options *opts,
		 int (*mark)(void *ctx, const struct bowimg_mark *m), void *ctx,
		 struct bowimg_error *err)
{
	struct marks_walk walk = {.mark = mark, .ctx = ctx};
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_LOOK, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	rc = bow_ask_again(dev, bow_disk_file_in_use(dev), force_of(opts), ask_marks, &walk, err);
	return bow_public_done(dev, path, walk.ended ? walk.ended : rc, err);
}
