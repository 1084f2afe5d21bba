/* SPDX-License-Identifier: MIT */
/* The calls of include/bowimg.h that read free space: prepare, and map. */
#include <inttypes.h>
#include <stdio.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/freespace/helpers/checker.h"
#include "lib/api/api.h"
#include "lib/freespace/freemap.h"
#include "lib/freespace/sources.h"
#include "lib/verbs/open.h"
#include "lib/verbs/operations.h"

int bowimg_check_free_from(const char *free_from, struct bowimg_error *err)
{
	struct bow_source source;

	return bow_source_parse(free_from, &source, err);
}

struct finding {
	struct bow_bitmap *free;
	struct bow_freemap_info info;
	bool exact;
	char why_exact[128];
	char checked[BOW_CHECKED_BYTES];
};

static int refuse_inexact(struct bowimg_disk *dev, const char *why, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: choose the mode: %s; nothing was changed", dev->name, why);
	bow_err_hint(err, "leave out --no-exact, or use --free-from=none");
	return -EOPNOTSUPP;
}

/* The default: exact mode if most of the free space is holes, as in a fresh image. */
static int choose_exact(struct bowimg_disk *dev, enum bowimg_choice choice, struct finding *f,
			struct bowimg_error *err)
{
	uint64_t holes = 0, total = bow_bitmap_count(f->free) * BOW_BLOCK;
	int rc = 0;

	if (f->info.only_exact) {
		if (choice == BOWIMG_NO)
			return refuse_inexact(dev, f->info.only_exact, err);
		f->exact = true;
		snprintf(f->why_exact, sizeof(f->why_exact), "%s", f->info.only_exact);
		return 0;
	}
	if (!total) {
		f->exact = choice != BOWIMG_NO;
		snprintf(f->why_exact, sizeof(f->why_exact), "all of it counts as used");
		return 0;
	}
	if (choice != BOWIMG_DEFAULT) {
		f->exact = choice == BOWIMG_YES;
		snprintf(f->why_exact, sizeof(f->why_exact), "as asked");
		return 0;
	}
	if (!dev->ops->extent) {
		snprintf(f->why_exact, sizeof(f->why_exact), "a device has no holes");
		return 0;
	}
	rc = bow_freemap_hole_bytes(dev, f->free, &holes, err);
	f->exact = holes >= total - holes;
	snprintf(f->why_exact, sizeof(f->why_exact), "%" PRIu64 " %% of its free space is holes",
		 holes * 100 / total);
	return rc;
}

static int settle_exact(struct bowimg_disk *dev, const struct bowimg_prepare_options *opts,
			struct finding *f, struct bowimg_error *err)
{
	int rc = choose_exact(dev, opts->exact, f, err);

	if (!rc && f->exact)
		rc = bow_freemap_keep_zeros(dev, f->free, &opts->events, err);
	return rc;
}

static int read_free(struct bowimg_disk *dev, const struct bowimg_prepare_options *opts,
		     const struct bow_contents *contents, struct finding *f,
		     struct bowimg_error *err)
{
	const struct bow_freemap_options how = {.free_from = opts->free_from,
						.contents = contents,
						.partition = opts->partition,
						.ctx = opts->partition_ctx,
						.events = &opts->events};

	f->free = bow_bitmap_new(bow_div_up(dev->size, BOW_BLOCK));
	return f->free ? bow_freemap_read(dev, &how, f->free, &f->info, err)
		       : bow_err_errno(err, -ENOMEM, "cannot read the free map");
}

/*
 * Reads the free map, unless `f` has one. The checkers come last: an unclean file system is refused
 * before, because a checker would report what it may not repair.
 */
static int find_free(struct bowimg_disk *dev, const struct bowimg_prepare_options *opts,
		     struct finding *f, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_contents *contents = NULL;
	int rc = opts->check ? bow_contents_read(dev, &opts->events, &contents, err) : 0;

	if (!rc && !f->free)
		rc = read_free(dev, opts, contents, f, err);
	if (!rc && opts->check)
		rc = bow_check_disk(dev, contents, &opts->events, f->checked, err);
	return rc ? rc : settle_exact(dev, opts, f, err);
}

static int prepare_found(struct bowimg_disk *dev, const struct bowimg_prepare_options *opts,
			 const struct finding *f, struct bowimg_prepare_report *report,
			 struct bowimg_error *err)
{
	struct bow_prepare_plan plan = {
		.free = f->free,
		.free_source = f->info.source,
		.exact = f->exact,
		.store = opts->store,
		.on_full = opts->on_full,
		.dry_run = opts->dry_run,
	};
	struct bowimg_prepare_report r = {0};
	int rc;

	if (plan.on_full == BOWIMG_ON_FULL_DEFAULT)
		plan.on_full = dev->can_grow ? BOWIMG_ON_FULL_TAIL : BOWIMG_ON_FULL_STOP;
	rc = bow_prepare_dev(dev, &plan, &r, err);
	if (rc || !report)
		return rc;
	snprintf(r.free_source, sizeof(r.free_source), "%s", f->info.source);
	snprintf(r.what, sizeof(r.what), "%s", f->info.what);
	snprintf(r.why_source, sizeof(r.why_source), "%s", f->info.why);
	snprintf(r.why_exact, sizeof(r.why_exact), "%s", f->why_exact);
	snprintf(r.checked, sizeof(r.checked), "%s", f->checked);
	r.fs_free_bytes = f->info.fs_free_bytes;
	*report = r;
	return 0;
}

int bow_prepare_with_map(struct bowimg_disk *dev, const struct bowimg_prepare_options *opts,
			 struct bow_bitmap *free, const struct bow_freemap_info *info,
			 struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct finding f = {.free = free, .info = *info};
	int rc = find_free(dev, opts, &f, err);

	return rc ? rc : prepare_found(dev, opts, &f, report, err);
}

static const struct bowimg_prepare_options prepare_defaults;

int bowimg_prepare(const char *path, const struct bowimg_prepare_options *opts,
		   struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct finding f = {0};
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	opts = opts ? opts : &prepare_defaults;
	if (opts->dry_run)
		dev->readonly = true; /* for helpers, too */
	rc = bow_prepare_check(dev, err);
	if (!rc)
		rc = find_free(dev, opts, &f, err);
	if (!rc)
		rc = prepare_found(dev, opts, &f, report, err);
	bow_bitmap_free(f.free);
	return bow_public_done(dev, path, rc, err);
}

/* Pass the map as runs that cover the image, free and used in turn. */
static int pass_runs(const struct bow_bitmap *map, uint64_t size,
		     int (*run)(void *ctx, uint64_t off, uint64_t bytes, bool is_free), void *ctx)
{
	uint64_t blk = 0, next, count = bow_bitmap_bits(map);
	int rc = 0;

	for (; blk < count && !rc; blk = next) {
		bool is_free = bow_bitmap_test(map, blk);

		next = bow_bitmap_next(map, blk, count, !is_free);
		rc = run(ctx, blk * BOW_BLOCK, bow_min(next * BOW_BLOCK, size) - blk * BOW_BLOCK,
			 is_free);
	}
	return rc;
}

/* The map of an image without a checkpoint, as prepare would read it. */
static int map_of_image(const char *path, const struct bowimg_prepare_options *opts,
			int (*run)(void *ctx, uint64_t off, uint64_t bytes, bool is_free),
			void *ctx, struct bowimg_error *err)
{
	struct finding f = {0};
	struct bowimg_disk *dev;
	int rc = bow_disk_open_file(path, BOW_OPEN_EXCLUSIVE, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	dev->readonly = true; /* for helpers, too */
	rc = bow_prepare_check(dev, err);
	if (!rc)
		rc = find_free(dev, opts, &f, err);
	if (!rc)
		rc = pass_runs(f.free, dev->size, run, ctx);
	bow_bitmap_free(f.free);
	return bow_public_done(dev, path, rc, err);
}

/* The map that the checkpoint keeps. *none: there is no checkpoint. */
static int map_of_checkpoint(struct bowimg_disk *dev,
			     int (*run)(void *ctx, uint64_t off, uint64_t bytes, bool is_free),
			     void *ctx, bool *none, struct bowimg_error *err)
{
	const struct bow_bitmap *map;
	struct bow_opened o;
	int rc = bow_checkpoint_open(dev, 0, BOWIMG_FORCE_CHANGED, &o, err);

	*none = !rc && o.state == BOWIMG_STATE_NONE;
	if (!rc && !*none) {
		rc = bow_kind_free_map(&o, &map, err);
		if (!rc)
			rc = pass_runs(map, o.cp.sb.image_size, run, ctx);
	}
	bow_opened_release(&o);
	return rc;
}

int bowimg_map(const char *path, const struct bowimg_prepare_options *opts,
	       int (*run)(void *ctx, uint64_t off, uint64_t bytes, bool is_free), void *ctx,
	       struct bowimg_error *err)
{
	struct bowimg_disk *dev;
	bool none;
	int rc = bow_disk_open_file(path, BOW_OPEN_LOOK, bow_events_of(opts), &dev, err);

	if (rc)
		return rc;
	rc = bow_public_done(dev, path, map_of_checkpoint(dev, run, ctx, &none, err), err);
	if (rc || !none)
		return rc;
	return map_of_image(path, opts ? opts : &prepare_defaults, run, ctx, err);
}
