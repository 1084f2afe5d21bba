/* SPDX-License-Identifier: MIT */
/* What the steps of the comparison share: progress, damage, the changed blocks. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "bowimg/diff/private.h"
#include "lib/base/bytes.h"
#include "lib/base/stop.h"

int bow_diff_progress(const struct bow_diff *d, const char *what, uint64_t done, uint64_t total,
		      struct bowimg_error *err)
{
	if (d->opts.events.progress)
		d->opts.events.progress(d->opts.events.ctx, what, done, total);
	return bow_stop_asked(&d->opts.events, err);
}

int bow_diff_bad(const struct bow_diff *d, enum bow_version version, const char *what,
		 struct bowimg_error *err)
{
	const char *mark = d->source->mark;

	bow_err(err, -EUCLEAN, "%s: compare files: the file system as it %s%s is damaged: %s",
		d->source->name,
		version == BOW_NEW ? "is now"
		: mark		   ? "was at the mark "
				   : "was at prepare",
		version == BOW_OLD && mark ? mark : "", what);
	bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
	return -EUCLEAN;
}

/* Names and paths may take this much memory, or so many times the bytes of the volume. */
#define CHARGE_MIN (64ull << 20)
#define CHARGE_FACTOR 4

int bow_diff_charge(struct bow_diff *d, size_t bytes, struct bowimg_error *err)
{
	const uint64_t volume = bow_min(d->opts.bytes, UINT64_MAX / CHARGE_FACTOR);

	d->charged += bytes;
	if (d->charged <= bow_max(CHARGE_MIN, volume * CHARGE_FACTOR))
		return 0;
	bow_err(err, -EUCLEAN,
		"%s: compare files: the directories hold more names than there can be on %" PRIu64
		" MiB",
		d->source->name, volume >> 20);
	bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
	return -EUCLEAN;
}

int bow_diff_make_path(struct bow_diff *d, enum bow_version version, size_t bytes, char **out,
		       struct bowimg_error *err)
{
	int rc = bow_diff_charge(d, bytes, err);

	if (rc)
		return rc;
	*out = bow_arena_get(&d->names, bytes);
	if (!*out)
		return bow_diff_no_memory(err);
	return d->names.bytes > BOW_PATHS_BYTES_MAX
		       ? bow_diff_bad(d, version,
				      "its changed paths are longer than 1 GiB in total", err)
		       : 0;
}

void bow_diff_close_content(struct bow_content *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->v);
}

static int add_change(void *ctx, const struct bowimg_change *change)
{
	return bow_changed_add(ctx, change);
}

int bow_diff_load_changes(struct bow_diff *d, uint32_t block_size, struct bowimg_error *err)
{
	struct bow_changed *c = &d->changed;
	int rc;

	c->off = d->opts.off;
	c->bytes = d->opts.bytes;
	c->block_size = block_size;
	rc = bowimg_disk_changes_since(d->source->disk[BOW_NEW], d->source->mark, add_change, c,
				       err);
	if (!rc)
		rc = bow_changed_finish(c);
	return rc == -ENOMEM ? bow_diff_no_memory(err) : rc;
}
