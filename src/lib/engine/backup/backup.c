/* SPDX-License-Identifier: MIT */
/*
 * Backs up the blocks of a request: originals are copied, or only named if they are all zeros;
 * blocks that bowimg holds itself are moved on. Nothing is durable or in the log when this returns:
 * bow_engine_log() does that [I1, I2].
 *
 * A request is backed up in pieces. Where storage answers many requests at a time, the engine's
 * crew helps: each piece is read and written by itself, and all of them are done when this returns.
 * The order of the entries says nothing, as no block is in two pieces.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"
#include "lib/engine/backup/private.h"

/* ---- the blocks that backups go to ------------------------------------------------ */

/* Are backups being written into the range whose entries may not be durable yet? */
bool bow_request_fills(const struct bow_request *req, uint64_t first, uint64_t count)
{
	for (uint32_t i = 0; i < req->n_dests; i++)
		if (bow_ranges_overlap(req->dests[i].start_blk, req->dests[i].count_blk, first,
				       count))
			return true;
	return false;
}

uint64_t bow_request_dest(struct bow_engine *img, struct bow_request *req, uint64_t most,
			  uint64_t *start)
{
	uint64_t n = bow_min(most, req->dests_left);

	if (req->to_tail)
		n = bow_alloc_tail_run(&img->alloc, 1, n, start);
	else
		n = bow_alloc_free_run(&img->alloc, 1, n, start);
	if (!n)
		return 0;
	req->dests_left -= n;
	if (req->to_tail)
		img->tail_reserved -= n;
	else
		img->dests_reserved -= n;
	img->moves++;
	assert(req->n_dests < req->most);
	req->dests[req->n_dests++] = (struct bow_run){*start, n};
	return n;
}

/* ---- one piece --------------------------------------------------------------------- */

/* Is all of this run, which reads as zeros, a hole in the file? Rollback makes it one again. */
static bool is_hole(struct bow_engine *img, uint64_t start, uint64_t n)
{
	uint64_t reach;
	bool hole;

	return !bow_disk_extent(img->dev, start * BOW_BLOCK, &hole, &reach, NULL) && hole &&
	       reach >= bow_super_bytes(&img->sb, start, n);
}

void bow_save_add(struct bow_engine *img, struct bow_request *req, const struct bow_entry *e)
{
	pthread_mutex_lock(&img->lock);
	req->entries[req->n++] = *e;
	pthread_mutex_unlock(&img->lock);
}

void bow_save_add_zero(struct bow_engine *img, struct bow_request *req, uint64_t start, uint64_t n)
{
	const struct bow_entry e = {
		.type = BOW_ENTRY_ZERO,
		.flags = is_hole(img, start, n) ? BOW_ENTRY_HOLE : 0,
		.source_blk = start,
		.count_blk = (uint32_t)n,
	};

	bow_save_add(img, req, &e);
}

/* Get a place for at most n blocks, and the entry that is going to name it; 0: memory is out. */
static uint64_t get_place(struct bow_engine *img, struct bow_request *req, uint64_t n,
			  struct bow_entry **e)
{
	uint64_t dest;

	pthread_mutex_lock(&img->lock);
	n = bow_request_dest(img, req, n, &dest);
	if (n) {
		*e = &req->entries[req->n++];
		**e = (struct bow_entry){
			.type = BOW_ENTRY_COPY, .dest_blk = dest, .count_blk = (uint32_t)n};
	}
	pthread_mutex_unlock(&img->lock);
	return n;
}

/* Copy a run, whose content is in buf, to places with room; each part gets an entry. */
static int copy_run(struct bow_engine *img, struct bow_request *req, struct bow_run run,
		    const uint8_t *buf, uint8_t flags, struct bowimg_error *err)
{
	struct bow_entry *e;
	uint64_t k;
	int rc = 0;

	for (; run.count_blk && !rc; run.start_blk += k, run.count_blk -= k, buf += k * BOW_BLOCK) {
		k = get_place(img, req, run.count_blk, &e);
		if (!k)
			return bow_err_errno(err, -ENOMEM, "find a block for a backup");
		e->flags = flags;
		e->source_blk = run.start_blk;
		e->hash = bow_hash(buf, bow_super_bytes(&img->sb, run.start_blk, k), img->sb.seed);
		rc = bow_disk_write(img->dev, buf, k * BOW_BLOCK, e->dest_blk * BOW_BLOCK, err);
	}
	return rc;
}

/* Blocks of zeros need no copy, only an entry. */
static int save_originals(struct bow_engine *img, struct bow_request *req, struct bow_run run,
			  const uint8_t *buf, struct bowimg_error *err)
{
	uint64_t k;
	int rc = 0;

	for (; run.count_blk && !rc; run.start_blk += k, run.count_blk -= k, buf += k * BOW_BLOCK) {
		bool zero = bow_is_zero(buf, BOW_BLOCK);

		for (k = 1;
		     k < run.count_blk && bow_is_zero(buf + k * BOW_BLOCK, BOW_BLOCK) == zero;)
			k++;
		if (zero)
			bow_save_add_zero(img, req, run.start_blk, k);
		else
			rc = copy_run(img, req, (struct bow_run){run.start_blk, k}, buf, 0, err);
	}
	return rc;
}

int bow_save_read(struct bow_engine *img, struct bow_run run, uint8_t *buf,
		  struct bowimg_error *err)
{
	size_t bytes = bow_super_bytes(&img->sb, run.start_blk, run.count_blk);

	memset(buf + bytes, 0, run.count_blk * BOW_BLOCK - bytes);
	return bow_disk_read(img->dev, buf, bytes, run.start_blk * BOW_BLOCK, err);
}

/* ---- the pieces of a request ------------------------------------------------------- */

/* What is backed up for a request. img->lock guards all that changes. */
struct saving {
	struct bow_engine *img;
	struct bow_request *req;
	uint64_t next, end; /* blocks that nobody has looked at */
	unsigned at_it;	    /* pieces in work: each may add as many entries as it has blocks */
	bool ahead;	    /* only originals that have no pending zero, as long as there is room */
	uint64_t failed_blk; /* the first one that could not be saved */
};

static bool has_room(const struct saving *s)
{
	uint32_t more = (s->at_it + 1) * BOW_COPY_MAX_BLK;

	return s->req->n + more <= s->req->most && s->req->n_dests + more <= s->req->most;
}

/* The blocks from s->next on that are alike, at most a piece. */
static uint64_t next_run(const struct saving *s, enum bow_block_state *state, bool *zero)
{
	uint64_t live0 = s->req->old_live0;
	uint64_t n = bow_blocks_run(&s->img->blocks, s->next,
				    bow_min(s->end - s->next, BOW_COPY_MAX_BLK), state, zero);

	/* The block that block 0's copy left has moved already. */
	if (live0 == s->next) {
		*state = BOW_LIVE;
		return 1;
	}
	return live0 > s->next ? bow_min(n, live0 - s->next) : n;
}

/* Get the next piece that is to be backed up; false: there is none, or no room for it now. */
static bool take_piece(struct saving *s, struct bow_run *piece, enum bow_block_state *state)
{
	bool found = false, zero;
	uint64_t n;

	pthread_mutex_lock(&s->img->lock);
	for (; !found && s->next < s->end && (!s->ahead || has_room(s)); s->next += n) {
		n = next_run(s, state, &zero);
		*piece = (struct bow_run){s->next, n};
		found = *state == BOW_ORIGINAL ? !s->ahead || !zero
					       : *state == BOW_HELD && !s->ahead;
	}
	s->at_it += found;
	pthread_mutex_unlock(&s->img->lock);
	return found;
}

static int save_piece(struct saving *s, struct bow_run piece, enum bow_block_state state,
		      uint8_t *buf, struct bowimg_error *err)
{
	int rc = bow_save_read(s->img, piece, buf, err);

	if (!rc && state == BOW_HELD)
		rc = copy_run(s->img, s->req, piece, buf, BOW_ENTRY_MOVE, err);
	else if (!rc)
		rc = save_originals(s->img, s->req, piece, buf, err);
	pthread_mutex_lock(&s->img->lock);
	s->at_it--;
	if (rc)
		s->failed_blk = bow_min(s->failed_blk, piece.start_blk);
	pthread_mutex_unlock(&s->img->lock);
	return rc ? bow_err_wrap(err, rc, "back up block %" PRIu64, piece.start_blk) : 0;
}

static int save_pieces(void *ctx, unsigned number, const atomic_bool *stop,
		       struct bowimg_error *err)
{
	struct saving *s = ctx;
	uint8_t *buf = number ? s->img->crew_buf[number - 1] : s->req->buf;
	enum bow_block_state state;
	struct bow_run piece;
	int rc = 0;

	while (!rc && !atomic_load(stop) && take_piece(s, &piece, &state))
		rc = save_piece(s, piece, state, buf, err);
	return rc;
}

/* A block alone needs no help. *reached: the first block that there was no room for. */
static int save(struct saving *s, uint64_t *reached, struct bowimg_error *err)
{
	unsigned most = (unsigned)bow_min(s->end - s->next, BOW_CREW_MAX);
	int rc = bow_crew_do(s->img->crew, most, save_pieces, s, err);

	*reached = s->next;
	return rc;
}

int bow_request_back_up(struct bow_engine *img, struct bow_request *req, struct bowimg_error *err)
{
	uint64_t end = req->core + req->core_count, reached;
	struct saving s = {.img = img, .req = req, .next = req->core, .end = end};

	return save(&s, &reached, err);
}

/* Forget the entries from number `first` on that are not of blocks in front of `blk`. */
static void forget_from(struct bow_engine *img, struct bow_request *req, uint32_t first,
			uint64_t blk)
{
	uint32_t n = first;

	pthread_mutex_lock(&img->lock);
	for (uint32_t i = first; i < req->n; i++)
		if (req->entries[i].source_blk < blk)
			req->entries[n++] = req->entries[i];
	req->n = n;
	pthread_mutex_unlock(&img->lock);
}

/*
 * Originals around the request that have no pending zero. Returns the first block that was not
 * reached: there was no room, or it could not be saved, which matters only once it is overwritten.
 */
static uint64_t back_up_around(struct bow_engine *img, struct bow_request *req, uint64_t from,
			       uint64_t end)
{
	struct saving s = {.img = img,
			   .req = req,
			   .next = from,
			   .end = end,
			   .ahead = true,
			   .failed_blk = UINT64_MAX};
	uint32_t before = req->n;
	uint64_t reached;

	if (save(&s, &reached, NULL))
		forget_from(img, req, before, s.failed_blk);
	return bow_min(reached, s.failed_blk);
}

/*
 * The request lets go of blocks that were not reached: [first, first + count) shrinks to those that
 * were backed up.
 */
void bow_request_back_up_ahead(struct bow_engine *img, struct bow_request *req)
{
	uint64_t core_end = req->core + req->core_count, end = req->first + req->count, reached;
	uint32_t before;

	end = back_up_around(img, req, core_end, end);
	before = req->n;
	reached = back_up_around(img, req, req->first, req->core);
	/* In front of the request it is all or nothing: the range has no holes. */
	if (reached < req->core)
		forget_from(img, req, before, 0);
	pthread_mutex_lock(&img->lock);
	if (reached < req->core)
		req->first = req->core;
	req->count = end - req->first;
	pthread_mutex_unlock(&img->lock);
}
