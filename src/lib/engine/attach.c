/* SPDX-License-Identifier: MIT */
/*
 * Makes a serving engine of an open checkpoint: takes over states and memory, and marks the image
 * as in use. Ends that, too.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/engine/carry.h"

#define RESERVE_ALL_BLK (16u << 20) /* up to 64 GiB all block states are allocated at attach */

/* No thread may begin while a loop device waits for us. */
static int gather_crew(struct bow_engine *img)
{
	unsigned n = bow_crew_size(img->dev->queue_depth);

	if (n < 2)
		return 0;
	for (unsigned i = 0; i < n - 1; i++) {
		img->crew_buf[i] = malloc((size_t)BOW_COPY_MAX_BLK * BOW_BLOCK);
		if (!img->crew_buf[i])
			return -ENOMEM;
	}
	img->crew = bow_crew_new(n);
	return img->crew ? 0 : -ENOMEM;
}

static int allocate_request(struct bow_request *req, uint32_t most)
{
	req->most = most;
	req->buf = malloc((size_t)BOW_COPY_MAX_BLK * BOW_BLOCK);
	req->dests = malloc(most * sizeof(req->dests[0]));
	req->entries = malloc(most * sizeof(req->entries[0]));
	return req->buf && req->dests && req->entries ? 0 : -ENOMEM;
}

static int allocate_requests(struct bow_engine *img)
{
	uint32_t most = img->crew ? BOW_CREW_ENTRIES : BOW_REQUEST_ENTRIES;
	struct bow_request *many = &img->requests[BOW_REQUESTS];
	int rc = 0;

	for (unsigned i = 0; i < BOW_REQUESTS && !rc; i++)
		rc = allocate_request(&img->requests[i], most);
	many->held = malloc(BOW_MANY_BLK * sizeof(many->held[0]));
	return rc || !many->held ? -ENOMEM : allocate_request(many, BOW_MANY_BLK);
}

static int allocate(struct bow_engine *img)
{
	img->zero_done_ready = bow_bitmap_new(img->blocks.count);
	img->batch = malloc(BOW_RECORD_MAX_ENTRIES * sizeof(img->batch[0]));
	img->ahead = bow_bitmap_new(img->blocks.count);
	img->emptied = bow_bitmap_new(img->blocks.count);
	img->giving = bow_bitmap_new(img->blocks.count);
	img->backup_index = calloc(img->epochs, sizeof(*img->backup_index));
	if (!img->backup_index || !img->zero_done_ready || !img->ahead || !img->emptied ||
	    !img->giving || !img->batch)
		return -ENOMEM;
	if (allocate_requests(img))
		return -ENOMEM;
	if (img->blocks.count > RESERVE_ALL_BLK)
		return 0;
	if (bow_blocks_reserve(&img->blocks, 0, img->blocks.count) ||
	    bow_bitmap_reserve(img->zero_done_ready, 0, img->blocks.count) ||
	    bow_bitmap_reserve(img->ahead, 0, img->blocks.count) ||
	    bow_bitmap_reserve(img->emptied, 0, img->blocks.count) ||
	    bow_bitmap_reserve(img->giving, 0, img->blocks.count))
		return -ENOMEM;
	return 0;
}

/* If everything is stored in the tail, free blocks are the file system's from the start. */
static int give_free_blocks(struct bow_engine *img)
{
	if (!(img->sb.flags & BOW_SUPER_STORE_TAIL))
		return 0;
	return bow_bitmap_merge(img->blocks.taken, img->blocks.free);
}

/* Where views begin. What was saved in each epoch is found by its backups. */
static void adopt_epochs(struct bow_engine *img, struct bow_checkpoint *cp)
{
	img->free0 = cp->free0;
	img->epoch = cp->epochs;
	img->epochs = cp->n_epochs;
	cp->free0 = NULL;
	cp->epochs = NULL;
	cp->n_epochs = 0;
	for (uint32_t i = 0; i < img->epochs; i++) {
		bow_bitmap_free(img->epoch[i].saved);
		img->epoch[i].saved = NULL;
	}
}

/* Take over the loaded checkpoint, which gives its block states away. */
static int adopt(struct bow_engine *img, struct bow_checkpoint *cp, struct bowimg_error *err)
{
	img->sb = cp->sb;
	img->disk.size = cp->sb.image_size;
	img->blocks = cp->blocks;
	memset(&cp->blocks, 0, sizeof(cp->blocks));
	img->live0_blk = cp->sb.live0_blk;
	img->backup_blk = cp->backup_blk;
	img->changed_blk = cp->changed_blk;
	img->log_blk = cp->log_blk;
	img->segments = cp->segments;
	adopt_epochs(img, cp);
	img->queue_end = &img->queue;
	if (bow_log_init(&img->log, img->dev, &img->sb, cp->newest.sector_size) ||
	    gather_crew(img) || allocate(img) || give_free_blocks(img))
		return bow_err_errno(err, -ENOMEM, "set up for serving");
	img->log.newest = cp->newest;
	img->log.pos = cp->next_pos;
	img->log.next_seq = cp->next_seq;
	bow_alloc_init(&img->alloc, &img->blocks, cp->tail_next, img->dev->size / BOW_BLOCK);
	if (bow_alloc_find_gaps(&img->alloc, cp->tail))
		return bow_err_errno(err, -ENOMEM, "set up for serving");
	return 0;
}

/* From here on the image counts as in use, until it is detached. */
static int mark_attached(struct bow_engine *img, struct bowimg_error *err)
{
	bool was_clean = !(img->sb.flags & BOW_SUPER_ATTACHED);
	int rc;

	img->sb.flags |= BOW_SUPER_ATTACHED;
	bow_carry_announce_super(img);
	rc = bow_super_leave_clean(img->dev, &img->sb, was_clean, err);
	if (!rc)
		bow_carry_note_super(img);
	return rc;
}

/* ---- what a killed process left (carry.c): pending and done zeros that its log lacks ---- */

static int take_zero_pending_run(struct bow_engine *img, const struct bow_run *run,
				 struct bowimg_error *err)
{
	int rc;

	if (run->start_blk > img->blocks.count || run->count_blk > UINT32_MAX ||
	    run->count_blk > img->blocks.count - run->start_blk || !run->count_blk)
		return bow_err(err, -EBADMSG, "the state that the last process left is damaged");
	while (!bow_engine_queue_zero_pending(img, run->start_blk, run->count_blk)) {
		rc = bow_engine_log(img, NULL, 0, err);
		if (rc)
			return rc;
	}
	rc = bow_bitmap_set(img->blocks.zero_pending, run->start_blk, run->count_blk);
	return rc ? bow_err_errno(err, rc, "take over pending zeros") : 0;
}

static int take_zero_pending(struct bow_engine *img, const struct bow_carried_zeros *list,
			     struct bowimg_error *err)
{
	uint32_t n = list->n;
	int rc = n > BOW_ZERO_PENDING_MAX
			 ? bow_err(err, -EBADMSG, "the state that the last process left is damaged")
			 : 0;

	for (uint32_t i = 0; i < n && !rc; i++)
		rc = take_zero_pending_run(img, &list->runs[i], err);
	return rc;
}

/* The block was written as a whole: its content counts, and the next flush logs that. */
static int take_zero_done_blk(struct bow_engine *img, uint64_t blk)
{
	int rc = 0;

	if (!bow_bitmap_test(img->blocks.zero_pending, blk))
		return 0;
	rc = bow_bitmap_clear(img->blocks.zero_pending, blk, 1);
	if (!rc)
		rc = bow_bitmap_set(img->blocks.zero_done, blk, 1);
	img->n_zero_done += !rc;
	return rc;
}

static int take_zero_done(struct bow_engine *img, const struct bow_carry *c,
			  struct bowimg_error *err)
{
	uint64_t words = bow_div_up(img->blocks.count, 64), left;
	int rc = 0;

	for (uint64_t w = 0; w < words && !rc; w++)
		for (left = c->zero_done[w]; left && !rc; left &= left - 1) {
			uint64_t blk = w * 64 + (uint64_t)__builtin_ctzll(left);

			rc = blk < img->blocks.count ? take_zero_done_blk(img, blk) : -EBADMSG;
		}
	return rc ? bow_err_errno(err, rc, "take over done zeros") : 0;
}

/*
 * Runs before another thread has the handle. Both lists stay as they are until the flush has logged
 * all of it: a process that dies here leaves them to the next.
 */
static int take_over(struct bow_engine *img, struct bowimg_error *err)
{
	struct bow_carry *c = img->carry;
	int rc;

	if (!img->carried)
		return 0;
	rc = take_zero_pending(img, &c->lists[c->current % 2], err);
	if (!rc)
		rc = take_zero_done(img, c, err);
	if (!rc)
		rc = bow_engine_flush(img, err);
	if (rc)
		return rc;
	bow_carry_forget_zero_done(img);
	img->carrying = true;
	bow_carry_zero_pending_logged(img);
	return 0;
}

/* ---- attach and detach ------------------------------------------------------------ */

struct bow_engine *bow_engine_new(struct bowimg_disk *dev, const struct bowimg_open_options *opts)
{
	struct bow_engine *img = calloc(1, sizeof(*img));

	if (!img)
		return NULL;
	if (bow_gather_init(&img->gather)) {
		free(img);
		return NULL;
	}
	img->dev = dev;
	if (opts)
		img->opts = *opts;
	pthread_mutex_init(&img->lock, NULL);
	pthread_cond_init(&img->changed, NULL);
	pthread_cond_init(&img->stepped_down, NULL);
	pthread_rwlock_init(&img->index_lock, NULL);
	return img;
}

int bow_engine_attach(struct bow_engine *img, struct bow_checkpoint *cp, struct bowimg_error *err)
{
	bool was_clean = !(cp->sb.flags & BOW_SUPER_ATTACHED);
	int rc = bow_checkpoint_redo(cp, err);

	if (!rc)
		rc = adopt(img, cp, err);
	if (!rc)
		rc = bow_carry_open(img, err);
	if (!rc)
		rc = mark_attached(img, err);
	if (!rc)
		rc = take_over(img, err);
	if (!rc)
		bow_share_open(img, was_clean);
	return rc;
}

void bow_engine_release(struct bow_engine *img)
{
	bow_crew_free(img->crew);
	for (unsigned i = 0; i < BOW_CREW_MAX - 1; i++)
		free(img->crew_buf[i]);
	bow_carry_close(img);
	bow_log_release(&img->log);
	bow_alloc_release(&img->alloc);
	bow_blocks_release(&img->blocks);
	bow_bitmap_free(img->zero_done_ready);
	bow_bitmap_free(img->ahead);
	bow_bitmap_free(img->emptied);
	bow_bitmap_free(img->giving);
	for (unsigned i = 0; i < BOW_SLOTS; i++) {
		free(img->requests[i].buf);
		free(img->requests[i].held);
		free(img->requests[i].dests);
		free(img->requests[i].entries);
	}
	free(img->batch);
	for (uint32_t i = 0; img->backup_index && i < img->epochs; i++)
		bow_backup_index_release(&img->backup_index[i]);
	free(img->backup_index);
	free(img->epoch);
	bow_bitmap_free(img->free0);
	pthread_rwlock_destroy(&img->index_lock);
	pthread_cond_destroy(&img->changed);
	pthread_cond_destroy(&img->stepped_down);
	bow_gather_release(&img->gather);
	pthread_mutex_destroy(&img->lock);
	free(img);
}

int bow_engine_detach(struct bow_engine *img, struct bowimg_error *err)
{
	uint64_t given;
	int rc = bow_engine_flush(img, err);

	/* Report it again: only the guest has seen that its writes were refused. */
	if (rc && img->failed == -ESTALE)
		rc = bow_disk_check_first(img->dev, err) ?: bow_err_wrap(err, -ESTALE, "flush");
	if (rc)
		return rc;
	/* What is not logged now is the guest's for good: only this process knows that it is empty.
	 */
	bow_give(img, BOW_GIVE_AT_DETACH, &given, NULL);
	pthread_mutex_lock(&img->lock);
	rc = bow_engine_failed(img, err);
	pthread_mutex_unlock(&img->lock);
	if (rc)
		return rc;
	bow_engine_lead(img);
	rc = bow_checkpoint_mark_clean(img->dev, &img->sb, img->log.next_seq - 1, err);
	bow_engine_step_down(img);
	return rc;
}
