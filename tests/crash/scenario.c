/* SPDX-License-Identifier: MIT */
/*
 * Random scenarios: one seed decides the image, the options, the requests, the kills and the end.
 *
 * Big ones have an image of 64 MiB, most of it zeros: there the log's segments have many blocks,
 * and requests are followed by what is prepared ahead. A state costs a thousand times more there.
 */
#include "crash.h"

#include "lib/base/bytes.h"

static void choose_free_map(struct lab_params *p, struct rng *r)
{
	uint32_t b, whole = (uint32_t)(p->size / SIM_BLOCK);
	/* Mostly free, so that backups have room; at times nearly full. */
	uint32_t used_percent = rng_chance(r, 75) ? 25 : rng_chance(r, 50) ? 55 : 100;

	memset(p->is_free, 0, sizeof(p->is_free));
	for (b = 1; b < whole; b++)
		p->is_free[b] = !rng_chance(r, used_percent);
}

/* Free blocks for the log and a few backups: then the file has to grow while it is served. */
static void tight_params(struct lab_params *p, struct rng *r)
{
	uint32_t b, left = rng_between(r, 18, 22), blocks = rng_between(r, 40, 60);

	p->size = (uint64_t)blocks * SIM_BLOCK;
	memset(p->is_free, 0, sizeof(p->is_free));
	while (left > 0) {
		b = rng_between(r, 1, blocks - 1);
		left -= !p->is_free[b];
		p->is_free[b] = true;
	}
}

void crash_params(struct lab_params *p, struct rng *r)
{
	static const uint32_t odd[] = {0, 0, 0, 512, 1000, 3584};
	static const uint32_t tail_limits[] = {0, 0, 3, 17, 40};
	uint32_t blocks = rng_chance(r, 80) ? rng_between(r, 16, 28) : rng_between(r, 29, 64);

	memset(p, 0, sizeof(*p));
	p->sector_size = rng_chance(r, 75) ? 512 : 4096;
	p->can_grow = rng_chance(r, 65);
	p->size = (uint64_t)blocks * SIM_BLOCK;
	if (p->can_grow)
		p->size += odd[rng_below(r, 6)];
	else if (p->sector_size == 512)
		p->size += odd[rng_below(r, 4)];
	p->exact = rng_chance(r, 40);
	if (p->can_grow && rng_chance(r, 20))
		p->store = BOWIMG_STORE_TAIL;
	p->on_full = p->can_grow && rng_chance(r, 70) ? BOWIMG_ON_FULL_TAIL : BOWIMG_ON_FULL_STOP;
	if (p->can_grow && rng_chance(r, 30))
		p->host_limit = p->size + tail_limits[rng_below(r, 5)] * SIM_BLOCK;
	p->has_mtime = p->can_grow && rng_chance(r, 25);
	if (rng_chance(r, 10))
		p->durability = BOWIMG_DURABILITY_PROCESS;
	choose_free_map(p, r);
	if (p->on_full == BOWIMG_ON_FULL_TAIL && p->store == BOWIMG_STORE_FREE && !p->host_limit &&
	    rng_chance(r, 40))
		tight_params(p, r);
}

#define BIG_BLOCKS 16384u

void crash_big_params(struct lab_params *p, struct rng *r)
{
	uint32_t b, run, blocks = BIG_BLOCKS + rng_below(r, LAB_MAX_BLOCKS - BIG_BLOCKS);
	bool is_free = false;

	crash_params(p, r);
	p->size = (uint64_t)blocks * SIM_BLOCK;
	p->host_limit = 0;
	p->sparse = true;
	p->durability = BOWIMG_DURABILITY_POWER;
	/* Long runs of both kinds, as on a real disk. */
	for (b = 1; b < blocks; is_free = !is_free)
		for (run = rng_between(r, 1, is_free ? 600 : 200); run > 0 && b < blocks; run--)
			p->is_free[b++] = is_free;
}

void crash_next_params(struct lab *lab)
{
	const uint8_t *bytes = lab->disk.cache;
	uint32_t b, whole = (uint32_t)(lab->p.size / SIM_BLOCK);

	/*
	 * What an end on a device left to be zeroed last counts as used from now on: then that end
	 * must not come back. So enough time has passed for it to be written.
	 */
	if (!lab->p.can_grow)
		sim_write_back(&lab->disk);
	rng_fill(lab->p.uuid, sizeof(lab->p.uuid), rng_next(&lab->rng));
	for (b = 1; b < whole; b++)
		if (lab->p.exact)
			lab->p.is_free[b] = bow_is_zero(bytes + (size_t)b * SIM_BLOCK, SIM_BLOCK);
}

/* The process is killed somewhere in what comes next. */
static void maybe_die(struct timeline *t, uint32_t percent, uint32_t within)
{
	if (rng_chance(&t->lab.rng, percent))
		t->lab.disk.die_at = t->lab.disk.ops + rng_between(&t->lab.rng, 1, within);
}

static bool power_fails(struct timeline *t)
{
	return t->lab.p.durability == BOWIMG_DURABILITY_POWER && rng_chance(&t->lab.rng, 50);
}

/* Dead while serving: the state must still be CHECKPOINT, or what a rollback to a mark has left. */
static int revive(struct timeline *t)
{
	enum bowimg_state state;
	int rc;

	do {
		crash_kill(t, power_fails(t));
		rc = crash_state(t, &state);
		if (!rc)
			maybe_die(t, 15, 12);
		if (!rc && state == BOWIMG_STATE_ROLLING_BACK)
			rc = crash_to_again(t);
		if (!rc)
			rc = crash_attach(t);
	} while (rc == LAB_DEAD);
	return rc;
}

/* The next process may do without barriers, or no longer. What was without is durable then. */
static int next_process(struct timeline *t)
{
	struct lab *lab = &t->lab;
	int rc;

	if (lab->p.durability == BOWIMG_DURABILITY_PROCESS && rng_chance(&lab->rng, 40))
		lab->p.durability = BOWIMG_DURABILITY_POWER;
	rc = lab_attach(lab);
	if (!rc && !t->explore && lab->p.durability == BOWIMG_DURABILITY_POWER) {
		order_resume(&lab->order);
		t->explore = true;
	}
	return rc;
}

static int reattach(struct timeline *t)
{
	struct lab *lab = &t->lab;
	int rc = lab_detach(lab);

	if (!rc && rng_chance(&lab->rng, 30))
		rc = lab_look(lab, BOWIMG_STATE_CHECKPOINT);
	if (!rc)
		rc = next_process(t);
	return rc ? rc : lab_read_all(lab);
}

/* Left cleanly or not; then something with marks, and the next process. */
static int with_marks(struct timeline *t)
{
	struct lab *lab = &t->lab;
	bool killed = rng_chance(&lab->rng, 20);
	enum bowimg_state state;
	int rc = LAB_OK;

	if (killed)
		crash_kill(t, power_fails(t));
	else
		rc = lab_detach(lab);
	if (!rc && killed)
		rc = crash_state(t, &state);
	maybe_die(t, 12, 40);
	if (!rc)
		rc = crash_mark_step(t);
	lab->disk.die_at = lab->disk.dead ? lab->disk.die_at : 0;
	if (rc && rc != LAB_REFUSED)
		return rc;
	rc = killed ? crash_attach(t) : next_process(t);
	return rc ? rc : lab_read_all(lab);
}

static int serve_step(struct timeline *t)
{
	struct lab *lab = &t->lab;
	struct lab_request req;
	int rc;

	if (!crash_next_request(t))
		return LAB_OK;
	maybe_die(t, 4, 20);
	if (rng_chance(&lab->rng, 6)) {
		rc = reattach(t);
	} else if (t->marks && rng_chance(&lab->rng, 25)) {
		rc = with_marks(t);
	} else {
		if (lab->p.sparse)
			lab_choose_near(lab, &req);
		else
			lab_choose(lab, rng_chance(&lab->rng, 85) ? 4 : 16, &req);
		rc = lab_request(lab, &req);
	}
	if (rc == LAB_REFUSED)
		return LAB_OK;
	return rc == LAB_DEAD ? revive(t) : rc;
}

static int serve(struct timeline *t, uint32_t steps)
{
	int rc = lab_attach(&t->lab);

	if (rc == LAB_DEAD)
		rc = revive(t);
	while (rc == LAB_OK && steps-- > 0)
		rc = serve_step(t);
	return rc;
}

/* Left cleanly or killed; then rolled back, committed, or rolled back to a fresh checkpoint. */
static int finish(struct timeline *t)
{
	struct lab *lab = &t->lab;
	uint32_t n;
	int rc = LAB_OK;

	lab->rng.state = rng_mix(t->path, 0xe4d + t->run->requests);
	n = rng_below(&lab->rng, 100);
	if (rng_chance(&lab->rng, 70))
		rc = lab_detach(lab);
	if (rc == LAB_DEAD || lab->engine)
		crash_kill(t, power_fails(t));
	else if (rc)
		return rc;
	lab->disk.die_at = 0;
	maybe_die(t, 30, 40);
	lab->disk.die_at_sector_0 = rng_chance(&lab->rng, 10);
	t->run->counts.process += lab->p.durability == BOWIMG_DURABILITY_PROCESS;
	t->run->counts.wiped += n >= 70 && n < 90;
	rc = lab_end(lab, n >= 90   ? LAB_END_AGAIN
			  : n >= 70 ? LAB_END_WIPE
			  : n >= 45 ? LAB_END_COMMIT
				    : LAB_END_ROLLBACK);
	if (rc == LAB_DEAD)
		crash_kill(t, power_fails(t));
	return rc == LAB_BAD ? rc : crash_follow(t);
}

static int one_checkpoint(struct timeline *t)
{
	enum bowimg_state state = BOWIMG_STATE_CHECKPOINT;
	int rc;

	maybe_die(t, 10, 30);
	rc = lab_prepare(&t->lab);
	if (rc == LAB_DEAD) {
		crash_kill(t, power_fails(t));
		rc = crash_state(t, &state);
	}
	t->lab.disk.die_at = 0;
	if (rc)
		return rc;
	if (state != BOWIMG_STATE_CHECKPOINT) {
		rc = crash_follow(t);
		/*
		 * The next map counts what this prepare wrote as used. The cache may show more of
		 * it than the storage has, and nothing was promised of it.
		 */
		sim_write_back(&t->lab.disk);
		return rc;
	}
	rc = serve(t, rng_between(&t->lab.rng, 2, 24));
	return rc ? rc : finish(t);
}

int crash_random_scenario(struct timeline *t, uint64_t number, bool big)
{
	static const uint32_t per_barrier[] = {8, 8, 12, 16, 24, CRASH_PER_BARRIER};
	struct rng r = {rng_mix(number, 0x5ce4)};
	uint32_t rounds = rng_chance(&r, 25) ? 3 : 1;
	struct lab_params p;
	int rc = LAB_OK;

	if (big)
		crash_big_params(&p, &r);
	else
		crash_params(&p, &r);
	t->run->per_barrier = big ? 2 : per_barrier[rng_below(&r, 6)];
	t->run->one_in = big ? 5 : 1;
	t->marks = rng_mix(number, 0x3a4c) % 3 == 0;
	t->explore = p.durability == BOWIMG_DURABILITY_POWER;
	lab_make_image(&t->lab, &p, number);
	crash_watch(t);
	while (rc == LAB_OK && rounds-- > 0) {
		crash_next_params(&t->lab);
		rc = one_checkpoint(t);
	}
	return rc;
}
