/* SPDX-License-Identifier: MIT */
/*
 * Walking the log from the newest entry to the oldest, following blocks that moved.
 *
 * cur[] answers "what was at block b when this entry was written: where is it now?". Going back
 * over COPY s -> d: what was at s before is now where d's content is, so cur[s] = cur[d] or d; and
 * before this entry d held something that nobody needs, so cur[d] is forgotten. Only moves of
 * blocks that bowimg holds need to be kept: nothing ever asks for the place of a used block.
 *
 * A power cut can tear only the newest record's copies (records are strictly serial). Each is
 * checked before the walk begins: where dest does not match but source does, nothing was
 * overwritten yet, and the content counts as still being at its source [I3].
 */
#include "log/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

int bow_walk_init(struct bow_walk *w, struct bow_dev *dev, const struct bow_super *sb,
		  struct bowimg_error *err)
{
	memset(w, 0, sizeof(*w));
	w->dev = dev;
	w->sb = sb;
	w->image_blk = bow_super_image_blk(sb);
	w->end_blk = bow_max(w->image_blk, bow_dev_size(dev) / BOW_BLOCK);
	w->cur = bow_rangemap_new();
	w->buf = malloc((size_t)BOW_COPY_MAX_BLK * BOW_BLOCK);
	if (bow_segment_init(&w->segment) || !w->cur || !w->buf)
		return bow_err_errno(err, -ENOMEM, "read the log");
	return 0;
}

void bow_walk_release(struct bow_walk *w)
{
	bow_rangemap_free(w->cur);
	bow_segment_release(&w->segment);
	free(w->buf);
	free(w->redo);
	memset(w, 0, sizeof(*w));
}

uint64_t bow_walk_locate(const struct bow_walk *w, uint64_t blk, uint64_t n, uint64_t *now)
{
	uint64_t value = 0;
	bool found = false;
	uint64_t run = bow_rangemap_get(w->cur, blk, n, &value, &found);

	*now = found ? value : blk;
	return run;
}

int bow_walk_read(const struct bow_walk *w, uint64_t blk, uint64_t n, void *buf,
		  struct bowimg_error *err)
{
	uint8_t *p = buf;
	uint64_t now, run;

	for (; n; blk += run, n -= run, p += run * BOW_BLOCK) {
		run = bow_walk_locate(w, blk, n, &now);
		int rc = bow_dev_read(w->dev, p, bow_super_bytes(w->sb, now, run), now * BOW_BLOCK,
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

/* Does [blk, blk + count) on the device have this entry's hash, taken over the source's bytes? */
static int holds(struct bow_walk *w, const struct bow_entry *e, uint64_t blk, bool *yes,
		 struct bowimg_error *err)
{
	size_t bytes = bow_super_bytes(w->sb, e->source_blk, e->count_blk);
	int rc = bow_dev_read(w->dev, w->buf, bytes, blk * BOW_BLOCK, err);

	*yes = !rc && bow_hash(w->buf, bytes, w->sb->seed) == e->hash;
	return rc;
}

static int add_redo(struct bow_walk *w, const struct bow_entry *e)
{
	struct bow_redo *list = realloc(w->redo, (w->redos + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	w->redo = list;
	list[w->redos++] = (struct bow_redo){e->source_blk, e->dest_blk, e->count_blk};
	return 0;
}

static int check_entry(const struct bow_walk *w, const struct bow_entry *e,
		       struct bowimg_error *err)
{
	const char *why;

	if (bow_entry_ok(e, w->sb, w->end_blk, &why))
		return 0;
	return bow_err(err, -EUCLEAN, "entry for block %" PRIu64 ": %s", e->source_blk, why);
}

static int check_last_copy(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	bool at_dest, at_source;
	int rc = holds(w, e, e->dest_blk, &at_dest, err);

	if (rc || at_dest)
		return rc;
	rc = holds(w, e, e->source_blk, &at_source, err);
	if (rc)
		return rc;
	if (!at_source)
		return bow_err(err, -EBADMSG,
			       "neither the backup of block %" PRIu64 " at block %" PRIu64
			       " nor the block itself has the content that was logged",
			       e->source_blk, e->dest_blk);
	return add_redo(w, e) ? bow_err_errno(err, -ENOMEM, "read the log") : 0;
}

/* Rule 9. The first segment, written before the superblock, is never torn but checked all the same.
 */
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
		if (!rc && e.type == BOW_ENTRY_COPY)
			rc = check_last_copy(w, &e, err);
	}
	return rc;
}

/* Split [s, s + n) by where its content is now, and remember that for the place it came from. */
static int follow_move(struct bow_walk *w, const struct bow_entry *e)
{
	uint64_t d = e->dest_blk, s = e->source_blk, n = e->count_blk, now, run;
	int rc = 0;

	for (; n && !rc; d += run, s += run, n -= run) {
		run = bow_walk_locate(w, d, n, &now);
		rc = bow_rangemap_set(w->cur, s, run, now);
	}
	return rc;
}

static int step_back(struct bow_walk *w, const struct bow_entry *e, struct bowimg_error *err)
{
	int rc = 0;

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

static int visit_record(struct bow_walk *w, const uint8_t *record, const struct bow_visitor *v,
			struct bowimg_error *err)
{
	struct bow_entry e;
	int rc = 0;

	for (uint32_t i = bow_record_count(record); i-- > 0 && !rc;) {
		bow_record_entry(record, i, &e);
		w->entries++;
		rc = check_entry(w, &e, err);
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
			break;
		rc = visit_record(w, s->bytes + s->record_at[i], v, err);
	}
	return rc;
}

/* Read a segment from wherever its blocks are now, and tell the visitor where that is. */
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
	for (; n && !rc && v->segment_piece; blk += run, n -= run) {
		run = bow_walk_locate(w, blk, n, &now);
		rc = v->segment_piece(v->ctx, w, now, run, err);
	}
	return rc;
}

/* The newest segment: note where the log ends, and find what a power cut took of the last record.
 */
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
					       h->first_seq};
	}
}
