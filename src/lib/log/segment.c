/* SPDX-License-Identifier: MIT */
/*
 * Reading one log segment. Nothing in it is trusted: it may come from a hostile image, be torn by a
 * power cut, or have rotted.
 *
 * A segment is valid if and only if
 * - its header is valid (magic, UUID, checksum),
 * - the header says what the pointer to the segment says (place, length, first number), and
 * - its records are numbered without a gap: in an older segment up to exactly the number where the
 *   next one begins, or where a return to a mark cut it; in the newest up to the first sector that
 *   holds no valid record, with no valid record of a later number behind it.
 */
#include "lib/log/log.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

#define BEGINNINGS_MAX 16u /* sectors behind the last record that look like a beginning */

int bow_segment_init(struct bow_segment *s)
{
	memset(s, 0, sizeof(*s));
	s->bytes = malloc((size_t)BOW_SEGMENT_MAX_BLK * BOW_BLOCK);
	s->record_at = calloc((size_t)BOW_SEGMENT_MAX_BLK * BOW_BLOCK / 512, sizeof(uint32_t));
	return s->bytes && s->record_at ? 0 : -ENOMEM;
}

void bow_segment_release(struct bow_segment *s)
{
	free(s->bytes);
	free(s->record_at);
	s->bytes = NULL;
	s->record_at = NULL;
}

/* Only a return to a mark cuts the segment before, behind the mark's record. */
static bool prev_end_ok(const struct bow_segment_header *h, const struct bow_super *sb)
{
	return !h->prev_end || (sb->incompat & BOW_INCOMPAT_MARKS && h->prev_blk != BOW_NO_BLK &&
				h->prev_first_seq < h->prev_end && h->prev_end <= h->first_seq);
}

static int check_header(struct bow_segment *s, const struct bow_segment_ref *ref,
			const struct bow_super *sb, struct bowimg_error *err)
{
	struct bow_segment_header *h = &s->header;

	switch (bow_segment_decode(s->bytes, sb, h)) {
	case BOW_DECODE_OK:
		break;
	case BOW_DECODE_NEWER:
		return bow_err(err, -EOPNOTSUPP, "it was written by a newer version of bowimg");
	default:
		return bow_err(err, -EBADMSG, "there is no valid header of this checkpoint");
	}
	if (h->start_blk != ref->start_blk || h->len_blk != ref->len_blk ||
	    h->first_seq != ref->first_seq)
		return bow_err(err, -EUCLEAN, "its header belongs to another place in the log");
	/* Numbers fall towards older segments; this ends a chain that was made to loop. */
	if (h->prev_blk != BOW_NO_BLK &&
	    (h->prev_len_blk < 1 || h->prev_len_blk > BOW_SEGMENT_MAX_BLK ||
	     h->prev_first_seq < 1 || h->prev_first_seq >= h->first_seq))
		return bow_err(err, -EUCLEAN, "its pointer to the segment before is wrong");
	if (!prev_end_ok(h, sb))
		return bow_err(err, -EUCLEAN, "it ends the segment before in the wrong place");
	return 0;
}

/*
 * Is there a valid record from `at` on whose number says that it was written after the gap? The
 * space held zeros before, and a power cut tears one record, so few sectors look like the beginning
 * of a record by chance. Each of them costs a checksum of up to 128 KiB; more than BEGINNINGS_MAX
 * cannot be remains.
 */
static bool later_record(const struct bow_segment *s, size_t at, uint64_t expected, uint64_t seed)
{
	size_t end = (size_t)s->header.len_blk * BOW_BLOCK;
	unsigned seen = 0;
	uint64_t seq;
	uint32_t n;

	for (; at < end; at += 512) {
		if (!bow_record_begins(s->bytes + at))
			continue;
		if (++seen > BEGINNINGS_MAX)
			return true;
		if (bow_record_decode(s->bytes + at, end - at, seed, &seq, &n) && seq >= expected)
			return true;
	}
	return false;
}

static void find_records(struct bow_segment *s, uint64_t end_seq, uint64_t seed)
{
	size_t end = (size_t)s->header.len_blk * BOW_BLOCK, at = BOW_SEGMENT_HEADER_BYTES;
	uint64_t expected = s->header.first_seq, seq;
	uint32_t n;

	s->records = 0;
	while (at < end && expected != end_seq &&
	       bow_record_decode(s->bytes + at, end - at, seed, &seq, &n) && seq == expected) {
		s->record_at[s->records++] = (uint32_t)at;
		at = bow_record_end(at, n, s->header.sector_size);
		expected++;
	}
	s->last_seq = expected - 1;
	s->next_pos = (uint32_t)(at / 512);
}

int bow_segment_parse(struct bow_segment *s, const struct bow_segment_ref *ref,
		      const struct bow_super *sb, struct bowimg_error *err)
{
	int rc = check_header(s, ref, sb, err);

	if (rc)
		return rc;
	find_records(s, ref->end_seq, sb->seed);
	if (ref->end_seq && s->last_seq + 1 != ref->end_seq)
		return bow_err(err, -EBADMSG, "record %llu is damaged",
			       (unsigned long long)s->last_seq + 1);
	if (!ref->end_seq && later_record(s, (size_t)s->next_pos * 512, s->last_seq + 1, sb->seed))
		return bow_err(err, -EBADMSG, "record %llu is damaged, and later ones follow it",
			       (unsigned long long)s->last_seq + 1);
	return 0;
}
