/* SPDX-License-Identifier: MIT */
/*
 * A power cut can tear only the newest record's copies (records are strictly serial). Each copy is
 * checked before the walk begins: if dest does not match but source does, nothing was overwritten
 * yet, and the content counts as still being at its source [I3].
 *
 * A record may name hundreds of copies. Storage that is far away is asked for many at a time.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"
#include "lib/log/log.h"

#define COPY_BYTES ((size_t)BOW_COPY_MAX_BLK * BOW_BLOCK)

struct checking {
	const struct bow_walk *w;
	const uint8_t *record;
	uint8_t *bufs; /* COPY_BYTES for each thread */
	bool *lost;    /* for each entry: its dest does not hold the data */
};

/*
 * Does [blk, blk + count) on the device have this entry's hash, computed over the source's bytes?
 */
static int holds(const struct bow_walk *w, const struct bow_entry *e, uint64_t blk, uint8_t *buf,
		 bool *yes, struct bowimg_error *err)
{
	size_t bytes = bow_super_bytes(w->sb, e->source_blk, e->count_blk);
	int rc = bow_disk_read(w->dev, buf, bytes, blk * BOW_BLOCK, err);

	*yes = !rc && bow_hash(buf, bytes, w->sb->seed) == e->hash;
	return rc;
}

static int check_copy(const struct bow_walk *w, const struct bow_entry *e, uint8_t *buf, bool *lost,
		      struct bowimg_error *err)
{
	bool at_dest, at_source;
	int rc = holds(w, e, e->dest_blk, buf, &at_dest, err);

	if (rc || at_dest)
		return rc;
	rc = holds(w, e, e->source_blk, buf, &at_source, err);
	if (rc)
		return rc;
	*lost = true;
	if (at_source)
		return 0;
	return bow_err(err, -EBADMSG,
		       "neither the backup of block %" PRIu64 " at block %" PRIu64
		       " nor the block itself has the content that was logged",
		       e->source_blk, e->dest_blk);
}

static int check_piece(void *ctx, unsigned number, size_t i, struct bowimg_error *err)
{
	struct checking *c = ctx;
	struct bow_entry e;

	bow_record_entry(c->record, (uint32_t)i, &e);
	return e.type == BOW_ENTRY_COPY
		       ? check_copy(c->w, &e, c->bufs + number * COPY_BYTES, &c->lost[i], err)
		       : 0;
}

/* Remember those that never reached their dests, in the order of the record. */
static int list_lost(struct bow_walk *w, const struct checking *c)
{
	uint32_t n = bow_record_count(c->record);
	struct bow_entry e;

	w->redo = malloc((n + 1) * sizeof(w->redo[0]));
	if (!w->redo)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (!c->lost[i])
			continue;
		bow_record_entry(c->record, i, &e);
		w->redo[w->redos++] = (struct bow_redo){e.source_blk, e.dest_blk, e.count_blk};
	}
	return 0;
}

int bow_walk_check_copies(struct bow_walk *w, const uint8_t *record, struct bowimg_error *err)
{
	uint32_t n = bow_record_count(record);
	unsigned threads = (unsigned)bow_min(bow_crew_size(w->dev->queue_depth), bow_max(n, 1));
	struct checking c = {.w = w, .record = record};
	int rc;

	c.bufs = malloc(threads * COPY_BYTES);
	c.lost = calloc(n + 1, sizeof(c.lost[0]));
	if (!c.bufs || !c.lost) {
		rc = bow_err_errno(err, -ENOMEM, "read the log");
	} else {
		rc = bow_crew_each(threads, n, check_piece, &c, err);
		if (!rc && list_lost(w, &c))
			rc = bow_err_errno(err, -ENOMEM, "read the log");
	}
	free(c.bufs);
	free(c.lost);
	return rc;
}
