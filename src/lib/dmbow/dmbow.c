/* SPDX-License-Identifier: MIT */
/* What can be done with a checkpoint that the kernel's dm-bow left. */
#include "lib/dmbow/dmbow.h"

#include "lib/dmbow/steps.h"

/*
 * The last step (write.c) leaves a log of one entry. If its destination is also the header's place
 * of block 0's live content, a commit was cut; dm-bow never puts the two in one place.
 */
static bool is_committing(const uint8_t *sector, const struct bow_dmbow_header *h,
			  uint64_t image_blk)
{
	struct bow_dmbow_entry e;
	const char *why;

	return h->restoring && h->sequence == 0 && h->count == 1 &&
	       bow_dmbow_entry_decode(sector, 0, h->block_size, image_blk, &e, &why) &&
	       e.dest_blk * (h->block_size / BOW_DMBOW_SECTOR) == h->sector0;
}

static int identify(struct bowimg_disk *dev, struct bow_identity *id, struct bowimg_error *err)
{
	const uint8_t *sector = dev->first;
	struct bow_dmbow_header h;

	if (dev->size < BOW_DMBOW_SECTOR)
		return 0;
	switch (bow_dmbow_decode(sector, &h)) {
	case BOW_DECODE_FOREIGN:
		return 0;
	case BOW_DECODE_DAMAGED:
		return bow_dmbow_bad_header(err);
	case BOW_DECODE_NEWER:
		bow_err(err, -EOPNOTSUPP,
			"it has a log of dm-bow of an unknown version; known is 1.0");
		bow_err_hint(err, "keep a copy of the disk; nothing was changed");
		return -EOPNOTSUPP;
	case BOW_DECODE_OK:
		break;
	}
	id->state = !h.restoring ? BOWIMG_STATE_CHECKPOINT
		    : is_committing(sector, &h, dev->size / h.block_size)
			    ? BOWIMG_STATE_COMMITTING
			    : BOWIMG_STATE_ROLLING_BACK;
	return 0;
}

const struct bow_checkpoint_kind bow_dmbow_kind = {
	.name = "dm-bow",
	.owner = "the kernel's dm-bow",
	.identify = identify,
	.rollback = bow_dmbow_rollback,
	.commit = bow_dmbow_commit,
	.verify = bow_dmbow_verify,
	.status = bow_dmbow_status,
	.log = bow_dmbow_log,
};
