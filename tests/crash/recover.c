/* SPDX-License-Identifier: MIT */
/* After a crash: what the state may be, and the way from it to the end of the checkpoint. */
#include "crash.h"

#include "lib/base/bytes.h"

#define BIT(state) (1u << (state))
#define LOOK_PERCENT 35u

/* States that a crash may leave, by what had been begun. */
static const unsigned legal[] = {
	/* ROLLING_BACK: an interrupted prepare was being undone when the next cut came. */
	[LAB_PREPARE] = BIT(BOWIMG_STATE_NONE) | BIT(BOWIMG_STATE_CHECKPOINT) |
			BIT(BOWIMG_STATE_INTERRUPTED) | BIT(BOWIMG_STATE_ROLLING_BACK) |
			BIT(BOWIMG_STATE_FINISHING),
	[LAB_SERVE] = BIT(BOWIMG_STATE_CHECKPOINT),
	[LAB_ROLLBACK] = BIT(BOWIMG_STATE_NONE) | BIT(BOWIMG_STATE_CHECKPOINT) |
			 BIT(BOWIMG_STATE_ROLLING_BACK) | BIT(BOWIMG_STATE_FINISHING),
	[LAB_COMMIT] = BIT(BOWIMG_STATE_NONE) | BIT(BOWIMG_STATE_CHECKPOINT) |
		       BIT(BOWIMG_STATE_COMMITTING) | BIT(BOWIMG_STATE_FINISHING),
	[LAB_AGAIN] = BIT(BOWIMG_STATE_NONE) | BIT(BOWIMG_STATE_CHECKPOINT) |
		      BIT(BOWIMG_STATE_ROLLING_BACK) | BIT(BOWIMG_STATE_FINISHING) |
		      BIT(BOWIMG_STATE_INTERRUPTED),
	[LAB_MARK] = BIT(BOWIMG_STATE_CHECKPOINT),
	[LAB_UNMARK] = BIT(BOWIMG_STATE_CHECKPOINT),
	[LAB_TO] = BIT(BOWIMG_STATE_CHECKPOINT) | BIT(BOWIMG_STATE_ROLLING_BACK),
};

/* The end of the checkpoint before may have been in the cache only when prepare was cut. */
static unsigned legal_now(const struct lab *lab)
{
	unsigned states = legal[lab->intent];

	if (lab->intent == LAB_PREPARE && lab->before == LAB_COMMIT)
		states |= BIT(BOWIMG_STATE_COMMITTING);
	return states;
}

/* A checkpoint is open only when the note is whole: before, the bare image still looks usable. */
static int check_note(struct lab *lab)
{
	uint32_t off;

	for (off = SIM_SECTOR; off < SIM_BLOCK; off += SIM_SECTOR)
		if (!bow_is_zero(lab->oracle.original + off, SIM_SECTOR) &&
		    !memcmp(lab->disk.cache + off, lab->oracle.original + off, SIM_SECTOR))
			return lab_bad(lab,
				       "the state is checkpoint, but sector %u is not the note's",
				       off / SIM_SECTOR);
	return LAB_OK;
}

/* The one mark that a rollback was begun to is named, and the command that goes on. */
static int check_target(struct lab *lab, const struct bowimg_status *st)
{
	bool going_back = lab->intent == LAB_TO && st->state == BOWIMG_STATE_ROLLING_BACK;

	if (strcmp(st->rolling_back_to, going_back ? lab->subject : "") != 0)
		return lab_bad(lab, "status: rolling back to '%s'", st->rolling_back_to);
	if (!!strstr(st->next, "--to") != going_back)
		return lab_bad(lab, "status: next comes %s", st->next);
	return LAB_OK;
}

int crash_decide(struct timeline *t)
{
	bool happened;
	int rc = lab_marks_happened(&t->lab, &happened);

	return rc ? rc : lab_marks_decide(&t->lab, happened, t->power, t->torn);
}

/* The checkpoint is open, and that is durable. */
static int go_on_serving(struct timeline *t)
{
	struct lab *lab = &t->lab;
	int rc = lab_undecided(lab) ? crash_decide(t) : LAB_OK;

	lab->intent = LAB_SERVE;
	lab->order.on = false;
	if (lab->p.durability == BOWIMG_DURABILITY_POWER)
		order_resume(&lab->order);
	lab->order.block_0_may_move = false;
	return rc;
}

int crash_state(struct timeline *t, enum bowimg_state *state)
{
	static const char *const doing[] = {"prepare",	     "serving",		 "rollback",
					    "commit",	     "rollback --again", "mark",
					    "mark --delete", "rollback --to"};
	struct bowimg_status st;
	int rc = lab_status(&t->lab, &st);

	if (rc)
		return rc;
	*state = st.state;
	t->next = strstr(st.next, "'bowimg commit'") ? LAB_END_COMMIT : LAB_END_ROLLBACK;
	if (!(legal_now(&t->lab) & BIT(st.state)))
		return lab_bad(&t->lab, "a crash in %s left the state %s", doing[t->lab.intent],
			       bowimg_state_name(st.state));
	if (st.state == BOWIMG_STATE_CHECKPOINT)
		rc = check_note(&t->lab);
	if (!rc)
		rc = check_target(&t->lab, &st);
	/* Of a killed prepare, or mark, the cache may show more than the storage has. */
	if (!rc && st.state == BOWIMG_STATE_CHECKPOINT && t->lab.intent != LAB_AGAIN &&
	    ((t->lab.intent != LAB_PREPARE && !lab_undecided(&t->lab)) || t->power))
		rc = go_on_serving(t);
	return rc;
}

void crash_kill(struct timeline *t, bool power)
{
	struct sim_cut cut = {'r', rng_below(&t->lab.rng, 1 << 20), false};

	t->run->counts.kills++;
	lab_kill(&t->lab);
	if (power)
		sim_power_cut(&t->lab.disk, &t->lab.disk, &cut);
	t->power = power;
}

int crash_attach(struct timeline *t)
{
	bool undecided = lab_undecided(&t->lab), happened = false;
	int rc = undecided ? lab_marks_happened(&t->lab, &happened) : LAB_OK;

	if (!rc)
		rc = lab_attach(&t->lab);
	/* What it found is durable now. */
	if (!rc && undecided)
		rc = lab_marks_decide(&t->lab, happened, t->power, t->torn);
	if (rc)
		return rc;
	rc = lab_settle(&t->lab, t->power, t->torn);
	if (!rc) {
		t->torn = t->torn && !t->power;
		t->power = false;
	}
	return rc;
}

static int end(struct timeline *t, bool commit)
{
	/* The end before this checkpoint, come back, is finished as it was begun. */
	bool wipe = commit && t->lab.intent != LAB_PREPARE && rng_chance(&t->lab.rng, 40);
	int rc = lab_end(&t->lab, wipe ? LAB_END_WIPE : commit ? LAB_END_COMMIT : LAB_END_ROLLBACK);
	bool committed = t->lab.intent == LAB_COMMIT;

	if (!rc)
		rc = lab_check_ended(&t->lab, committed, t->torn);
	if (!rc)
		t->run->counts.ended[committed]++;
	return rc;
}

/*
 * The disk as it was takes as long to check as all the rest, so only here and there; what decides
 * is no random number, which would change what comes after it.
 */
static bool looks_back(const struct lab *lab)
{
	return lab->disk.ops % 61 == 0;
}

/* Where there are marks, some more is done with them. */
static int step_with_marks(struct timeline *t)
{
	int rc = LAB_OK;

	if (t->lab.oracle.marks && rng_chance(&t->lab.rng, 50))
		rc = crash_mark_step(t);
	return rc == LAB_REFUSED ? LAB_OK : rc;
}

/* Go on serving for a while, then end it one way or the other. */
static int serve_on(struct timeline *t)
{
	struct lab *lab = &t->lab;
	uint32_t n = rng_below(&lab->rng, 5);
	struct lab_request req;
	int rc = crash_attach(t);

	while (rc == LAB_OK && n-- > 0) {
		lab_choose(lab, 3, &req);
		rc = lab_request(lab, &req);
		if (rc == LAB_REFUSED)
			rc = LAB_OK;
	}
	if (rc == LAB_OK)
		rc = lab_read_all(lab);
	if (rc == LAB_OK && looks_back(lab))
		rc = lab_read_before(lab, 0, lab->p.size);
	if (rc == LAB_OK && lab->oracle.marks && looks_back(lab))
		rc = lab_check_at(lab, lab->engine, lab->oracle.mark[0]);
	if (rc == LAB_OK && rng_chance(&lab->rng, 70))
		rc = lab_detach(lab);
	if (rc)
		return rc;
	lab_kill(lab);
	rc = step_with_marks(t);
	return rc ? rc : end(t, rng_chance(&lab->rng, 50));
}

static int at_checkpoint(struct timeline *t)
{
	uint32_t n = rng_below(&t->lab.rng, 100);
	int rc;

	if (t->lab.intent == LAB_PREPARE || lab_undecided(&t->lab))
		return serve_on(t);
	/* Which of the two checkpoints it is, the guest's content does not tell. */
	if (t->lab.intent == LAB_AGAIN || n < 30)
		return end(t, false);
	if (n < 45) {
		rc = lab_verify(&t->lab);
		return rc ? rc : end(t, false);
	}
	return n < 85 ? serve_on(t) : end(t, true);
}

/* Nothing was begun, as far as the image says; or everything is over. */
static int at_none(struct timeline *t)
{
	struct lab *lab = &t->lab;
	bool committed = lab->intent == LAB_COMMIT;

	if (lab->intent == LAB_ROLLBACK || committed) {
		t->run->counts.ended[committed]++;
		lab->oracle.window = lab->p.can_grow ? 0 : LAB_DEVICE_WINDOW;
		return lab_check_ended(lab, committed, t->torn);
	}
	if (lab->disk.size != lab->p.size)
		return lab_bad(lab, "prepare was cut, the state is none, and a tail was left");
	return lab_check_used(lab);
}

/* Undo the little that prepare did. */
static int undo_prepare(struct timeline *t)
{
	struct bowimg_status st;
	int rc = lab_end(&t->lab, t->next);

	if (!rc)
		rc = lab_status(&t->lab, &st);
	if (rc)
		return rc;
	if (st.state != BOWIMG_STATE_NONE || t->lab.disk.size != t->lab.p.size)
		return lab_bad(&t->lab, "undoing an interrupted prepare left state %s, %llu bytes",
			       bowimg_state_name(st.state), (unsigned long long)t->lab.disk.size);
	return lab_check_used(&t->lab);
}

static int follow_once(struct timeline *t)
{
	enum bowimg_state state;
	int rc = crash_state(t, &state);

	/* Whatever only looks must work in every state, and agree with what is done next. */
	if (!rc && rng_chance(&t->lab.rng, LOOK_PERCENT)) {
		rc = lab_look(&t->lab, state);
		if (!rc && state == BOWIMG_STATE_CHECKPOINT && looks_back(&t->lab))
			rc = lab_look_at_both(&t->lab, false);
		t->run->counts.looks++;
	}
	if (!rc && state == BOWIMG_STATE_CHECKPOINT && t->lab.intent == LAB_SERVE &&
	    t->lab.oracle.marks)
		rc = lab_check_marks(&t->lab);
	if (rc)
		return rc;
	switch (state) {
	case BOWIMG_STATE_NONE:
		return at_none(t);
	case BOWIMG_STATE_CHECKPOINT:
		return at_checkpoint(t);
	case BOWIMG_STATE_INTERRUPTED:
		return undo_prepare(t);
	case BOWIMG_STATE_FINISHING:
		if (t->lab.intent == LAB_PREPARE)
			return undo_prepare(t);
		return end(t, t->lab.intent == LAB_COMMIT);
	default:
		if (t->lab.intent != LAB_TO)
			return end(t, state == BOWIMG_STATE_COMMITTING);
		rc = crash_to_again(t);
		return rc ? rc : at_checkpoint(t);
	}
}

static int follow(struct timeline *t)
{
	struct lab *lab = &t->lab;
	uint32_t tries = 0;
	int rc;

	do {
		if (tries++ < 3 && rng_chance(&lab->rng, 12))
			lab->disk.die_at = lab->disk.ops + rng_between(&lab->rng, 1, 30);
		lab->disk.die_at_sector_0 = tries < 3 && rng_chance(&lab->rng, 6);
		rc = follow_once(t);
		if (rc == LAB_DEAD)
			crash_kill(t, false);
	} while (rc == LAB_DEAD);
	lab->disk.die_at = 0;
	lab->disk.die_at_sector_0 = false;
	return rc;
}

/* Another checkpoint on what the end left, which may be in the cache only. */
static int next_checkpoint(struct timeline *t)
{
	struct lab *lab = &t->lab;
	int rc;

	t->once_more = true;
	t->torn = false;
	lab_kill(lab);
	crash_next_params(lab);
	rc = lab_prepare(lab);
	return rc ? rc : crash_follow(t);
}

int crash_follow(struct timeline *t)
{
	struct lab *lab = &t->lab;
	int rc = follow(t);

	/* An end that was undone by hand, or a prepare: there is no image to go on with. */
	if (rc || t->once_more || t->depth == 0 ||
	    (lab->intent != LAB_ROLLBACK && lab->intent != LAB_COMMIT))
		return rc;
	if (!rng_chance(&lab->rng, lab->disk.pending_count > 0 ? 60 : 4))
		return LAB_OK;
	rc = next_checkpoint(t);
	return rc == LAB_REFUSED ? LAB_OK : rc;
}
