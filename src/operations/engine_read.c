/* SPDX-License-Identifier: MIT */
/*
 * Reading, and telling zeros without reading. The states are looked at under the lock, the data is
 * read without it, and where the answer rested on blocks that bowimg may take for itself meanwhile
 * (FREE ones, block 0's copy), it is looked at again: `moves` tells whether anything of that kind
 * happened.
 */
#include <string.h>

#include "base/bytes.h"
#include "operations/engine.h"

#define EXTENT_BLK (1u << 18) /* looked at in one go: 1 GiB */

enum source { FROM_IMAGE, ZEROS, FROM_COPY };

struct run {
	enum source source;
	uint64_t count_blk;
	uint64_t live0_blk, moves;
	uint64_t free_blk; /* how much of it is FREE */
};

/* How the blocks from blk on (at most n) read; the longest run that reads the same way. */
static struct run look(struct bowimg *img, uint64_t blk, uint64_t n)
{
	struct run r = {.source = FROM_IMAGE};
	enum bow_block_state state;
	uint64_t run;
	bool zero;

	pthread_mutex_lock(&img->lock);
	r.moves = img->moves;
	r.live0_blk = img->live0_blk;
	if (blk == 0) {
		r.source = FROM_COPY;
		r.count_blk = 1;
	}
	while (blk > 0 && r.count_blk < n) {
		run = bow_blocks_run(&img->blocks, blk + r.count_blk, n - r.count_blk, &state,
				     &zero);
		enum source source = zero || state == BOW_HELD ? ZEROS : FROM_IMAGE;

		if (r.count_blk && source != r.source)
			break;
		r.source = source;
		r.count_blk += run;
		r.free_blk += state == BOW_FREE ? run : 0;
	}
	pthread_mutex_unlock(&img->lock);
	return r;
}

/*
 * Were FREE blocks taken while they were read? Then what was read may be part of a backup. A block
 * that is FREE still was so all the time, and none becomes FREE again, so that this ends.
 */
static bool went(struct bowimg *img, const struct run *r, uint64_t blk)
{
	uint64_t end = blk + r->count_blk, run, free_blk = 0;
	enum bow_block_state state;
	bool zero;

	if (!r->free_blk)
		return false;
	pthread_mutex_lock(&img->lock);
	for (; img->moves != r->moves && blk < end; blk += run) {
		run = bow_blocks_run(&img->blocks, blk, end - blk, &state, &zero);
		free_blk += state == BOW_FREE ? run : 0;
	}
	pthread_mutex_unlock(&img->lock);
	return free_blk != r->free_blk && blk == end;
}

static int read_copy(struct bowimg *img, const struct run *r, void *buf, size_t bytes,
		     size_t in_blk, bool *moved, struct bowimg_error *err)
{
	int rc = bow_dev_read(img->dev, buf, bytes, r->live0_blk * BOW_BLOCK + in_blk, err);

	pthread_mutex_lock(&img->lock);
	*moved = img->live0_blk != r->live0_blk;
	pthread_mutex_unlock(&img->lock);
	return rc;
}

/* Read what lies in one run; *done bytes of it (0 if it has to be looked at again). */
static int read_run(struct bowimg *img, uint8_t *buf, size_t bytes, uint64_t off, size_t *done,
		    struct bowimg_error *err)
{
	uint64_t blk = off / BOW_BLOCK, n = (off + bytes - 1) / BOW_BLOCK - blk + 1;
	struct run r = look(img, blk, n);
	size_t k = (size_t)bow_min(bytes, (blk + r.count_blk) * BOW_BLOCK - off);
	bool moved = false;
	int rc = 0;

	if (r.source == ZEROS)
		memset(buf, 0, k);
	else if (r.source == FROM_COPY)
		rc = read_copy(img, &r, buf, k, off % BOW_BLOCK, &moved, err);
	else
		rc = bow_dev_read(img->dev, buf, k, off, err);
	*done = moved || went(img, &r, blk) ? 0 : k;
	return rc;
}

int bowimg_read(struct bowimg *img, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err)
{
	uint8_t *p = buf;
	size_t k;
	int rc = 0;

	if (off > img->size || bytes > img->size - off)
		return bow_err(err, -EINVAL, "read beyond the end of the disk");
	for (; bytes && !rc; p += k, off += k, bytes -= k)
		rc = read_run(img, p, bytes, off, &k, err);
	return rc;
}

/*
 * A hole of the image that the guest reads through stays one until the guest writes there, or
 * bowimg takes it, and then the guest reads zeros all the same.
 */
int bowimg_extent(struct bowimg *img, uint64_t off, bool *zero, uint64_t *bytes,
		  struct bowimg_error *err)
{
	uint64_t blk = off / BOW_BLOCK, reach, of_hole;
	struct run r;
	bool hole = false;
	int rc = 0;

	if (off >= img->size)
		return bow_err(err, -EINVAL, "look for zeros beyond the end of the disk");
	r = look(img, blk, bow_min(img->blocks.count - blk, EXTENT_BLK));
	reach = bow_min((blk + r.count_blk) * BOW_BLOCK, img->size) - off;
	if (r.source == FROM_IMAGE) {
		rc = bow_dev_extent(img->dev, off, &hole, &of_hole, err);
		if (rc)
			return rc;
		reach = bow_min(reach, of_hole);
	}
	*zero = hole || r.source == ZEROS;
	*bytes = reach;
	return 0;
}
