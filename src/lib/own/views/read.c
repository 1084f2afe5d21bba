/* SPDX-License-Identifier: MIT */
/* Where the views of an image that no process serves find their blocks, and how they read them. */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/own/views/views.h"

/* Where a run of blocks is read from. */
struct source {
	bool zeros;
	uint64_t at_blk, count_blk;
	const struct bow_backup_index *in; /* it is a backup that this one names; or NULL */
};

static struct source find_now(const struct bow_checkpoint *cp, uint64_t blk, uint64_t n)
{
	struct source s = {.at_blk = blk};
	enum bow_block_state state;
	bool zero;

	if (blk == 0)
		return (struct source){.at_blk = cp->sb.live0_blk, .count_blk = 1};
	s.count_blk = bow_blocks_run(&cp->blocks, blk, n, &state, &zero);
	/* The guest does not see what bowimg parks in free blocks. */
	s.zeros = zero || state == BOW_HELD;
	return s;
}

static struct source find_used(const struct view *v, uint32_t epoch, uint64_t blk, uint64_t n)
{
	struct source s = {.at_blk = blk};
	enum bow_backup_kind kind;

	s.count_blk = bow_backup_index_oldest(&v->backups[epoch], v->cp.n_epochs - epoch, blk, n,
					      &kind, &s.at_blk, &s.in);
	s.zeros = kind == BOW_BACKUP_ZEROS;
	return s;
}

static struct source find_before(const struct view_before *b, uint64_t blk, uint64_t n)
{
	const struct view *v = b->view;
	bool was_free, zeros;

	n = bow_past_run(&b->past, blk, n, &was_free, &zeros);
	if (zeros || (was_free && v->cp.sb.flags & BOW_SUPER_EXACT))
		return (struct source){.zeros = true, .count_blk = n};
	return was_free ? find_now(&v->cp, blk, n) : find_used(v, b->past.epoch, blk, n);
}

static uint64_t blocks_in(uint64_t bytes, uint64_t off)
{
	return (off + bytes - 1) / BOW_BLOCK - off / BOW_BLOCK + 1;
}

/* Read from the source; returns how many of the bytes it has. */
static int64_t read_source(struct bowimg_disk *dev, const struct source *s, void *buf, size_t bytes,
			   uint64_t off, struct bowimg_error *err)
{
	uint64_t in_blk = off % BOW_BLOCK;
	size_t k = (size_t)bow_min(bytes, s->count_blk * BOW_BLOCK - in_blk);
	int rc = 0;

	if (s->zeros)
		memset(buf, 0, k);
	else
		rc = bow_disk_read(dev, buf, k, s->at_blk * BOW_BLOCK + in_blk, err);
	return rc ? rc : (int64_t)k;
}

int64_t bow_own_read_now(const struct bow_checkpoint *cp, void *buf, size_t bytes, uint64_t off,
			 struct bowimg_error *err)
{
	struct source s = find_now(cp, off / BOW_BLOCK, blocks_in(bytes, off));

	return read_source(cp->dev, &s, buf, bytes, off, err);
}

static uint64_t extent_of(const struct view *v, const struct source *s, uint64_t off, bool *zeros)
{
	uint64_t n = s->zeros ? s->count_blk : bow_hole_run(v->dev, s->at_blk, s->count_blk, zeros);

	if (s->zeros)
		*zeros = true;
	return n * BOW_BLOCK - off % BOW_BLOCK;
}

/* A backup that is read to be checked, and the index of its epoch. */
struct reading {
	const struct view *view;
	const struct bow_backup_index *in;
};

/* All of its blocks are its epoch's, whoever decides about the others. */
static int64_t read_piece(void *ctx, void *buf, size_t bytes, uint64_t off,
			  struct bowimg_error *err)
{
	const struct reading *r = ctx;
	struct source s = {.at_blk = off / BOW_BLOCK};
	enum bow_backup_kind kind;

	s.count_blk =
		bow_backup_index_get(r->in, s.at_blk, blocks_in(bytes, off), &kind, &s.at_blk);
	return read_source(r->view->dev, &s, buf, bytes, off, err);
}

static void note_matched(void *ctx, const struct bow_backup *b)
{
	bow_backup_index_checked(((const struct reading *)ctx)->in, b);
}

int64_t bow_view_read_before(const struct view_before *before, void *buf, size_t bytes,
			     uint64_t off, struct bowimg_error *err)
{
	const struct view *v = before->view;
	struct source s = find_before(before, off / BOW_BLOCK, blocks_in(bytes, off));
	struct reading reading = {v, s.in};
	const struct bow_backup_reader reader = {v->dev, &v->cp.sb, &reading, read_piece,
						 note_matched};
	struct bow_backup b;

	if (!s.in || !bow_backup_index_unchecked(s.in, off / BOW_BLOCK, &b))
		return read_source(v->dev, &s, buf, bytes, off, err);
	bytes = (size_t)bow_min(bytes, s.count_blk * BOW_BLOCK - off % BOW_BLOCK);
	return bow_backup_read(&b, &reader, buf, bytes, off, err);
}

uint64_t bow_view_extent_now(const struct view *v, uint64_t off, uint64_t bytes, bool *zeros)
{
	struct source s = find_now(&v->cp, off / BOW_BLOCK, blocks_in(bytes, off));

	return bow_min(bytes, extent_of(v, &s, off, zeros));
}

uint64_t bow_view_extent_before(const struct view_before *b, uint64_t off, uint64_t bytes,
				bool *zeros)
{
	struct source s = find_before(b, off / BOW_BLOCK, blocks_in(bytes, off));

	return bow_min(bytes, extent_of(b->view, &s, off, zeros));
}

/* Every checkpoint and mark saves block 0; only its live copy tells whether the guest changed
 * it. */
int bow_view_block0(const struct view *v, const struct bow_past *past, bool *differs,
		    struct bowimg_error *err)
{
	struct view_before b = {.view = v, .past = *past};
	uint8_t before[BOW_BLOCK] = {0}, now[BOW_BLOCK];
	int64_t k = bow_own_read_now(&v->cp, now, sizeof(now), 0, err);

	if (k > 0)
		k = bow_view_read_before(&b, before, sizeof(before), 0, err);
	*differs = k < 0 || memcmp(before, now, sizeof(now)) != 0;
	if (k != -EBADMSG)
		return k < 0 ? (int)k : 0;
	/* The error comes up again when block 0 is read; the rest can be viewed. */
	bow_err_clear(err);
	return 0;
}
