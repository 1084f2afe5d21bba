/* SPDX-License-Identifier: MIT */
/* The calls of include/bowimg.h that find out what is free: prepare, and the map. */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "operations/dmbow.h"

struct finding {
	struct bow_bitmap *free;
	struct bow_freemap_info info;
	bool exact;
	char why_exact[128];
};

/* The default rule of exact mode: most of the free space is holes (of a fresh image it is). */
static int choose_exact(struct bow_dev *dev, enum bowimg_choice choice, struct finding *f,
			struct bowimg_error *err)
{
	uint64_t holes = 0, total = bow_bitmap_count(f->free) * BOW_BLOCK;
	int rc = 0;

	if (choice != BOWIMG_DEFAULT) {
		f->exact = choice == BOWIMG_YES;
		snprintf(f->why_exact, sizeof(f->why_exact), "as asked");
		return 0;
	}
	if (!dev->ops->extent) {
		snprintf(f->why_exact, sizeof(f->why_exact), "a device has no holes");
		return 0;
	}
	if (total)
		rc = bow_freemap_hole_bytes(dev, f->free, &holes, err);
	f->exact = holes >= total - holes;
	snprintf(f->why_exact, sizeof(f->why_exact), "%" PRIu64 " %% of its free space is holes",
		 total ? holes * 100 / total : 100);
	return rc;
}

static int settle_exact(struct bow_dev *dev, const struct bowimg_prepare_options *opts,
			struct finding *f, struct bowimg_error *err)
{
	int rc = choose_exact(dev, opts->exact, f, err);

	if (!rc && f->exact)
		rc = bow_freemap_keep_zeros(dev, f->free, &opts->events, err);
	return rc;
}

static int find_free(struct bow_dev *dev, const struct bowimg_prepare_options *opts,
		     struct finding *f, struct bowimg_error *err)
{
	const struct bow_part_sink sink = {opts->partition, opts->partition_ctx};
	int rc;

	f->free = bow_bitmap_new(bow_div_up(dev->size, BOW_BLOCK));
	if (!f->free)
		return bow_err_errno(err, -ENOMEM, "read the free map");
	rc = bow_freemap_read_disk(dev, opts->free_from, f->free, &f->info, &sink, &opts->events,
				   err);
	return rc ? rc : settle_exact(dev, opts, f, err);
}

int bow_prepare_check(struct bow_dev *dev, struct bowimg_error *err)
{
	struct bow_identity id;
	int rc;

	if (dev->size < BOWIMG_MIN_SIZE)
		return bow_err(err, -EOPNOTSUPP,
			       "it is too small: %" PRIu64 " bytes, and the least is %u", dev->size,
			       BOWIMG_MIN_SIZE);
	rc = bow_identify(dev, &id, err);
	if (!rc && id.dmbow)
		return bow_dmbow_refuse("prepare", err);
	if (!rc && id.state != BOWIMG_STATE_NONE)
		rc = bow_wrong_state(id.state, "prepare", err);
	return rc ? rc : bow_probe_refuse_container(dev, err);
}

static int prepare_found(struct bow_dev *dev, const struct bowimg_prepare_options *opts,
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
	r.fs_free_bytes = f->info.fs_free_bytes;
	*report = r;
	return 0;
}

int bow_prepare_with_map(struct bow_dev *dev, const struct bowimg_prepare_options *opts,
			 struct bow_bitmap *free, const struct bow_freemap_info *info,
			 struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct finding f = {.free = free, .info = *info};
	int rc = settle_exact(dev, opts, &f, err);

	return rc ? rc : prepare_found(dev, opts, &f, report, err);
}

static const struct bowimg_prepare_options prepare_defaults;

int bowimg_prepare(const char *path, const struct bowimg_prepare_options *opts,
		   struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct finding f = {0};
	struct bow_dev *dev;
	int rc = bow_dev_open_file(path, BOW_OPEN_EXCLUSIVE, &dev, err);

	if (rc)
		return rc;
	opts = opts ? opts : &prepare_defaults;
	if (opts->dry_run)
		dev->readonly = true; /* nobody who helps may change anything either */
	rc = bow_prepare_check(dev, err);
	if (!rc)
		rc = find_free(dev, opts, &f, err);
	if (!rc)
		rc = prepare_found(dev, opts, &f, report, err);
	bow_bitmap_free(f.free);
	return bow_public_done(dev, path, rc, err);
}

/* The map as runs that cover the image, free and used in turn. */
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

/* Of an image without a checkpoint: what prepare would find. */
static int map_of_image(const char *path, const struct bowimg_prepare_options *opts,
			int (*run)(void *ctx, uint64_t off, uint64_t bytes, bool is_free),
			void *ctx, struct bowimg_error *err)
{
	struct finding f = {0};
	struct bow_dev *dev;
	int rc = bow_dev_open_file(path, BOW_OPEN_EXCLUSIVE, &dev, err);

	if (rc)
		return rc;
	dev->readonly = true; /* nobody who helps may change anything either */
	rc = bow_prepare_check(dev, err);
	if (!rc)
		rc = find_free(dev, opts, &f, err);
	if (!rc)
		rc = pass_runs(f.free, dev->size, run, ctx);
	bow_bitmap_free(f.free);
	return bow_public_done(dev, path, rc, err);
}

int bowimg_map(const char *path, const struct bowimg_prepare_options *opts,
	       int (*run)(void *ctx, uint64_t off, uint64_t bytes, bool is_free), void *ctx,
	       struct bowimg_error *err)
{
	struct bow_opened o;
	struct bow_dev *dev;
	bool loaded;
	int rc = bow_dev_open_file(path, BOW_OPEN_LOOK, &dev, err);

	if (rc)
		return rc;
	rc = bow_checkpoint_open(dev, 0, BOWIMG_FORCE_CHANGED, &o, err);
	loaded = o.loaded;
	if (!rc && o.dmbow)
		rc = bow_dmbow_refuse("show the free map of", err);
	else if (!rc && loaded)
		rc = pass_runs(o.cp.blocks.free, o.cp.sb.image_size, run, ctx);
	else if (!rc && o.state != BOWIMG_STATE_NONE)
		rc = bow_wrong_state(o.state, "show", err);
	bow_opened_release(&o);
	rc = bow_public_done(dev, path, rc, err);
	if (rc || loaded)
		return rc;
	return map_of_image(path, opts ? opts : &prepare_defaults, run, ctx, err);
}
