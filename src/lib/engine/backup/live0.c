/* SPDX-License-Identifier: MIT */
/*
 * Moves block 0's live copy out of the way of a request. The copy is not in the log: it is moved by
 * the superblock (rule 6).
 */
#include <assert.h>

#include "lib/engine/engine.h"

static int copy_live0(struct bow_engine *img, struct bow_request *req, uint64_t to,
		      struct bowimg_error *err)
{
	int rc = bow_disk_read(img->dev, req->buf, BOW_BLOCK, img->live0_blk * BOW_BLOCK, err);

	if (!rc)
		rc = bow_disk_write(img->dev, req->buf, BOW_BLOCK, to * BOW_BLOCK, err);
	if (!rc)
		rc = bow_engine_barrier(img, err);
	if (rc)
		return rc;
	img->sb.live0_blk = to;
	rc = bow_engine_write_super(img, err);
	return rc ? rc : bow_engine_barrier(img, err);
}

/* The copy is at `to`: its old place becomes the request's, by a TAKE. */
static void take_old_live0(struct bow_engine *img, struct bow_request *req, uint64_t to)
{
	uint64_t old = img->live0_blk;

	pthread_mutex_lock(&img->lock);
	img->live0_blk = to;
	img->moves++;
	req->old_live0 = old;
	pthread_mutex_unlock(&img->lock);
	req->entries[req->n++] = (struct bow_entry){
		.type = BOW_ENTRY_TAKE,
		.source_blk = old,
		.count_blk = 1,
	};
}

/*
 * Rule 6: only the superblock names the copy. Writes to block 0 wait meanwhile, since the request
 * holds it. The block that the copy leaves stays HELD, and becomes LIVE when the request settles,
 * by the TAKE entry added here.
 */
int bow_engine_move_live0(struct bow_engine *img, struct bow_request *req, struct bowimg_error *err)
{
	uint64_t to;
	int rc;

	assert(req->block0);
	bow_engine_lead(img);
	pthread_mutex_lock(&img->lock);
	rc = bow_request_dest(img, req, 1, &to) ? 0 : -ENOMEM;
	pthread_mutex_unlock(&img->lock);
	rc = rc ? bow_err_errno(err, rc, "move block 0's copy") : copy_live0(img, req, to, err);
	if (!rc)
		take_old_live0(img, req, to);
	bow_engine_step_down(img);
	return rc;
}
