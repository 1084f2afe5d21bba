/* SPDX-License-Identifier: MIT */
/* Rollback, commit and verify, of whatever kind the checkpoint is. */
#include <string.h>

#include "lib/verbs/open.h"
#include "lib/verbs/operations.h"

static const struct bowimg_end_options defaults;

/* Open the image, and begin the report. Release o with bow_opened_release(). */
static int open_to_end(struct bowimg_disk *dev, bool write, unsigned force, struct bow_opened *o,
		       struct bowimg_end_report *report, struct bowimg_error *err)
{
	int rc = bow_checkpoint_open(dev, write ? BOW_OPEN_TO_WRITE : 0, force, o, err);

	memset(report, 0, sizeof(*report));
	report->before = o->state;
	report->exact = o->cp.sb.flags & BOW_SUPER_EXACT;
	return rc;
}

/* With the same free map: the image is byte for byte what it was when the map was made. */
static int prepare_again(struct bow_opened *o, struct bowimg_error *err)
{
	const struct bow_super *sb = &o->cp.sb;
	struct bow_prepare_plan plan = {
		.free_source = sb->free_source,
		.exact = sb->flags & BOW_SUPER_EXACT,
		.store = sb->flags & BOW_SUPER_STORE_TAIL ? BOWIMG_STORE_TAIL : BOWIMG_STORE_FREE,
		.on_full = sb->flags & BOW_SUPER_ON_FULL_TAIL ? BOWIMG_ON_FULL_TAIL
							      : BOWIMG_ON_FULL_STOP,
	};
	struct bowimg_prepare_report report;
	uint8_t block0[BOW_BLOCK];
	int rc = bow_kind_free_map(o, &plan.free, err);

	memcpy(block0, o->dev->first, sizeof(block0));
	plan.block0 = block0;
	if (!rc)
		rc = bow_prepare_dev(o->dev, &plan, &report, err);
	return rc ? bow_err_wrap(err, rc, "the image was rolled back, but not prepared again") : 0;
}

int bow_rollback_dev(struct bowimg_disk *dev, const struct bowimg_end_options *opts,
		     struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bow_opened o;
	int rc;

	opts = opts ? opts : &defaults;
	rc = open_to_end(dev, !opts->dry_run, opts->force, &o, report, err);
	if (!rc)
		rc = o.kind->rollback(&o, opts, report, err);
	if (!rc && opts->again && !opts->dry_run)
		rc = prepare_again(&o, err);
	bow_opened_release(&o);
	return rc;
}

int bow_commit_dev(struct bowimg_disk *dev, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bow_opened o;
	int rc;

	opts = opts ? opts : &defaults;
	rc = open_to_end(dev, !opts->dry_run, opts->force, &o, report, err);
	if (!rc)
		rc = o.kind->commit(&o, opts, report, err);
	bow_opened_release(&o);
	return rc;
}

int bow_verify_dev(struct bowimg_disk *dev, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bow_opened o;
	int rc;

	opts = opts ? opts : &defaults;
	rc = open_to_end(dev, false, opts->force, &o, report, err);
	if (!rc)
		rc = o.kind->verify(&o, opts, report, err);
	bow_opened_release(&o);
	return rc;
}
