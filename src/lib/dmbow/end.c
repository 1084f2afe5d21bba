/* SPDX-License-Identifier: MIT */
/*
 * Ending dm-bow's checkpoint: rollback, commit, verify. Each first checks all that it will rely on,
 * then writes (write.c). Damage is reported; the user decides what to do about it [I6, I8].
 */
#include "lib/dmbow/steps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

struct job {
	struct bow_dmbow d;
	enum bowimg_state state;
	const struct bowimg_end_options *opts;
	struct bowimg_end_report *report;
	struct bow_dmbow_lost lost;
};

static void notice(const struct job *j, const char *text)
{
	if (j->opts->events.notice)
		j->opts->events.notice(j->opts->events.ctx, text);
}

static int commit(struct job *j, struct bowimg_error *err);

static bool is_damage(int rc)
{
	return rc == -EUCLEAN || rc == -EBADMSG;
}

static int check(struct job *j, struct bowimg_error *err)
{
	int rc = bow_dmbow_check(&j->d, &j->opts->events, &j->lost, err);

	j->report->entries = j->d.entries;
	j->report->lost_entries = j->lost.entries + j->d.skipped;
	if (rc)
		return rc;
	j->report->restored_bytes = (bow_dmbow_changed_blk(&j->d) + 1) * j->d.head.block_size;
	if (j->d.torn)
		notice(j, "the newest log entry did not reach the disk before the power failed; "
			  "the blocks it was to protect were not overwritten");
	return 0;
}

static int open_job(struct job *j, const struct bow_opened *o,
		    const struct bowimg_end_options *opts, struct bowimg_end_report *report,
		    struct bowimg_error *err)
{
	memset(j, 0, sizeof(*j));
	j->state = o->state;
	j->opts = opts;
	j->report = report;
	report->dm_bow = true;
	return bow_dmbow_open(&j->d, o->dev, err);
}

static void release(struct job *j)
{
	bow_bitmap_free(j->lost.blocks);
	bow_dmbow_release(&j->d);
}

int bow_dmbow_verify(struct bow_opened *o, const struct bowimg_end_options *opts,
		     struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct job j;
	int rc = open_job(&j, o, opts, report, err);

	if (!rc && o->state == BOWIMG_STATE_COMMITTING)
		rc = bow_wrong_state(o->state, "verify", err);
	if (!rc)
		rc = check(&j, err);
	release(&j);
	return rc;
}

static void hint_damaged(struct bowimg_error *err)
{
	bow_err_hint(err, "nothing was changed; make a copy, then 'bowimg rollback "
			  "--force=partial' brings back what is whole, or 'bowimg commit' keeps "
			  "what is there now");
}

static int restore(struct job *j, struct bowimg_error *err)
{
	uint64_t from = j->lost.original0 ? 0 : j->d.original0_blk;
	int rc = 0;

	/* Partial: the original of block 0 is lost, so its live content stays. */
	if (!from && !j->d.head.restoring)
		from = j->d.live0_blk;
	if (!from)
		rc = bow_err(err, -EUCLEAN, "no content for block 0 was found");
	if (!rc)
		rc = bow_dmbow_check_block0(&j->d, from, err);
	if (rc)
		return rc;
	j->report->restored_bytes = 0;
	if (from == j->d.original0_blk)
		rc = bow_dmbow_begin(&j->d, err);
	if (!rc)
		rc = bow_dmbow_copy_back(&j->d, j->lost.blocks, &j->opts->events, j->report, err);
	if (!rc)
		rc = bow_dmbow_put_block0(&j->d, from, false, err);
	if (!rc)
		j->report->restored_bytes += j->d.head.block_size;
	return rc;
}

/* The log is damaged, and the user has asked for a commit in that case. */
static int commit_instead(struct job *j, struct bowimg_error *err)
{
	notice(j, err ? err->message : "the log is damaged");
	bow_err_clear(err);
	j->report->committed = true;
	return commit(j, err);
}

static int roll_back(struct job *j, struct bowimg_error *err)
{
	bool forward = j->opts->force & BOWIMG_FORCE_FORWARD;
	int rc;

	if (j->state == BOWIMG_STATE_COMMITTING) {
		rc = bow_wrong_state(j->state, "roll back", err);
		return forward ? commit_instead(j, err) : rc;
	}
	j->d.skip = j->opts->force & BOWIMG_FORCE_PARTIAL;
	rc = check(j, err);
	if (is_damage(rc) && forward && j->state == BOWIMG_STATE_CHECKPOINT)
		return commit_instead(j, err);
	if (is_damage(rc))
		hint_damaged(err);
	return rc || j->opts->dry_run ? rc : restore(j, err);
}

int bow_dmbow_rollback(struct bow_opened *o, const struct bowimg_end_options *opts,
		       struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct job j;
	int rc = open_job(&j, o, opts, report, err);

	if (!rc && opts->to) {
		rc = bow_err(err, -EOPNOTSUPP,
			     "a checkpoint of the kernel's dm-bow has no marks to return to");
		bow_err_hint(err, "nothing was changed; without --to, 'bowimg rollback' brings "
				  "back what was there when it began");
	}
	if (!rc && opts->again) {
		bow_err(err, -EOPNOTSUPP,
			"dm-bow's free map is not on the disk, so no checkpoint "
			"can be opened again");
		bow_err_hint(err, "'bowimg rollback' without --again, then 'bowimg prepare'");
		rc = -EOPNOTSUPP;
	}
	if (!rc)
		rc = roll_back(&j, err);
	release(&j);
	return rc;
}

/*
 * Is block 0's live content where the header says? The header has no checksum. But the log names
 * the blocks that hold something else, and the newest move of that content must have led there.
 */
struct witness {
	bool moved;
	uint64_t to;
};

static int keep_newest_move(void *ctx, struct bow_dmbow *d, const struct bow_dmbow_entry *e,
			    uint32_t i, struct bowimg_error *err)
{
	struct witness *w = ctx;

	(void)i;
	(void)err;
	if (d->is_live && !w->moved)
		*w = (struct witness){true, e->dest_blk};
	return 0;
}

static int check_live0(struct job *j, struct bowimg_error *err)
{
	struct witness w = {0};
	struct bow_dmbow_visitor v = {keep_newest_move, &w};
	uint64_t live = j->d.live0_blk, unused;
	bool wrong = false;
	int rc = bow_dmbow_walk(&j->d, &v, err);

	j->report->entries = j->d.entries;
	if (rc)
		return rc;
	bow_rangemap_get(j->d.cur, live, 1, &unused, &wrong);
	wrong = wrong || (w.moved ? w.to != live : bow_bitmap_test(j->d.dests, live));
	return wrong ? bow_err(err, -EUCLEAN,
			       "block 0's newest content should be at block %" PRIu64
			       ", but the log denies it",
			       live)
		     : 0;
}

static int find_live0(struct job *j, struct bowimg_error *err)
{
	int rc;

	if (!j->d.live0_blk)
		return bow_err(err, -EUCLEAN,
			       "block 0's newest content should be at sector %" PRIu64
			       ", which is not on the disk",
			       j->d.head.sector0);
	if (j->opts->force & BOWIMG_FORCE_FORWARD)
		return 0;
	rc = check_live0(j, err);
	if (is_damage(rc))
		bow_err_hint(err, "nothing was changed; make a copy, then --force=forward trusts "
				  "block 0 alone");
	return rc;
}

/* An interrupted commit left a log of one entry: its content is checked like a backup. */
static int commit(struct job *j, struct bowimg_error *err)
{
	bool again = j->state == BOWIMG_STATE_COMMITTING;
	int rc = again ? check(j, err) : find_live0(j, err);
	uint64_t from = again ? j->d.original0_blk : j->d.live0_blk;

	j->report->restored_bytes = 0;
	if (!rc)
		rc = bow_dmbow_check_block0(&j->d, from, err);
	return rc || j->opts->dry_run ? rc : bow_dmbow_put_block0(&j->d, from, true, err);
}

int bow_dmbow_commit(struct bow_opened *o, const struct bowimg_end_options *opts,
		     struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct job j;
	int rc = open_job(&j, o, opts, report, err);

	if (!rc && opts->wipe) {
		bow_err(err, -EOPNOTSUPP,
			"--wipe is not possible here: dm-bow's log does not "
			"outlive the commit");
		bow_err_hint(err, "'bowimg commit' without --wipe; a trim of the file system's "
				  "free space comes near it");
		rc = -EOPNOTSUPP;
	}
	if (!rc && o->state == BOWIMG_STATE_ROLLING_BACK)
		rc = bow_wrong_state(o->state, "commit", err);
	if (!rc)
		rc = commit(&j, err);
	release(&j);
	return rc;
}
