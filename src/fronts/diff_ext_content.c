/* SPDX-License-Identifier: MIT */
/* The content of files of ext2/3/4: compared where it can differ, and read for an archive. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "fronts/diff_ext.h"

#define CHUNK_BYTES BOW_DATA_CHUNK
#define DIFFERENT 1 /* ends the walk over pieces */

struct pair {
	struct bow_diff *d;
	struct bow_ext_inode inode[BOW_SIDES];
	uint64_t size;
	uint8_t *buf[BOW_SIDES]; /* CHUNK_BYTES each */
};

static int read_piece(struct pair *p, int side, uint64_t blk, uint64_t n, struct bowimg_error *err)
{
	struct bow_ext_side *s = &p->d->ext->side[side];

	if (blk)
		return bow_ext_read_blocks(s, blk, (unsigned)n, p->buf[side], err);
	memset(p->buf[side], 0, n * s->fs->blocksize);
	return 0;
}

/* Both sides have blocks of the same size, or content is compared as a whole (see below). */
static int on_piece(void *ctx, uint64_t logical, uint64_t n, const uint64_t blk[BOW_SIDES],
		    struct bowimg_error *err)
{
	struct pair *p = ctx;
	const uint64_t size = p->d->ext->side[BOWIMG_NOW].fs->blocksize;
	const uint64_t end = p->size;
	int rc = 0;

	for (uint64_t k, i = 0; !rc && i < n && (logical + i) * size < end; i += k) {
		const uint64_t left = end - (logical + i) * size;

		k = bow_min(n - i, CHUNK_BYTES / size);
		for (int side = 0; side < BOW_SIDES && !rc; side++)
			rc = read_piece(p, side, blk[side] ? blk[side] + i : 0, k, err);
		if (!rc && memcmp(p->buf[0], p->buf[1], bow_min(k * size, left)) != 0)
			rc = DIFFERENT;
	}
	return rc;
}

static int compare_blocks(struct pair *p, struct bowimg_error *err)
{
	struct bow_ext_runs runs[BOW_SIDES] = {{0}, {0}};
	int rc = 0;

	for (int side = 0; side < BOW_SIDES && !rc; side++)
		rc = bow_ext_load_runs(&p->d->ext->side[side], &p->inode[side], &runs[side], err);
	if (!rc)
		rc = bow_diff_pieces(p->d, runs, on_piece, p, err);
	for (int side = 0; side < BOW_SIDES; side++)
		bow_ext_free_runs(&runs[side]);
	return rc;
}

/* At most what fits into a buffer: the start of a file, wherever it is kept. */
static int read_start(struct pair *p, int side, struct bowimg_error *err)
{
	struct bow_ext_side *s = &p->d->ext->side[side];
	struct bow_ext_runs runs;
	size_t bytes;
	int rc;

	memset(p->buf[side], 0, CHUNK_BYTES);
	if (bow_ext_is_inline(&p->inode[side]))
		return bow_ext_read_inline(s, &p->inode[side], p->buf[side], CHUNK_BYTES, &bytes,
					   err);
	rc = bow_ext_load_runs(s, &p->inode[side], &runs, err);
	if (!rc && runs.n && runs.v[0].logical == 0 && !runs.v[0].unwritten)
		rc = bow_ext_read_blocks(s, runs.v[0].physical, 1, p->buf[side], err);
	if (!rc)
		bow_ext_free_runs(&runs);
	return rc;
}

/* Data that is kept in an inode is less than a block; the other side may have it in a block. */
static int compare_inline(struct pair *p, struct bowimg_error *err)
{
	int rc = read_start(p, BOWIMG_NOW, err);

	if (!rc)
		rc = read_start(p, BOWIMG_BEFORE, err);
	if (rc)
		return rc;
	return memcmp(p->buf[0], p->buf[1], bow_min(p->size, CHUNK_BYTES)) != 0;
}

static int compare(struct pair *p, struct bowimg_error *err)
{
	if (bow_ext_is_inline(&p->inode[BOWIMG_NOW]) || bow_ext_is_inline(&p->inode[BOWIMG_BEFORE]))
		return compare_inline(p, err);
	return compare_blocks(p, err);
}

int bow_diff_ext_content_differs(struct bow_diff *d, const struct bow_inode *now,
				 const struct bow_inode *before, bool *differs,
				 struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc((size_t)2 * CHUNK_BYTES);
	struct pair p = {.d = d, .size = now->size, .buf = {buf, buf + CHUNK_BYTES}};
	int rc = buf ? 0 : bow_diff_no_memory(err);

	if (!rc)
		rc = bow_diff_ext_inode(d, BOWIMG_NOW, now->ino, &p.inode[BOWIMG_NOW], err);
	if (!rc)
		rc = bow_diff_ext_inode(d, BOWIMG_BEFORE, before->ino, &p.inode[BOWIMG_BEFORE],
					err);
	if (!rc)
		rc = compare(&p, err);
	*differs = rc == DIFFERENT;
	return rc == DIFFERENT ? 0 : rc;
}

/* ---- for archives -----------------------------------------------------------------------------
 */

static int load_pieces(struct bow_ext_side *s, const struct bow_ext_inode *i,
		       struct bow_content *out, struct bowimg_error *err)
{
	const uint64_t blk = s->fs->blocksize;
	struct bow_ext_runs runs;
	int rc = bow_ext_load_runs(s, i, &runs, err);

	if (rc)
		return rc;
	for (size_t k = 0; !rc && k < runs.n; k++) {
		const struct bow_ext_run *r = &runs.v[k];
		const struct bow_piece piece = {r->logical * blk, r->count * blk, r->physical};

		if (!r->unwritten && piece.off < out->size && bow_content_add(out, &piece))
			rc = bow_diff_no_memory(err);
	}
	bow_ext_free_runs(&runs);
	return rc;
}

int bow_diff_ext_open_content(struct bow_diff *d, uint32_t ino, struct bow_content *out,
			      struct bowimg_error *err)
{
	struct bow_ext_side *s = &d->ext->side[BOWIMG_NOW];
	struct bow_piece whole = {0};
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, BOWIMG_NOW, ino, &inode, err);

	*out = (struct bow_content){.fd = -1};
	if (rc)
		return rc;
	out->size = whole.bytes = bow_ext_size(&inode);
	if (out->size > (UINT64_C(1) << 32) * s->fs->blocksize)
		return bow_ext_bad(s, err, "inode %u has an impossible size", ino);
	if (!bow_ext_is_inline(&inode))
		return load_pieces(s, &inode, out, err);
	return bow_content_add(out, &whole) ? bow_diff_no_memory(err) : 0;
}

static int read_inline(struct bow_ext_side *s, const struct bow_ext_inode *i, void *buf,
		       size_t bytes, struct bowimg_error *err)
{
	size_t got = 0;

	memset(buf, 0, bytes);
	return bow_ext_read_inline(s, i, buf, BOW_DATA_CHUNK, &got, err);
}

int bow_diff_ext_read_content(struct bow_diff *d, uint32_t ino, const struct bow_content *c,
			      const struct bow_piece *piece, uint64_t skip, void *buf, size_t bytes,
			      struct bowimg_error *err)
{
	struct bow_ext_side *s = &d->ext->side[BOWIMG_NOW];
	struct bow_ext_inode inode;
	int rc = 0;

	(void)c;
	if (piece->at)
		return bow_ext_read_blocks(s, piece->at + skip / s->fs->blocksize,
					   (unsigned)bow_div_up(bytes, s->fs->blocksize), buf, err);
	if (skip == 0) {
		rc = bow_diff_ext_inode(d, BOWIMG_NOW, ino, &inode, err);
		return rc ? rc : read_inline(s, &inode, buf, bytes, err);
	}
	memset(buf, 0, bytes); /* more than an inode can hold */
	return 0;
}
