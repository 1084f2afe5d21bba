/* SPDX-License-Identifier: MIT */
/*
 * Is a backup what its entry says?
 *
 * One that does not match its hash is no loss where the block itself still has the content: the
 * power cut took a copy that was never needed, or an earlier run restored the block and has begun
 * to zero the free space. Where neither matches the image is damaged.
 */
#include <inttypes.h>

#include "base/bytes.h"
#include "operations/internal.h"

bool bow_backup_ok(const struct bow_backup *b, const struct bow_super *sb, const void *buf)
{
	return bow_hash(buf, bow_super_bytes(sb, b->source_blk, b->count_blk), sb->seed) == b->hash;
}

int bow_backup_try_source(const struct bow_backup *b, struct bow_dev *dev,
			  const struct bow_super *sb, uint8_t *buf, struct bowimg_error *err)
{
	size_t bytes = bow_super_bytes(sb, b->source_blk, b->count_blk);
	int rc = bow_dev_read(dev, buf, bytes, b->source_blk * BOW_BLOCK, err);

	if (rc || bow_backup_ok(b, sb, buf))
		return rc;
	bow_err(err, -EBADMSG,
		"the backup of %" PRIu32 " block(s) from %" PRIu64
		" is damaged (it is at block %" PRIu64 ")",
		b->count_blk, b->source_blk, b->from_blk);
	bow_err_hint(err, "the image was not changed; look for the reason before trying anything");
	return -EBADMSG;
}
