/* SPDX-License-Identifier: MIT */
/*
 * Sector 0 is lost: what is found again, and every doubt that must be a refusal. RESCUE_SEED=N
 * repeats the random part of a run that printed N.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "hand_log.h"
#include "lib/verbs/rescue/rescue.h"
#include "rng.h"
#include "lib/engine/open.h"
#include "lib/verbs/operations.h"

enum { BLOCKS = 512, FIRST_FREE = 200 };
#define SIZE ((uint64_t)BLOCKS * BOW_BLOCK)

/* An image in memory with a checkpoint on it, and what it was before. */
struct fixture {
	struct bowimg_disk *dev;
	bowimg_disk *img;
	uint8_t *before, *view;
	struct bowimg_rescue_report found;
	struct bowimg_error err;
};

struct kind {
	bool device, exact, tail;
};

static void begin(struct fixture *f, struct kind k, uint64_t token)
{
	struct bow_prepare_plan plan = {
		.free_source = "map",
		.exact = k.exact,
		.store = k.tail ? BOWIMG_STORE_TAIL : BOWIMG_STORE_FREE,
		.on_full = k.device ? BOWIMG_ON_FULL_STOP : BOWIMG_ON_FULL_TAIL,
	};
	struct bow_bitmap *map = bow_bitmap_new(BLOCKS);
	struct bowimg_prepare_report report;

	memset(f, 0, sizeof(*f));
	f->dev = mem_dev_new(SIZE, 8 * SIZE);
	f->before = malloc(SIZE);
	f->view = malloc(SIZE);
	assert_true(map && f->dev && f->before && f->view);
	if (k.device)
		mem_dev_make_device(f->dev);
	rng_fill(mem_dev_bytes(f->dev), FIRST_FREE * BOW_BLOCK, token);
	memcpy(f->before, mem_dev_bytes(f->dev), SIZE);
	assert_int_equal(bow_bitmap_set(map, FIRST_FREE, BLOCKS - FIRST_FREE), 0);
	plan.free = map;
	assert_int_equal(bow_prepare_dev(f->dev, &plan, &report, &f->err), 0);
	bow_bitmap_free(map);
}

static void end(struct fixture *f)
{
	bow_engine_free(f->img);
	bow_disk_close(f->dev, NULL);
	free(f->before);
	free(f->view);
}

static void attach(struct fixture *f)
{
	static const struct bowimg_open_options opts = {.force = BOWIMG_FORCE_CHANGED};

	if (bow_serve_dev(f->dev, &opts, &f->img, &f->err))
		fail_msg("attach: %s", f->err.message);
}

/* Flushed, seen, and gone without a word. */
static void kill_engine(struct fixture *f)
{
	assert_int_equal(bowimg_disk_flush(f->img, &f->err), 0);
	assert_int_equal(bowimg_disk_read(f->img, f->view, SIZE, 0, &f->err), 0);
	bow_engine_free(f->img);
	f->img = NULL;
}

static void write_blocks(struct fixture *f, uint64_t blk, uint64_t n, uint64_t token)
{
	uint8_t *buf = malloc(n * BOW_BLOCK);

	assert_non_null(buf);
	rng_fill(buf, n * BOW_BLOCK, token);
	assert_int_equal(bowimg_disk_write(f->img, buf, n * BOW_BLOCK, blk * BOW_BLOCK, 0, &f->err),
			 0);
	free(buf);
}

static void lose(struct fixture *f, size_t bytes)
{
	memset(mem_dev_bytes(f->dev), 0xa5, bytes);
}

static int rescue(struct fixture *f, bool write, unsigned force)
{
	struct bowimg_rescue_options opts = {.write = write, .force = force};

	memset(&f->err, 0, sizeof(f->err));
	return bow_rescue_dev(f->dev, &opts, &f->found, &f->err);
}

static void assert_rescued(struct fixture *f, bool write)
{
	int rc = rescue(f, write, 0);

	if (rc)
		fail_msg("rescue: %d: %s", rc, f->err.message);
}

static void assert_refused(struct fixture *f, int code, const char *words)
{
	int rc = rescue(f, true, 0);

	if (rc != code || !strstr(f->err.message, words) || !f->err.hint[0])
		fail_msg("%d '%s' (%s), not %d '%s'", rc, f->err.message, f->err.hint, code, words);
}

static int roll_back(struct fixture *f)
{
	struct bowimg_end_report report;

	return bow_rollback_dev(f->dev, NULL, &report, &f->err);
}

static int commit(struct fixture *f)
{
	struct bowimg_end_report report;

	return bow_commit_dev(f->dev, NULL, &report, &f->err);
}

static void assert_rolled_back(struct fixture *f, bool exact)
{
	int rc = roll_back(f);

	if (rc)
		fail_msg("rollback: %d: %s", rc, f->err.message);
	assert_int_equal(f->dev->size, SIZE);
	assert_memory_equal(mem_dev_bytes(f->dev), f->before,
			    exact ? SIZE : FIRST_FREE * BOW_BLOCK);
}

/* Bytes that the guest never wrote to may be anything. */
static void assert_committed(struct fixture *f)
{
	int rc = commit(f);

	if (rc)
		fail_msg("commit: %d: %s", rc, f->err.message);
	assert_memory_equal(mem_dev_bytes(f->dev), f->view, FIRST_FREE * BOW_BLOCK);
}

static struct bow_super superblock(struct fixture *f)
{
	struct bow_super sb;

	assert_int_equal(bow_super_decode(mem_dev_bytes(f->dev), &sb), BOW_DECODE_OK);
	return sb;
}

/* ---- found ----------------------------------------------------------------------- */

static void with_a_lost_sector_0_everything_can_still_be_rolled_back(void **state)
{
	static const struct kind kinds[] = {{false, true, false}, {false, false, false},
					    {true, true, false},  {true, false, false},
					    {false, true, true},  {false, false, true}};
	static const size_t lost[] = {1, BOW_SUPER_BYTES, BOW_BLOCK};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < 6 * 3; i++) {
		begin(&f, kinds[i / 3], i);
		attach(&f);
		write_blocks(&f, 0, 30, 77);
		write_blocks(&f, 190, 20, 78);
		kill_engine(&f);
		lose(&f, lost[i % 3]);
		assert_rescued(&f, true);
		assert_true(f.found.written && !f.found.only_rollback);
		assert_int_equal(f.found.note_found, lost[i % 3] < BOW_BLOCK);
		assert_int_equal(f.found.virtual_size, SIZE);
		assert_rolled_back(&f, kinds[i / 3].exact);
		end(&f);
	}
}

static void with_a_lost_sector_0_everything_can_still_be_committed(void **state)
{
	struct fixture f;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin(&f, (struct kind){i, false, false}, i);
		attach(&f);
		write_blocks(&f, 0, 30, 77);
		kill_engine(&f);
		lose(&f, BOW_BLOCK);
		assert_rescued(&f, true);
		assert_committed(&f);
		end(&f);
	}
}

static void what_was_detached_cleanly_can_be_served_again(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, (struct kind){false, true, false}, 1);
	lose(&f, BOW_BLOCK);
	/* Nobody has written: block 0's original, its copy, and nothing in its place. */
	assert_rescued(&f, true);
	attach(&f);
	write_blocks(&f, 5, 5, 2);
	kill_engine(&f);
	assert_rolled_back(&f, true);
	end(&f);
}

static void only_looking_changes_nothing(void **state)
{
	struct fixture f;
	uint8_t *copy = malloc(SIZE);

	(void)state;
	begin(&f, (struct kind){true, true, false}, 1);
	lose(&f, BOW_SUPER_BYTES);
	memcpy(copy, mem_dev_bytes(f.dev), SIZE);
	assert_rescued(&f, false);
	assert_false(f.found.written);
	assert_memory_equal(copy, mem_dev_bytes(f.dev), SIZE);
	free(copy);
	end(&f);
}

static void a_log_of_many_segments_is_found_by_its_newest(void **state)
{
	struct fixture f;
	struct bow_super sb, again;

	(void)state;
	begin(&f, (struct kind){true, false, false}, 1);
	attach(&f);
	for (uint64_t i = 0; i < 150; i++)
		assert_int_equal(bowimg_disk_zero(f.img, (1 + i * 7 % FIRST_FREE) * BOW_BLOCK,
						  BOW_BLOCK, BOWIMG_FUA, &f.err),
				 0);
	kill_engine(&f);
	sb = superblock(&f);
	assert_true(sb.seg_first_seq > 1);
	lose(&f, BOW_BLOCK);
	assert_rescued(&f, true);
	again = superblock(&f);
	assert_int_equal(again.seg_blk, sb.seg_blk);
	assert_int_equal(again.seg_first_seq, sb.seg_first_seq);
	assert_int_equal(again.live0_blk, sb.live0_blk);
	assert_int_equal(again.free_total_blk, sb.free_total_blk);
	assert_rolled_back(&f, false);
	end(&f);
}

static void a_live_copy_that_has_moved_allows_a_rollback_and_nothing_else(void **state)
{
	struct fixture f;
	bowimg_disk *img;

	(void)state;
	begin(&f, (struct kind){true, true, false}, 1);
	attach(&f);
	write_blocks(&f, superblock(&f).live0_blk, 1, 5);
	kill_engine(&f);
	lose(&f, BOW_BLOCK);
	assert_rescued(&f, true);
	assert_true(f.found.only_rollback);
	assert_int_equal(commit(&f), -EINPROGRESS);
	assert_int_equal(bow_serve_dev(f.dev, NULL, &img, &f.err), -EINPROGRESS);
	assert_rolled_back(&f, true);
	end(&f);
}

/* ---- refused --------------------------------------------------------------------- */

static void an_image_whose_superblock_is_whole_is_left_alone(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, (struct kind){true, true, false}, 1);
	assert_refused(&f, -EALREADY, "nothing to rescue");
	end(&f);
}

static void what_an_ended_checkpoint_left_is_not_taken_for_an_open_one(void **state)
{
	struct fixture f;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin(&f, (struct kind){true, false, false}, 1);
		attach(&f);
		write_blocks(&f, 0, 3, 9);
		kill_engine(&f);
		assert_int_equal(i ? commit(&f) : roll_back(&f), 0);
		assert_refused(&f, -ESTALE, i ? "as the disk was left" : "what it was at prepare");
		assert_int_equal(rescue(&f, true, BOWIMG_FORCE_CHANGED), 0);
		assert_rolled_back(&f, false);
		end(&f);
	}
}

static void a_file_system_in_block_0_is_a_reason_to_ask(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, (struct kind){true, false, false}, 1);
	lose(&f, BOW_BLOCK);
	memcpy(mem_dev_bytes(f.dev) + 3, "NTFS    ", 8);
	memcpy(mem_dev_bytes(f.dev), "LUKS\xba\xbe\0\1", 8);
	assert_refused(&f, -ESTALE, "holds a file system (crypto_LUKS)");
	end(&f);
}

static void an_image_without_a_log_is_not_rescued(void **state)
{
	struct fixture f = {.dev = mem_dev_new(SIZE, SIZE)};

	(void)state;
	assert_refused(&f, -EUCLEAN, "no log");
	bow_disk_close(f.dev, NULL);
	f.dev = mem_dev_new(8192, 8192);
	assert_int_equal(rescue(&f, false, 0), -EOPNOTSUPP);
	bow_disk_close(f.dev, NULL);
}

static void a_damaged_backup_is_found_before_anything_is_written(void **state)
{
	struct fixture f;
	uint8_t *block0;

	(void)state;
	begin(&f, (struct kind){true, false, false}, 1);
	attach(&f);
	write_blocks(&f, 10, 4, 3);
	kill_engine(&f);
	lose(&f, BOW_BLOCK);
	block0 = mem_dev_bytes(f.dev);
	for (size_t at = FIRST_FREE * BOW_BLOCK; at < SIZE; at += BOW_BLOCK)
		if (!memcmp(block0 + at, f.before + 11 * BOW_BLOCK, BOW_BLOCK))
			block0[at + 99] ^= 1;
	assert_refused(&f, -EBADMSG, "the log that was found");
	assert_int_equal(block0[0], 0xa5);
	end(&f);
}

static void a_size_that_has_changed_is_refused(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, (struct kind){true, false, false}, 1);
	lose(&f, BOW_BLOCK);
	f.dev->size -= BOW_BLOCK;
	assert_refused(&f, -ESTALE, "bytes long");
	f.dev->size += 2 * BOW_BLOCK;
	assert_refused(&f, -ESTALE, "bytes long");
	end(&f);
}

/* ---- logs written by hand -------------------------------------------------------- */

static int rescue_hand(struct hand_log *h, struct bowimg_rescue_report *report)
{
	static const struct bowimg_rescue_options opts = {.write = true};

	memset(&h->err, 0, sizeof(h->err));
	return bow_rescue_dev(h->dev, &opts, report, &h->err);
}

static void a_segment_that_nothing_ever_named_is_not_the_end_of_the_log(void **state)
{
	struct bowimg_rescue_report report;
	struct bow_super sb;
	struct hand_log h;

	(void)state;
	hand_log_begin(&h, 512, 2);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 60, 1));
	/* Begun, and lost in a crash before the superblock named it. */
	assert_int_equal(bow_log_write_segment(&h.log, 40, 1, &h.err), 0);
	hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 61, 1));
	hand_scribble(&h, 0, 1);
	if (rescue_hand(&h, &report))
		fail_msg("%s", h.err.message);
	assert_int_equal(bow_super_decode(hand_block(&h, 0), &sb), BOW_DECODE_OK);
	assert_int_equal(sb.seg_blk, HAND_SEGMENT);
	assert_int_equal(sb.clean_seq, 3);
	assert_int_equal(report.entries, 4);
	hand_log_release(&h);
}

static void a_log_that_went_on_somewhere_is_not_cut_short(void **state)
{
	struct bowimg_rescue_report report;
	struct hand_log h;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		hand_log_begin(&h, 512, 1);
		hand_log_switch(&h, 40, 2);
		hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 60, 1));
		hand_log_one(&h, hand_mark(BOW_ENTRY_TAKE, 61, 1));
		/* The newest segment's header is lost, or one of its records. */
		memset(hand_block(&h, 40) + i * 512, 0, 512);
		hand_scribble(&h, 0, 1);
		assert_int_equal(rescue_hand(&h, &report), -EBADMSG);
		assert_non_null(strstr(h.err.message, "the log was longer"));
		hand_log_release(&h);
	}
}

/* The log of a second checkpoint, in other blocks of the same image. */
static void add_checkpoint(struct hand_log *h, struct hand_log *other, int64_t prepared_at)
{
	static const uint8_t uuid[16] = {9, 9};
	struct bowimg_disk *dev = h->dev;
	struct bow_entry e[2];

	*other = *h;
	bow_super_set_uuid(&other->sb, uuid);
	other->sb.prepared_at = prepared_at;
	other->sb.live0_blk = 50;
	assert_int_equal(bow_log_init(&other->log, dev, &other->sb, 512), 0);
	hand_log_switch(other, 51, 1);
	e[0] = hand_copy(other, 0, 49, 1, 0);
	e[1] = hand_map_run(HAND_FREE, HAND_BLK - HAND_FREE);
	hand_log_record(other, e, 2);
}

static void
the_newer_of_two_checkpoints_is_the_open_one_unless_the_note_says_otherwise(void **state)
{
	static const int64_t when[] = {5, -5, 0};
	struct bowimg_rescue_report report;
	struct hand_log h, other;
	char uuid[37];

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		bool note = i >= 3, newer = when[i % 3] > 0;
		int rc;

		hand_log_begin(&h, 512, 1);
		add_checkpoint(&h, &other, when[i % 3]);
		bow_uuid_text(newer && !note ? other.sb.uuid : h.sb.uuid, uuid);
		hand_scribble(&h, 0, 1);
		if (note)
			bow_note_render(&h.sb, (char *)hand_block(&h, 0) + BOW_SUPER_BYTES);
		rc = rescue_hand(&h, &report);
		assert_int_equal(rc, i == 2 ? -EUCLEAN : 0);
		assert_non_null(
			strstr(rc ? h.err.message : report.uuid, rc ? "equally new" : uuid));
		bow_log_release(&other.log);
		hand_log_release(&h);
	}
}

static void a_note_whose_log_is_gone_does_not_bring_another_one_up(void **state)
{
	struct bowimg_rescue_report report;
	struct hand_log h, other;

	(void)state;
	hand_log_begin(&h, 512, 1);
	add_checkpoint(&h, &other, -9);
	hand_scribble(&h, HAND_SEGMENT, 1);
	hand_scribble(&h, 0, 1);
	bow_note_render(&h.sb, (char *)hand_block(&h, 0) + BOW_SUPER_BYTES);
	assert_int_equal(rescue_hand(&h, &report), -EUCLEAN);
	bow_log_release(&other.log);
	hand_log_release(&h);
}

/* One in each block, each of a checkpoint of its own: more than are kept in memory. */
static void of_any_number_of_headers_the_newest_is_kept(void **state)
{
	enum { FIRST = 100, HEADERS = 1400 };
	struct bowimg_disk *dev = mem_dev_new((FIRST + HEADERS) * (uint64_t)BOW_BLOCK, 0);
	struct bow_super sb = {.state = BOW_SUPER_CHECKPOINT, .image_size = dev->size};
	struct bow_segment_header h = {512, 0, 1, 1, BOW_NO_BLK, 0, 0, 0};
	struct bowimg_error err;
	struct bow_scan scan;
	uint8_t uuid[16] = {0};

	(void)state;
	for (int falling = 0; falling < 2; falling++) {
		for (uint32_t i = FIRST; i < FIRST + HEADERS; i++) {
			bow_put32(uuid, i);
			bow_super_set_uuid(&sb, uuid);
			sb.prepared_at = falling ? -(int64_t)i : i;
			h.start_blk = i;
			bow_segment_encode(&h, &sb, mem_dev_bytes(dev) + i * (size_t)BOW_BLOCK);
		}
		assert_int_equal(bow_rescue_scan(dev, NULL, &scan, NULL, &err), 0);
		assert_int_equal(scan.headers, HEADERS);
		assert_int_equal(scan.n, 1);
		assert_int_equal(scan.found[0].sb.seg_blk, falling ? FIRST : FIRST + HEADERS - 1);
		free(scan.found);
	}
	bow_disk_close(dev, NULL);
}

static void facts_and_note_are_what_the_format_wrote(void **state)
{
	struct bow_super sb = {.state = BOW_SUPER_CHECKPOINT,
			       .flags = BOW_SUPER_EXACT | BOW_SUPER_ATTACHED,
			       .image_size = 1234567,
			       .live0_blk = 99,
			       .prepared_at = -3,
			       .free_total_blk = 77,
			       .free_source = "map"},
			 facts;
	struct bow_segment_header h = {512, 44, 3, 12, 40, 1, 5, 0}, got;
	uint8_t bytes[BOW_NOTE_BYTES], uuid[16];

	(void)state;
	rng_fill(uuid, sizeof(uuid), 4);
	bow_super_set_uuid(&sb, uuid);
	bow_segment_encode(&h, &sb, bytes);
	assert_true(bow_segment_super_copy(bytes, &facts, &got));
	assert_memory_equal(facts.uuid, uuid, 16);
	assert_int_equal(facts.flags, BOW_SUPER_EXACT);
	assert_int_equal(facts.image_size, 1234567);
	assert_int_equal(facts.live0_blk, 99);
	assert_int_equal(facts.prepared_at, -3);
	assert_int_equal(facts.free_total_blk, 77);
	assert_string_equal(facts.free_source, "map");
	assert_int_equal(facts.seg_blk, 44);
	assert_int_equal(got.prev_blk, 40);
	bytes[80] ^= 1;
	assert_false(bow_segment_super_copy(bytes, &facts, &got));
	bow_note_render(&sb, (char *)bytes);
	assert_true(bow_note_uuid(bytes, uuid));
	assert_memory_equal(sb.uuid, uuid, 16);
	bytes[10] ^= 1;
	assert_false(bow_note_uuid(bytes, uuid));
}

/* ---- at random ------------------------------------------------------------------- */

static void random_requests(struct fixture *f, struct rng *r)
{
	for (uint32_t i = rng_below(r, 60); i > 0; i--) {
		uint64_t blk = rng_chance(r, 20) ? 0 : rng_below(r, BLOCKS - 16);
		uint64_t n = rng_between(r, 1, 16);

		if (rng_chance(r, 70))
			write_blocks(f, blk, n, rng_next(r));
		else
			assert_int_equal(bowimg_disk_zero(f->img, blk * BOW_BLOCK, n * BOW_BLOCK, 0,
							  &f->err),
					 0);
		if (rng_chance(r, 20))
			assert_int_equal(bowimg_disk_flush(f->img, &f->err), 0);
	}
}

static void one_random_life(struct rng *r)
{
	struct kind k = {.exact = rng_chance(r, 50), .tail = rng_chance(r, 30)};
	struct fixture f;

	begin(&f, k, rng_next(r));
	for (uint32_t lives = rng_between(r, 1, 3); lives; lives--) {
		attach(&f);
		random_requests(&f, r);
		kill_engine(&f);
	}
	lose(&f, rng_chance(r, 50) ? BOW_SUPER_BYTES : BOW_BLOCK);
	assert_rescued(&f, true);
	if (f.found.only_rollback || rng_chance(r, 50))
		assert_rolled_back(&f, k.exact);
	else
		assert_committed(&f);
	end(&f);
}

static void whatever_was_done_before_the_loss_a_rescue_brings_it_back(void **state)
{
	const char *given = getenv("RESCUE_SEED");
	struct rng r = {given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL)};

	(void)state;
	printf("# RESCUE_SEED=%llu\n", (unsigned long long)r.state);
	for (int i = 0; i < 300; i++)
		one_random_life(&r);
}

/* ---- marks ------------------------------------------------------------------------- */

static void mark(struct fixture *f, const char *name)
{
	struct bowimg_mark made;

	assert_int_equal(bow_mark_make_dev(f->dev, name, BOWIMG_FORCE_CHANGED, &made, &f->err), 0);
}

static int note_name(void *ctx, const struct bowimg_mark *m)
{
	strcat(ctx, m->name);
	return 0;
}

/* Takes the records away from the newest segment, as a power cut does that keeps its header. */
static void lose_newest_records(struct fixture *f)
{
	struct bow_scan scan;
	const struct bow_super *sb;

	assert_int_equal(bow_rescue_scan(f->dev, NULL, &scan, NULL, &f->err), 0);
	sb = &scan.found[0].sb;
	assert_true(scan.found[0].begun);
	memset(mem_dev_bytes(f->dev) + sb->seg_blk * BOW_BLOCK + BOW_SEGMENT_HEADER_BYTES, 0,
	       sb->seg_len_blk * BOW_BLOCK - BOW_SEGMENT_HEADER_BYTES);
	free(scan.found);
}

static void a_return_that_was_never_logged_brings_back_no_deleted_mark(void **state)
{
	const struct bowimg_end_options to_b = {.force = BOWIMG_FORCE_CHANGED, .to = "b"};
	struct bowimg_end_report report;
	char names[BOWIMG_MARK_NAME_MAX * 2] = "";
	struct fixture f;

	(void)state;
	begin(&f, (struct kind){0}, 77);
	mark(&f, "a");
	mark(&f, "b");
	assert_int_equal(bow_mark_delete_dev(f.dev, "a", BOWIMG_FORCE_CHANGED, &f.err), 0);
	attach(&f);
	write_blocks(&f, 5, 3, 78);
	kill_engine(&f);
	assert_int_equal(bow_rollback_dev(f.dev, &to_b, &report, &f.err), 0);
	lose_newest_records(&f);
	lose(&f, BOW_SUPER_BYTES);
	assert_rescued(&f, true);
	assert_int_equal(bow_marks_dev(f.dev, BOWIMG_FORCE_CHANGED, note_name, names, &f.err), 0);
	assert_string_equal(names, "b");
	assert_rolled_back(&f, false);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_a_lost_sector_0_everything_can_still_be_rolled_back),
		cmocka_unit_test(with_a_lost_sector_0_everything_can_still_be_committed),
		cmocka_unit_test(what_was_detached_cleanly_can_be_served_again),
		cmocka_unit_test(only_looking_changes_nothing),
		cmocka_unit_test(a_log_of_many_segments_is_found_by_its_newest),
		cmocka_unit_test(a_live_copy_that_has_moved_allows_a_rollback_and_nothing_else),
		cmocka_unit_test(an_image_whose_superblock_is_whole_is_left_alone),
		cmocka_unit_test(what_an_ended_checkpoint_left_is_not_taken_for_an_open_one),
		cmocka_unit_test(a_file_system_in_block_0_is_a_reason_to_ask),
		cmocka_unit_test(an_image_without_a_log_is_not_rescued),
		cmocka_unit_test(a_damaged_backup_is_found_before_anything_is_written),
		cmocka_unit_test(a_size_that_has_changed_is_refused),
		cmocka_unit_test(a_segment_that_nothing_ever_named_is_not_the_end_of_the_log),
		cmocka_unit_test(a_log_that_went_on_somewhere_is_not_cut_short),
		cmocka_unit_test(
			the_newer_of_two_checkpoints_is_the_open_one_unless_the_note_says_otherwise),
		cmocka_unit_test(a_note_whose_log_is_gone_does_not_bring_another_one_up),
		cmocka_unit_test(of_any_number_of_headers_the_newest_is_kept),
		cmocka_unit_test(facts_and_note_are_what_the_format_wrote),
		cmocka_unit_test(whatever_was_done_before_the_loss_a_rescue_brings_it_back),
		cmocka_unit_test(a_return_that_was_never_logged_brings_back_no_deleted_mark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
