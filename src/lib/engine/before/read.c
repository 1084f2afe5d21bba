/* SPDX-License-Identifier: MIT */
/*
 * Reads the disk as it was at prepare, or at a mark, while it is served and written.
 *
 * Happy path: look at the block's state under the lock; read the data without it, from the image
 * (ORIGINAL) or from the backup (SAVED); then look at the states again. The data counts if no
 * request can have begun to overwrite it: the block is still ORIGINAL, or the backup's block still
 * HELD, and no request holds it. (A request that holds it may be writing already, since states
 * change after the data is written.) Any other block is looked at again when that request has
 * ended. A used block's life only goes forward. The block of a backup may be given back, and hold
 * another one: not while it is being read (the read is in flight, see give.c), and if it was
 * before, the log is read on first, which says where the backup went. So this ends.
 *
 * ORIGINAL means untouched since the newest mark. So a view of an older one first asks the backups
 * of the epochs that are over: their number does not grow, but they may move. What was free at the
 * mark, or read as zeros, is found in the log when the view is opened, and does not change.
 *
 * A backup is checked against its hash when the first of its blocks is read; then all of it is
 * read, at most 256 KiB. A rotten backup is no loss if the block itself was not overwritten; its
 * hash shows whether that is so, whatever is written meanwhile.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/engine/before/before.h"

/* With img->lock held: wait until no request holds the block. */
static void wait_for_block(struct bow_engine *img, uint64_t blk)
{
	while (bow_request_overlaps(img, blk, 1))
		pthread_cond_wait(&img->changed, &img->lock);
}

/*
 * Returns how many of these blocks, from the first on, still have this state and are held by no
 * request: data read from them before this call is good. Tail blocks are never overwritten.
 */
static uint64_t unharmed(struct bow_engine *img, uint64_t blk, uint64_t n,
			 enum bow_block_state state)
{
	enum bow_block_state now;
	uint64_t good = 0, run;
	bool zero;

	if (blk >= img->blocks.count)
		return n;
	/* A place that was joined from two may lie on both sides of the image's end. */
	n = bow_min(n, img->blocks.count - blk);
	pthread_mutex_lock(&img->lock);
	for (n = bow_request_clear_of(img, blk, n); good < n; good += run) {
		run = bow_blocks_run(&img->blocks, blk + good, n - good, &now, &zero);
		if (now != state)
			break;
	}
	pthread_mutex_unlock(&img->lock);
	return good;
}

/* Some bytes of one run of blocks; they may begin and end inside a block. */
struct slice {
	uint8_t *buf;
	size_t bytes;
	uint64_t off;
	uint32_t epoch; /* whose backups are asked */
};

static uint64_t blocks_in(const struct slice *p)
{
	return (p->off + p->bytes - 1) / BOW_BLOCK - p->off / BOW_BLOCK + 1;
}

static size_t bytes_of(const struct slice *p, uint64_t blocks)
{
	return blocks ? (size_t)bow_min(p->bytes, blocks * BOW_BLOCK - p->off % BOW_BLOCK) : 0;
}

/* Read the slice's first blocks at this place; *done: how many of the bytes count. */
static int read_at(struct bow_engine *img, const struct slice *p, struct bow_run place,
		   enum bow_block_state state, size_t *done, struct bowimg_error *err)
{
	int rc = bow_disk_read(img->dev, p->buf, bytes_of(p, place.count_blk),
			       place.start_blk * BOW_BLOCK + p->off % BOW_BLOCK, err);

	*done = rc ? 0 : bytes_of(p, unharmed(img, place.start_blk, place.count_blk, state));
	return rc;
}

/* Blocks that were given back, `gives` times so far, may hold other backups than the index says. */
static uint64_t find_original(struct bow_engine *img, const struct slice *p, uint64_t gives,
			      enum bow_backup_kind *kind, uint64_t *at, struct bow_knowledge *seen)
{
	uint64_t n;

	pthread_rwlock_rdlock(&img->index_lock);
	n = bow_backup_index_get(&img->backup_index[p->epoch], p->off / BOW_BLOCK, blocks_in(p),
				 kind, at);
	*seen = (struct bow_knowledge){bow_before_newest(img)->end_seq, img->index_gives};
	if (*kind == BOW_BACKUP_AT && img->index_gives < gives)
		*kind = BOW_BACKUP_NONE;
	pthread_rwlock_unlock(&img->index_lock);
	return n;
}

/* May the backup still be there, once the request that holds its block has ended? */
static bool stays(struct bow_engine *img, uint64_t at)
{
	bool held;

	pthread_mutex_lock(&img->lock);
	wait_for_block(img, at);
	held = bow_blocks_state(&img->blocks, at) == BOW_HELD;
	pthread_mutex_unlock(&img->lock);
	return held;
}

/*
 * Read the first bytes of the slice, as far as they are in one place; *done: how many (0: ask
 * again).
 */
static int read_backup(struct bow_engine *img, const struct slice *p, size_t *done,
		       struct bowimg_error *err)
{
	uint64_t at = 0, n, gives;
	struct bow_knowledge seen;
	enum bow_backup_kind kind;
	struct bow_flight flight;
	int rc = 0;

	pthread_mutex_lock(&img->lock);
	flight = bow_flight_begin(img);
	gives = img->gives;
	pthread_mutex_unlock(&img->lock);
	n = find_original(img, p, gives, &kind, &at, &seen);
	*done = kind == BOW_BACKUP_NONE ? 0 : bytes_of(p, n);
	if (kind == BOW_BACKUP_ZEROS)
		memset(p->buf, 0, *done);
	else if (kind == BOW_BACKUP_AT)
		rc = read_at(img, p, (struct bow_run){at, n}, BOW_HELD, done, err);
	bow_flight_end(img, flight);
	if (rc || *done || (kind == BOW_BACKUP_AT && stays(img, at)))
		return rc;
	/* The block was saved, or its backup moved, since the log was read. */
	return bow_before_read_on(img, seen, err);
}

/* Of whose backup a piece is read. */
struct reading {
	struct bow_engine *img;
	uint32_t epoch;
};

/* Read a piece of a backup. Each piece comes from its right place, so only rot can differ. */
static int64_t read_piece(void *ctx, void *buf, size_t bytes, uint64_t off,
			  struct bowimg_error *err)
{
	const struct reading *r = ctx;
	struct slice p = {buf, bytes, off, r->epoch};
	size_t done;
	int rc = read_backup(r->img, &p, &done, err);

	return rc ? rc : (int64_t)done;
}

static void note_matched(void *ctx, const struct bow_backup *b)
{
	const struct reading *r = ctx;

	pthread_rwlock_rdlock(&r->img->index_lock);
	bow_backup_index_checked(&r->img->backup_index[r->epoch], b);
	pthread_rwlock_unlock(&r->img->index_lock);
}

/* If nothing of the backup was read yet, all of it is read and checked. */
static int read_saved(struct bow_engine *img, const struct slice *p, size_t *done,
		      struct bowimg_error *err)
{
	struct reading reading = {img, p->epoch};
	const struct bow_backup_reader reader = {img->dev, &img->sb, &reading, read_piece,
						 note_matched};
	struct bow_backup b;
	bool unchecked;
	int64_t k;

	pthread_rwlock_rdlock(&img->index_lock);
	unchecked =
		bow_backup_index_unchecked(&img->backup_index[p->epoch], p->off / BOW_BLOCK, &b);
	pthread_rwlock_unlock(&img->index_lock);
	if (!unchecked)
		return read_backup(img, p, done, err);
	k = bow_backup_read(&b, &reader, p->buf, p->bytes, p->off, err);
	*done = k < 0 ? 0 : (size_t)k;
	return k < 0 ? (int)k : 0;
}

/* Ask the epochs that are over, from the view's on; cuts the slice to one answer, *yes or no. */
static int find_closed(struct bow_engine *img, const struct bow_past *past, struct slice *p,
		       bool *yes, struct bowimg_error *err)
{
	const struct bow_backup_index *in = NULL;
	uint32_t closed = img->epochs - 1 - past->epoch;
	enum bow_backup_kind kind;
	uint64_t at, n, seen;

	int rc;

	pthread_rwlock_rdlock(&img->index_lock);
	seen = bow_before_newest(img)->end_seq;
	pthread_rwlock_unlock(&img->index_lock);
	rc = seen ? 0 : bow_before_read_on(img, (struct bow_knowledge){0}, err);
	if (rc)
		return rc;
	pthread_rwlock_rdlock(&img->index_lock);
	n = bow_backup_index_oldest(&img->backup_index[past->epoch], closed, p->off / BOW_BLOCK,
				    blocks_in(p), &kind, &at, &in);
	pthread_rwlock_unlock(&img->index_lock);
	p->bytes = bytes_of(p, n);
	*yes = in;
	p->epoch = in ? (uint32_t)(in - img->backup_index) : img->epochs - 1;
	return 0;
}

/* A block that was used then is used now. */
static int read_used(struct bow_engine *img, struct slice *p, size_t *done,
		     struct bowimg_error *err)
{
	uint64_t blk = p->off / BOW_BLOCK, n;
	enum bow_block_state state;
	bool zero;

	pthread_mutex_lock(&img->lock);
	n = bow_blocks_run(&img->blocks, blk, blocks_in(p), &state, &zero);
	if (state == BOW_ORIGINAL) {
		wait_for_block(img, blk);
		n = bow_min(n, bow_request_clear_of(img, blk, n));
	}
	pthread_mutex_unlock(&img->lock);
	p->bytes = bytes_of(p, n);
	if (state == BOW_ORIGINAL)
		return read_at(img, p, (struct bow_run){blk, n}, BOW_ORIGINAL, done, err);
	return read_saved(img, p, done, err);
}

/*
 * Read the first bytes of the slice, as far as they are of one kind; *done: how many (0: ask
 * again).
 */
static int read_part(struct bow_engine *img, const struct bow_past *past, struct slice *p,
		     size_t *done, struct bowimg_error *err)
{
	uint64_t n = blocks_in(p);
	bool was_free, zeros, closed = false;
	int rc = 0;

	n = bow_past_run(past, p->off / BOW_BLOCK, n, &was_free, &zeros);
	p->bytes = *done = bytes_of(p, n);
	/*
	 * Free blocks were zeros, or had no content that counts: they read as now, never as
	 * bowimg's.
	 */
	if (zeros || (was_free && img->sb.flags & BOW_SUPER_EXACT)) {
		memset(p->buf, 0, p->bytes);
		return 0;
	}
	if (was_free)
		return bow_engine_read(img, p->buf, p->bytes, p->off, err);
	if (past->epoch + 1 < img->epochs)
		rc = find_closed(img, past, p, &closed, err);
	if (rc)
		return rc;
	return closed ? read_saved(img, p, done, err) : read_used(img, p, done, err);
}

int bow_engine_read_before(struct bow_engine *img, const struct bow_past *past, void *buf,
			   size_t bytes, uint64_t off, struct bowimg_error *err)
{
	uint8_t *b = buf;
	size_t k;
	int rc = 0;

	for (; bytes && !rc; b += k, off += k, bytes -= k) {
		struct slice p = {b, bytes, off, img->epochs - 1};

		rc = read_part(img, past, &p, &k, err);
	}
	return rc;
}
