/* SPDX-License-Identifier: MIT */
/*
 * Writes a prologue: segments in its places, each record as long as its segment has room. It is
 * laid out once without writing, to learn how much room it takes and the number of its last record,
 * which its first entry names.
 *
 * Nothing names it until the superblock does, so no barrier is needed between its records.
 */
#include <errno.h>

#include "lib/base/bytes.h"
#include "lib/own/marks/prologue.h"

struct layout {
	struct bow_new_prologue *p;
	struct bow_log log;
	bool write;
	size_t place;	  /* the one that is being used up, */
	uint64_t used;	  /* and how much of it was */
	uint64_t end_blk; /* behind all that was used */
};

/* How many blocks a segment for the entries that are left should have. */
static uint64_t want(size_t entries)
{
	uint64_t bytes = BOW_SEGMENT_HEADER_BYTES +
			 bow_record_bytes((uint32_t)bow_min(entries, BOW_RECORD_MAX_ENTRIES));

	return bow_min(bow_div_up(bytes, BOW_BLOCK), BOW_SEGMENT_MAX_BLK);
}

static int next_segment(struct layout *l, size_t entries, struct bowimg_error *err)
{
	const struct bow_run *place = &l->p->places[l->place];
	uint64_t start, n;
	int rc = 0;

	while (l->place < l->p->n_places && l->used == place->count_blk) {
		l->place++;
		l->used = 0;
		place++;
	}
	if (l->place == l->p->n_places)
		return bow_err(err, -ENOSPC, "there is no room for what the log must say");
	start = place->start_blk + l->used;
	n = bow_min(want(entries), place->count_blk - l->used);
	l->used += n;
	l->end_blk = bow_max(l->end_blk, start + n);
	if (l->write)
		rc = bow_log_write_segment(&l->log, start, (uint32_t)n, err);
	if (!rc)
		bow_log_use_segment(&l->log, start, (uint32_t)n);
	return rc;
}

static int next_record(struct layout *l, const struct bow_entry *e, uint32_t n,
		       struct bowimg_error *err)
{
	int rc;

	if (!l->write) {
		l->log.pos =
			(uint32_t)(bow_record_end((size_t)l->log.pos * 512, n, l->log.sector_size) /
				   512);
		l->log.next_seq++;
		return 0;
	}
	rc = bow_log_append(&l->log, e, n, err);
	bow_log_settle(&l->log);
	return rc;
}

static int lay_out(struct layout *l, struct bowimg_error *err)
{
	const struct bow_entry *e = l->p->entries;
	size_t left = l->p->n;
	uint32_t k;
	int rc = next_segment(l, left, err);

	for (; left && !rc; e += k, left -= k) {
		k = (uint32_t)bow_min(left, bow_log_room(&l->log));
		rc = k ? next_record(l, e, k, err) : next_segment(l, left, err);
	}
	return rc;
}

/* The log goes on behind the mark's record, in its segment's place in the chain. */
static int begin(struct layout *l, struct bow_super *sb, struct bowimg_error *err)
{
	const struct bow_checkpoint *cp = l->p->now;

	if (bow_log_init(&l->log, cp->dev, sb, cp->newest.sector_size))
		return bow_err_errno(err, -ENOMEM, "write the log");
	l->log.newest = l->p->mark_segment;
	l->log.cut_seq = cp->epochs[l->p->epoch].mark_seq + 1;
	l->log.next_seq = cp->next_seq;
	return 0;
}

int bow_prologue_plan(struct bow_new_prologue *p, uint64_t *end_blk, struct bowimg_error *err)
{
	struct bow_super sb = p->now->sb;
	struct layout l = {.p = p};
	int rc = begin(&l, &sb, err);

	if (!rc)
		rc = lay_out(&l, err);
	p->entries[0].dest_blk = l.log.next_seq - 1;
	*end_blk = l.end_blk;
	bow_log_release(&l.log);
	return rc;
}

int bow_prologue_write(struct bow_new_prologue *p, struct bow_super *sb, uint64_t *last_seq,
		       struct bowimg_error *err)
{
	struct layout l = {.p = p, .write = true};
	int rc = begin(&l, sb, err);

	if (!rc)
		rc = lay_out(&l, err);
	*last_seq = l.log.next_seq - 1;
	bow_log_release(&l.log);
	return rc;
}
