/* SPDX-License-Identifier: MIT */
/* The free map of an image: of its partitions, or of the whole of it. */
#include "lib/freespace/freemap.h"

#include <assert.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/base/stop.h"
#include "lib/disk/hint.h"

static int read_contents(const struct bow_freemap_job *job, struct bow_bitmap *out,
			 struct bow_freemap_info *info, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_contents *own = NULL;
	const struct bow_contents *contents = job->opts->contents;
	int rc = contents ? 0 : bow_contents_read(job->dev, job->opts->events, &own, err);

	contents = contents ? contents : own;
	if (!rc && contents->table.kind[0])
		rc = bow_freemap_partitions(job, contents, out, info, err);
	else if (!rc)
		rc = bow_freemap_volume(job, &contents->list[0], out, info, err);
	return rc;
}

static int read_source(struct bow_freemap_job *job, struct bow_bitmap *out,
		       struct bow_freemap_info *info, struct bowimg_error *err)
{
	int rc = bow_source_parse(job->opts->free_from, &job->source, err);

	if (rc)
		return bow_err_wrap(err, rc, "%s", job->dev->name);
	if (bow_source_needs_contents(&job->source))
		return read_contents(job, out, info, err);
	if (job->source.id == BOW_SOURCE_MAP)
		return bow_freemap_mapfile(job->source.file, job->dev->size, out, info, err);
	/* The image may hold anything, and all of it is kept. */
	*info = (struct bow_freemap_info){.source = "none", .what = "unknown content"};
	return 0;
}

static void report(const struct bow_freemap_job *job, uint64_t done)
{
	const struct bowimg_events *events = job->opts->events;

	if (events && events->progress)
		events->progress(events->ctx, "read free map", done, job->dev->size);
}

int bow_freemap_read(struct bowimg_disk *dev, const struct bow_freemap_options *opts,
		     struct bow_bitmap *out, struct bow_freemap_info *info,
		     struct bowimg_error *err)
{
	struct bow_freemap_job job = {.dev = dev, .opts = opts};
	int rc = bow_probe_refuse_container(dev, err);

	assert(bow_bitmap_bits(out) == bow_div_up(dev->size, BOWIMG_BLOCK_SIZE));
	if (rc < 0)
		return rc;
	report(&job, 0);
	rc = read_source(&job, out, info, err);
	if (rc)
		bow_hint_finish(err, dev, 0, dev->size);
	else
		report(&job, dev->size);
	/* The error may be a mere consequence: the signal reached a helper, too. */
	return bow_stop_asked(opts->events, NULL) ? bow_stop_asked(opts->events, err) : rc;
}
