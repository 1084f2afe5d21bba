/* SPDX-License-Identifier: MIT */
/*
 * Rebuilding a lost sector 0.
 *
 * Happy path: sector 0 is no superblock - find the newest log segment - find block 0's live copy -
 * load the whole log and check every backup - make sure that the log did not go on - write the
 * note, barrier, superblock, barrier. Until that last write, the image counts as lost, and all of
 * it can be done again.
 *
 * Failure modes: every doubt is a refusal, since a rollback from a wrong or shortened log would
 * bring back a mixture. An image whose checkpoint has ended has remains of its log, too: what is in
 * block 0 then looks like an ordinary disk's, and only the user can know better.
 *
 * What cannot be known again: in which state the checkpoint was (it is CHECKPOINT afterwards), how
 * far the log went at the last detach, and, sometimes, where block 0's live copy is. A rollback
 * needs none, so the state is ROLLING_BACK then, which lets nothing else follow.
 */
#include "operations/rescue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/facts.h"
#include "operations/dmbow.h"

struct rescue {
	struct bow_dev *dev;
	const struct bowimg_rescue_options *opts;
	struct bowimg_rescue_report *report;
	struct bow_scan scan;
	struct bow_checkpoint cp;
	bool loaded;
	uint8_t block0[BOW_BLOCK];
	uint8_t uuid[16]; /* by the note */
	bool note;
};

/* ---- is it what we want? ----------------------------------------------------------------------
 */

/* Is sector 0 lost at all? */
static int check_lost(struct bow_dev *dev, struct bowimg_error *err)
{
	struct bow_identity id;
	int rc = bow_identify(dev, &id, err);

	if (rc == -EBADMSG) {
		bow_err_clear(err);
		return 0;
	}
	if (rc || id.state == BOWIMG_STATE_NONE)
		return rc;
	if (id.dmbow)
		return bow_dmbow_refuse("rescue", err);
	if (id.cut_only)
		return bow_wrong_state(id.state, "rescue", err);
	bow_err(err, -EALREADY, "there is nothing to rescue: its superblock is whole");
	bow_err_hint(err, "'bowimg status' says what can be done, 'bowimg verify' if a rollback "
			  "would work");
	return -EALREADY;
}

static int check_size(const struct rescue *r, const struct bow_super *sb, struct bowimg_error *err)
{
	uint64_t size = bow_dev_size(r->dev);

	if (size == sb->image_size ||
	    (size > sb->image_size && sb->flags & (BOW_SUPER_STORE_TAIL | BOW_SUPER_ON_FULL_TAIL)))
		return 0;
	bow_err(err, -ESTALE,
		"it is %" PRIu64 " bytes long, but was %" PRIu64 " when checkpoint %s was opened",
		size, sb->image_size, r->report->uuid);
	bow_err_hint(err, size > sb->image_size
				  ? "a rollback or commit may have been under way; make a copy"
				  : "make it that long again; what was cut off may be lost");
	return -ESTALE;
}

/* Does block 0 look like that of an ordinary disk? Everything else is not there for this device. */
struct window {
	struct bow_dev dev; /* must be first */
	const uint8_t *block0;
};

static int64_t window_read(struct bow_dev *dev, void *buf, size_t bytes, uint64_t off)
{
	const struct window *w = (const struct window *)dev;

	memset(buf, 0, bytes);
	if (off < BOW_BLOCK)
		memcpy(buf, w->block0 + off, bow_min(bytes, BOW_BLOCK - off));
	return (int64_t)bytes;
}

/* What block 0 holds, in words that follow "block 0 "; "" if nothing is known there. */
static int describe_block0(const struct rescue *r, char what[96], struct bowimg_error *err)
{
	static const struct bow_dev_ops ops = {.read = window_read};
	struct window w = {
		.dev = {.ops = &ops,
			.name = r->dev->name,
			.size = r->dev->size,
			.sector_size = r->dev->sector_size,
			.readonly = true},
		.block0 = r->block0,
	};
	struct bow_probe probe = {0};
	int rc = bow_probe_device(&w.dev, &probe, err);

	if (rc == -EOPNOTSUPP) { /* several signatures */
		bow_err_clear(err);
		snprintf(what, 96, "holds a file system");
		return 0;
	}
	if (!rc && probe.type[0])
		snprintf(what, 96, "holds a file system (%s)", probe.type);
	else if (!rc && probe.pttype[0])
		snprintf(what, 96, "holds a partition table (%s)", probe.pttype);
	return rc;
}

static int find_ordinary(const struct rescue *r, bool live_known, char what[96],
			 struct bowimg_error *err)
{
	const struct bow_super *sb = &r->cp.sb;
	uint8_t live[BOW_BLOCK];
	int rc = 0;

	what[0] = '\0';
	/* The end of a checkpoint takes the note away before it puts sector 0 back. */
	if (r->note)
		return 0;
	if (bow_hash(r->block0, BOW_BLOCK, sb->seed) == r->cp.original0_hash) {
		snprintf(what, 96, "is what it was at prepare");
		return 0;
	}
	if (live_known)
		rc = bow_dev_read(r->dev, live, BOW_BLOCK, sb->live0_blk * BOW_BLOCK, err);
	if (!rc && live_known && !memcmp(live, r->block0, BOW_BLOCK)) {
		snprintf(what, 96, "is as the disk was left");
		return 0;
	}
	return rc ? rc : describe_block0(r, what, err);
}

static int check_ordinary(const struct rescue *r, bool live_known, struct bowimg_error *err)
{
	char what[96];
	int rc = find_ordinary(r, live_known, what, err);

	if (rc || !what[0] || r->opts->force & BOWIMG_FORCE_CHANGED)
		return rc;
	bow_err(err, -ESTALE,
		"it looks like an ordinary image: block 0 %s; the log may be what an ended "
		"checkpoint (%s) left behind",
		what, r->report->uuid);
	bow_err_hint(err, "only if that checkpoint was never rolled back or committed, and block 0 "
			  "was overwritten by something else, --force=changed goes on");
	return -ESTALE;
}

/* ---- finding, rebuilding ----------------------------------------------------------------------
 */

static int read_block0(struct rescue *r, struct bowimg_error *err)
{
	int rc = bow_dev_read(r->dev, r->block0, BOW_BLOCK, 0, err);

	r->note = !rc && bow_note_uuid(r->block0 + BOW_SUPER_BYTES, r->uuid);
	return rc;
}

/* The log that ends with this segment: whole, and every backup as it was written? */
static int load(struct rescue *r, const struct bow_found *f, bool *live_known,
		struct bowimg_error *err)
{
	struct bowimg_end_report counted = {0};
	int rc;

	if (r->loaded)
		bow_checkpoint_release(&r->cp);
	memset(&r->cp, 0, sizeof(r->cp));
	r->loaded = true;
	r->cp.dev = r->dev;
	r->cp.sb = f->sb;
	r->cp.sb.clean_seq = f->last_seq;
	rc = bow_rescue_live0(r->dev, &r->cp.sb, live_known, err);
	if (!rc)
		rc = bow_checkpoint_load(&r->cp, err);
	return rc ? rc : bow_restore_check(&r->cp, &r->opts->events, &counted, err);
}

/* Segments that end with the same record say the same; one without a record may be a false start.
 */
static int load_newest(struct rescue *r, bool *live_known, struct bowimg_error *err)
{
	const struct bow_found *f = r->scan.found;
	struct bowimg_error first;
	int rc = load(r, f, live_known, err);

	if (!rc)
		return 0;
	first = err ? *err : (struct bowimg_error){0};
	for (uint32_t i = 1; rc && i < r->scan.n && f[i].last_seq == f[0].last_seq; i++)
		if (!check_size(r, &f[i].sb, NULL))
			rc = load(r, &f[i], live_known, NULL);
	if (rc && err)
		*err = first;
	if (!rc)
		return 0;
	bow_err_hint(err, "make a copy of the image; what is left does not bring everything back");
	return bow_err_wrap(err, rc, "the log that was found");
}

static int find(struct rescue *r, bool *live_known, struct bowimg_error *err)
{
	const struct bowimg_events *events = &r->opts->events;
	int rc = read_block0(r, err);

	if (!rc)
		rc = bow_rescue_scan(r->dev, r->note ? r->uuid : NULL, &r->scan, events, err);
	if (rc)
		return rc;
	bow_uuid_text(r->scan.found[0].sb.uuid, r->report->uuid);
	rc = check_size(r, &r->scan.found[0].sb, err);
	if (!rc)
		rc = load_newest(r, live_known, err);
	if (!rc)
		rc = bow_rescue_check_end(r->dev, &r->scan, r->cp.next_seq - 1, events, err);
	return rc ? rc : check_ordinary(r, *live_known, err);
}

static void fill_report(const struct rescue *r, bool live_known)
{
	const struct bow_super *sb = &r->cp.sb;
	struct bowimg_rescue_report *out = r->report;

	out->virtual_size = sb->image_size;
	out->prepared_at = sb->prepared_at;
	out->exact = sb->flags & BOW_SUPER_EXACT;
	out->note_found = r->note;
	out->only_rollback = !live_known;
	out->segment_off = sb->seg_blk * BOW_BLOCK;
	out->entries = r->cp.entries;
	out->changed_bytes = r->cp.changed_blk * BOW_BLOCK;
	out->backup_bytes = r->cp.backup_blk * BOW_BLOCK;
}

static int write_block0(struct rescue *r, struct bowimg_error *err)
{
	char note[BOW_NOTE_BYTES];
	int rc;

	bow_note_render(&r->cp.sb, note);
	/* Sector 0 last: until then this is a lost superblock, not a checkpoint changed by others.
	 */
	rc = bow_dev_write(r->dev, note, sizeof(note), BOW_SUPER_BYTES, err);
	if (!rc)
		rc = bow_dev_flush(r->dev, err);
	if (!rc)
		rc = bow_super_write(r->dev, &r->cp.sb, err);
	return rc ? rc : bow_dev_flush(r->dev, err);
}

static int rebuild(struct rescue *r, bool live_known, struct bowimg_error *err)
{
	int rc = 0;

	r->cp.sb.flags |= BOW_SUPER_ATTACHED;
	if (!live_known) {
		/* Nobody looks at the last record again in the state that follows. */
		rc = bow_checkpoint_redo(&r->cp, err);
		r->cp.sb.state = BOW_SUPER_ROLLING_BACK;
	}
	if (!rc)
		rc = write_block0(r, err);
	return rc ? bow_err_wrap(err, rc, "write the superblock anew") : 0;
}

static int open_for(struct bow_dev *dev, bool write, struct bowimg_error *err)
{
	int rc = 0;

	if (dev->size < BOWIMG_MIN_SIZE)
		return bow_err(err, -EOPNOTSUPP, "it is too small to have had a checkpoint");
	if (write)
		rc = bow_dev_flush(dev, err);
	if (!rc && write)
		rc = bow_dev_drop_cache(dev, 0, 0, err);
	return rc ? rc : check_lost(dev, err);
}

int bow_rescue_dev(struct bow_dev *dev, const struct bowimg_rescue_options *opts,
		   struct bowimg_rescue_report *report, struct bowimg_error *err)
{
	struct rescue r = {.dev = dev, .opts = opts, .report = report};
	bool live_known = false;
	int rc = open_for(dev, opts->write, err);

	memset(report, 0, sizeof(*report));
	if (!rc)
		rc = find(&r, &live_known, err);
	if (!rc) {
		fill_report(&r, live_known);
		rc = opts->write ? rebuild(&r, live_known, err) : 0;
		report->written = opts->write;
	}
	if (r.loaded)
		bow_checkpoint_release(&r.cp);
	free(r.scan.found);
	return rc;
}

int bowimg_rescue(const char *path, const struct bowimg_rescue_options *opts,
		  struct bowimg_rescue_report *report, struct bowimg_error *err)
{
	static const struct bowimg_rescue_options defaults;
	struct bowimg_rescue_report unused_report;
	enum bow_open_mode mode;
	struct bow_dev *dev;
	int rc, rc_close;

	opts = opts ? opts : &defaults;
	/* Even to look needs it alone: a log that grows meanwhile makes no sense. */
	mode = opts->write ? BOW_OPEN_EXCLUSIVE : BOW_OPEN_LOOK;
	rc = bow_dev_open_file(path, mode, &dev, err);
	if (rc)
		return rc;
	if (!opts->write && bow_dev_file_in_use(dev))
		rc = bow_err(err, -EBUSY, "another process serves it right now");
	if (!rc)
		rc = bow_rescue_dev(dev, opts, report ? report : &unused_report, err);
	rc_close = bow_dev_close(dev, rc ? NULL : err);
	return rc ? bow_err_wrap(err, rc, "%s", path) : rc_close;
}
