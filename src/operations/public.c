/* SPDX-License-Identifier: MIT */
/* The calls of include/bowimg.h that take a path: find and lock the image, do it, let go. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "operations/dmbow.h"

const char *bowimg_version(void)
{
	return BOWIMG_VERSION;
}

int bowimg_exit_status(int code)
{
	static const struct {
		int name, status;
	} table[] = {
#define X(name, status, text) {name, status},
		BOWIMG_ERRORS(X)
#undef X
	};

	if (!code)
		return 0;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].name == -code)
			return table[i].status;
	return 1;
}

int bow_public_done(struct bow_dev *dev, const char *path, int rc, struct bowimg_error *err)
{
	int rc_close = bow_dev_close(dev, rc ? NULL : err);

	if (rc)
		return bow_err_wrap(err, rc, "%s", path);
	return rc_close;
}

/* Open for reading only what nobody is changing meanwhile. */
static int open_idle(const char *path, struct bow_dev **dev, struct bowimg_error *err)
{
	int rc = bow_dev_open_file(path, BOW_OPEN_LOOK, dev, err);

	if (rc || !bow_dev_file_in_use(*dev))
		return rc;
	bow_dev_close(*dev, NULL);
	bow_err(err, -EBUSY, "%s: another process serves it right now", path);
	bow_err_hint(err, "detach it first: 'bowimg umount' or 'bowimg detach'");
	return -EBUSY;
}

/* ---- status, log ------------------------------------------------------------------------------
 */

/*
 * While somebody serves the image, its log grows under our eyes: a switch of segments may fall
 * between two reads. Such a picture is taken again; real damage does not go away.
 */
#define LOOKS 5

int bowimg_status(const char *path, unsigned force, struct bowimg_status *out,
		  struct bowimg_error *err)
{
	struct bow_dev *dev;
	bool in_use;
	int rc = bow_dev_open_file(path, BOW_OPEN_LOOK, &dev, err);

	if (rc)
		return rc;
	in_use = bow_dev_file_in_use(dev);
	for (int i = 0; i < LOOKS; i++) {
		bow_err_clear(err);
		rc = bow_status_dev(dev, in_use ? force | BOWIMG_FORCE_CHANGED : force, out, err);
		if (!rc || !in_use)
			break;
	}
	if (!rc)
		out->in_use = in_use;
	return bow_public_done(dev, path, rc, err);
}

struct log_reader {
	int (*entry)(void *ctx, const struct bowimg_log_entry *e);
	void *ctx;
};

static int pass_entry(void *ctx, struct bow_walk *w, const struct bow_entry *e,
		      struct bowimg_error *err)
{
	struct log_reader *r = ctx;
	struct bowimg_log_entry out = {
		.segment_blk = w->segment.header.start_blk,
		.sequence = w->sequence,
		.type = bow_entry_name(e),
		.source_blk = e->source_blk,
		.dest_blk = e->dest_blk,
		.count_blk = e->count_blk,
		.hash = e->hash,
	};

	(void)err;
	if (e->type == BOW_ENTRY_MAP_RUN) {
		out.count_blk = e->dest_blk;
		out.dest_blk = 0;
	}
	return r->entry(r->ctx, &out);
}

static int walk_log(struct bow_dev *dev, struct log_reader *r, struct bowimg_error *err)
{
	struct bow_visitor v = {NULL, pass_entry, r};
	struct bow_opened o;
	struct bow_walk w;
	int rc = bow_checkpoint_open(dev, 0, BOWIMG_FORCE_CHANGED, &o, err);

	if (!rc && o.dmbow)
		return bow_dmbow_log(dev, r->entry, r->ctx, err);
	if (!rc && !o.loaded)
		rc = bow_wrong_state(o.state, "show", err);
	if (!rc) {
		rc = bow_walk_init(&w, dev, &o.cp.sb, err);
		if (!rc)
			rc = bow_walk_run(&w, &v, err);
		bow_walk_release(&w);
	}
	bow_opened_release(&o);
	return rc;
}

int bowimg_log(const char *path, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
	       void *ctx, struct bowimg_error *err)
{
	struct log_reader r = {.entry = entry, .ctx = ctx};
	struct bow_dev *dev;
	int rc = bow_dev_open_file(path, BOW_OPEN_LOOK, &dev, err);

	return rc ? rc : bow_public_done(dev, path, walk_log(dev, &r, err), err);
}

/* ---- serving, ending --------------------------------------------------------------------------
 */

int bowimg_open(const char *path, const struct bowimg_open_options *opts, bowimg **out,
		struct bowimg_error *err)
{
	struct bow_dev *dev;
	int rc = bow_dev_open_file(path, BOW_OPEN_EXCLUSIVE, &dev, err);

	if (rc)
		return rc;
	rc = bow_engine_open(dev, opts, out, err);
	return rc ? bow_public_done(dev, path, rc, err) : 0;
}

int bowimg_look_open(const char *path, unsigned force, bowimg_look **out, struct bowimg_error *err)
{
	struct bow_dev *dev;
	int rc = bow_dev_open_file(path, BOW_OPEN_SHARED, &dev, err);

	if (rc)
		return rc;
	rc = bow_look_open_dev(dev, force, out, err);
	return rc ? bow_public_done(dev, path, rc, err) : 0;
}

typedef int end_operation(struct bow_dev *dev, const struct bowimg_end_options *opts,
			  struct bowimg_end_report *report, struct bowimg_error *err);

static int end(const char *path, const struct bowimg_end_options *opts, bool only_look,
	       end_operation *operation, struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bowimg_end_report unused;
	struct bow_dev *dev;
	int rc = only_look ? open_idle(path, &dev, err)
			   : bow_dev_open_file(path, BOW_OPEN_EXCLUSIVE, &dev, err);

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
