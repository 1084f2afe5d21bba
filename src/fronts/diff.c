/* SPDX-License-Identifier: MIT */
/* Comparing the files of both sides: opening them, and the steps in order. */
#include <stdlib.h>
#include <string.h>

#include "fronts/diff_private.h"

void bow_diff_progress(const struct bow_diff *d, const char *what, uint64_t done, uint64_t total)
{
	if (d->opts.events.progress)
		d->opts.events.progress(d->opts.events.ctx, what, done, total);
}

int bow_diff_inode(struct bow_diff *d, enum bowimg_side side, ext2_ino_t ino,
		   struct bow_ext_inode *out, struct bowimg_error *err)
{
	struct bow_ext_side *s = &d->side[side];
	const uint32_t per_group = s->fs->super->s_inodes_per_group;

	*out = (struct bow_ext_inode){.ino = ino};
	if (ino == 0 || ino > s->fs->super->s_inodes_count ||
	    (ino - 1) % per_group >= bow_ext_table_used(s, (ino - 1) / per_group))
		return 0;
	return bow_ext_read_inode(s, ino, out, err);
}

static int read_now(void *ctx, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err)
{
	const struct bow_diff_source *source = ctx;

	return source->read(source->ctx, BOWIMG_NOW, buf, bytes, off, err);
}

static int read_before(void *ctx, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err)
{
	const struct bow_diff_source *source = ctx;

	return source->read(source->ctx, BOWIMG_BEFORE, buf, bytes, off, err);
}

static void make_source(const struct bow_diff_source *source, int side, struct bow_ext_source *out)
{
	*out = (struct bow_ext_source){side == BOWIMG_NOW ? read_now : read_before, (void *)source,
				       source->name, source->size};
}

int bow_diff_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes, bool *is_ext,
		   struct bowimg_error *err)
{
	struct bow_ext_source ext;
	int rc = 0;

	*is_ext = false;
	for (int side = 0; side < BOW_SIDES && !rc && !*is_ext; side++) {
		make_source(source, side, &ext);
		rc = bow_ext_probe(&ext, off, bytes, is_ext, err);
	}
	return rc;
}

static int open_sides(struct bow_diff *d, struct bowimg_error *err)
{
	static const char *const labels[] = {
		[BOWIMG_NOW] = "as it is now", [BOWIMG_BEFORE] = "as it was at prepare"};
	struct bow_ext_source ext;
	int rc = 0;

	for (int side = 0; side < BOW_SIDES && !rc; side++) {
		make_source(d->source, side, &ext);
		d->side[side].label = labels[side];
		d->side[side].repairable = side == BOWIMG_NOW;
		rc = bow_ext_side_open(&d->side[side], &ext, d->opts.off, d->opts.bytes, err);
	}
	return rc;
}

/* Is it one file system, whose inodes are where they were? It may have been resized. */
static int relate(struct bow_diff *d, struct bowimg_error *err)
{
	const struct ext2_super_block *now = d->side[BOWIMG_NOW].fs->super;
	const struct ext2_super_block *before = d->side[BOWIMG_BEFORE].fs->super;

	if (now->s_log_block_size != before->s_log_block_size) {
		bow_err(err, -EOPNOTSUPP,
			"%s: compare files: the file system was made anew, with blocks of another "
			"size",
			d->source->name);
		bow_err_hint(err, "mount both sides and compare them, or list the changed ranges");
		return -EOPNOTSUPP;
	}
	d->related = memcmp(now->s_uuid, before->s_uuid, sizeof(now->s_uuid)) == 0 &&
		     now->s_mkfs_time == before->s_mkfs_time &&
		     now->s_inodes_per_group == before->s_inodes_per_group &&
		     EXT2_INODE_SIZE(now) == EXT2_INODE_SIZE(before) &&
		     EXT2_FIRST_INO(now) == EXT2_FIRST_INO(before);
	return 0;
}

static int add_change(void *ctx, const struct bowimg_change *change)
{
	return bow_changed_add(ctx, change);
}

static int load_changes(struct bow_diff *d, struct bowimg_error *err)
{
	struct bow_changed *c = &d->changed;
	int rc;

	c->off = d->opts.off;
	c->bytes = d->opts.bytes;
	c->block_size = d->side[BOWIMG_NOW].fs->blocksize;
	rc = d->source->changes(d->source->ctx, add_change, c, err);
	if (!rc)
		rc = bow_changed_finish(c);
	return rc == -ENOMEM ? bow_diff_no_memory(err) : rc;
}

static int compare(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = open_sides(d, err);

	if (!rc)
		rc = relate(d, err);
	if (!rc)
		rc = load_changes(d, err);
	if (!rc)
		rc = bow_diff_find_files(d, err);
	if (!rc)
		rc = bow_diff_find_owners(d, err);
	if (!rc)
		rc = bow_diff_find_links(d, err);
	if (!rc)
		rc = bow_diff_find_names(d, err);
	return rc ? rc : bow_diff_make_items(d, err);
}

int bow_diff_files(const struct bow_diff_source *source, const struct bow_diff_options *opts,
		   struct bow_diff **out, struct bowimg_error *err)
{
	struct bow_diff *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return bow_diff_no_memory(err);
	d->source = source;
	d->opts = *opts;
	rc = compare(d, err);
	if (rc)
		bow_diff_free(d);
	else
		*out = d;
	return rc;
}

void bow_diff_free(struct bow_diff *d)
{
	if (!d)
		return;
	for (int side = 0; side < BOW_SIDES; side++)
		bow_ext_side_close(&d->side[side]);
	for (int side = 0; side < BOW_SIDES; side++)
		bow_paths_free(d->paths[side]);
	bow_changed_release(&d->changed);
	bow_arena_release(&d->names);
	free(d->files);
	free(d->added.v);
	free(d->removed.v);
	free(d->replaced.v);
	free(d->kept.v);
	free(d->items);
	free(d);
}

const struct bow_diff_item *bow_diff_items(const struct bow_diff *d, size_t *n)
{
	*n = d->n_items;
	return d->items;
}
