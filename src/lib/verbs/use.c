/* SPDX-License-Identifier: MIT */
/* What leaves a checkpoint open: status, log, a view, serving it. */
#include "lib/verbs/open.h"
#include "lib/verbs/operations.h"

int bow_status_dev(struct bowimg_disk *dev, unsigned force, struct bowimg_status *out,
		   struct bowimg_error *err)
{
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, 0, force, &o, err);

	if (!rc)
		rc = o.kind->status(&o, out, err);
	bow_opened_release(&o);
	return rc;
}

int bow_log_dev(struct bowimg_disk *dev, int (*entry)(void *ctx, const struct bowimg_log_entry *e),
		void *ctx, struct bowimg_error *err)
{
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, 0, BOWIMG_FORCE_CHANGED, &o, err);

	if (!rc)
		rc = o.kind->log(&o, entry, ctx, err);
	bow_opened_release(&o);
	return rc;
}

int bow_partitions_dev(struct bowimg_disk *dev,
		       int (*partition)(void *ctx, const struct bowimg_partition *p), void *ctx,
		       struct bowimg_error *err)
{
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, 0, BOWIMG_FORCE_CHANGED, &o, err);

	if (!rc)
		rc = bow_kind_partitions(&o, partition, ctx, err);
	bow_opened_release(&o);
	return rc;
}

int bow_view_open(struct bowimg_disk *dev, unsigned force, struct bowimg_disk **out,
		  struct bowimg_error *err)
{
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, 0, force, &o, err);

	if (!rc)
		rc = bow_kind_view(&o, out, err);
	bow_opened_release(&o);
	return rc;
}

int bow_serve_dev(struct bowimg_disk *dev, const struct bowimg_open_options *opts,
		  struct bowimg_disk **out, struct bowimg_error *err)
{
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, BOW_OPEN_TO_WRITE, opts ? opts->force : 0, &o, err);

	if (!rc)
		rc = bow_kind_serve(&o, opts, out, err);
	bow_opened_release(&o);
	return rc;
}
