/* SPDX-License-Identifier: MIT */
/* Marks made, deleted and gone back to between two processes that serve; and rescue on the way. */
#include "crash.h"

#include <errno.h>
#include "lib/verbs/rescue/rescue.h"

#define MOST_MARKS 4u

int crash_mark(struct timeline *t)
{
	int rc = lab_mark(&t->lab, t->power, t->torn);

	t->run->counts.made += rc == LAB_OK;
	return rc;
}

int crash_unmark(struct timeline *t, uint32_t n)
{
	int rc = lab_unmark(&t->lab, n);

	t->run->counts.deleted += rc == LAB_OK;
	return rc;
}

int crash_to(struct timeline *t, uint32_t n)
{
	int rc = lab_to(&t->lab, n);

	t->run->counts.went_back += rc == LAB_OK;
	return rc;
}

int crash_to_again(struct timeline *t)
{
	int rc = lab_to_again(&t->lab);

	t->run->counts.went_back += rc == LAB_OK;
	return rc;
}

/* Mostly to the newest: test, go back, test, go back. */
static uint32_t choose_mark(struct lab *lab)
{
	uint32_t marks = lab->oracle.marks;

	return rng_chance(&lab->rng, 60) ? marks - 1 : rng_below(&lab->rng, marks);
}

int crash_mark_step(struct timeline *t)
{
	struct lab *lab = &t->lab;
	uint32_t n = rng_below(&lab->rng, 100), marks = lab->oracle.marks;

	if (!marks || (n < 30 && marks < MOST_MARKS))
		return crash_mark(t);
	if (n < 45)
		return crash_unmark(t, rng_below(&lab->rng, marks));
	return crash_to(t, choose_mark(lab));
}

/* ---- sector 0 is lost, too ------------------------------------------------------- */

/* A refusal in words is as good as success; anything else is not. */
static int refused(struct timeline *t, int rc, const char *what)
{
	if (rc != -EBADMSG && rc != -EUCLEAN)
		return lab_judge(&t->lab, rc, what) ?: LAB_REFUSED;
	return LAB_REFUSED;
}

static int rescue(struct timeline *t)
{
	struct bowimg_rescue_options opts = {.write = true, .force = BOWIMG_FORCE_CHANGED};
	struct bowimg_rescue_report report;
	struct bowimg_disk *dev = sim_open(&t->lab.disk);
	int rc;

	memset(&t->lab.err, 0, sizeof(t->lab.err));
	rc = bow_rescue_dev(dev, &opts, &report, &t->lab.err);
	bow_disk_close(dev, NULL);
	if (rc)
		return refused(t, rc, "rescue");
	return report.only_rollback ? LAB_REFUSED : LAB_OK;
}

/* The end that had been begun is the one that must follow. */
static int go_back(struct timeline *t)
{
	struct bowimg_end_options opts = {.to = t->lab.subject};
	struct bowimg_end_report report;
	struct bowimg_disk *dev = sim_open(&t->lab.disk);
	int rc;

	memset(&t->lab.err, 0, sizeof(t->lab.err));
	rc = bow_rollback_dev(dev, &opts, &report, &t->lab.err);
	bow_disk_close(dev, NULL);
	return rc ? refused(t, rc, "rollback --to after a rescue") : LAB_OK;
}

/* Which of the branches it is: before the rollback, or after it. */
static int follow_rescued(struct timeline *t)
{
	bool happened;
	int rc = lab_marks_happened(&t->lab, &happened);

	if (!rc && !happened)
		rc = go_back(t);
	if (!rc)
		rc = lab_marks_decide(&t->lab, true, true, t->torn);
	return rc ? rc : lab_check_marks(&t->lab);
}

int crash_rescue(struct timeline *t)
{
	static const uint8_t zeros[SIM_SECTOR];
	struct sim_cut all = {'p', 0, false};
	struct timeline *copy = t->run->timeline[t->depth + 1];
	int rc;

	copy->depth = t->depth + 1;
	copy->torn = t->torn;
	lab_fork(&copy->lab, &t->lab, &all, t->path);
	lab_trace(&copy->lab, "RESCUE");
	sim_load(&copy->lab.disk, 0, zeros, sizeof(zeros));
	rc = rescue(copy);
	if (!rc)
		rc = follow_rescued(copy);
	t->run->counts.rescued += rc == LAB_OK;
	t->run->counts.not_rescued += rc == LAB_REFUSED;
	if (rc == LAB_BAD)
		lab_bad(&t->lab, "after a rescue: %s", copy->lab.why);
	lab_kill(&copy->lab);
	return rc;
}
