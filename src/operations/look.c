/* SPDX-License-Identifier: MIT */
/*
 * Looking at an image with an open checkpoint that nobody serves: the disk as it was at prepare,
 * the disk as it is now, and which blocks may differ. Nothing is ever written; the image is locked
 * against writers, so that what was read from the log stays true.
 *
 * The block states say how the disk reads now. How it read before: a used block is in its backup,
 * was zeros, or is where it always was (never overwritten; or its backup was taken by a power cut
 * before anything was overwritten, rule 9). Free blocks were zeros (exact mode) or are nobody's.
 * A backup is checked when the first of its blocks is read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "operations/internal.h"

struct bowimg_look {
	struct bow_dev *dev;
	struct bow_opened opened;
	struct bow_origins origins;
	bool block0_differs;
};

/* Where a run of blocks is read from. */
struct source {
	bool zeros;
	uint64_t at_blk, count_blk;
};

static const struct bow_blocks *blocks_of(const struct bowimg_look *look)
{
	return &look->opened.cp.blocks;
}

/* ---- open, close ------------------------------------------------------------------------------
 */

/* Every checkpoint saves block 0; only its live copy tells whether the guest changed it. */
static int compare_block0(struct bowimg_look *look, struct bowimg_error *err)
{
	uint8_t before[BOW_BLOCK], now[BOW_BLOCK];
	int rc = bowimg_look_read(look, BOWIMG_NOW, now, sizeof(now), 0, err);

	if (rc)
		return rc;
	rc = bowimg_look_read(look, BOWIMG_BEFORE, before, sizeof(before), 0, err);
	if (rc == -EBADMSG) {
		/* Whoever reads it is told; the rest can be looked at. */
		bow_err_clear(err);
		look->block0_differs = true;
		return 0;
	}
	if (!rc)
		look->block0_differs = memcmp(before, now, sizeof(now)) != 0;
	return rc;
}

static int find_origins(struct bowimg_look *look, struct bowimg_error *err)
{
	struct bow_walk w;
	int rc = bow_walk_init(&w, look->dev, &look->opened.cp.sb, err);

	if (!rc)
		rc = bow_origins_read(&look->origins, &w, err);
	bow_walk_release(&w);
	return rc;
}

static void release(struct bowimg_look *look)
{
	bow_origins_release(&look->origins);
	bow_opened_release(&look->opened);
	free(look);
}

int bow_look_open_dev(struct bow_dev *dev, unsigned force, bowimg_look **out,
		      struct bowimg_error *err)
{
	struct bowimg_look *look = calloc(1, sizeof(*look));
	int rc;

	if (!look)
		return bow_err_errno(err, -ENOMEM, "look at the image");
	look->dev = dev;
	rc = bow_checkpoint_open(dev, 0, force, &look->opened, err);
	if (!rc && look->opened.state != BOWIMG_STATE_CHECKPOINT)
		rc = bow_wrong_state(look->opened.state, "look at", err);
	if (!rc)
		rc = find_origins(look, err);
	if (!rc)
		rc = compare_block0(look, err);
	if (rc)
		release(look);
	else
		*out = look;
	return rc;
}

int bowimg_look_close(bowimg_look *look, struct bowimg_error *err)
{
	struct bow_dev *dev;

	if (!look)
		return 0;
	dev = look->dev;
	release(look);
	return bow_dev_close(dev, err);
}

struct bow_dev *bow_look_device(const bowimg_look *look)
{
	return look->dev;
}

uint64_t bowimg_look_size(const bowimg_look *look)
{
	return look->opened.cp.sb.image_size;
}

void bowimg_look_get_info(const bowimg_look *look, struct bowimg_look_info *out)
{
	const struct bow_super *sb = &look->opened.cp.sb;

	memset(out, 0, sizeof(*out));
	bow_uuid_text(sb->uuid, out->uuid);
	out->size = sb->image_size;
	out->block_size = BOW_BLOCK;
	out->exact = sb->flags & BOW_SUPER_EXACT;
	out->prepared_at = sb->prepared_at;
	memcpy(out->free_source, sb->free_source, sizeof(out->free_source));
	out->free_source[sizeof(out->free_source) - 1] = '\0';
}

/* ---- read -------------------------------------------------------------------------------------
 */

static struct source find_now(const struct bow_checkpoint *cp, uint64_t blk, uint64_t n)
{
	struct source s = {.at_blk = blk};
	enum bow_block_state state;
	bool zero;

	if (blk == 0)
		return (struct source){.at_blk = cp->sb.live0_blk, .count_blk = 1};
	s.count_blk = bow_blocks_run(&cp->blocks, blk, n, &state, &zero);
	/* What bowimg parks in free blocks is none of the guest's. */
	s.zeros = zero || state == BOW_HELD;
	return s;
}

static struct source find_before(const struct bowimg_look *look, uint64_t blk, uint64_t n)
{
	const struct bow_bitmap *free_map = blocks_of(look)->free;
	bool was_free = bow_bitmap_test(free_map, blk);
	struct source s = {.at_blk = blk};
	enum bow_origin_kind kind;

	n = bow_bitmap_next(free_map, blk, blk + n, !was_free) - blk;
	if (was_free && look->opened.cp.sb.flags & BOW_SUPER_EXACT)
		return (struct source){.zeros = true, .count_blk = n};
	if (was_free)
		return find_now(&look->opened.cp, blk, n);
	s.count_blk = bow_origins_get(&look->origins, blk, n, &kind, &s.at_blk);
	s.zeros = kind == BOW_ORIGIN_ZEROS;
	return s;
}

static uint64_t blocks_in(size_t bytes, uint64_t off)
{
	return (off + bytes - 1) / BOW_BLOCK - off / BOW_BLOCK + 1;
}

/* Read what the source has of this; returns how many bytes. */
static int64_t read_source(struct bow_dev *dev, const struct source *s, void *buf, size_t bytes,
			   uint64_t off, struct bowimg_error *err)
{
	uint64_t in_blk = off % BOW_BLOCK;
	size_t k = (size_t)bow_min(bytes, s->count_blk * BOW_BLOCK - in_blk);
	int rc = 0;

	if (s->zeros)
		memset(buf, 0, k);
	else
		rc = bow_dev_read(dev, buf, k, s->at_blk * BOW_BLOCK + in_blk, err);
	return rc ? rc : (int64_t)k;
}

int64_t bow_checkpoint_read(const struct bow_checkpoint *cp, void *buf, size_t bytes, uint64_t off,
			    struct bowimg_error *err)
{
	struct source s = find_now(cp, off / BOW_BLOCK, blocks_in(bytes, off));

	return read_source(cp->dev, &s, buf, bytes, off, err);
}

static int64_t read_before(const struct bowimg_look *look, void *buf, size_t bytes, uint64_t off,
			   struct bowimg_error *err)
{
	struct source s = find_before(look, off / BOW_BLOCK, blocks_in(bytes, off));

	return read_source(look->dev, &s, buf, bytes, off, err);
}

/* All of a backup, checked. */
static int read_backup(const struct bowimg_look *look, const struct bow_backup *b, uint8_t *buf,
		       struct bowimg_error *err)
{
	const struct bow_super *sb = &look->opened.cp.sb;
	size_t bytes = bow_super_bytes(sb, b->source_blk, b->count_blk);
	int64_t k;

	for (size_t at = 0; at < bytes; at += (size_t)k) {
		k = read_before(look, buf + at, bytes - at, b->source_blk * BOW_BLOCK + at, err);
		if (k < 0)
			return (int)k;
	}
	if (!bow_backup_ok(b, sb, buf))
		return bow_backup_try_source(b, look->dev, sb, buf, err);
	bow_origins_checked(&look->origins, b);
	return 0;
}

static int64_t read_checked(const struct bowimg_look *look, void *buf, size_t bytes, uint64_t off,
			    struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *all = NULL;
	struct bow_backup b;
	size_t from;
	int rc;

	if (!bow_origins_unchecked(&look->origins, off / BOW_BLOCK, &b))
		return read_before(look, buf, bytes, off, err);
	all = malloc((size_t)b.count_blk * BOW_BLOCK);
	if (!all)
		return bow_err_errno(err, -ENOMEM, "check a backup");
	rc = read_backup(look, &b, all, err);
	if (rc)
		return rc;
	from = (size_t)(off - b.source_blk * BOW_BLOCK);
	bytes = bow_min(bytes, (size_t)b.count_blk * BOW_BLOCK - from);
	memcpy(buf, all + from, bytes);
	return (int64_t)bytes;
}

int bowimg_look_read(bowimg_look *look, enum bowimg_side side, void *buf, size_t bytes,
		     uint64_t off, struct bowimg_error *err)
{
	uint64_t size = bowimg_look_size(look);
	uint8_t *p = buf;
	int64_t k;

	if (off > size || bytes > size - off)
		return bow_err(err, -EINVAL, "read beyond the end of the disk");
	for (; bytes; p += k, off += (uint64_t)k, bytes -= (size_t)k) {
		k = side == BOWIMG_BEFORE
			    ? read_checked(look, p, bytes, off, err)
			    : bow_checkpoint_read(&look->opened.cp, p, bytes, off, err);
		if (k < 0)
			return (int)k;
	}
	return 0;
}

/* ---- what changed -----------------------------------------------------------------------------
 */

uint64_t bowimg_look_run(const bowimg_look *look, uint64_t off, bool *was_free)
{
	const struct bow_blocks *b = blocks_of(look);
	uint64_t blk = off / BOW_BLOCK, end;

	*was_free = bow_bitmap_test(b->free, blk);
	end = bow_bitmap_next(b->free, blk, b->count, !*was_free);
	return bow_min(end * BOW_BLOCK, bowimg_look_size(look)) - off;
}

/* The next block at or after blk that may differ. */
static uint64_t next_change(const struct bow_blocks *b, uint64_t blk)
{
	uint64_t end = bow_bitmap_next(b->taken, blk, b->count, true);

	return bow_bitmap_next(b->zero, blk, end, true);
}

/* The blocks from blk on that changed in the same way; returns how many they are. */
static uint64_t describe(const struct bowimg_look *look, uint64_t blk, struct bowimg_change *c)
{
	const struct bow_blocks *b = blocks_of(look);
	enum bow_origin_kind kind = BOW_ORIGIN_IN_PLACE;
	enum bow_block_state state;
	uint64_t at, n = bow_blocks_run(b, blk, b->count - blk, &state, &c->zero_now);

	c->was_free = bow_bitmap_test(b->free, blk);
	if (!c->was_free)
		n = bow_origins_get(&look->origins, blk, n, &kind, &at);
	c->was_zero = kind == BOW_ORIGIN_ZEROS;
	c->off = blk * BOW_BLOCK;
	c->bytes = bow_super_bytes(&look->opened.cp.sb, blk, n);
	return n;
}

/* States and backups cut runs that are one for the caller. */
static bool join(struct bowimg_change *c, const struct bowimg_change *next)
{
	if (!c->bytes || c->off + c->bytes != next->off || c->was_free != next->was_free ||
	    c->was_zero != next->was_zero || c->zero_now != next->zero_now)
		return false;
	c->bytes += next->bytes;
	return true;
}

int bowimg_look_changes(bowimg_look *look,
			int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
			struct bowimg_error *err)
{
	const struct bow_blocks *b = blocks_of(look);
	struct bowimg_change c = {0}, next;
	uint64_t blk = look->block0_differs ? 0 : 1, n;
	int rc = 0;

	(void)err; /* all of it is in memory; what `run` returns is its own */
	for (; (blk = next_change(b, blk)) < b->count && !rc; blk += n) {
		n = describe(look, blk, &next);
		if (join(&c, &next))
			continue;
		if (c.bytes)
			rc = run(ctx, &c);
		c = next;
	}
	return rc || !c.bytes ? rc : run(ctx, &c);
}
