/* SPDX-License-Identifier: MIT */
/*
 * Is a backup what its entry says?
 *
 * If it does not match its hash, nothing is lost as long as the block itself still has the content:
 * a power cut took a copy that was never needed, or an earlier run restored the block and began to
 * zero the free space. If neither matches, the image is damaged.
 *
 * bowimg names blocks of zeros by ZERO and does not copy them. A log that copies zeros could name
 * holes of a sparse file on both sides: terabytes to read, and to allocate when they are restored.
 * Such a log is refused, so a rollback takes no more room than its backups do.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/checkpoint/checkpoint.h"

bool bow_backup_ok(const struct bow_backup *b, const struct bow_super *sb, const void *buf)
{
	return bow_hash(buf, bow_super_bytes(sb, b->source_blk, b->count_blk), sb->seed) == b->hash;
}

int bow_backup_refuse_zeros(const struct bow_backup *b, const struct bow_super *sb,
			    const uint8_t *buf, struct bowimg_error *err)
{
	for (uint32_t i = 0; i < b->count_blk && b->source_blk != 0; i++)
		if (bow_is_zero(buf + (size_t)i * BOW_BLOCK,
				bow_super_bytes(sb, b->source_blk + i, 1)))
			return bow_err(err, -EUCLEAN,
				       "the backup of block %" PRIu64
				       " is all zeros: bowimg copies no such block",
				       b->source_blk + i);
	return 0;
}

int bow_backup_try_source(const struct bow_backup *b, struct bowimg_disk *dev,
			  const struct bow_super *sb, uint8_t *buf, struct bowimg_error *err)
{
	size_t bytes = bow_super_bytes(sb, b->source_blk, b->count_blk);
	int rc = bow_disk_read(dev, buf, bytes, b->source_blk * BOW_BLOCK, err);

	if (rc || bow_backup_ok(b, sb, buf))
		return rc;
	bow_err(err, -EBADMSG,
		"the backup of %" PRIu32 " block(s) from %" PRIu64
		" is damaged (it is at block %" PRIu64 ")",
		b->count_blk, b->source_blk, b->from_blk);
	bow_err_hint(err, "the image was not changed; find the reason before you try anything");
	return -EBADMSG;
}

static int read_whole(const struct bow_backup *b, const struct bow_backup_reader *r, uint8_t *buf,
		      struct bowimg_error *err)
{
	size_t bytes = bow_super_bytes(r->sb, b->source_blk, b->count_blk);
	int64_t k;

	for (size_t at = 0; at < bytes; at += (size_t)k) {
		k = r->read(r->ctx, buf + at, bytes - at, b->source_blk * BOW_BLOCK + at, err);
		if (k < 0)
			return (int)k;
	}
	if (!bow_backup_ok(b, r->sb, buf))
		return bow_backup_try_source(b, r->dev, r->sb, buf, err);
	r->matched(r->ctx, b);
	return 0;
}

int64_t bow_backup_read(const struct bow_backup *b, const struct bow_backup_reader *r, void *buf,
			size_t bytes, uint64_t off, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *all = malloc((size_t)b->count_blk * BOW_BLOCK);
	size_t from = (size_t)(off - b->source_blk * BOW_BLOCK);
	int rc;

	if (!all)
		return bow_err_errno(err, -ENOMEM, "cannot check a backup");
	rc = read_whole(b, r, all, err);
	if (rc)
		return rc;
	bytes = bow_min(bytes, (size_t)b->count_blk * BOW_BLOCK - from);
	memcpy(buf, all + from, bytes);
	return (int64_t)bytes;
}
