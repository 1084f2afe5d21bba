/* SPDX-License-Identifier: MIT */
/*
 * Prepare: a new checkpoint (rule 12).
 *
 * Happy path: block 0's original and live copy, the free map and the first log segments are parked
 * in free blocks, barrier; sector 0 becomes the superblock, barrier; sectors 1-7 become the note,
 * barrier; the mtime is noted.
 *
 * Failure modes: cut before sector 0 is durable, only free blocks were written, and the image is as
 * it was. Cut before the note is whole: the state is INTERRUPTED; a rollback puts sector 0 back. If
 * blocks are parked in the tail, a footer is the first thing that makes the file longer, so a cut
 * leaves a tail that can be recognised and cut off.
 */
#include <inttypes.h>
#include <string.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "lib/base/bytes.h"
#include "lib/own/steps.h"
#include "lib/verbs/prepare.h"

static int park_block0(struct prepare *p, struct bowimg_error *err)
{
	struct bow_entry e = {.type = BOW_ENTRY_COPY, .count_blk = 1};
	int rc;

	if (!bow_prepare_park(p, 1, 1, &e.dest_blk) || !bow_prepare_park(p, 1, 1, &p->sb.live0_blk))
		return bow_prepare_no_room(p, err);
	e.hash = bow_hash(p->block0, BOW_BLOCK, p->sb.seed);
	rc = bow_prepare_write_block(p, p->block0, e.dest_blk, err);
	if (!rc)
		rc = bow_prepare_write_block(p, p->block0, p->sb.live0_blk, err);
	return rc ? rc : bow_prepare_add_entry(p, &e, err);
}

/* Write all that the checkpoint needs to free blocks or the tail. */
static int park_all(struct prepare *p, struct bowimg_error *err)
{
	/* Two segments, block 0's copy, a backup; on a device also the plan of the last step. */
	uint64_t plan = p->dev->can_grow ? 0 : bow_finish_plan_blk(1 + p->sb.seg_len_blk, false);
	uint64_t reserve = 4 + plan;
	int rc = bow_prepare_new_segment(p, err);

	if (!rc)
		rc = park_block0(p, err);
	if (!rc)
		rc = bow_prepare_save_map(p, err);
	if (!rc)
		rc = bow_prepare_write_parked(p, err);
	/* Without room for the engine's reserve and one backup, the first write would fail. */
	if (!rc && !p->tail && p->plan->on_full != BOWIMG_ON_FULL_TAIL &&
	    p->alloc.free_blk < reserve) {
		p->alloc.free_blk = 0;
		rc = bow_prepare_no_room(p, err);
	}
	return rc;
}

/* The footer makes the file longer and notes its old size; all else comes after a barrier. */
static int make_tail(struct prepare *p, struct bowimg_error *err)
{
	struct bow_footer f = {p->sb.image_size, bow_hash(p->block0, BOW_BLOCK, 0)};
	uint64_t leaves = bow_div_up(p->blocks.count, BOW_MAP_LEAF_BLK);
	uint64_t need = 2 + 2 * BOW_SEGMENT_MAX_BLK + leaves + leaves * BOW_MAP_RUNS_MAX / 64;
	uint8_t block[BOW_BLOCK];
	int rc;

	p->alloc.tail_next = p->blocks.count;
	p->alloc.tail_end = p->blocks.count + need;
	if (p->plan->dry_run)
		return 0;
	bow_footer_encode(&f, block);
	rc = bow_disk_write(p->dev, block, BOW_BLOCK, p->alloc.tail_end * BOW_BLOCK, err);
	return rc ? rc : bow_disk_flush(p->dev, err);
}

static int write_note(struct prepare *p, struct bowimg_error *err)
{
	char note[BOW_NOTE_BYTES];
	int rc;

	bow_note_render(&p->sb, note);
	rc = bow_disk_write_first(p->dev, note, sizeof(note), BOW_SUPER_BYTES, err);
	return rc ? rc : bow_disk_flush(p->dev, err);
}

/* Make what was parked the checkpoint: superblock, then note, each past a barrier. */
static int publish(struct prepare *p, struct bowimg_error *err)
{
	int rc = bow_disk_flush(p->dev, err);

	if (!rc)
		rc = bow_super_write(p->dev, &p->sb, err);
	if (!rc)
		rc = bow_disk_flush(p->dev, err);
	if (!rc)
		rc = write_note(p, err);
	return rc ? rc : bow_checkpoint_mark_clean(p->dev, &p->sb, p->log.next_seq - 1, err);
}

/*
 * Give up before anything was published. In exact mode the free blocks become zeros again. An error
 * here is not reported: the caller has one already.
 */
static void give_up(struct prepare *p)
{
	uint64_t s = 0, n;

	/* Another program has written block 0: do not clear what it may keep in these places. */
	if (bow_disk_check_first(p->dev, NULL))
		return;
	for (; p->plan->exact && bow_bitmap_next_run(p->blocks.held, &s, &n, p->blocks.count);
	     s += n)
		bow_disk_zero(p->dev, s * BOW_BLOCK, n * BOW_BLOCK, BOW_ZERO_PUNCH, NULL);
	bow_finish_cut(p->dev, p->sb.image_size, NULL);
}

static int write_all(struct prepare *p, struct bowimg_error *err)
{
	int rc = p->tail ? make_tail(p, err) : 0;

	if (!rc)
		rc = park_all(p, err);
	if (!rc && !p->plan->dry_run)
		rc = bow_finish_reserve(p->dev, 0, err);
	if (rc && !p->plan->dry_run)
		give_up(p);
	return rc || p->plan->dry_run ? rc : publish(p, err);
}

static int choose_uuid(struct prepare *p, struct bowimg_error *err)
{
	static const uint8_t none[16];
	uint8_t uuid[16];

	memcpy(uuid, p->plan->uuid, sizeof(uuid));
	if (!memcmp(uuid, none, sizeof(none)) && getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
		return bow_err_errno(err, -errno, "cannot draw a random UUID");
	/* Version 4 and variant 1 of RFC 4122: random. */
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
	bow_super_set_uuid(&p->sb, uuid);
	return 0;
}

/* A plan is wrong if it calls block 0 or a partial last block free. */
static int adopt_plan(struct prepare *p, struct bowimg_error *err)
{
	const struct bow_prepare_plan *plan = p->plan;
	uint64_t partial = p->dev->size % BOW_BLOCK ? p->blocks.count - 1 : 0;

	if (bow_bitmap_bits(plan->free) != p->blocks.count || bow_bitmap_test(plan->free, 0) ||
	    (partial && bow_bitmap_test(plan->free, partial)))
		return bow_err(err, -EINVAL, "the free map does not fit the image");
	if (bow_bitmap_merge(p->blocks.free, plan->free))
		return bow_err_errno(err, -ENOMEM, "cannot adopt the free map");
	p->sb.state = BOW_SUPER_CHECKPOINT;
	p->sb.image_size = p->dev->size;
	p->sb.flags = (plan->exact ? BOW_SUPER_EXACT : 0) |
		      (plan->store == BOWIMG_STORE_TAIL ? BOW_SUPER_STORE_TAIL : 0) |
		      (plan->on_full == BOWIMG_ON_FULL_TAIL ? BOW_SUPER_ON_FULL_TAIL : 0);
	p->sb.prepared_at = (int64_t)time(NULL);
	p->sb.free_total_blk = bow_bitmap_count(plan->free);
	strncpy(p->sb.free_source, plan->free_source, sizeof(p->sb.free_source) - 1);
	bow_alloc_init(&p->alloc, &p->blocks, p->blocks.count, p->blocks.count);
	return choose_uuid(p, err);
}

/* With on_full=tail, the log and the map go to the tail if there is too little free space. */
static void choose_place(struct prepare *p)
{
	uint64_t leaves = bow_div_up(p->blocks.count, BOW_MAP_LEAF_BLK);
	uint64_t need = 16 + leaves + leaves * BOW_MAP_RUNS_MAX / 64;

	p->tail = p->plan->store == BOWIMG_STORE_TAIL ||
		  (p->plan->on_full == BOWIMG_ON_FULL_TAIL && p->alloc.free_blk < need);
}

static int run(struct prepare *p, struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	int rc = adopt_plan(p, err);

	if (rc)
		return rc;
	/* Sector 0 is compared with these bytes before it is written (rule 16). */
	memcpy(p->block0, p->dev->first, BOW_BLOCK);
	choose_place(p);
	rc = write_all(p, err);
	if (rc)
		return rc;
	report->image_size = p->sb.image_size;
	report->exact = p->plan->exact;
	report->store_tail = p->plan->store == BOWIMG_STORE_TAIL;
	report->on_full = p->plan->on_full;
	report->free_total_bytes = p->sb.free_total_blk * BOW_BLOCK;
	report->free_left_bytes = p->alloc.free_blk * BOW_BLOCK;
	bow_budget_of(p->dev, &p->sb, &p->blocks, p->alloc.free_blk, &report->budget);
	return 0;
}

int bow_prepare_dev(struct bowimg_disk *dev, const struct bow_prepare_plan *plan,
		    struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct prepare *p;
	int rc = bow_prepare_check_plan(dev, plan, err);

	if (rc)
		return rc;
	p = calloc(1, sizeof(*p));
	if (!p)
		return bow_err_errno(err, -ENOMEM, "cannot prepare the image");
	p->dev = dev;
	p->plan = plan;
	rc = -ENOMEM;
	/* Rewriting whole blocks rewrites no half of a sector, whatever its size below that. */
	if (bow_log_init(&p->log, dev, &p->sb, dev->sector_size == 512 ? 512 : BOW_BLOCK) ||
	    bow_blocks_init(&p->blocks, bow_div_up(dev->size, BOW_BLOCK)))
		bow_err_errno(err, rc, "cannot prepare the image");
	else
		rc = run(p, report, err);
	bow_log_release(&p->log);
	bow_blocks_release(&p->blocks);
	free(p->parked);
	free(p);
	return rc;
}
