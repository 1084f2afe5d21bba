/* SPDX-License-Identifier: MIT */
/*
 * Writing the log.
 *
 * Happy path: append (one record, sequence n) - barrier - settle - append (n+1) ... until the
 * segment has no room; then write_segment - barrier - use_segment - superblock - barrier - append.
 *
 * Failure modes: the checksum finds a record that a power cut tore. Only the last record can be
 * torn, because n+1 is never written before n's barrier returned. A new segment that nothing names
 * yet is garbage in a free block. A segment is zeroed before use, so that no remains in it can be
 * taken for records.
 */
#include "lib/log/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/grow.h"

int bow_super_write(struct bowimg_disk *dev, struct bow_super *sb, struct bowimg_error *err)
{
	uint8_t sector[BOW_SUPER_BYTES];
	int rc;

	sb->updates++;
	bow_super_encode(sb, sector);
	rc = bow_disk_write_first(dev, sector, sizeof(sector), 0, err);
	return rc ? bow_err_wrap(err, rc, "write superblock") : 0;
}

static size_t buffer_bytes(void)
{
	size_t record = bow_record_bytes(BOW_RECORD_MAX_ENTRIES);
	size_t segment = (size_t)BOW_SEGMENT_MAX_BLK * BOW_BLOCK;

	return record > segment ? record : segment;
}

int bow_log_init(struct bow_log *log, struct bowimg_disk *dev, struct bow_super *sb,
		 uint32_t sector_size)
{
	memset(log, 0, sizeof(*log));
	log->dev = dev;
	log->sb = sb;
	log->sector_size = sector_size;
	log->next_seq = 1;
	log->buf = malloc(buffer_bytes());
	return log->buf ? 0 : -ENOMEM;
}

void bow_log_release(struct bow_log *log)
{
	free(log->buf);
	log->buf = NULL;
}

uint32_t bow_log_room(const struct bow_log *log)
{
	size_t end = (size_t)log->sb->seg_len_blk * BOW_BLOCK, at = (size_t)log->pos * 512;

	return at < end ? bow_record_fit(end - at) : 0;
}

/*
 * One record fits in a sector. If sectors are as large as a block, the segment's header does, too.
 */
uint32_t bow_log_unit_entries(const struct bow_log *log)
{
	return bow_record_fit(log->sector_size == BOW_BLOCK ? BOW_BLOCK - BOW_SEGMENT_HEADER_BYTES
							    : log->sector_size);
}

int bow_log_wipe_header(struct bowimg_disk *dev, const struct bow_segment_header *h,
			struct bowimg_error *err)
{
	return bow_disk_zero(dev, h->start_blk * BOW_BLOCK, BOW_BLOCK, BOW_ZERO_KEEP, err);
}

int bow_log_append(struct bow_log *log, const struct bow_entry *e, uint32_t n,
		   struct bowimg_error *err)
{
	size_t at = (size_t)log->pos * 512, bytes = bow_record_bytes(n);
	size_t end = bow_record_end(at, n, log->sector_size);
	int rc;

	assert(!log->unsettled && n > 0 && n <= bow_log_room(log));
	bow_record_encode(log->buf, log->next_seq, e, n, log->sb->seed);
	memset(log->buf + bytes, 0, end - at - bytes);
	log->unsettled = true;
	rc = bow_disk_write(log->dev, log->buf, end - at, log->sb->seg_blk * BOW_BLOCK + at, err);
	if (rc)
		return bow_err_wrap(err, rc, "append to the log");
	log->pos = (uint32_t)(end / 512);
	log->next_seq++;
	return 0;
}

void bow_log_settle(struct bow_log *log)
{
	log->unsettled = false;
}

/* The header of the segment that follows the one being written. */
static struct bow_segment_header next_header(const struct bow_log *log, uint64_t start_blk,
					     uint32_t len_blk)
{
	struct bow_segment_header h = log->newest;

	if (h.len_blk == 0) {
		h.prev_blk = BOW_NO_BLK;
	} else if (log->next_seq > h.first_seq) {
		h.prev_blk = h.start_blk;
		h.prev_len_blk = h.len_blk;
		h.prev_first_seq = h.first_seq;
		h.prev_end = log->cut_seq;
	}
	h.sector_size = log->sector_size;
	h.start_blk = start_blk;
	h.len_blk = len_blk;
	h.first_seq = log->next_seq;
	return h;
}

int bow_log_write_segment(struct bow_log *log, uint64_t start_blk, uint32_t len_blk,
			  struct bowimg_error *err)
{
	struct bow_segment_header h = next_header(log, start_blk, len_blk);
	size_t bytes = (size_t)len_blk * BOW_BLOCK;
	int rc;

	assert(len_blk >= 1 && len_blk <= BOW_SEGMENT_MAX_BLK);
	memset(log->buf, 0, bytes);
	bow_segment_encode(&h, log->sb, log->buf);
	rc = bow_disk_write(log->dev, log->buf, bytes, start_blk * BOW_BLOCK, err);
	return rc ? bow_err_wrap(err, rc, "begin a log segment") : 0;
}

void bow_log_use_segment(struct bow_log *log, uint64_t start_blk, uint32_t len_blk)
{
	assert(!log->unsettled);
	log->newest = next_header(log, start_blk, len_blk);
	log->sb->seg_blk = start_blk;
	log->sb->seg_len_blk = len_blk;
	log->sb->seg_first_seq = log->next_seq;
	log->pos = BOW_SEGMENT_HEADER_BYTES / 512;
	log->cut_seq = 0;
}
