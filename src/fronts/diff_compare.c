/* SPDX-License-Identifier: MIT */
/* What differs between two inodes; content is read only where it can differ. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "fronts/diff_private.h"

#define CHUNK_BYTES (1u << 20)
#define DIFFERENT 1 /* ends the walk over pieces */

struct pair {
	struct bow_diff *d;
	struct bow_ext_inode inode[BOW_SIDES];
	uint8_t *buf[BOW_SIDES]; /* CHUNK_BYTES each */
	unsigned what;
};

static int read_piece(struct pair *p, int side, uint64_t blk, uint64_t n, struct bowimg_error *err)
{
	struct bow_ext_side *s = &p->d->side[side];

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
	const uint64_t size = p->d->side[BOWIMG_NOW].fs->blocksize;
	const uint64_t end = bow_ext_size(&p->inode[BOWIMG_NOW]);
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
		rc = bow_ext_load_runs(&p->d->side[side], &p->inode[side], &runs[side], err);
	if (!rc)
		rc = bow_diff_pieces(p->d, runs, on_piece, p, err);
	for (int side = 0; side < BOW_SIDES; side++)
		bow_ext_free_runs(&runs[side]);
	return rc;
}

/* At most what fits into a buffer: the start of a file, wherever it is kept. */
static int read_start(struct pair *p, int side, struct bowimg_error *err)
{
	struct bow_ext_side *s = &p->d->side[side];
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
	return memcmp(p->buf[0], p->buf[1], bow_min(bow_ext_size(&p->inode[0]), CHUNK_BYTES)) != 0;
}

static int compare_content(struct pair *p, struct bowimg_error *err)
{
	int rc;

	if (bow_ext_size(&p->inode[BOWIMG_NOW]) != bow_ext_size(&p->inode[BOWIMG_BEFORE])) {
		p->what |= BOW_DIFF_CONTENT | BOW_DIFF_SIZE;
		return 0;
	}
	if (bow_ext_is_inline(&p->inode[BOWIMG_NOW]) || bow_ext_is_inline(&p->inode[BOWIMG_BEFORE]))
		rc = compare_inline(p, err);
	else
		rc = compare_blocks(p, err);
	if (rc == DIFFERENT)
		p->what |= BOW_DIFF_CONTENT;
	return rc == DIFFERENT ? 0 : rc;
}

static int compare_targets(struct pair *p, struct bowimg_error *err)
{
	char *target[BOW_SIDES] = {NULL, NULL};
	int rc = 0;

	for (int side = 0; side < BOW_SIDES && !rc; side++)
		rc = bow_ext_read_link(&p->d->side[side], &p->inode[side], &target[side], err);
	if (!rc && strcmp(target[0], target[1]) != 0)
		p->what |= BOW_DIFF_TARGET;
	free(target[0]);
	free(target[1]);
	return rc;
}

static int compare_attrs(struct pair *p, struct bowimg_error *err)
{
	struct bow_ext_attrs attrs[BOW_SIDES] = {{0}, {0}};
	int rc = 0;

	for (int side = 0; side < BOW_SIDES && !rc; side++)
		rc = bow_ext_load_attrs(&p->d->side[side], &p->inode[side], &attrs[side], err);
	if (!rc && !bow_ext_same_attrs(&attrs[0], &attrs[1]))
		p->what |= BOW_DIFF_XATTRS;
	bow_ext_free_attrs(&attrs[0]);
	bow_ext_free_attrs(&attrs[1]);
	return rc;
}

static void compare_inodes(struct pair *p)
{
	const struct bow_ext_inode *now = &p->inode[BOWIMG_NOW], *before = &p->inode[BOWIMG_BEFORE];
	const struct timespec t = bow_ext_mtime(now), u = bow_ext_mtime(before);

	if ((now->raw.i_mode ^ before->raw.i_mode) & 07777)
		p->what |= BOW_DIFF_MODE;
	if (bow_ext_uid(now) != bow_ext_uid(before) || bow_ext_gid(now) != bow_ext_gid(before))
		p->what |= BOW_DIFF_OWNER;
	if (t.tv_sec != u.tv_sec || t.tv_nsec != u.tv_nsec)
		p->what |= BOW_DIFF_TIMES;
}

static int compare_type(struct pair *p, struct bowimg_error *err)
{
	unsigned major[BOW_SIDES], minor[BOW_SIDES];

	switch (bow_ext_type(&p->inode[BOWIMG_NOW])) {
	case LINUX_S_IFREG:
		return compare_content(p, err);
	case LINUX_S_IFLNK:
		return compare_targets(p, err);
	case LINUX_S_IFCHR:
	case LINUX_S_IFBLK:
		for (int side = 0; side < BOW_SIDES; side++)
			bow_ext_device(&p->inode[side], &major[side], &minor[side]);
		if (major[0] != major[1] || minor[0] != minor[1])
			p->what |= BOW_DIFF_DEVICE;
		return 0;
	default:
		return 0; /* of a directory the names are compared elsewhere */
	}
}

static int compare(struct pair *p, struct bowimg_error *err)
{
	int rc;

	compare_inodes(p);
	if (bow_ext_type(&p->inode[BOWIMG_NOW]) != bow_ext_type(&p->inode[BOWIMG_BEFORE])) {
		p->what |= BOW_DIFF_TYPE;
		return 0;
	}
	rc = compare_attrs(p, err);
	return rc ? rc : compare_type(p, err);
}

int bow_diff_compare(struct bow_diff *d, ext2_ino_t now, ext2_ino_t before, unsigned *what,
		     struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc((size_t)2 * CHUNK_BYTES);
	struct pair p = {.d = d, .buf = {buf, buf + CHUNK_BYTES}};
	int rc = buf ? 0 : bow_diff_no_memory(err);

	if (!rc)
		rc = bow_diff_inode(d, BOWIMG_NOW, now, &p.inode[BOWIMG_NOW], err);
	if (!rc)
		rc = bow_diff_inode(d, BOWIMG_BEFORE, before, &p.inode[BOWIMG_BEFORE], err);
	if (!rc)
		rc = compare(&p, err);
	*what = p.what;
	return rc;
}
