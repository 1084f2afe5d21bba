/* SPDX-License-Identifier: MIT */
/*
 * What a rollback must come to, found in another way than restore.c does: the log is replayed
 * backwards on a copy of the image, each entry by itself, blocks that moved moved back. No map of
 * where things are, no order but the log's.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz.h"

struct replay {
	uint8_t *image; /* the tail included */
	uint64_t bytes;
};

static void move_back(struct replay *r, struct bow_walk *w, const struct bow_entry *e, size_t n)
{
	uint8_t *from = r->image + e->dest_blk * BOW_BLOCK;
	uint8_t *to = r->image + e->source_blk * BOW_BLOCK;
	bool move = e->flags & BOW_ENTRY_MOVE;

	/* Nothing was overwritten, or nothing has to be brought back. */
	if (bow_walk_is_redo(w, e) || (!move && bow_hash(from, n, w->sb->seed) != e->hash))
		return;
	memmove(to, from, n);
}

static int step(void *ctx, struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	struct replay *r = ctx;
	size_t n = bow_super_bytes(w->sb, e->source_blk, e->count_blk);

	(void)err;
	if (e->type == BOW_ENTRY_COPY)
		move_back(r, w, e, n);
	else if (e->type == BOW_ENTRY_ZERO)
		memset(r->image + e->source_blk * BOW_BLOCK, 0, n);
	return 0;
}

uint8_t *fuzz_replay(struct bowimg_disk *dev, const struct bow_super *sb)
{
	struct replay r = {.bytes = bow_div_up(dev->size, BOW_BLOCK) * BOW_BLOCK};
	struct bow_visitor v = {.entry = step, .ctx = &r};
	struct bow_walk w;
	int rc;

	r.image = calloc(1, r.bytes);
	if (!r.image || bow_disk_read(dev, r.image, dev->size, 0, NULL))
		abort();
	rc = bow_walk_init(&w, dev, sb, NULL);
	if (!rc)
		rc = bow_walk_run(&w, &v, NULL);
	bow_walk_release(&w);
	if (!rc)
		return r.image;
	free(r.image);
	return NULL;
}
