/* SPDX-License-Identifier: MIT */
/*
 * The serving engine: an image with an open checkpoint, between attach and detach.
 *
 *	   prepare              attach                detach
 *	NONE ----> CHECKPOINT, clean ----> attached ----> CHECKPOINT, clean
 *	                                  |   crash
 *	                                  +----------> CHECKPOINT, attached: attach again recovers
 *
 * The invariants that every change here must keep, with their numbers in bowimg-format(5):
 *
 * I1 An ORIGINAL block is overwritten only after its backup and the entry naming it are past a
 *    barrier (engine_write.c: bow_engine_log() before write_data()).
 * I2 The same for a HELD block: it is copied on before the file system gets it. Of the log's newest
 *    segment only after the log has moved to another; block 0's copy only through the superblock.
 * I3 Whatever a power cut keeps, drops, reorders or tears, rollback restores every used block.
 * I4 What was flushed is there after a crash: TAKE and PROMISE entries are durable before a flush
 *    returns; a promise is lifted in the log only when the data is past a barrier (flush below).
 * I7 No request writes outside the image and its tail, or a block that the state table forbids: a
 *    guest's range is checked once on entry, and dests come from the allocator alone.
 *
 * Threads: any number may call. `lock` covers block states and is never held over I/O; an op holds
 * ranges of blocks; one thread at a time leads the log. Nobody waits for blocks while leading, and
 * nobody who holds blocks waits for more of them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "operations/dmbow.h"
#include "operations/engine.h"

#define LIFTS 128u		    /* logged at a time */
#define RESERVE_ALL_BLK (16u << 20) /* up to 64 GiB all block states are allocated at attach */

/* Every page is touched now: serving must not need memory in order to make memory free. */
static void *touched(size_t count, size_t size)
{
	size_t bytes = count * size;
	volatile uint8_t *p = malloc(bytes);

	for (size_t at = 0; p && at < bytes; at += BOW_BLOCK)
		p[at] = 0;
	if (p)
		p[bytes - 1] = 0;
	return (void *)p;
}

static int allocate(struct bowimg *img)
{
	img->lift_ready = bow_bitmap_new(img->blocks.count);
	img->batch = touched(BOW_RECORD_MAX_ENTRIES, sizeof(img->batch[0]));
	img->ahead = bow_bitmap_new(img->blocks.count);
	if (!img->lift_ready || !img->ahead || !img->batch)
		return -ENOMEM;
	for (unsigned i = 0; i < BOW_OPS; i++) {
		struct bow_op *op = &img->ops[i];

		op->buf = touched(BOW_COPY_MAX_BLK, BOW_BLOCK);
		op->dests = touched(BOW_OP_ENTRIES, sizeof(op->dests[0]));
		op->entries = touched(BOW_OP_ENTRIES, sizeof(op->entries[0]));
		if (!op->buf || !op->dests || !op->entries)
			return -ENOMEM;
	}
	if (img->blocks.count > RESERVE_ALL_BLK)
		return 0;
	if (bow_blocks_reserve(&img->blocks, 0, img->blocks.count) ||
	    bow_bitmap_reserve(img->lift_ready, 0, img->blocks.count) ||
	    bow_bitmap_reserve(img->ahead, 0, img->blocks.count))
		return -ENOMEM;
	return 0;
}

/* With everything in the tail, free blocks are the file system's from the start. */
static int give_free_blocks(struct bowimg *img)
{
	if (!(img->sb.flags & BOW_SUPER_STORE_TAIL))
		return 0;
	return bow_bitmap_merge(img->blocks.taken, img->blocks.free);
}

/* Take over what was loaded; the checkpoint gives its block states away. */
static int adopt(struct bowimg *img, struct bow_checkpoint *cp, struct bowimg_error *err)
{
	img->sb = cp->sb;
	img->size = cp->sb.image_size;
	img->blocks = cp->blocks;
	memset(&cp->blocks, 0, sizeof(cp->blocks));
	img->live0_blk = cp->sb.live0_blk;
	img->backup_blk = cp->backup_blk;
	img->changed_blk = cp->changed_blk;
	img->log_blk = cp->log_blk;
	img->queue_end = &img->queue;
	if (bow_log_init(&img->log, img->dev, &img->sb, cp->newest.sector_size) || allocate(img) ||
	    give_free_blocks(img))
		return bow_err_errno(err, -ENOMEM, "set up for serving");
	img->log.newest = cp->newest;
	img->log.pos = cp->next_pos;
	img->log.next_seq = cp->next_seq;
	bow_alloc_init(&img->alloc, &img->blocks, cp->tail_next, img->dev->size / BOW_BLOCK);
	return 0;
}

/* From here on the image counts as in use, until it is detached. */
static int mark_attached(struct bowimg *img, struct bowimg_error *err)
{
	bool was_clean = !(img->sb.flags & BOW_SUPER_ATTACHED);

	img->sb.flags |= BOW_SUPER_ATTACHED;
	return bow_super_leave_clean(img->dev, &img->sb, was_clean, err);
}

static struct bowimg *new_handle(struct bow_dev *dev, const struct bowimg_open_options *opts)
{
	struct bowimg *img = calloc(1, sizeof(*img));

	if (!img)
		return NULL;
	img->dev = dev;
	if (opts)
		img->opts = *opts;
	pthread_mutex_init(&img->lock, NULL);
	pthread_cond_init(&img->changed, NULL);
	pthread_rwlock_init(&img->origins_lock, NULL);
	return img;
}

static int attach(struct bowimg *img, struct bow_opened *o, struct bowimg_error *err)
{
	int rc;

	if (o->dmbow)
		return bow_dmbow_refuse("serve", err);
	if (o->state != BOWIMG_STATE_CHECKPOINT)
		return bow_wrong_state(o->state, "serve", err);
	rc = bow_checkpoint_redo(&o->cp, err);
	if (!rc)
		rc = adopt(img, &o->cp, err);
	return rc ? rc : mark_attached(img, err);
}

int bow_engine_open(struct bow_dev *dev, const struct bowimg_open_options *opts, bowimg **out,
		    struct bowimg_error *err)
{
	struct bowimg *img = new_handle(dev, opts);
	struct bow_opened o;
	int rc;

	if (!img)
		return bow_err_errno(err, -ENOMEM, "set up for serving");
	rc = bow_checkpoint_open(dev, BOW_OPEN_TO_WRITE, img->opts.force, &o, err);
	if (!rc)
		rc = attach(img, &o, err);
	bow_opened_release(&o);
	if (rc)
		bow_engine_free(img);
	else
		*out = img;
	return rc;
}

void bow_engine_free(bowimg *img)
{
	if (!img)
		return;
	bow_log_release(&img->log);
	bow_blocks_release(&img->blocks);
	bow_bitmap_free(img->lift_ready);
	bow_bitmap_free(img->ahead);
	for (unsigned i = 0; i < BOW_OPS; i++) {
		free(img->ops[i].buf);
		free(img->ops[i].dests);
		free(img->ops[i].entries);
	}
	free(img->batch);
	bow_origins_release(&img->origins);
	pthread_rwlock_destroy(&img->origins_lock);
	pthread_cond_destroy(&img->changed);
	pthread_mutex_destroy(&img->lock);
	free(img);
}

uint64_t bowimg_size(const bowimg *img)
{
	return img->size;
}

struct bow_dev *bow_engine_device(const bowimg *img)
{
	return img->dev;
}

/* ---- flush ------------------------------------------------------------------------------------
 */

/* The next few of the lifts that are ready, as entries; their bits are cleared. */
static uint32_t collect_lifts(struct bowimg *img, struct bow_entry *e, uint32_t most,
			      uint64_t *from)
{
	uint64_t n;
	uint32_t k = 0;

	pthread_mutex_lock(&img->lock);
	for (; k < most && bow_bitmap_next_run(img->lift_ready, from, &n, img->blocks.count);
	     *from += n) {
		bow_bitmap_clear(img->lift_ready, *from, n);
		e[k++] = (struct bow_entry){
			.type = BOW_ENTRY_LIFT,
			.source_blk = *from,
			.count_blk = (uint32_t)n,
		};
	}
	pthread_mutex_unlock(&img->lock);
	return k;
}

/*
 * Rule 3: barrier, then the LIFT entries, then another (which bow_engine_log() passes). Lifts that
 * come meanwhile go to the other bitmap: their data may not be durable yet.
 */
static int log_lifts(struct bowimg *img, struct bowimg_error *err)
{
	struct bow_entry e[LIFTS];
	/* Whole units at a time, as the reserve counts them. */
	uint32_t unit = bow_log_unit_entries(&img->log), most = LIFTS / unit * unit, k;
	uint64_t from = 0, blocks;
	int rc = bow_engine_barrier(img, err);

	while (!rc && (k = collect_lifts(img, e, most, &from)) > 0) {
		rc = bow_engine_log(img, e, k, err);
		for (blocks = 0; k--;)
			blocks += e[k].count_blk;
		pthread_mutex_lock(&img->lock);
		img->lifts -= blocks;
		pthread_mutex_unlock(&img->lock);
	}
	return rc;
}

/* With img->lock held: make the lifts so far ours to log; false if there are none. */
static bool claim_lifts(struct bowimg *img)
{
	struct bow_bitmap *ready;

	while (img->lifting)
		pthread_cond_wait(&img->changed, &img->lock);
	if (!bow_bitmap_count(img->blocks.lift))
		return false;
	ready = img->lift_ready;
	img->lift_ready = img->blocks.lift;
	img->blocks.lift = ready;
	img->lifting = true;
	return true;
}

static int flush_lifts(struct bowimg *img, struct bowimg_error *err)
{
	int rc = log_lifts(img, err);

	/* Their bits are gone: nobody would log them again. */
	if (rc)
		bow_engine_fail(img, rc);
	pthread_mutex_lock(&img->lock);
	img->lifting = false;
	pthread_cond_broadcast(&img->changed);
	pthread_mutex_unlock(&img->lock);
	return rc;
}

int bowimg_flush(bowimg *img, struct bowimg_error *err)
{
	bool lifts = false, promises = false;
	int rc;

	pthread_mutex_lock(&img->lock);
	rc = bow_engine_failed(img, err);
	if (!rc) {
		lifts = claim_lifts(img);
		promises = img->n_promises + img->led_promises > 0;
	}
	pthread_mutex_unlock(&img->lock);
	if (rc)
		return rc;
	if (lifts)
		return flush_lifts(img, err);
	/* Rule 4: promises the guest may rely on are durable, and one barrier covers all data. */
	return promises ? bow_engine_log(img, NULL, 0, err) : bow_engine_barrier(img, err);
}

/* ---- detach -----------------------------------------------------------------------------------
 */

static int detach(struct bowimg *img, struct bowimg_error *err)
{
	int rc = bowimg_flush(img, err);

	if (rc)
		return rc;
	bow_engine_lead(img);
	rc = bow_checkpoint_mark_clean(img->dev, &img->sb, img->log.next_seq - 1, err);
	bow_engine_step_down(img);
	return rc;
}

int bowimg_close(bowimg *img, struct bowimg_error *err)
{
	struct bow_dev *dev;
	int rc, rc_close;

	if (!img)
		return 0;
	dev = img->dev;
	rc = detach(img, err);
	bow_engine_free(img);
	rc_close = bow_dev_close(dev, rc ? NULL : err);
	return rc ? bow_err_wrap(err, rc, "detach") : rc_close;
}

void bowimg_get_counters(const bowimg *img, struct bowimg_counters *out)
{
	bowimg *live = (bowimg *)img; /* the lock is no part of what a caller sees as changed */

	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&live->lock);
	out->free_total_bytes = img->sb.free_total_blk * BOW_BLOCK;
	/* With everything in the tail, the guest alone uses the free blocks. */
	out->free_left_bytes = img->sb.flags & BOW_SUPER_STORE_TAIL
				       ? out->free_total_bytes
				       : img->alloc.free_blk * BOW_BLOCK;
	out->backup_bytes = img->backup_blk * BOW_BLOCK;
	out->changed_bytes = img->changed_blk * BOW_BLOCK;
	out->log_bytes = img->log_blk * BOW_BLOCK;
	out->tail_bytes = (img->alloc.tail_end - img->blocks.count) * BOW_BLOCK;
	out->relocated_bytes = img->moved_blk * BOW_BLOCK;
	out->barriers = atomic_load(&live->barriers);
	out->failed = img->failed != 0;
	pthread_mutex_unlock(&live->lock);
}
