/* SPDX-License-Identifier: MIT */
/* Marks in the laboratory: made, deleted, gone back to; and what the disk was at each of them. */
#include "lab_device.h"

#include <errno.h>
#include "lib/base/bytes.h"

/* ---- what the log says ----------------------------------------------------------- */

struct listed {
	const struct oracle *oracle;
	const char *subject;
	uint32_t n;
	bool has_subject, wrong;
};

static int list_mark(void *ctx, const struct bowimg_mark *m)
{
	struct listed *l = ctx;

	if (l->subject && strcmp(m->name, l->subject) == 0)
		l->has_subject = true;
	if (l->n >= l->oracle->marks || strcmp(m->name, l->oracle->mark[l->n]->name) != 0 ||
	    !m->record)
		l->wrong = true;
	l->n++;
	return 0;
}

static int list_marks(struct lab *lab, struct listed *l)
{
	int rc;

	l->oracle = &lab->oracle;
	WITH_DEVICE(lab, rc, bow_marks_dev(dev, 0, list_mark, l, &lab->err));
	return lab_judge(lab, rc, "list the marks");
}

static int find_revert(void *ctx, const struct bowimg_log_entry *e)
{
	if (strcmp(e->type, "revert") != 0)
		return 0;
	*(uint64_t *)ctx = e->sequence;
	return 1;
}

/* The record of the newest REVERT; 0: there is none. */
static int newest_revert(struct lab *lab, uint64_t *record)
{
	int rc;

	*record = 0;
	WITH_DEVICE(lab, rc, bow_log_dev(dev, find_revert, record, &lab->err));
	return rc == 1 ? LAB_OK : lab_judge(lab, rc, "log");
}

int lab_marks_happened(struct lab *lab, bool *happened)
{
	struct listed l = {.subject = lab->subject};
	uint64_t record = 0;
	int rc = lab->intent == LAB_TO ? newest_revert(lab, &record) : list_marks(lab, &l);

	lab->revert_seen = record;
	*happened = lab->intent == LAB_TO     ? record != lab->reverted
		    : lab->intent == LAB_MARK ? l.has_subject
					      : !l.has_subject;
	return rc;
}

/* ---- what the disk is, and was --------------------------------------------------- */

/* A view of the disk that nobody serves, for `look`, which gets the view. */
static int with_view(struct lab *lab, int (*look)(struct lab *lab, bowimg_disk *view, void *arg),
		     void *arg)
{
	struct bowimg_disk *dev = sim_open(&lab->disk);
	bowimg_disk *view = NULL;
	uint64_t ops = lab->disk.ops;
	int rc;

	memset(&lab->err, 0, sizeof(lab->err));
	rc = lab_judge(lab, bow_view_open(dev, 0, &view, &lab->err), "view");
	if (!rc)
		rc = look(lab, view, arg);
	if (view)
		bowimg_disk_close(view, NULL);
	else
		bow_disk_close(dev, NULL);
	if (!rc && lab->disk.ops != ops)
		return lab_bad(lab, "a view wrote something");
	return rc;
}

/* On a large image only what was ever changed is read: the end of such blocks from b on. */
static uint32_t next_run(const struct lab *lab, uint32_t *b)
{
	const struct oracle *o = &lab->oracle;
	uint32_t end, most = LAB_PIECE / SIM_BLOCK;

	while (lab->p.sparse && *b < o->blocks && o->calm[*b])
		++*b;
	for (end = *b; end < o->blocks && end - *b < most; end++)
		if (lab->p.sparse && o->calm[end])
			break;
	return end;
}

/* What bowimg_disk_changes_since() told, held against what was there at the mark. */
struct told {
	struct lab *lab;
	const struct oracle_mark *mark;
	const uint8_t *now;
	uint64_t reached; /* everything below was told of, or is the same */
};

/* Of blocks that nobody told of: nothing has changed. */
static int check_same(struct told *t, uint64_t end)
{
	uint64_t bad = oracle_wrong_at(t->mark, t->reached, t->now + t->reached, end - t->reached);

	if (bad < end)
		return lab_bad(t->lab, "changes since %s: block %llu changed, and nobody told",
			       t->mark->name, (unsigned long long)(bad / SIM_BLOCK));
	t->reached = end;
	return LAB_OK;
}

static int check_change(void *ctx, const struct bowimg_change *c)
{
	struct told *t = ctx;
	uint64_t end = c->off + c->bytes;
	static const uint8_t zeros[SIM_BLOCK];
	uint64_t at;

	if (!c->bytes || c->off < t->reached || end > t->lab->p.size || c->off % SIM_BLOCK)
		return lab_bad(t->lab, "changes since %s: a run out of order", t->mark->name);
	if (check_same(t, c->off))
		return LAB_BAD;
	if (c->zero_now && !bow_is_zero(t->now + c->off, c->bytes))
		return lab_bad(t->lab, "changes since %s: said to be zeros, and is not",
			       t->mark->name);
	for (at = c->off; at < end; at += SIM_BLOCK)
		if ((c->was_zero && oracle_wrong_at(t->mark, at, zeros, SIM_SECTOR) == at) ||
		    (c->was_free && !t->lab->oracle.is_free[at / SIM_BLOCK]))
			return lab_bad(t->lab, "changes since %s: block %llu was not so",
				       t->mark->name, (unsigned long long)(at / SIM_BLOCK));
	t->reached = end;
	return LAB_OK;
}

/* Of a small image, all of it. */
static int check_changes(struct lab *lab, bowimg_disk *view, const struct oracle_mark *mark)
{
	struct told t = {.lab = lab, .mark = mark, .now = lab->image};
	int rc = bowimg_disk_read(view, lab->image, lab->p.size, 0, &lab->err);

	rc = lab_judge(lab, rc, "read what is now");
	if (rc)
		return rc;
	rc = bowimg_disk_changes_since(view, mark->name, check_change, &t, &lab->err);
	if (rc != LAB_BAD)
		rc = lab_judge(lab, rc, "changes since a mark");
	return rc ? rc : check_same(&t, lab->p.size);
}

/* mark NULL: prepare. */
static int check_piece(struct lab *lab, bowimg_disk *was, const struct oracle_mark *mark,
		       uint64_t off, uint64_t bytes)
{
	uint64_t bad;
	int rc = bowimg_disk_read(was, lab->image, bytes, off, &lab->err);

	rc = lab_judge(lab, rc, "read what was at a mark");
	if (rc || !mark)
		return rc ? rc : lab_check_before(lab, off, lab->image, bytes);
	bad = oracle_wrong_at(mark, off, lab->image, bytes);
	if (bad == off + bytes)
		return LAB_OK;
	return lab_bad(lab, "at mark %s: byte %llu is wrong (block %llu sector %llu, %s)",
		       mark->name, (unsigned long long)bad, (unsigned long long)(bad / SIM_BLOCK),
		       (unsigned long long)(bad % SIM_BLOCK / SIM_SECTOR),
		       lab->oracle.is_free[bad / SIM_BLOCK] ? "free at prepare" : "in use");
}

int lab_check_at(struct lab *lab, bowimg_disk *disk, const struct oracle_mark *mark)
{
	bowimg_disk *was = NULL;
	uint32_t b, end;
	int rc = bowimg_disk_at(disk, mark ? mark->name : NULL, &was, &lab->err);

	rc = lab_judge(lab, rc, "open the disk as it was at a mark");
	for (b = 0; !rc && b < lab->oracle.blocks; b = end) {
		end = next_run(lab, &b);
		if (end > b)
			rc = check_piece(lab, was, mark, (uint64_t)b * SIM_BLOCK,
					 bow_min(end * (uint64_t)SIM_BLOCK, lab->p.size) -
						 b * (uint64_t)SIM_BLOCK);
	}
	if (was)
		bowimg_disk_close(was, NULL);
	return rc;
}

static int check_all_at(struct lab *lab, bowimg_disk *view, void *arg)
{
	int rc = lab_check_at(lab, view, NULL);
	uint32_t n;

	(void)arg;
	for (n = 0; !rc && n < lab->oracle.marks; n++) {
		rc = lab_check_at(lab, view, lab->oracle.mark[n]);
		if (!rc && !lab->p.sparse)
			rc = check_changes(lab, view, lab->oracle.mark[n]);
	}
	return rc;
}

int lab_check_marks(struct lab *lab)
{
	struct listed l = {0};
	int rc = list_marks(lab, &l);

	if (!rc && (l.wrong || l.n != lab->oracle.marks))
		rc = lab_bad(lab, "%u marks in the log, %u expected%s", l.n, lab->oracle.marks,
			     l.wrong ? ", or others" : "");
	return rc ? rc : with_view(lab, check_all_at, NULL);
}

/* ---- what is true afterwards ----------------------------------------------------- */

struct settling {
	bool power, torn;
};

/* Into lab->image, padded; where nothing was killed or cut, strictly. */
static int settle_now(struct lab *lab, bowimg_disk *disk, void *arg)
{
	const struct settling *s = arg;
	struct oracle *o = &lab->oracle;
	int rc;

	memset(lab->image, 0, (size_t)o->blocks * SIM_BLOCK);
	rc = bowimg_disk_read(disk, lab->image, lab->p.size, 0, &lab->err);
	rc = lab_judge(lab, rc, "read what is now");
	if (rc)
		return rc;
	if (lab->unbroken && !oracle_check_read(o, 0, lab->image, lab->p.size))
		return lab_bad(lab, "%s", o->why);
	if (!oracle_settle(o, lab->image, 0, lab->p.size, s->power, s->torn))
		return lab_bad(lab, "%s", o->why);
	return LAB_OK;
}

/* The mark is there: it is of what is there now. */
static int made(struct lab *lab, const struct settling *s)
{
	int rc = lab->engine ? settle_now(lab, lab->engine, (void *)s)
			     : with_view(lab, settle_now, (void *)s);

	if (rc || oracle_mark_made(&lab->oracle, lab->subject, lab->image))
		return rc;
	return lab_faulted(lab) ? LAB_FAULT : lab_bad(lab, "no memory for a mark");
}

int lab_marks_decide(struct lab *lab, bool happened, bool power, bool torn)
{
	struct settling s = {power, torn};
	uint32_t n = oracle_mark_find(&lab->oracle, lab->subject);
	int rc = LAB_OK;

	if (happened && lab->intent == LAB_MARK)
		rc = made(lab, &s);
	else if (happened && lab->intent == LAB_UNMARK)
		oracle_mark_deleted(&lab->oracle, n);
	else if (happened)
		oracle_went_back(&lab->oracle, n);
	if (happened && lab->intent == LAB_TO)
		lab->reverted = lab->revert_seen;
	if (rc)
		return rc;
	lab_trace(lab, "  %s it has%s happened", lab->subject, happened ? "" : " not");
	lab->intent = LAB_SERVE;
	return LAB_OK;
}

/* Nothing stopped it. */
static int done(struct lab *lab)
{
	struct settling s = {.power = true};
	bool went_back = lab->intent == LAB_TO, happened;
	int rc = lab_marks_happened(lab, &happened);

	/* Where nothing was to be done nothing new is in the log. */
	if (!rc && !happened && !went_back)
		rc = lab_bad(lab, "a mark that was deleted is still there");
	if (!rc)
		rc = lab_marks_decide(lab, true, true, false);
	if (!rc && went_back)
		rc = with_view(lab, settle_now, &s);
	return rc ? rc : lab_check_marks(lab);
}

/* ---- what is done ---------------------------------------------------------------- */

static void begin(struct lab *lab, enum lab_intent intent, const char *name)
{
	static const char *const what[] = {"MARK", "MARK --delete", "ROLLBACK --to"};

	lab->intent = intent;
	lab->marked = true;
	snprintf(lab->subject, sizeof(lab->subject), "%s", name);
	lab_trace(lab, "%s %s", what[intent - LAB_MARK], name);
}

/* Names are few, so that those which are free again come back. */
static const char *new_name(struct lab *lab)
{
	static const char *const names[] = {"base", "a",   "tested-2",
					    "B.3",  "x_4", "twenty-four-characters.."};
	uint32_t n = rng_below(&lab->rng, ORACLE_MARKS);

	while (oracle_mark_find(&lab->oracle, names[n]) < lab->oracle.marks)
		n = (n + 1) % ORACLE_MARKS;
	return names[n];
}

static int make(struct lab *lab, struct bowimg_mark *mark)
{
	int rc;

	WITH_DEVICE(lab, rc, bow_mark_make_dev(dev, lab->subject, 0, mark, &lab->err));
	return rc;
}

static bool is_refused(const struct lab *lab, int rc)
{
	return rc == -ENOSPC && !lab->disk.dead && !lab_faulted(lab);
}

int lab_mark(struct lab *lab, bool power, bool torn)
{
	struct settling s = {power, torn};
	struct bowimg_mark mark = {0};
	int rc;

	begin(lab, LAB_MARK, new_name(lab));
	rc = make(lab, &mark);
	if (is_refused(lab, rc)) {
		lab->intent = LAB_SERVE;
		return lab_check_marks(lab) ?: LAB_REFUSED;
	}
	rc = lab_judge(lab, rc, "mark");
	if (!rc && (strcmp(mark.name, lab->subject) != 0 || !mark.record))
		rc = lab_bad(lab, "a mark is said to be %s, record %llu", mark.name,
			     (unsigned long long)mark.record);
	if (!rc)
		rc = lab_marks_decide(lab, true, s.power, s.torn);
	return rc ? rc : lab_check_marks(lab);
}

int lab_unmark(struct lab *lab, uint32_t n)
{
	int rc;

	begin(lab, LAB_UNMARK, lab->oracle.mark[n]->name);
	WITH_DEVICE(lab, rc, bow_mark_delete_dev(dev, lab->subject, 0, &lab->err));
	if (is_refused(lab, rc)) {
		lab->intent = LAB_SERVE;
		return lab_check_marks(lab) ?: LAB_REFUSED;
	}
	rc = lab_judge(lab, rc, "delete a mark");
	return rc ? rc : done(lab);
}

int lab_to_again(struct lab *lab)
{
	struct bowimg_end_options opts = {.to = lab->subject};
	struct bowimg_end_report report;
	int rc;

	WITH_DEVICE(lab, rc, bow_rollback_dev(dev, &opts, &report, &lab->err));
	rc = lab_judge(lab, rc, "rollback --to");
	return rc ? rc : done(lab);
}

int lab_to(struct lab *lab, uint32_t n)
{
	begin(lab, LAB_TO, lab->oracle.mark[n]->name);
	return lab_to_again(lab);
}
