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
 *    barrier (write.c: bow_engine_log() before write_data()).
 * I2 The same for a HELD block: it is copied on before the file system gets it. A block of the
 *    log's newest segment is given away only after the log has moved to another segment, and block
 *    0's copy moves only through the superblock.
 * I3 Whatever a power cut keeps, drops, reorders or tears, rollback restores every used block.
 * I4 What was flushed is there after a crash: TAKE and ZERO_PENDING entries are durable before a
 *    flush returns; ZERO_DONE is logged only when the data is past a barrier (flush.c). A block
 *    is given back only if no ZERO_DONE of it is still to come (give.c).
 * I7 No request writes outside the image and its tail, or a block that the state table forbids: a
 *    guest's range is checked once on entry, and dests come from the allocator alone. The
 *    allocator gets a LIVE block only after the barrier behind its GIVE, and after every request
 *    that began while it was LIVE (give.c).
 *
 * Threads: any number may call. `lock` covers block states and is never held over I/O; a request
 * holds ranges of blocks; one thread at a time leads the log. No thread waits for blocks while it
 * leads, and no request that holds blocks waits for more of them.
 */
#include <stdlib.h>

#include "lib/engine/engine.h"
#include "lib/engine/open.h"

static int op_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		   struct bowimg_error *err)
{
	return bow_engine_read(bow_engine_of(disk), buf, bytes, off, err);
}

static int op_write(struct bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off,
		    struct bowimg_error *err)
{
	return bow_engine_write(bow_engine_of(disk), buf, bytes, off, err);
}

static void op_write_many(struct bowimg_disk *disk, struct bow_write *writes, uint32_t n,
			  struct bowimg_error *err)
{
	bow_engine_write_many(bow_engine_of(disk), writes, n, err);
}

static int op_zero(struct bowimg_disk *disk, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	return bow_engine_zero(bow_engine_of(disk), off, bytes, err);
}

static int op_discard(struct bowimg_disk *disk, uint64_t off, uint64_t bytes,
		      struct bowimg_error *err)
{
	return bow_engine_discard(bow_engine_of(disk), off, bytes, err);
}

static int op_flush(struct bowimg_disk *disk, struct bowimg_error *err)
{
	return bow_engine_flush(bow_engine_of(disk), err);
}

static int op_extent(struct bowimg_disk *disk, uint64_t off, bool *hole, uint64_t *bytes,
		     struct bowimg_error *err)
{
	return bow_engine_extent(bow_engine_of(disk), off, hole, bytes, err);
}

static int op_close(struct bowimg_disk *disk, struct bowimg_error *err)
{
	struct bow_engine *img = bow_engine_of(disk);
	struct bowimg_disk *dev = img->dev;
	int rc, rc_close;

	rc = bow_engine_detach(img, err);
	bow_engine_release(img);
	rc_close = bow_disk_close(dev, rc ? NULL : err);
	return rc ? bow_err_wrap(err, rc, "detach") : rc_close;
}

static void op_counters(const struct bowimg_disk *disk, struct bowimg_counters *out)
{
	/* For a caller, taking the lock changes nothing. */
	struct bow_engine *img = bow_engine_of((struct bowimg_disk *)disk);

	bow_engine_budget(img, &out->budget);
	pthread_mutex_lock(&img->lock);
	out->free_total_bytes = img->sb.free_total_blk * BOW_BLOCK;
	/* If everything is stored in the tail, only the guest uses the free blocks. */
	out->free_left_bytes = img->sb.flags & BOW_SUPER_STORE_TAIL
				       ? out->free_total_bytes
				       : (img->alloc.free_blk + bow_share_taken(img)) * BOW_BLOCK;
	out->backup_bytes = img->backup_blk * BOW_BLOCK;
	out->changed_bytes = img->changed_blk * BOW_BLOCK;
	out->log_bytes = img->log_blk * BOW_BLOCK;
	out->tail_bytes = (img->alloc.tail_end - img->blocks.count) * BOW_BLOCK;
	out->relocated_bytes = img->moved_blk * BOW_BLOCK;
	out->given_bytes = img->given_blk * BOW_BLOCK;
	out->barriers = atomic_load(&img->barriers);
	out->carried = img->carried;
	out->failed = img->failed != 0;
	pthread_mutex_unlock(&img->lock);
}

/* ---- as it was ------------------------------------------------------------------- */

struct before_disk {
	struct bowimg_disk disk; /* must be first */
	struct bow_engine *img;
	struct bow_past past;
};

static int before_read(struct bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	struct before_disk *b = (struct before_disk *)disk;

	return bow_engine_read_before(b->img, &b->past, buf, bytes, off, err);
}

static int before_close(struct bowimg_disk *disk, struct bowimg_error *err)
{
	(void)err;
	bow_past_release(&((struct before_disk *)disk)->past);
	free(disk);
	return 0;
}

static void before_info(const struct bowimg_disk *disk, struct bowimg_disk_info *out)
{
	const struct before_disk *b = (const struct before_disk *)disk;

	/* Of the superblock only what never changes. */
	bow_past_info(&b->past, &b->img->sb, out);
}

static const struct bow_disk_ops before_ops = {
	.read = before_read, .close = before_close, .info = before_info};

static int op_before(struct bowimg_disk *disk, const char *mark, struct bowimg_disk **out,
		     struct bowimg_error *err)
{
	struct before_disk *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return bow_err_errno(err, -ENOMEM, "look at the disk as it was");
	b->disk = *disk;
	b->disk.built = &before_ops;
	b->disk.readonly = true;
	b->img = bow_engine_of(disk);
	rc = bow_engine_past(b->img, mark, &b->past, err);
	if (rc) {
		before_close(&b->disk, NULL);
		return rc;
	}
	*out = &b->disk;
	return 0;
}

static const struct bow_disk_ops ops = {
	.read = op_read,
	.write = op_write,
	.write_many = op_write_many,
	.zero = op_zero,
	.discard = op_discard,
	.flush = op_flush,
	.extent = op_extent,
	.close = op_close,
	.before = op_before,
	.counters = op_counters,
};

/* ---- open ------------------------------------------------------------------------ */

int bow_engine_open(struct bow_checkpoint *cp, const struct bowimg_open_options *opts,
		    struct bowimg_disk **out, struct bowimg_error *err)
{
	struct bow_engine *img = bow_engine_new(cp->dev, opts);
	int rc;

	if (!img)
		return bow_err_errno(err, -ENOMEM, "set up for serving");
	rc = bow_engine_attach(img, cp, err);
	if (rc) {
		bow_engine_release(img);
		return rc;
	}
	img->disk.built = &ops;
	img->disk.name = cp->dev->name;
	img->disk.sector_size = cp->dev->sector_size;
	img->disk.queue_depth = cp->dev->queue_depth;
	img->disk.io_hint = cp->dev->io_hint;
	*out = &img->disk;
	bow_warn(img, (struct bow_warning){.ask_host = img->opts.events.notice});
	return 0;
}

int bow_engine_settle(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	struct bowimg_disk *disk = NULL;
	int rc = bow_engine_open(cp, NULL, &disk, err);

	if (rc)
		return rc;
	rc = bow_engine_detach(bow_engine_of(disk), err);
	cp->sb = bow_engine_of(disk)->sb;
	bow_engine_free(disk);
	return rc;
}

void bow_engine_free(struct bowimg_disk *disk)
{
	if (disk)
		bow_engine_release(bow_engine_of(disk));
}
