/* SPDX-License-Identifier: MIT */
/* The content of files of ext2/3/4: compared where it can differ, and read for an archive. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "bowimg/diff/ext/ext.h"

#define CHUNK_BYTES BOW_DATA_CHUNK
#define DIFFERENT 1 /* ends the walk over pieces */

struct pair {
	struct bow_diff *d;
	struct bow_ext_inode inode[BOW_VERSIONS];
	uint64_t size;
	uint8_t *buf[BOW_VERSIONS]; /* CHUNK_BYTES each */
};

static int read_piece(struct pair *p, int version, uint64_t blk, uint64_t n,
		      struct bowimg_error *err)
{
	struct bow_ext_fs *fs = &p->d->ext->fs[version];

	if (blk)
		return bow_ext_read_blocks(fs, blk, (unsigned)n, p->buf[version], err);
	memset(p->buf[version], 0, n * fs->lib->blocksize);
	return 0;
}

/* Both versions have blocks of the same size: see relate() in ext.c. */
static int on_piece(void *ctx, uint64_t logical, uint64_t n, const uint64_t blk[BOW_VERSIONS],
		    struct bowimg_error *err)
{
	struct pair *p = ctx;
	const uint64_t size = p->d->ext->fs[BOW_NEW].lib->blocksize;
	const uint64_t end = p->size;
	int rc = 0;

	for (uint64_t k, i = 0; !rc && i < n && (logical + i) * size < end; i += k) {
		const uint64_t left = end - (logical + i) * size;

		k = bow_min(n - i, CHUNK_BYTES / size);
		for (int version = 0; version < BOW_VERSIONS && !rc; version++)
			rc = read_piece(p, version, blk[version] ? blk[version] + i : 0, k, err);
		if (!rc && memcmp(p->buf[0], p->buf[1], bow_min(k * size, left)) != 0)
			rc = DIFFERENT;
	}
	return rc;
}

static int compare_blocks(struct pair *p, struct bowimg_error *err)
{
	struct bow_ext_runs runs[BOW_VERSIONS] = {{0}, {0}};
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS && !rc; version++)
		rc = bow_ext_load_runs(&p->d->ext->fs[version], &p->inode[version], &runs[version],
				       err);
	if (!rc)
		rc = bow_diff_pieces(p->d, runs, on_piece, p, err);
	for (int version = 0; version < BOW_VERSIONS; version++)
		bow_ext_free_runs(&runs[version]);
	return rc;
}

/* Read the start of a file, wherever it is kept, as far as it fits into the buffer. */
static int read_start(struct pair *p, int version, struct bowimg_error *err)
{
	struct bow_ext_fs *fs = &p->d->ext->fs[version];
	struct bow_ext_runs runs;
	size_t bytes;
	int rc;

	memset(p->buf[version], 0, CHUNK_BYTES);
	if (bow_ext_is_inline(&p->inode[version]))
		return bow_ext_read_inline(fs, &p->inode[version], p->buf[version], CHUNK_BYTES,
					   &bytes, err);
	rc = bow_ext_load_runs(fs, &p->inode[version], &runs, err);
	if (!rc && runs.n && runs.v[0].logical == 0 && !runs.v[0].unwritten)
		rc = bow_ext_read_blocks(fs, runs.v[0].physical, 1, p->buf[version], err);
	if (!rc)
		bow_ext_free_runs(&runs);
	return rc;
}

/* Data in an inode is less than a block. The other version may have it in a block. */
static int compare_inline(struct pair *p, struct bowimg_error *err)
{
	int rc = read_start(p, BOW_NEW, err);

	if (!rc)
		rc = read_start(p, BOW_OLD, err);
	if (rc)
		return rc;
	return memcmp(p->buf[0], p->buf[1], bow_min(p->size, CHUNK_BYTES)) != 0;
}

static int compare(struct pair *p, struct bowimg_error *err)
{
	if (bow_ext_is_inline(&p->inode[BOW_NEW]) || bow_ext_is_inline(&p->inode[BOW_OLD]))
		return compare_inline(p, err);
	return compare_blocks(p, err);
}

int bow_diff_ext_content_differs(struct bow_diff *d, const struct bow_inode *new,
				 const struct bow_inode *old, bool *differs,
				 struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc((size_t)2 * CHUNK_BYTES);
	struct pair p = {.d = d, .size = new->size, .buf = {buf, buf + CHUNK_BYTES}};
	int rc = buf ? 0 : bow_diff_no_memory(err);

	if (!rc)
		rc = bow_diff_ext_inode(d, BOW_NEW, new->ino, &p.inode[BOW_NEW], err);
	if (!rc)
		rc = bow_diff_ext_inode(d, BOW_OLD, old->ino, &p.inode[BOW_OLD], err);
	if (!rc)
		rc = compare(&p, err);
	*differs = rc == DIFFERENT;
	return rc == DIFFERENT ? 0 : rc;
}

/* ---- for archives ---------------------------------------------------------------- */

static int load_pieces(struct bow_ext_fs *fs, const struct bow_ext_inode *i,
		       struct bow_content *out, struct bowimg_error *err)
{
	const uint64_t blk = fs->lib->blocksize;
	struct bow_ext_runs runs;
	int rc = bow_ext_load_runs(fs, i, &runs, err);

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
	struct bow_ext_fs *fs = &d->ext->fs[BOW_NEW];
	struct bow_piece whole = {0};
	struct bow_ext_inode inode;
	int rc = bow_diff_ext_inode(d, BOW_NEW, ino, &inode, err);

	*out = (struct bow_content){.fd = -1};
	if (rc)
		return rc;
	out->size = whole.bytes = bow_ext_size(&inode);
	if (out->size > (UINT64_C(1) << 32) * fs->lib->blocksize)
		return bow_ext_bad(fs, err, "inode %u has an impossible size", ino);
	if (!bow_ext_is_inline(&inode))
		return load_pieces(fs, &inode, out, err);
	return bow_content_add(out, &whole) ? bow_diff_no_memory(err) : 0;
}

static int read_inline(struct bow_ext_fs *fs, const struct bow_ext_inode *i, void *buf,
		       size_t bytes, struct bowimg_error *err)
{
	size_t got = 0;

	memset(buf, 0, bytes);
	return bow_ext_read_inline(fs, i, buf, BOW_DATA_CHUNK, &got, err);
}

int bow_diff_ext_read_content(struct bow_diff *d, uint32_t ino, const struct bow_content *c,
			      const struct bow_piece *piece, uint64_t skip, void *buf, size_t bytes,
			      struct bowimg_error *err)
{
	struct bow_ext_fs *fs = &d->ext->fs[BOW_NEW];
	struct bow_ext_inode inode;
	int rc = 0;

	(void)c;
	if (piece->at)
		return bow_ext_read_blocks(fs, piece->at + skip / fs->lib->blocksize,
					   (unsigned)bow_div_up(bytes, fs->lib->blocksize), buf,
					   err);
	if (skip == 0) {
		rc = bow_diff_ext_inode(d, BOW_NEW, ino, &inode, err);
		return rc ? rc : read_inline(fs, &inode, buf, bytes, err);
	}
	memset(buf, 0, bytes); /* more than an inode can hold */
	return 0;
}
