/* SPDX-License-Identifier: MIT */
/*
 * Reading, and finding zeros without reading. The states are looked at under the lock, and the data
 * is read without it. If the answer depends on blocks that bowimg may take for itself meanwhile
 * (FREE ones, block 0's copy), it is checked again: `moves` shows whether that happened.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

#define EXTENT_BLK (1u << 18) /* looked at in one go: 1 GiB */

enum source { FROM_IMAGE, ZEROS, FROM_COPY };

/* Blocks that read the same way, as they were when they were looked at. */
struct stretch {
	enum source source;
	uint64_t count_blk;
	uint64_t live0_blk, moves;
	uint64_t free_blk; /* how much of it is FREE */
	struct bow_flight flight;
};

/*
 * Finds how the blocks from blk on (at most n) read: the longest run that reads the same way. The
 * caller ends the flight that begins here.
 */
static struct stretch look(struct bow_engine *img, uint64_t blk, uint64_t n)
{
	struct stretch r = {.source = FROM_IMAGE};
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
	r.flight = bow_flight_begin(img);
	pthread_mutex_unlock(&img->lock);
	return r;
}

/*
 * Were FREE blocks taken while they were read? Then the data may be part of a backup. A block that
 * is still FREE was FREE all the time: none is given back while this read is in flight. So it ends
 * as soon as no more are taken.
 */
static bool went(struct bow_engine *img, const struct stretch *r, uint64_t blk)
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

static bool copy_moved(struct bow_engine *img, const struct stretch *r)
{
	bool moved;

	pthread_mutex_lock(&img->lock);
	moved = img->live0_blk != r->live0_blk;
	pthread_mutex_unlock(&img->lock);
	return moved;
}

/* Read the data of one run; *done bytes of it (0: look again). */
static int read_run(struct bow_engine *img, uint8_t *buf, size_t bytes, uint64_t off, size_t *done,
		    struct bowimg_error *err)
{
	uint64_t blk = off / BOW_BLOCK, n = (off + bytes - 1) / BOW_BLOCK - blk + 1;
	struct stretch r = look(img, blk, n);
	size_t k = (size_t)bow_min(bytes, (blk + r.count_blk) * BOW_BLOCK - off);
	bool moved;
	int rc = 0;

	if (r.source == ZEROS)
		memset(buf, 0, k);
	else if (r.source == FROM_COPY)
		rc = bow_disk_read(img->dev, buf, k, r.live0_blk * BOW_BLOCK + off % BOW_BLOCK,
				   err);
	else
		rc = bow_disk_read(img->dev, buf, k, off, err);
	moved = r.source == FROM_COPY ? copy_moved(img, &r) : went(img, &r, blk);
	bow_flight_end(img, r.flight);
	*done = moved ? 0 : k;
	return rc;
}

int bow_engine_read(struct bow_engine *img, void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err)
{
	uint8_t *p = buf;
	size_t k;
	int rc = 0;

	for (; bytes && !rc; p += k, off += k, bytes -= k)
		rc = read_run(img, p, bytes, off, &k, err);
	return rc;
}

/*
 * A hole of the image that the guest reads through stays a hole until the guest writes there or
 * bowimg takes it; then, too, the guest reads zeros.
 */
int bow_engine_extent(struct bow_engine *img, uint64_t off, bool *zero, uint64_t *bytes,
		      struct bowimg_error *err)
{
	uint64_t blk = off / BOW_BLOCK, reach, of_hole;
	struct stretch r;
	bool hole = false;
	int rc = 0;

	r = look(img, blk, bow_min(img->blocks.count - blk, EXTENT_BLK));
	reach = bow_min((blk + r.count_blk) * BOW_BLOCK, img->disk.size) - off;
	if (r.source == FROM_IMAGE) {
		rc = bow_disk_extent(img->dev, off, &hole, &of_hole, err);
		if (!rc)
			reach = bow_min(reach, of_hole);
	}
	bow_flight_end(img, r.flight);
	if (rc)
		return rc;
	*zero = hole || r.source == ZEROS;
	*bytes = reach;
	return 0;
}
