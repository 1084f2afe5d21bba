/* SPDX-License-Identifier: MIT */
/*
 * Marks: making, deleting and listing them.
 *
 * A mark's record holds a copy of block 0's live copy, and the mark. The copy is durable before the
 * record is written: rule 9 cannot fall back to block 0 itself, which is the superblock. The cost
 * is one block and a walk of the log, whatever the size of the disk.
 *
 * What a killed process took ahead and did not write can be given back until a mark makes it used,
 * and is looked for until the image was ended cleanly. So it is settled first.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "lib/base/bytes.h"
#include "lib/engine/open.h"
#include "lib/own/marks/append.h"
#include "lib/own/steps.h"

static int check_mark(const struct bow_opened *o, const char *name, struct bowimg_error *err)
{
	uint32_t epoch;

	if (!bowimg_mark_name_ok(name)) {
		bow_err(err, -EINVAL, "no mark can have this name");
		bow_err_hint(err,
			     "1 to 24 letters, digits, '.', '_' or '-', not 'prepare'; the first "
			     "a letter or digit");
		return -EINVAL;
	}
	if (o->state != BOWIMG_STATE_CHECKPOINT)
		return bow_own_refuse(o, "mark", err);
	if (!bow_epoch_find(&o->cp, name, &epoch, NULL)) {
		bow_err(err, -EALREADY, "it has a mark %s already", name);
		bow_err_hint(err, "take another name, or 'bowimg mark --delete' first");
		return -EALREADY;
	}
	if (o->cp.n_epochs <= BOWIMG_MARKS_MAX)
		return 0;
	bow_err(err, -ENOSPC, "it has had %u marks, which is all that a checkpoint can have",
		BOWIMG_MARKS_MAX);
	bow_err_hint(err, "go back to an older mark, roll back or commit");
	return -ENOSPC;
}

static int settle(struct bow_checkpoint *cp, struct bowimg_error *err)
{
	int rc;

	if (!(cp->sb.flags & BOW_SUPER_ATTACHED))
		return bow_checkpoint_redo(cp, err);
	rc = bow_engine_settle(cp, err);
	return rc ? rc : bow_checkpoint_reload(cp, err);
}

/* Copy block 0 as the guest has it; the barrier comes before the record that names the copy. */
static int save_block0(struct bow_append *a, struct bow_entry *copy, struct bowimg_error *err)
{
	struct bow_checkpoint *cp = a->cp;
	uint8_t block[BOW_BLOCK];
	int rc = bow_append_place(a, false, &copy->dest_blk, err);

	if (!rc)
		rc = bow_disk_read(cp->dev, block, BOW_BLOCK, cp->sb.live0_blk * BOW_BLOCK, err);
	if (!rc)
		rc = bow_disk_write(cp->dev, block, BOW_BLOCK, copy->dest_blk * BOW_BLOCK, err);
	copy->type = BOW_ENTRY_COPY;
	copy->count_blk = 1;
	copy->hash = bow_hash(block, BOW_BLOCK, cp->sb.seed);
	return rc ? rc : bow_disk_flush(cp->dev, err);
}

static int log_mark(struct bow_append *a, const char *name, struct bowimg_mark *made,
		    struct bowimg_error *err)
{
	struct bow_entry record[2] = {{0}, bow_mark_entry(name, (uint32_t)time(NULL))};
	int rc = bow_append_begin(a, BOW_INCOMPAT_MARKS, err);

	if (rc)
		return rc;
	rc = save_block0(a, &record[0], err);
	if (!rc)
		rc = bow_append_record(a, record, 2, err);
	if (!rc)
		*made = (struct bowimg_mark){.made_at = record[1].count_blk,
					     .record = a->log.next_seq - 1};
	bow_mark_name(&record[1], made->name);
	return bow_append_end(a, rc, err);
}

int bow_own_mark(struct bow_opened *o, const char *name, struct bowimg_mark *made,
		 struct bowimg_error *err)
{
	struct bow_append a = {0};
	int rc = check_mark(o, name, err);

	if (!rc)
		rc = settle(&o->cp, err);
	if (!rc)
		rc = bow_append_init(&a, &o->cp, err);
	if (!rc)
		rc = log_mark(&a, name, made, err);
	bow_append_release(&a);
	return rc ? bow_err_wrap(err, rc, "cannot mark it") : 0;
}

static int log_unmark(struct bow_append *a, uint64_t mark_seq, struct bowimg_error *err)
{
	const struct bow_entry e = {.type = BOW_ENTRY_UNMARK, .source_blk = mark_seq};
	int rc = bow_append_begin(a, 0, err);

	if (rc)
		return rc;
	return bow_append_end(a, bow_append_record(a, &e, 1, err), err);
}

int bow_own_unmark(struct bow_opened *o, const char *name, struct bowimg_error *err)
{
	struct bow_append a = {0};
	uint32_t epoch = 0;
	int rc = 0;

	if (o->state != BOWIMG_STATE_CHECKPOINT)
		return bow_own_refuse(o, "change the marks of", err);
	rc = bow_epoch_find(&o->cp, name, &epoch, err);
	if (!rc)
		rc = settle(&o->cp, err);
	if (!rc)
		rc = bow_append_init(&a, &o->cp, err);
	if (!rc)
		rc = log_unmark(&a, o->cp.epochs[epoch].mark_seq, err);
	bow_append_release(&a);
	return rc ? bow_err_wrap(err, rc, "cannot delete the mark") : 0;
}

static int describe(const struct bow_checkpoint *cp, uint32_t i, struct bowimg_mark *m)
{
	const struct bow_epoch *e = &cp->epochs[i];
	int rc = bow_epoch_changed(cp, i, &m->changed_bytes);

	memcpy(m->name, e->name, sizeof(m->name));
	m->made_at = e->made_at;
	m->record = e->mark_seq;
	m->changed_bytes *= BOW_BLOCK;
	m->backup_bytes = 0;
	for (; i < cp->n_epochs; i++)
		m->backup_bytes += cp->epochs[i].backup_blk * BOW_BLOCK;
	return rc;
}

int bow_own_marks(struct bow_opened *o, int (*mark)(void *ctx, const struct bowimg_mark *m),
		  void *ctx, struct bowimg_error *err)
{
	struct bowimg_mark m;
	int rc = 0;

	if (!o->loaded)
		return bow_own_refuse(o, "show the marks of", err);
	for (uint32_t i = 1; i < o->cp.n_epochs && !rc; i++) {
		if (!o->cp.epochs[i].name[0])
			continue;
		rc = describe(&o->cp, i, &m);
		rc = rc ? bow_err_errno(err, rc, "cannot count what changed") : mark(ctx, &m);
	}
	return rc;
}
