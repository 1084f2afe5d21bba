/* SPDX-License-Identifier: MIT */
/*
 * Opening a checkpoint (rule 12).
 *
 * Happy path: block 0's original and live copy, the free map and the first log segments are parked
 * in free blocks, barrier; sector 0 becomes the superblock, barrier; sectors 1-7 become the note,
 * barrier; the mtime is noted.
 *
 * Failure modes: cut before sector 0 is durable, only free blocks were written: the image is as it
 * was. Cut before the note is whole: "interrupted"; the first sector is put back. Where the parking
 * place is the tail, a footer is the first thing that makes the file longer, so that a cut leaves a
 * file whose tail can be recognised and cut off.
 */
#include <inttypes.h>
#include <string.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/bytes.h"
#include "operations/prepare.h"

uint32_t bow_segment_want(uint64_t free_blk)
{
	return (uint32_t)bow_max(1, bow_min(free_blk / 128, BOW_SEGMENT_MAX_BLK));
}

uint64_t bow_prepare_park(struct prepare *p, uint64_t least, uint64_t most, uint64_t *start)
{
	if (p->tail)
		return bow_alloc_tail_run(&p->alloc, least, most, start);
	return bow_alloc_free_run(&p->alloc, least, most, start);
}

/* bow_prepare_park() found no block: there is none left, or no memory to note that one is used. */
int bow_prepare_no_room(const struct prepare *p, struct bowimg_error *err)
{
	if (!p->tail && p->alloc.free_blk)
		return bow_err_errno(err, -ENOMEM, "park the checkpoint's blocks");
	bow_err(err, -ENOSPC,
		"there is too little free space for a checkpoint (%" PRIu64
		" free blocks of 4 KiB)",
		p->sb.free_total_blk);
	bow_err_hint(err, p->dev->can_grow
				  ? "--store=tail keeps everything past the end of the file instead"
				  : "free some space in the file system on it first");
	return -ENOSPC;
}

int bow_prepare_write_block(struct prepare *p, const void *block, uint64_t blk,
			    struct bowimg_error *err)
{
	return p->plan->dry_run ? 0 : bow_dev_write(p->dev, block, BOW_BLOCK, blk * BOW_BLOCK, err);
}

static int new_segment(struct prepare *p, struct bowimg_error *err)
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
 * Write the entries collected so far. Nothing points to this log yet, so its records need no
 * barrier between them; one follows before the superblock.
 */
int bow_prepare_flush_entries(struct prepare *p, struct bowimg_error *err)
{
	const struct bow_entry *e = p->entries;
	uint32_t k;
	int rc = 0;

	while (p->n && !rc) {
		k = (uint32_t)bow_min(p->n, bow_log_room(&p->log));
		if (!k) {
			rc = new_segment(p, err);
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

/* Everything that the checkpoint needs, in free blocks or the tail. */
static int park_all(struct prepare *p, struct bowimg_error *err)
{
	/* Two segments, block 0's copy, a backup; on a device the plan of the last step as well. */
	uint64_t plan = p->dev->can_grow ? 0 : bow_finish_plan_blk(1 + p->sb.seg_len_blk, false);
	uint64_t reserve = 4 + plan;
	int rc = new_segment(p, err);

	if (!rc)
		rc = park_block0(p, err);
	if (!rc)
		rc = bow_prepare_save_map(p, err);
	/* Room for the engine's reserve and one backup, or the first write would fail. */
	if (!rc && !p->tail && p->plan->on_full != BOWIMG_ON_FULL_TAIL &&
	    p->alloc.free_blk < reserve) {
		p->alloc.free_blk = 0;
		rc = bow_prepare_no_room(p, err);
	}
	return rc;
}

/* The footer makes the file longer and says what it was; everything else comes after a barrier. */
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
	rc = bow_dev_write(p->dev, block, BOW_BLOCK, p->alloc.tail_end * BOW_BLOCK, err);
	return rc ? rc : bow_dev_flush(p->dev, err);
}

static int write_note(struct prepare *p, struct bowimg_error *err)
{
	char note[BOW_NOTE_BYTES];
	int rc;

	bow_note_render(&p->sb, note);
	rc = bow_dev_write(p->dev, note, sizeof(note), BOW_SUPER_BYTES, err);
	return rc ? rc : bow_dev_flush(p->dev, err);
}

/* What was parked becomes the checkpoint: superblock, then note, each past a barrier. */
static int publish(struct prepare *p, struct bowimg_error *err)
{
	int rc = bow_dev_flush(p->dev, err);

	if (!rc)
		rc = bow_super_write(p->dev, &p->sb, err);
	if (!rc)
		rc = bow_dev_flush(p->dev, err);
	if (!rc)
		rc = write_note(p, err);
	return rc ? rc : bow_checkpoint_mark_clean(p->dev, &p->sb, p->log.next_seq - 1, err);
}

/*
 * Give up before anything was published: where the image was promised back to the last byte, the
 * free blocks are zeroed again. An error here adds nothing to the one that is reported already.
 */
static void give_up(struct prepare *p)
{
	uint64_t s = 0, n;

	for (; p->plan->exact && bow_bitmap_next_run(p->blocks.held, &s, &n, p->blocks.count);
	     s += n)
		bow_dev_zero(p->dev, s * BOW_BLOCK, n * BOW_BLOCK, BOW_ZERO_PUNCH, NULL);
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
		return bow_err_errno(err, -errno, "draw a random UUID");
	bow_super_set_uuid(&p->sb, uuid);
	return 0;
}

/* Block 0 and a partial last block are the file system's in any case; a plan that differs is wrong.
 */
static int adopt_plan(struct prepare *p, struct bowimg_error *err)
{
	const struct bow_prepare_plan *plan = p->plan;
	uint64_t partial = p->dev->size % BOW_BLOCK ? p->blocks.count - 1 : 0;

	if (bow_bitmap_bits(plan->free) != p->blocks.count || bow_bitmap_test(plan->free, 0) ||
	    (partial && bow_bitmap_test(plan->free, partial)))
		return bow_err(err, -EINVAL, "the free map does not fit the image");
	if (bow_bitmap_merge(p->blocks.free, plan->free))
		return bow_err_errno(err, -ENOMEM, "adopt the free map");
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

/* Too little free space for the log and the map: with on_full=tail they go to the tail as well. */
static void choose_place(struct prepare *p)
{
	uint64_t leaves = bow_div_up(p->blocks.count, BOW_MAP_LEAF_BLK);
	uint64_t need = 16 + leaves + leaves * BOW_MAP_RUNS_MAX / 64;

	p->tail = p->plan->store == BOWIMG_STORE_TAIL ||
		  (p->plan->on_full == BOWIMG_ON_FULL_TAIL && p->alloc.free_blk < need);
}

static int check_dev(struct bow_dev *dev, const struct bow_prepare_plan *plan,
		     struct bowimg_error *err)
{
	bool tail = plan->store == BOWIMG_STORE_TAIL || plan->on_full == BOWIMG_ON_FULL_TAIL;
	struct bow_identity id = {.state = BOWIMG_STATE_NONE};
	int rc = 0;

	if (dev->size < BOWIMG_MIN_SIZE)
		return bow_err(err, -EOPNOTSUPP, "it is %" PRIu64 " bytes long; the least is %u",
			       dev->size, BOWIMG_MIN_SIZE);
	if (tail && !dev->can_grow) {
		bow_err(err, -EOPNOTSUPP, "a device cannot have a tail");
		bow_err_hint(err, "use --store=free and --on-full=stop");
		return -EOPNOTSUPP;
	}
	/* Rule 8: the end of an earlier checkpoint may be in the page cache only. */
	if (!plan->dry_run)
		rc = bow_dev_flush(dev, err);
	if (!rc && !plan->dry_run)
		rc = bow_dev_drop_cache(dev, 0, BOW_BLOCK, err);
	if (!rc)
		rc = bow_identify(dev, &id, err);
	if (!rc && id.state != BOWIMG_STATE_NONE)
		rc = bow_wrong_state(id.state, "prepare", err);
	return rc;
}

static int run(struct prepare *p, struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	int rc = adopt_plan(p, err);

	if (!rc)
		rc = bow_dev_read(p->dev, p->block0, BOW_BLOCK, 0, err);
	if (rc)
		return rc;
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
	return 0;
}

int bow_prepare_dev(struct bow_dev *dev, const struct bow_prepare_plan *plan,
		    struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct prepare *p;
	int rc = check_dev(dev, plan, err);

	if (rc)
		return rc;
	p = calloc(1, sizeof(*p));
	if (!p)
		return bow_err_errno(err, -ENOMEM, "prepare");
	p->dev = dev;
	p->plan = plan;
	rc = -ENOMEM;
	/* Rewriting whole blocks rewrites no half of a sector, whatever its size below that. */
	if (bow_log_init(&p->log, dev, &p->sb, dev->sector_size == 512 ? 512 : BOW_BLOCK) ||
	    bow_blocks_init(&p->blocks, bow_div_up(dev->size, BOW_BLOCK)))
		bow_err_errno(err, rc, "prepare");
	else
		rc = run(p, report, err);
	bow_log_release(&p->log);
	bow_blocks_release(&p->blocks);
	free(p);
	return rc;
}
