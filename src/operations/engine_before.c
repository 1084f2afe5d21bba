/* SPDX-License-Identifier: MIT */
/*
 * Reading the disk as it was at prepare, while it is served and written.
 *
 * Happy path: the block's state is looked at under the lock; the data is read without it, from the
 * image (ORIGINAL) or from the backup (SAVED); then the states are looked at again. What was read
 * counts as far as nobody can have begun to overwrite it: the block is still ORIGINAL, or the
 * backup's block still HELD, and no op holds it. (An op that holds it may be writing already, since
 * states change after the data is there.) Everything else is looked at anew when that op has ended;
 * a block's life goes forward only, so that this ends.
 *
 * A backup is checked against its hash when the first of its blocks is read (all of it is read
 * then, 256 KiB at most). One that is rotten is no loss as long as the block itself was not
 * overwritten; its hash says whether that is so, whoever writes meanwhile.
 *
 * Where the backups are is read from the log when somebody first asks, and what was logged since
 * when a newer one is needed (log/origins.c): a disk that is only served pays nothing for this
 * view, neither time nor memory. The log is read without stopping its writer, up to the last record
 * that was complete: older ones do not change. Only a part of it may be relocated under our eyes,
 * and then its checksums do not match: it is read once more, while nobody leads the log.
 */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "operations/engine.h"

/* ---- where the backups are --------------------------------------------------------------------
 */

/* The log as far as it is complete; the leader changes both. */
struct moment {
	struct bow_super sb;
	uint64_t end_seq;
};

static int read_log(struct bowimg *img, const struct moment *m, struct bow_origins *more,
		    struct bowimg_error *err)
{
	struct bow_walk w;
	int rc = bow_walk_init(&w, img->dev, &m->sb, err);

	w.end_seq = m->end_seq;
	if (!rc)
		rc = bow_origins_read(more, &w, err);
	bow_walk_release(&w);
	return rc;
}

/* What was logged since the last time. Others may go on logging, if they are let. */
static int read_news(struct bowimg *img, bool alone, struct bow_origins *more,
		     struct bowimg_error *err)
{
	struct moment m;
	int rc = 0;

	bow_engine_lead(img);
	m.sb = img->sb;
	m.end_seq = img->log.next_seq;
	if (!alone)
		bow_engine_step_down(img);
	if (m.end_seq > more->end_seq)
		rc = read_log(img, &m, more, err);
	if (alone)
		bow_engine_step_down(img);
	return rc;
}

/* One thread at a time: so only this one changes img->origins. */
static int extend_origins(struct bowimg *img, struct bowimg_error *err)
{
	const uint64_t from = img->origins.end_seq;
	struct bow_origins more = {.end_seq = from};
	int rc = read_news(img, false, &more, err);

	if (rc == -EBADMSG || rc == -EUCLEAN) {
		bow_origins_release(&more);
		more.end_seq = from;
		bow_err_clear(err);
		rc = read_news(img, true, &more, err);
	}
	if (!rc) {
		pthread_rwlock_wrlock(&img->origins_lock);
		rc = bow_origins_absorb(&img->origins, &more, img->blocks.count);
		pthread_rwlock_unlock(&img->origins_lock);
		if (rc)
			bow_err_errno(err, rc, "note where the originals are");
	}
	bow_origins_release(&more);
	return rc;
}

/* Read on, unless somebody has since `seen` was all that was known. */
static int learn_more(struct bowimg *img, uint64_t seen, struct bowimg_error *err)
{
	bool known;
	int rc;

	pthread_mutex_lock(&img->lock);
	while (img->extending)
		pthread_cond_wait(&img->changed, &img->lock);
	known = img->origins.end_seq != seen;
	img->extending = !known;
	pthread_mutex_unlock(&img->lock);
	if (known)
		return 0;
	rc = extend_origins(img, err);
	pthread_mutex_lock(&img->lock);
	known = img->origins.end_seq != seen;
	img->extending = false;
	pthread_cond_broadcast(&img->changed);
	pthread_mutex_unlock(&img->lock);
	/* Every block that is SAVED was logged before. */
	if (!rc && !known)
		rc = bow_err(err, -EUCLEAN, "the log does not say where an original is");
	return rc;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* With img->lock held: wait until nobody holds the block. */
static void wait_for_block(struct bowimg *img, uint64_t blk)
{
	while (bow_op_overlaps(img, blk, 1))
		pthread_cond_wait(&img->changed, &img->lock);
}

/*
 * How many of these blocks, from the first on, are in this state still, and held by nobody: what
 * was read of them before this call is good. Tail blocks are never overwritten.
 */
static uint64_t unharmed(struct bowimg *img, uint64_t blk, uint64_t n, enum bow_block_state state)
{
	enum bow_block_state now;
	uint64_t good = 0, run;
	bool zero;

	if (blk >= img->blocks.count)
		return n;
	pthread_mutex_lock(&img->lock);
	for (n = bow_op_clear_of(img, blk, n); good < n; good += run) {
		run = bow_blocks_run(&img->blocks, blk + good, n - good, &now, &zero);
		if (now != state)
			break;
	}
	pthread_mutex_unlock(&img->lock);
	return good;
}

/* Part of one run of blocks: from its first byte on, inside a block or not. */
struct part {
	uint8_t *buf;
	size_t bytes;
	uint64_t off;
};

static uint64_t blocks_in(const struct part *p)
{
	return (p->off + p->bytes - 1) / BOW_BLOCK - p->off / BOW_BLOCK + 1;
}

static size_t bytes_of(const struct part *p, uint64_t blocks)
{
	return blocks ? (size_t)bow_min(p->bytes, blocks * BOW_BLOCK - p->off % BOW_BLOCK) : 0;
}

/* Read the part's first n blocks at `at`; *done: the bytes that count. */
static int read_at(struct bowimg *img, const struct part *p, uint64_t at, uint64_t n,
		   enum bow_block_state state, size_t *done, struct bowimg_error *err)
{
	int rc = bow_dev_read(img->dev, p->buf, bytes_of(p, n), at * BOW_BLOCK + p->off % BOW_BLOCK,
			      err);

	*done = rc ? 0 : bytes_of(p, unharmed(img, at, n, state));
	return rc;
}

static uint64_t find_origin(struct bowimg *img, const struct part *p, enum bow_origin_kind *kind,
			    uint64_t *at, uint64_t *seen)
{
	uint64_t n;

	pthread_rwlock_rdlock(&img->origins_lock);
	n = bow_origins_get(&img->origins, p->off / BOW_BLOCK, blocks_in(p), kind, at);
	*seen = img->origins.end_seq;
	pthread_rwlock_unlock(&img->origins_lock);
	return n;
}

/* Is the backup still there, when whoever was about to move it is through? */
static bool stays(struct bowimg *img, uint64_t at)
{
	bool held;

	pthread_mutex_lock(&img->lock);
	wait_for_block(img, at);
	held = bow_blocks_state(&img->blocks, at) == BOW_HELD;
	pthread_mutex_unlock(&img->lock);
	return held;
}

/* Read from its first block on what of the part is in one place; *done: the bytes (0: ask again).
 */
static int read_backup(struct bowimg *img, const struct part *p, size_t *done,
		       struct bowimg_error *err)
{
	uint64_t at = 0, seen, n;
	enum bow_origin_kind kind;
	int rc;

	n = find_origin(img, p, &kind, &at, &seen);
	*done = kind == BOW_ORIGIN_IN_PLACE ? 0 : bytes_of(p, n);
	if (kind == BOW_ORIGIN_ZEROS) {
		memset(p->buf, 0, *done);
		return 0;
	}
	if (kind == BOW_ORIGIN_AT) {
		rc = read_at(img, p, at, n, BOW_HELD, done, err);
		if (rc || *done || stays(img, at))
			return rc;
	}
	/* Saved, or moved on, since the log was read. */
	return learn_more(img, seen, err);
}

/* All of a backup, checked: every piece of it was where it was read from, so only rot can differ.
 */
static int read_whole(struct bowimg *img, const struct bow_backup *b, uint8_t *buf,
		      struct bowimg_error *err)
{
	size_t bytes = bow_super_bytes(&img->sb, b->source_blk, b->count_blk), k;
	int rc = 0;

	for (size_t at = 0; at < bytes && !rc; at += k) {
		struct part p = {buf + at, bytes - at, b->source_blk * BOW_BLOCK + at};

		rc = read_backup(img, &p, &k, err);
	}
	if (rc)
		return rc;
	if (!bow_backup_ok(b, &img->sb, buf))
		return bow_backup_try_source(b, img->dev, &img->sb, buf, err);
	pthread_rwlock_rdlock(&img->origins_lock);
	bow_origins_checked(&img->origins, b);
	pthread_rwlock_unlock(&img->origins_lock);
	return 0;
}

/* A backup of which nothing was read yet is read and checked as a whole. */
static int read_saved(struct bowimg *img, const struct part *p, size_t *done,
		      struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *all = NULL;
	struct bow_backup b;
	bool unchecked;
	size_t from;
	int rc;

	pthread_rwlock_rdlock(&img->origins_lock);
	unchecked = bow_origins_unchecked(&img->origins, p->off / BOW_BLOCK, &b);
	pthread_rwlock_unlock(&img->origins_lock);
	if (!unchecked)
		return read_backup(img, p, done, err);
	*done = 0;
	all = malloc((size_t)b.count_blk * BOW_BLOCK);
	if (!all)
		return bow_err_errno(err, -ENOMEM, "check a backup");
	rc = read_whole(img, &b, all, err);
	if (rc)
		return rc;
	from = (size_t)(p->off - b.source_blk * BOW_BLOCK);
	*done = bow_min(p->bytes, (size_t)b.count_blk * BOW_BLOCK - from);
	memcpy(p->buf, all + from, *done);
	return 0;
}

/* Read from the beginning of the part what is of one kind; *done bytes (0: ask again). */
static int read_part(struct bowimg *img, struct part *p, size_t *done, struct bowimg_error *err)
{
	uint64_t blk = p->off / BOW_BLOCK, n;
	enum bow_block_state state;
	bool zero;

	pthread_mutex_lock(&img->lock);
	n = bow_blocks_run(&img->blocks, blk, blocks_in(p), &state, &zero);
	if (state == BOW_ORIGINAL) {
		wait_for_block(img, blk);
		n = bow_min(n, bow_op_clear_of(img, blk, n));
	}
	pthread_mutex_unlock(&img->lock);
	p->bytes = *done = bytes_of(p, n);
	if (state == BOW_ORIGINAL)
		return read_at(img, p, blk, n, BOW_ORIGINAL, done, err);
	if (state == BOW_SAVED)
		return read_saved(img, p, done, err);
	/* Free blocks were zeros, or are nobody's: as they read now, and never bowimg's own. */
	if (!(img->sb.flags & BOW_SUPER_EXACT))
		return bowimg_read(img, p->buf, p->bytes, p->off, err);
	memset(p->buf, 0, p->bytes);
	return 0;
}

int bowimg_read_before(bowimg *img, void *buf, size_t bytes, uint64_t off, struct bowimg_error *err)
{
	uint8_t *b = buf;
	size_t k;
	int rc = 0;

	if (off > img->size || bytes > img->size - off)
		return bow_err(err, -EINVAL, "read beyond the end of the disk");
	for (; bytes && !rc; b += k, off += k, bytes -= k) {
		struct part p = {b, bytes, off};

		rc = read_part(img, &p, &k, err);
	}
	return rc;
}
