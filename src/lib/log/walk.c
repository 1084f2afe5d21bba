/* SPDX-License-Identifier: MIT */
/*
 * Walks the log from the newest entry to the oldest, and follows blocks that moved.
 *
 * cur[] answers "where is the content now that was at block b when this entry was written?". Going
 * back over COPY s -> d, the content that was at s is now where d's content is, so cur[s] = cur[d]
 * or d. Before this entry d held something that is not needed any more, so cur[d] is forgotten.
 * Only moves of blocks that bowimg holds are kept: no caller asks for the place of a used block.
 *
 * A copy of the newest record that a power cut lost counts as still being at its source
 * (last_record.c).
 *
 * A return to a mark (prologue.c) leaves out what was logged since the mark.
 */
#include "lib/log/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

int bow_walk_init(struct bow_walk *w, struct bowimg_disk *dev, const struct bow_super *sb,
		  struct bowimg_error *err)
{
	memset(w, 0, sizeof(*w));
	w->dev = dev;
	w->sb = sb;
	w->image_blk = bow_super_image_blk(sb);
	w->end_blk = bow_max(w->image_blk, bow_disk_size(dev) / BOW_BLOCK);
	w->cur = bow_rangemap_new();
	w->put = bow_bitmap_new(w->end_blk);
	w->given = bow_bitmap_new(w->image_blk);
	w->buf = malloc((size_t)BOW_COPY_MAX_BLK * BOW_BLOCK);
	if (bow_segment_init(&w->segment) || !w->cur || !w->put || !w->given || !w->buf)
		return bow_err_errno(err, -ENOMEM, "read the log");
	return 0;
}

void bow_walk_release(struct bow_walk *w)
{
	bow_rangemap_free(w->cur);
	bow_bitmap_free(w->put);
	bow_bitmap_free(w->given);
	bow_segment_release(&w->segment);
	free(w->prologue.froms);
	bow_rangemap_free(w->prologue.noted);
	bow_map_ahead_free(w->map_ahead);
	free(w->buf);
	free(w->redo);
	memset(w, 0, sizeof(*w));
}

int bow_walk_read(const struct bow_walk *w, uint64_t blk, uint64_t n, void *buf,
		  struct bowimg_error *err)
{
	uint8_t *p = buf;
	uint64_t now, run;

	for (; n; blk += run, n -= run, p += run * BOW_BLOCK) {
		run = bow_walk_locate(w, blk, n, &now);
		int rc = bow_disk_read(w->dev, p, bow_super_bytes(w->sb, now, run), now * BOW_BLOCK,
				       err);
		if (rc)
			return rc;
	}
	return 0;
}

bool bow_walk_is_redo(const struct bow_walk *w, const struct bow_entry *e)
{
	if (!w->last_record)
		return false;
	for (uint32_t i = 0; i < w->redos; i++)
		if (w->redo[i].source_blk == e->source_blk && w->redo[i].dest_blk == e->dest_blk)
			return true;
	return false;
}

static int check_entry(const struct bow_walk *w, const struct bow_entry *e,
		       struct bowimg_error *err)
{
	const char *why;

	if (bow_entry_ok(e, w->sb, w->end_blk, &why))
		return 0;
	return bow_err(err, -EUCLEAN, "entry for block %" PRIu64 ": %s", e->source_blk, why);
}

/* Rule 9. The first segment comes before the superblock and is never torn; it is checked, too. */
static int check_last_record(struct bow_walk *w, struct bowimg_error *err)
{
	const struct bow_segment *s = &w->segment;
	const uint8_t *record;
	struct bow_entry e;
	int rc = 0;

	if (s->records == 0 || w->sb->state != BOW_SUPER_CHECKPOINT)
		return 0;
	record = s->bytes + s->record_at[s->records - 1];
	for (uint32_t i = 0; i < bow_record_count(record) && !rc; i++) {
		bow_record_entry(record, i, &e);
		rc = check_entry(w, &e, err);
	}
	return rc ? rc : bow_walk_check_copies(w, record, err);
}

/*
 * Remember where the content of this place is now. If it is in many pieces, which may happen again
 * and again, bow_rangemap_move() does not look at each of them.
 */
static int follow_move(struct bow_walk *w, const struct bow_entry *e)
{
	uint64_t d = e->dest_blk, s = e->source_blk, n = e->count_blk, now, run;
	bool apart = bow_walk_locate(w, d, n, &now) < n;
	int rc = 0;

	if (apart && (d + n <= s || s + n <= d))
		return bow_rangemap_move(w->cur, d, s, n);
	for (; n && !rc; d += run, s += run, n -= run) {
		run = bow_walk_locate(w, d, n, &now);
		rc = bow_rangemap_set(w->cur, s, run, now);
	}
	return rc;
}

static int step_back(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	int rc = 0;

	if (e->type == BOW_ENTRY_PLACE)
		return bow_prologue_place(w, e, err);
	if (e->type != BOW_ENTRY_COPY)
		return 0;
	if (e->flags & BOW_ENTRY_MOVE) {
		rc = bow_walk_is_redo(w, e)
			     ? bow_rangemap_erase(w->cur, e->source_blk, e->count_blk)
			     : follow_move(w, e);
	}
	if (!rc)
		rc = bow_rangemap_erase(w->cur, e->dest_blk, e->count_blk);
	return rc ? bow_err_errno(err, rc, "follow moved blocks") : 0;
}

static int check_put(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	int rc = check_entry(w, e, err);

	if (rc)
		return rc;
	switch (e->type) {
	case BOW_ENTRY_COPY:
		rc = bow_walk_put(w, e->dest_blk, e->count_blk, err);
		return rc || !(e->flags & BOW_ENTRY_MOVE) ? rc : bow_walk_taken(w, e, err);
	case BOW_ENTRY_MAP_BITS:
		return bow_walk_put(w, e->dest_blk, 1, err);
	case BOW_ENTRY_PLACE:
		return bow_walk_put(w, e->dest_blk, e->count_blk, err);
	case BOW_ENTRY_TAKE:
		return bow_walk_taken(w, e, err);
	case BOW_ENTRY_GIVE:
		return bow_walk_given(w, e, err);
	default:
		return 0;
	}
}

static int visit_record(struct bow_walk *w, const uint8_t *record, const struct bow_visitor *v,
			struct bowimg_error *err)
{
	struct bow_entry e;
	uint32_t i = bow_record_count(record);
	int rc = bow_prologue_record(w, record, err);

	if (rc)
		return rc;
	bow_record_entry(record, i - 1, &e);
	if (e.type == BOW_ENTRY_MARK && v->mark)
		rc = v->mark(v->ctx, w, &e, err);
	w->record = record;
	while (i-- > 0 && !rc) {
		bow_record_entry(record, i, &e);
		w->index = i;
		w->entries++;
		rc = check_put(w, &e, err);
		if (!rc && v->entry)
			rc = v->entry(v->ctx, w, &e, err);
		if (!rc)
			rc = step_back(w, &e, err);
	}
	return rc;
}

static int visit_segment(struct bow_walk *w, const struct bow_visitor *v, bool newest,
			 struct bowimg_error *err)
{
	const struct bow_segment *s = &w->segment;
	int rc = 0;

	for (uint32_t i = s->records; i-- > 0 && !rc;) {
		w->last_record = newest && i == s->records - 1;
		w->sequence = s->header.first_seq + i;
		if (w->sequence < w->from_seq)
			return 0;
		rc = visit_record(w, s->bytes + s->record_at[i], v, err);
	}
	w->segments++;
	return rc ? rc : bow_prologue_leave(w, err);
}

/* Read a segment from where its blocks are now, and pass their places to the visitor. */
static int read_segment(struct bow_walk *w, const struct bow_segment_ref *ref,
			const struct bow_visitor *v, struct bowimg_error *err)
{
	uint64_t blk = ref->start_blk, n = ref->len_blk, now, run;
	int rc;

	if (ref->len_blk > BOW_SEGMENT_MAX_BLK || !bow_parking_ok(w->sb, blk, n, w->end_blk))
		return bow_err(err, -EUCLEAN, "it lies outside the image");
	rc = bow_walk_read(w, blk, n, w->segment.bytes, err);
	if (!rc)
		rc = bow_segment_parse(&w->segment, ref, w->sb, err);
	if (!rc)
		rc = bow_walk_put(w, blk, n, err);
	for (; n && !rc && v->segment_piece; blk += run, n -= run) {
		run = bow_walk_locate(w, blk, n, &now);
		rc = v->segment_piece(v->ctx, w, now, run, err);
	}
	return rc;
}

/* The newest segment: note where the log ends, and find the last record's lost copies. */
static int begin(struct bow_walk *w, struct bowimg_error *err)
{
	const struct bow_segment *s = &w->segment;

	w->newest = s->header;
	w->next_seq = s->last_seq + 1;
	w->next_pos = s->next_pos;
	if (s->last_seq < w->sb->clean_seq)
		return bow_err(err, -EBADMSG,
			       "it ends at record %" PRIu64 ", but %" PRIu64
			       " were there at the last detach",
			       s->last_seq, w->sb->clean_seq);
	return w->end_seq ? 0 : check_last_record(w, err);
}

int bow_walk_run(struct bow_walk *w, const struct bow_visitor *v, struct bowimg_error *err)
{
	struct bow_segment_ref ref = {w->sb->seg_blk, w->sb->seg_len_blk, w->sb->seg_first_seq,
				      w->end_seq};
	const struct bow_segment_header *h = &w->segment.header;
	bool newest = true;
	int rc;

	for (;; newest = false) {
		rc = read_segment(w, &ref, v, err);
		if (!rc && newest)
			rc = begin(w, err);
		if (!rc)
			rc = visit_segment(w, v, newest, err);
		if (rc)
			return bow_err_wrap(err, rc, "log segment at block %" PRIu64,
					    ref.start_blk);
		if (h->prev_blk == BOW_NO_BLK || h->first_seq <= w->from_seq)
			return 0;
		ref = (struct bow_segment_ref){h->prev_blk, h->prev_len_blk, h->prev_first_seq,
					       h->prev_end ? h->prev_end : h->first_seq};
	}
}
