/* SPDX-License-Identifier: MIT */
/*
 * Backs up the originals of a request that holds many runs of blocks. They are read one by one, but
 * written side by side: what lies here and there becomes one write. Nothing is durable or in the
 * log when this returns, as in backup.c [I1].
 */
#include <inttypes.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/engine/backup/private.h"

/* img->lock guards what changes. */
struct saving {
	struct bow_engine *img;
	struct bow_request *req;
	uint32_t run;	 /* the next one that nobody has looked at, */
	uint64_t in_run; /* and the first block of it */
	uint32_t piece;	 /* blocks that one thread saves at a time */
};

/* Blocks that are saved together: blk[i] is in block i of a buffer. */
struct piece {
	uint32_t n;
	uint64_t blk[BOW_COPY_MAX_BLK];
};

static void add_blocks(struct piece *p, uint64_t blk, uint64_t n)
{
	while (n--)
		p->blk[p->n++] = blk++;
}

/* Look at some blocks of the next run, and add those that are originals. */
static void look_on(struct saving *s, struct piece *p)
{
	const struct bow_run *run = &s->req->held[s->run];
	enum bow_block_state state;
	bool zero;
	uint64_t blk = run->start_blk + s->in_run;
	uint64_t most = bow_min(run->count_blk - s->in_run, s->piece - p->n);
	uint64_t n = bow_blocks_run(&s->img->blocks, blk, most, &state, &zero);

	if (state == BOW_ORIGINAL)
		add_blocks(p, blk, n);
	s->in_run += n;
	if (s->in_run == run->count_blk) {
		s->run++;
		s->in_run = 0;
	}
}

/* Get the next blocks that are to be backed up; false: there are none. */
static bool take_piece(struct saving *s, struct piece *p)
{
	p->n = 0;
	pthread_mutex_lock(&s->img->lock);
	while (p->n < s->piece && s->run < s->req->n_held)
		look_on(s, p);
	pthread_mutex_unlock(&s->img->lock);
	return p->n;
}

/* How many blocks from number i on lie side by side. */
static uint32_t run_at(const struct piece *p, uint32_t i)
{
	uint32_t n = 1;

	while (i + n < p->n && p->blk[i + n] == p->blk[i] + n)
		n++;
	return n;
}

static int read_blocks(struct saving *s, const struct piece *p, uint8_t *buf,
		       struct bowimg_error *err)
{
	uint32_t i, n;
	int rc = 0;

	for (i = 0; i < p->n; i += n) {
		n = run_at(p, i);
		bow_disk_will_read(s->img->dev, p->blk[i] * BOW_BLOCK, (uint64_t)n * BOW_BLOCK);
	}
	for (i = 0; i < p->n && !rc; i += n) {
		n = run_at(p, i);
		rc = bow_save_read(s->img, (struct bow_run){p->blk[i], n},
				   buf + (size_t)i * BOW_BLOCK, err);
	}
	return rc;
}

/* Blocks number [i, i + n) are in the blocks from dest on: add their entries. */
static void name_copies(struct saving *s, const struct piece *p, uint32_t i, uint32_t n,
			uint64_t dest, const uint8_t *buf)
{
	uint32_t end = i + n, k;

	for (; i < end; i += k, dest += k) {
		struct bow_entry e = {
			.type = BOW_ENTRY_COPY, .source_blk = p->blk[i], .dest_blk = dest};

		k = (uint32_t)bow_min(run_at(p, i), end - i);
		e.count_blk = k;
		e.hash = bow_hash(buf + (size_t)i * BOW_BLOCK,
				  bow_super_bytes(&s->img->sb, p->blk[i], k), s->img->sb.seed);
		bow_save_add(s->img, s->req, &e);
	}
}

/* Copy blocks number [i, i + n), none of them all zeros, to places with room. */
static int copy_blocks(struct saving *s, const struct piece *p, uint32_t i, uint32_t n,
		       const uint8_t *buf, struct bowimg_error *err)
{
	uint32_t end = i + n, k;
	uint64_t dest;
	int rc = 0;

	for (; i < end && !rc; i += k) {
		pthread_mutex_lock(&s->img->lock);
		k = (uint32_t)bow_request_dest(s->img, s->req, end - i, &dest);
		pthread_mutex_unlock(&s->img->lock);
		if (!k)
			return bow_err_errno(err, -ENOMEM, "find a block for a backup");
		name_copies(s, p, i, k, dest, buf);
		rc = bow_disk_write(s->img->dev, buf + (size_t)i * BOW_BLOCK, k * BOW_BLOCK,
				    dest * BOW_BLOCK, err);
	}
	return rc;
}

/* How many blocks from number i on are alike: all zeros, or not. */
static uint32_t alike_at(const struct piece *p, uint32_t i, const uint8_t *buf, bool *zero)
{
	uint32_t n = 1;

	*zero = bow_is_zero(buf + (size_t)i * BOW_BLOCK, BOW_BLOCK);
	while (i + n < p->n && bow_is_zero(buf + (size_t)(i + n) * BOW_BLOCK, BOW_BLOCK) == *zero)
		n++;
	return n;
}

static void name_zeros(struct saving *s, const struct piece *p, uint32_t i, uint32_t n)
{
	uint32_t end = i + n, k;

	for (; i < end; i += k) {
		k = (uint32_t)bow_min(run_at(p, i), end - i);
		bow_save_add_zero(s->img, s->req, p->blk[i], k);
	}
}

static int save_piece(struct saving *s, const struct piece *p, uint8_t *buf,
		      struct bowimg_error *err)
{
	int rc = read_blocks(s, p, buf, err);
	uint32_t n;
	bool zero;

	for (uint32_t i = 0; i < p->n && !rc; i += n) {
		n = alike_at(p, i, buf, &zero);
		if (zero)
			name_zeros(s, p, i, n);
		else
			rc = copy_blocks(s, p, i, n, buf, err);
	}
	return rc;
}

static int save_pieces(void *ctx, unsigned number, const atomic_bool *stop,
		       struct bowimg_error *err)
{
	struct saving *s = ctx;
	uint8_t *buf = number ? s->img->crew_buf[number - 1] : s->req->buf;
	struct piece p = {0};
	int rc = 0;

	while (!rc && !atomic_load(stop) && take_piece(s, &p))
		rc = save_piece(s, &p, buf, err);
	return rc;
}

/* Where a crew helps, each of it gets as much. */
int bow_request_back_up_many(struct bow_engine *img, struct bow_request *req,
			     struct bowimg_error *err)
{
	struct saving s = {.img = img, .req = req, .piece = BOW_COPY_MAX_BLK};

	if (!req->dests_left)
		return 0;
	if (img->crew)
		s.piece = (uint32_t)bow_min(s.piece, bow_div_up(req->dests_left, BOW_CREW_MAX));
	return bow_crew_do(img->crew,
			   (unsigned)bow_min(bow_div_up(req->dests_left, s.piece), BOW_CREW_MAX),
			   save_pieces, &s, err);
}
