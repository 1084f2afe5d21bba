/* SPDX-License-Identifier: MIT */
/*
 * Every short sequence of operations on a tiny image. The number of a scenario is read as digits:
 * the variant of the image, the end, and one operation after the other.
 */
#include "crash.h"

#include "lib/base/bytes.h"

#define BLOCKS 18u
#define USED_A 5u  /* a used block with content */
#define USED_B 9u  /* another */
#define USED_Z 13u /* a used block of zeros */

enum small_op {
	OP_WRITE_USED,
	OP_WRITE_USED_PART,
	OP_WRITE_ZEROS_BLOCK,
	OP_WRITE_BLOCK_0,
	OP_WRITE_FIRST_HELD, /* free blocks that bowimg has put something into */
	OP_WRITE_SECOND_HELD,
	OP_WRITE_LAST_HELD,
	OP_WRITE_FREE_PART,
	OP_WRITE_SPAN,
	OP_WRITE_ALL_FREE,
	OP_DELETE_ALL, /* all free blocks, written and zeroed: they can be given back */
	OP_ZERO_USED,
	OP_ZERO_PART,
	OP_DISCARD_ALL,
	OP_FUA,
	OP_FLUSH,
	OP_REATTACH,
	OP_KILL,
	OP_ROLLBACK_PREPARE,
	OP_COMMIT_PREPARE,
	OP_COUNT
};

enum { VARIANTS = 4, ENDS = 3 };

static const enum lab_end ends[ENDS] = {LAB_END_ROLLBACK, LAB_END_COMMIT, LAB_END_WIPE};

uint64_t crash_small_count(uint32_t length)
{
	uint64_t sequences = 0;

	while (length-- > 0)
		sequences = (sequences + 1) * OP_COUNT;
	return sequences * VARIANTS * ENDS;
}

static void small_params(struct lab_params *p, uint32_t variant)
{
	uint32_t b;

	memset(p, 0, sizeof(*p));
	p->size = BLOCKS * SIM_BLOCK;
	p->sector_size = SIM_SECTOR;
	p->exact = variant & 1;
	/* A file: its mtime is watched, as every first write of a process concerns it. */
	p->can_grow = p->has_mtime = variant & 2;
	p->on_full = p->can_grow ? BOWIMG_ON_FULL_TAIL : BOWIMG_ON_FULL_STOP;
	for (b = 1; b < BLOCKS; b++)
		p->is_free[b] = b != USED_A && b != USED_B && b != USED_Z;
	rng_fill(p->uuid, sizeof(p->uuid), 0x5a11 + variant);
}

/* The n-th free block that differs from what was there at prepare; n < 0: the last. */
static uint32_t held_block(struct lab *lab, int n)
{
	uint32_t b, last = 1;

	for (b = 1; b < BLOCKS; b++) {
		uint64_t off = (uint64_t)b * SIM_BLOCK;

		if (!lab->p.is_free[b] ||
		    !memcmp(lab->disk.cache + off, lab->oracle.original + off, SIM_BLOCK))
			continue;
		last = b;
		if (n-- == 0)
			break;
	}
	return last;
}

static int request(struct lab *lab, enum lab_kind kind, uint64_t off, uint64_t bytes)
{
	struct lab_request req = {.kind = kind, .off = off, .bytes = bytes};
	int rc = lab_request(lab, &req);

	return rc == LAB_REFUSED ? LAB_OK : rc;
}

static int write_block(struct lab *lab, uint32_t b)
{
	return request(lab, LAB_WRITE, (uint64_t)b * SIM_BLOCK, SIM_BLOCK);
}

static int write_all_free(struct lab *lab)
{
	int rc = LAB_OK;
	uint32_t b;

	for (b = 1; b < BLOCKS && !rc; b++)
		if (lab->p.is_free[b])
			rc = write_block(lab, b);
	return rc;
}

static int delete_all(struct lab *lab)
{
	int rc = write_all_free(lab);
	uint32_t b;

	for (b = 1; b < BLOCKS && !rc; b++)
		if (lab->p.is_free[b])
			rc = request(lab, LAB_ZERO, (uint64_t)b * SIM_BLOCK, SIM_BLOCK);
	return rc;
}

static int guest_op(struct lab *lab, enum small_op op)
{
	const uint64_t a = USED_A * SIM_BLOCK;

	switch (op) {
	case OP_WRITE_USED:
		return write_block(lab, USED_A);
	case OP_WRITE_USED_PART:
		return request(lab, LAB_WRITE, a + SIM_SECTOR, SIM_SECTOR);
	case OP_WRITE_ZEROS_BLOCK:
		return write_block(lab, USED_Z);
	case OP_WRITE_BLOCK_0:
		return request(lab, LAB_WRITE, SIM_SECTOR * 2, SIM_SECTOR);
	case OP_WRITE_FIRST_HELD:
		return write_block(lab, held_block(lab, 0));
	case OP_WRITE_SECOND_HELD:
		return write_block(lab, held_block(lab, 1));
	case OP_WRITE_LAST_HELD:
		return write_block(lab, held_block(lab, -1));
	case OP_WRITE_FREE_PART:
		return request(lab, LAB_WRITE, (BLOCKS - 1) * SIM_BLOCK, SIM_SECTOR);
	case OP_WRITE_SPAN:
		return request(lab, LAB_WRITE, a - SIM_SECTOR, SIM_BLOCK * 2);
	case OP_WRITE_ALL_FREE:
		return write_all_free(lab);
	case OP_DELETE_ALL:
		return delete_all(lab);
	case OP_ZERO_USED:
		return request(lab, LAB_ZERO, a, SIM_BLOCK);
	case OP_ZERO_PART:
		return request(lab, LAB_ZERO, a - SIM_SECTOR, SIM_SECTOR * 2);
	case OP_DISCARD_ALL:
		return request(lab, LAB_DISCARD, SIM_BLOCK, (BLOCKS - 1) * SIM_BLOCK);
	case OP_FUA:
		return request(lab, LAB_FUA, USED_B * SIM_BLOCK, SIM_SECTOR);
	default:
		return request(lab, LAB_FLUSH, 0, 0);
	}
}

static int begin(struct timeline *t)
{
	struct lab *lab = &t->lab;
	uint32_t b;
	int rc;

	for (b = 1; b < BLOCKS; b++)
		if (lab->p.exact && lab->p.is_free[b])
			lab->p.is_free[b] =
				bow_is_zero(lab->disk.cache + (size_t)b * SIM_BLOCK, SIM_BLOCK);
	rng_fill(lab->p.uuid, sizeof(lab->p.uuid), rng_next(&lab->rng));
	rc = lab_prepare(lab);
	return rc ? rc : lab_attach(lab);
}

/* By detach, since a kill is an operation of its own. */
static int end(struct timeline *t, enum lab_end how)
{
	bool commit = how >= LAB_END_COMMIT;
	int rc = lab_detach(&t->lab);

	if (!rc)
		rc = lab_end(&t->lab, how);
	if (!rc)
		rc = lab_check_ended(&t->lab, commit, false);
	if (!rc)
		t->run->counts.ended[commit]++;
	return rc;
}

static int do_op(struct timeline *t, enum small_op op)
{
	int rc;

	switch (op) {
	case OP_REATTACH:
		rc = lab_detach(&t->lab);
		return rc ? rc : lab_attach(&t->lab);
	case OP_KILL:
		crash_kill(t, false);
		return crash_attach(t);
	case OP_ROLLBACK_PREPARE:
	case OP_COMMIT_PREPARE:
		rc = end(t, op == OP_COMMIT_PREPARE ? LAB_END_COMMIT : LAB_END_ROLLBACK);
		return rc ? rc : begin(t);
	default:
		return guest_op(&t->lab, op);
	}
}

static int prepared(struct timeline *t, uint32_t variant)
{
	struct lab_params p;

	small_params(&p, variant);
	t->explore = true;
	lab_make_image(&t->lab, &p, variant);
	crash_watch(t);
	return begin(t);
}

int crash_small_scenario(struct timeline *t, uint64_t number)
{
	uint32_t variant = (uint32_t)(number % VARIANTS);
	enum lab_end how = ends[number / VARIANTS % ENDS];
	uint64_t ops = number / VARIANTS / ENDS + 1; /* bijective digits: no leading zeros lost */
	int rc;

	t->run->per_barrier = number < crash_small_count(2) ? 12 : 5;
	for (rc = prepared(t, variant); rc == LAB_OK && ops > 0; ops = (ops - 1) / OP_COUNT) {
		if (!crash_next_request(t))
			continue;
		rc = do_op(t, (enum small_op)((ops - 1) % OP_COUNT));
		if (rc == LAB_OK)
			rc = lab_read_all(&t->lab);
	}
	return rc ? rc : end(t, how);
}

/* ---- with marks ------------------------------------------------------------------ */

/*
 * What is done with marks, letter by letter: m make one, d delete the oldest, o and n go back to
 * the oldest and to the newest, k kill the process that serves; a, b, c are operations of the
 * guest.
 */
static const char *const tales[] = {
	"amn",	  "amnb",     "ambn",	 "ambnc",   "ambnbn",	"ambnckn", "ambkn",	"ambmco",
	"ambmcn", "ambmcnbo", "ambmcdn", "amdbmcn", "ambnmcno", "mambo",   "ambmncmbo", "ambmcocn",
};
#define TALES (sizeof(tales) / sizeof(tales[0]))

/* With nobody serving. */
static int mark_op(struct timeline *t, char op)
{
	uint32_t marks = t->lab.oracle.marks;
	int rc;

	rc = op == 'm'	 ? crash_mark(t)
	     : !marks	 ? LAB_OK
	     : op == 'd' ? crash_unmark(t, 0)
			 : crash_to(t, op == 'o' ? 0 : marks - 1);
	return rc == LAB_REFUSED ? LAB_OK : rc;
}

/* `killed`: the process that served was not asked. */
static int between(struct timeline *t, char op, bool killed)
{
	int rc = LAB_OK;

	if (killed)
		crash_kill(t, false);
	else
		rc = lab_detach(&t->lab);
	if (!rc)
		rc = mark_op(t, op);
	if (rc)
		return rc;
	return killed ? crash_attach(t) : lab_attach(&t->lab);
}

int crash_small_marks_scenario(struct timeline *t, uint64_t number)
{
	uint64_t digits = rng_mix(number, 0x3a4c5);
	const char *tale = tales[digits % TALES];
	enum small_op guest[3];
	bool killed = false;
	uint32_t i;
	int rc;

	for (i = 0; i < 3; i++)
		guest[i] = (enum small_op)((digits >> (16 + 8 * i) & 0xff) % OP_ROLLBACK_PREPARE);
	t->run->per_barrier = 8;
	t->marks = true;
	for (rc = prepared(t, digits >> 8 & 3); rc == LAB_OK && *tale; tale++) {
		if (!crash_next_request(t))
			continue;
		if (*tale >= 'a' && *tale <= 'c')
			rc = do_op(t, guest[*tale - 'a']);
		else if (*tale != 'k')
			rc = between(t, *tale, killed);
		killed = *tale == 'k';
		if (rc == LAB_OK && !killed)
			rc = lab_read_all(&t->lab);
	}
	return rc ? rc : end(t, ends[(digits >> 12) % ENDS]);
}
