/* SPDX-License-Identifier: MIT */
/*
 * Finding a log that nothing points to.
 *
 * The newest segment is never moved (rule 6), so its header lies where it says that it was begun.
 * The records tell which segment is the newest, not the headers: after a crash, a segment that was
 * written but never used looks newer than the one in which the log went on.
 *
 * Remains of older checkpoints have UUIDs of their own. The note in block 0 names the right one; if
 * the note is lost, the time of prepare decides.
 */
#include "lib/verbs/rescue/rescue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/grow.h"
#include "lib/base/cleanup.h"
#include "lib/base/progress.h"

#define PIECE_BYTES (1u << 20)
#define AHEAD_BYTES (256u * 512u + 4096u) /* at least the largest record */
#define FOUND_MAX 1024u			  /* an image full of headers must not fill the memory */

_Static_assert(AHEAD_BYTES >= BOW_RECORD_HEADER_BYTES + BOW_RECORD_MAX_ENTRIES * BOW_ENTRY_BYTES,
	       "a record reaches beyond what is read ahead");

/* Visits each piece of data: n bytes from off on; it may read `have` bytes of buf. */
struct scanner {
	int (*visit)(struct scanner *s, const uint8_t *buf, size_t n, size_t have, uint64_t off,
		     struct bowimg_error *err);
	struct bowimg_disk *dev;
	struct bow_scan *scan;
	const uint8_t *note_uuid;
	uint64_t seed, last_seq;
};

/* Find the next whole blocks that are no hole: *n bytes at *off; 0 at the end. */
static int next_data(struct bowimg_disk *dev, uint64_t *off, uint64_t *n, struct bowimg_error *err)
{
	uint64_t end = bow_disk_size(dev) / BOW_BLOCK * BOW_BLOCK, reach;
	bool hole;
	int rc;

	for (*n = 0; *off < end; *off += reach / BOW_BLOCK * BOW_BLOCK) {
		rc = bow_disk_extent(dev, *off, &hole, &reach, err);
		if (rc)
			return rc;
		if (hole && reach >= BOW_BLOCK)
			continue;
		*n = bow_min(bow_div_up(reach, BOW_BLOCK) * BOW_BLOCK, end - *off);
		*n = bow_min(*n, PIECE_BYTES);
		return 0;
	}
	return 0;
}

static int for_all_data(struct scanner *s, const char *what, const struct bowimg_events *events,
			struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(PIECE_BYTES + AHEAD_BYTES);
	struct bow_progress progress = {events, what, 0, bow_disk_size(s->dev)};
	uint64_t off = 0, n, have;
	int rc;

	if (!buf)
		return bow_err_errno(err, -ENOMEM, "cannot %s", what);
	while (!(rc = next_data(s->dev, &off, &n, err)) && n) {
		have = bow_min(n + AHEAD_BYTES, bow_disk_size(s->dev) - off);
		rc = bow_disk_read(s->dev, buf, have, off, err);
		if (!rc)
			rc = s->visit(s, buf, n, have, off, err);
		off += n;
		if (!rc)
			rc = bow_progress_add(&progress, off - progress.done, err);
		if (rc)
			return rc;
	}
	return rc;
}

/* ---- segments -------------------------------------------------------------------- */

static int by_newest(const struct bow_super *a, const struct bow_super *b)
{
	if (a->prepared_at != b->prepared_at)
		return a->prepared_at > b->prepared_at ? -1 : 1;
	if (a->seg_first_seq != b->seg_first_seq)
		return a->seg_first_seq > b->seg_first_seq ? -1 : 1;
	return 0;
}

/* If the list is full, the new one takes the place of the oldest. */
static void note_found(struct bow_scan *scan, const struct bow_super *sb)
{
	uint32_t at = scan->n;

	if (scan->n < FOUND_MAX) {
		scan->n++;
	} else {
		at = 0;
		for (uint32_t i = 1; i < scan->n; i++)
			if (by_newest(&scan->found[at].sb, &scan->found[i].sb) < 0)
				at = i;
		if (by_newest(sb, &scan->found[at].sb) >= 0)
			return;
	}
	scan->found[at].sb = *sb;
}

static int visit_headers(struct scanner *s, const uint8_t *buf, size_t n, size_t have, uint64_t off,
			 struct bowimg_error *err)
{
	struct bow_segment_header h;
	struct bow_super sb;

	(void)have;
	(void)err;
	for (size_t at = 0; at < n; at += BOW_BLOCK) {
		if (!bow_segment_super_copy(buf + at, &sb, &h))
			continue;
		s->scan->headers++;
		if (s->note_uuid && memcmp(s->note_uuid, sb.uuid, sizeof(sb.uuid)))
			continue;
		if (h.start_blk == (off + at) / BOW_BLOCK)
			note_found(s->scan, &sb);
	}
	return 0;
}

static int compare_newest(const void *a, const void *b)
{
	return by_newest(&((const struct bow_found *)a)->sb, &((const struct bow_found *)b)->sb);
}

static int nothing(const struct bow_scan *scan, bool note, struct bowimg_error *err)
{
	if (scan->headers || note)
		bow_err(err, -EUCLEAN,
			"no log segment of the newest checkpoint is where it was begun (%" PRIu64
			" found in all)",
			scan->headers);
	else
		bow_err(err, -EUCLEAN, "it has no log of a bowimg checkpoint");
	bow_err_hint(err, "make a copy of the image; without its log a checkpoint cannot be "
			  "brought back");
	return -EUCLEAN;
}

/* Keep the segments of the newest checkpoint. The clock has seconds: two may be equally new. */
static int keep_one_checkpoint(struct bow_scan *scan, struct bowimg_error *err)
{
	const struct bow_super *newest = &scan->found[0].sb;
	uint32_t kept = 0;

	bow_sort(scan->found, scan->n, sizeof(scan->found[0]), compare_newest);
	for (uint32_t i = 0; i < scan->n; i++) {
		const struct bow_super *sb = &scan->found[i].sb;

		if (!memcmp(sb->uuid, newest->uuid, sizeof(sb->uuid))) {
			scan->found[kept++] = scan->found[i];
		} else if (sb->prepared_at == newest->prepared_at) {
			bow_err(err, -EUCLEAN, "it has the logs of two equally new checkpoints");
			bow_err_hint(err, "nothing tells which one was open; put the first 4096 "
					  "bytes of the image back from a copy");
			return -EUCLEAN;
		}
	}
	scan->n = kept;
	return 0;
}

/* Find the last record of this segment; 0 if the segment is damaged. */
static int read_records(struct bowimg_disk *dev, struct bow_found *f, struct bow_segment *s,
			struct bowimg_error *err)
{
	struct bow_super sb = f->sb;
	struct bow_segment_ref ref = {sb.seg_blk, sb.seg_len_blk, sb.seg_first_seq, 0};
	uint64_t end = bow_max(bow_super_image_blk(&sb), bow_disk_size(dev) / BOW_BLOCK);
	size_t bytes = (size_t)sb.seg_len_blk * BOW_BLOCK;
	int rc;

	f->last_seq = 0;
	f->begun = false;
	/* Only the lost superblock said whether there are marks, which give headers more fields. */
	sb.incompat |= BOW_INCOMPAT_MARKS;
	if (!bow_parking_ok(&sb, sb.seg_blk, sb.seg_len_blk, end) ||
	    sb.seg_blk * BOW_BLOCK + bytes > bow_disk_size(dev))
		return 0;
	rc = bow_disk_read(dev, s->bytes, bytes, sb.seg_blk * BOW_BLOCK, err);
	if (!rc && !bow_segment_parse(s, &ref, &sb, NULL)) {
		f->last_seq = s->last_seq;
		f->begun = s->records > 0;
	}
	return rc;
}

/*
 * A segment without a record ends with that of the one before it. If it was to begin a return to a
 * mark, it leaves out what was logged since the mark, and has not yet said again which marks were
 * deleted then: the segment that has the record comes first.
 */
static int compare_records(const void *a, const void *b)
{
	const struct bow_found *x = a, *y = b;

	if (x->last_seq != y->last_seq)
		return x->last_seq > y->last_seq ? -1 : 1;
	if (x->begun != y->begun)
		return x->begun ? -1 : 1;
	return by_newest(&x->sb, &y->sb);
}

static int order_by_records(struct bowimg_disk *dev, struct bow_scan *scan,
			    struct bowimg_error *err)
{
	struct bow_segment s;
	int rc = bow_segment_init(&s);

	if (rc)
		bow_err_errno(err, rc, "cannot read the log");
	for (uint32_t i = 0; i < scan->n && !rc; i++)
		rc = read_records(dev, &scan->found[i], &s, err);
	bow_segment_release(&s);
	bow_sort(scan->found, scan->n, sizeof(scan->found[0]), compare_records);
	return rc;
}

int bow_rescue_scan(struct bowimg_disk *dev, const uint8_t *note_uuid, struct bow_scan *scan,
		    const struct bowimg_events *events, struct bowimg_error *err)
{
	struct scanner s = {visit_headers, dev, scan, note_uuid, 0, 0};
	int rc;

	memset(scan, 0, sizeof(*scan));
	scan->found = calloc(FOUND_MAX, sizeof(scan->found[0]));
	if (!scan->found)
		return bow_err_errno(err, -ENOMEM, "cannot search for the log");
	rc = for_all_data(&s, "search for the log", events, err);
	if (!rc && !scan->n)
		rc = nothing(scan, note_uuid, err);
	if (!rc)
		rc = keep_one_checkpoint(scan, err);
	return rc ? rc : order_by_records(dev, scan, err);
}

/* ---- the end of the log ---------------------------------------------------------- */

static int longer(uint64_t found_seq, uint64_t last_seq, struct bowimg_error *err)
{
	bow_err(err, -EBADMSG,
		"the log was longer: its last whole part ends at record %" PRIu64
		", but there are remains of record %" PRIu64,
		last_seq, found_seq);
	bow_err_hint(err, "make a copy of the image; a rollback from a part of the log would "
			  "bring back a mixture");
	return -EBADMSG;
}

static int visit_records(struct scanner *s, const uint8_t *buf, size_t n, size_t have, uint64_t off,
			 struct bowimg_error *err)
{
	uint64_t seq;
	uint32_t count;

	(void)off;
	for (size_t at = 0; at < n; at += 512)
		if (bow_record_decode(buf + at, have - at, s->seed, &seq, &count) &&
		    seq > s->last_seq)
			return longer(seq, s->last_seq, err);
	return 0;
}

int bow_rescue_check_end(struct bowimg_disk *dev, const struct bow_scan *scan, uint64_t last_seq,
			 const struct bowimg_events *events, struct bowimg_error *err)
{
	struct scanner s = {visit_records, dev, NULL, NULL, scan->found[0].sb.seed, last_seq};

	for (uint32_t i = 0; i < scan->n; i++)
		if (scan->found[i].sb.seg_first_seq > last_seq + 1)
			return longer(scan->found[i].sb.seg_first_seq, last_seq, err);
	return for_all_data(&s, "search for later records", events, err);
}
