/* SPDX-License-Identifier: MIT */
/* Where prepare puts blocks and entries: the free space, or the tail. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/disk/scatter.h"
#include "lib/verbs/prepare.h"

uint64_t bow_prepare_park(struct prepare *p, uint64_t least, uint64_t most, uint64_t *start)
{
	if (p->tail)
		return bow_alloc_tail_run(&p->alloc, least, most, start);
	return bow_alloc_free_run(&p->alloc, least, most, start);
}

/* bow_prepare_park() found no block: none is left, or no memory to mark one as used. */
int bow_prepare_no_room(const struct prepare *p, struct bowimg_error *err)
{
	if (!p->tail && p->alloc.free_blk)
		return bow_err_errno(err, -ENOMEM, "cannot park the checkpoint's blocks");
	bow_err(err, -ENOSPC,
		"there is too little free space for a checkpoint (%" PRIu64
		" free blocks of 4 KiB)",
		p->sb.free_total_blk);
	bow_err_hint(err, p->dev->can_grow
				  ? "--store=tail keeps everything past the end of the file instead"
				  : "free some space in the file system on it first");
	return -ENOSPC;
}

/*
 * A fragmented map has a block for each 128 MiB, each at a place of its own. Nothing points to what
 * is parked until the barrier before the superblock, so that any order will do (rule 12).
 */
struct bow_parked {
	uint32_t n;
	uint64_t blk[BOW_SCATTER_MAX];
	uint8_t bytes[BOW_SCATTER_MAX][BOW_BLOCK];
};

int bow_prepare_write_parked(struct prepare *p, struct bowimg_error *err)
{
	struct bow_parked *k = p->parked;
	uint32_t n = k ? k->n : 0;

	if (!n)
		return 0;
	k->n = 0;
	return bow_disk_write_scattered(p->dev, k->blk, n, k->bytes, err);
}

int bow_prepare_write_block(struct prepare *p, const void *block, uint64_t blk,
			    struct bowimg_error *err)
{
	struct bow_parked *k = p->parked;

	if (p->plan->dry_run)
		return 0;
	if (!k)
		p->parked = k = calloc(1, sizeof(*k));
	if (!k)
		return bow_err_errno(err, -ENOMEM, "cannot park the checkpoint's blocks");
	memcpy(k->bytes[k->n], block, BOW_BLOCK);
	k->blk[k->n++] = blk;
	return k->n == BOW_SCATTER_MAX ? bow_prepare_write_parked(p, err) : 0;
}

int bow_prepare_new_segment(struct prepare *p, struct bowimg_error *err)
{
	uint64_t free_blk = p->tail ? p->alloc.tail_end - p->alloc.tail_next : p->alloc.free_blk;
	uint64_t start, n = bow_prepare_park(p, 1, bow_segment_want(free_blk), &start);
	int rc = 0;

	if (!n)
		return bow_prepare_no_room(p, err);
	if (!p->plan->dry_run)
		rc = bow_log_write_segment(&p->log, start, (uint32_t)n, err);
	if (!rc)
		bow_log_use_segment(&p->log, start, (uint32_t)n);
	return rc;
}

/*
 * Write the entries collected so far. Nothing points to this log yet, so no barrier is needed
 * between its records; one follows before the superblock.
 */
int bow_prepare_flush_entries(struct prepare *p, struct bowimg_error *err)
{
	const struct bow_entry *e = p->entries;
	uint32_t k;
	int rc = 0;

	while (p->n && !rc) {
		k = (uint32_t)bow_min(p->n, bow_log_room(&p->log));
		if (!k) {
			rc = bow_prepare_new_segment(p, err);
			continue;
		}
		if (p->plan->dry_run) {
			p->log.pos = (uint32_t)(bow_record_end((size_t)p->log.pos * 512, k,
							       p->log.sector_size) /
						512);
			p->log.next_seq++;
		} else {
			rc = bow_log_append(&p->log, e, k, err);
			bow_log_settle(&p->log);
		}
		e += k;
		p->n -= k;
	}
	return rc;
}

int bow_prepare_add_entry(struct prepare *p, const struct bow_entry *e, struct bowimg_error *err)
{
	p->entries[p->n++] = *e;
	return p->n == BOW_PREPARE_ENTRIES ? bow_prepare_flush_entries(p, err) : 0;
}
