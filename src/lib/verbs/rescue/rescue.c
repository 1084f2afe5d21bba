/* SPDX-License-Identifier: MIT */
/*
 * Rebuilding a lost sector 0.
 *
 * Happy path: sector 0 is no superblock - find the newest log segment - find block 0's live copy -
 * load the whole log and check every backup - make sure that the log did not go on - write the
 * note, barrier, superblock, barrier. Until that last write the image counts as lost, and the
 * rescue can be run again.
 *
 * Failure modes: every doubt is a refusal, because a rollback from a wrong or shortened log would
 * bring back a mixture. An image whose checkpoint has ended also has remains of its log. Its block
 * 0 then looks like an ordinary disk's, and only the user can know better.
 *
 * Three things are lost for good: the state of the checkpoint (it is CHECKPOINT afterwards), the
 * end of the log at the last detach, and sometimes the place of block 0's live copy. A rollback
 * does not need that copy, so without it the state becomes ROLLING_BACK, after which only a
 * rollback can follow.
 */
#include "lib/verbs/rescue/rescue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/probe/probe.h"
#include "lib/own/steps.h"
#include "lib/verbs/kinds.h"

struct rescue {
	struct bowimg_disk *dev;
	const struct bowimg_rescue_options *opts;
	struct bowimg_rescue_report *report;
	struct bow_scan scan;
	struct bow_checkpoint cp;
	bool loaded;
	uint8_t block0[BOW_BLOCK];
	uint8_t uuid[16]; /* by the note */
	bool note;
};

/* ---- is it lost? ----------------------------------------------------------------- */

/* Is sector 0 lost at all? */
static int check_lost(struct bowimg_disk *dev, struct bowimg_error *err)
{
	struct bow_identity id;
	int rc = bow_identify(dev, &id, err);

	if (rc == -EBADMSG) {
		bow_err_clear(err);
		return 0;
	}
	if (rc || id.state == BOWIMG_STATE_NONE)
		return rc;
	return bow_kind_refuse_rescue(&id, err);
}

static int check_size(const struct rescue *r, const struct bow_super *sb, struct bowimg_error *err)
{
	uint64_t size = bow_disk_size(r->dev);

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

/* A disk that has only block 0, to ask libblkid about it; the rest reads as zeros. */
struct window {
	struct bowimg_disk dev; /* must be first */
	const uint8_t *block0;
};

static int64_t window_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	const struct window *w = (const struct window *)dev;

	memset(buf, 0, bytes);
	if (off < BOW_BLOCK)
		memcpy(buf, w->block0 + off, bow_min(bytes, BOW_BLOCK - off));
	return (int64_t)bytes;
}

/* Describe block 0 in words that follow "block 0 "; "" if it is unknown. */
static int describe_block0(const struct rescue *r, char what[96], struct bowimg_error *err)
{
	static const struct bow_backend_ops ops = {.read = window_read};
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
	/* While the note is there, the checkpoint was not ended: the end overwrites it first. */
	if (r->note)
		return 0;
	if (bow_hash(r->block0, BOW_BLOCK, sb->seed) == r->cp.original0_hash) {
		snprintf(what, 96, "is what it was at prepare");
		return 0;
	}
	if (live_known)
		rc = bow_disk_read(r->dev, live, BOW_BLOCK, sb->live0_blk * BOW_BLOCK, err);
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

/* ---- find, rebuild --------------------------------------------------------------- */

static int read_block0(struct rescue *r, struct bowimg_error *err)
{
	int rc = bow_disk_read(r->dev, r->block0, BOW_BLOCK, 0, err);

	r->note = !rc && bow_note_uuid(r->block0 + BOW_SUPER_BYTES, r->uuid);
	return rc;
}

/* Load the log that ends with this segment, and check every backup. */
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
	r->cp.sb.incompat = BOW_INCOMPAT_GIVE | BOW_INCOMPAT_MARKS;
	rc = bow_rescue_live0(r->dev, &r->cp.sb, live_known, err);
	if (!rc)
		rc = bow_checkpoint_load(&r->cp, err);
	/* Older programs read a log that does not need the feature. */
	if (!r->cp.gives)
		r->cp.sb.incompat &= ~BOW_INCOMPAT_GIVE;
	if (r->cp.n_epochs < 2)
		r->cp.sb.incompat &= ~BOW_INCOMPAT_MARKS;
	return rc ? rc : bow_restore_check(&r->cp, NULL, &r->opts->events, &counted, err);
}

/* Segments that end with the same record are equal; one without a record may be a false start. */
static int load_newest(struct rescue *r, bool *live_known, struct bowimg_error *err)
{
	const struct bow_found *f = r->scan.found;
	struct bowimg_error first;
	int rc = load(r, f, live_known, err);

	if (!rc || rc == -ECANCELED)
		return rc;
	first = err ? *err : (struct bowimg_error){0};
	for (uint32_t i = 1; rc && i < r->scan.n && f[i].last_seq == f[0].last_seq; i++)
		if (!check_size(r, &f[i].sb, NULL))
			rc = load(r, &f[i], live_known, NULL);
	if (rc && err)
		*err = first;
	if (!rc)
		return 0;
	bow_err_hint(err,
		     "make a copy of the image; the log that is left cannot bring everything back");
	return bow_err_wrap(err, rc, "the log that was found");
}

/* The scan found nothing: nothing is missing either, if block 0 is that of an ordinary image. */
static int refuse_ordinary(const struct rescue *r, int code, struct bowimg_error *err)
{
	struct bowimg_error unused = {0};
	char what[96] = "";

	if (code != -EUCLEAN || r->note || r->scan.headers || describe_block0(r, what, &unused) ||
	    !what[0])
		return code;
	bow_err_clear(err);
	bow_err(err, -ENODATA,
		"there is nothing to rescue: it is an ordinary image with no log of a bowimg "
		"checkpoint (block 0 %s)",
		what);
	bow_err_hint(err, "'bowimg prepare' opens a checkpoint");
	return -ENODATA;
}

static int find(struct rescue *r, bool *live_known, struct bowimg_error *err)
{
	const struct bowimg_events *events = &r->opts->events;
	int rc = read_block0(r, err);

	if (!rc)
		rc = bow_rescue_scan(r->dev, r->note ? r->uuid : NULL, &r->scan, events, err);
	if (rc)
		return refuse_ordinary(r, rc, err);
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
	/* Sector 0 last: a superblock without its note looks like a checkpoint changed by others.
	 */
	rc = bow_disk_write_first(r->dev, note, sizeof(note), BOW_SUPER_BYTES, err);
	if (!rc)
		rc = bow_disk_flush(r->dev, err);
	if (!rc)
		rc = bow_super_write(r->dev, &r->cp.sb, err);
	return rc ? rc : bow_disk_flush(r->dev, err);
}

static int rebuild(struct rescue *r, bool live_known, struct bowimg_error *err)
{
	int rc = 0;

	r->cp.sb.flags |= BOW_SUPER_ATTACHED;
	if (!live_known) {
		/* In state ROLLING_BACK the last record is not checked again. */
		rc = bow_checkpoint_redo(&r->cp, err);
		r->cp.sb.state = BOW_SUPER_ROLLING_BACK;
	}
	if (!rc)
		rc = write_block0(r, err);
	return rc ? bow_err_wrap(err, rc, "cannot write the superblock") : 0;
}

static int open_for(struct bowimg_disk *dev, bool write, struct bowimg_error *err)
{
	int rc = 0;

	if (dev->size < BOWIMG_MIN_SIZE)
		return bow_err(err, -EOPNOTSUPP, "it is too small to have had a checkpoint");
	if (write)
		rc = bow_disk_flush(dev, err);
	if (!rc && write)
		rc = bow_disk_drop_cache(dev, 0, 0, err);
	return rc ? rc : check_lost(dev, err);
}

int bow_rescue_dev(struct bowimg_disk *dev, const struct bowimg_rescue_options *opts,
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
	struct bowimg_disk *dev;
	int rc, rc_close;

	opts = opts ? opts : &defaults;
	/* Also without --write no other process may serve it: its log would grow meanwhile. */
	mode = opts->write ? BOW_OPEN_EXCLUSIVE : BOW_OPEN_LOOK;
	rc = bow_disk_open_file(path, mode, &opts->events, &dev, err);
	if (rc)
		return rc;
	if (!opts->write && bow_disk_file_in_use(dev))
		rc = bow_disk_refuse_used(dev, err);
	if (!rc)
		rc = bow_rescue_dev(dev, opts, report ? report : &unused_report, err);
	rc_close = bow_disk_close(dev, rc ? NULL : err);
	return rc ? bow_err_name(err, rc, path) : rc_close;
}
