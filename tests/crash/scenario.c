/* SPDX-License-Identifier: MIT */
/* Random scenarios: one seed decides the image, the options, the requests, the kills and the end.
 */
#include "crash.h"

#include "base/bytes.h"

static void choose_free_map(struct lab_params *p, struct rng *r)
{
	uint32_t b, whole = (uint32_t)(p->size / SIM_BLOCK);
	/* Mostly free, so that backups have room; at times nearly full. */
	uint32_t used_percent = rng_chance(r, 75) ? 25 : rng_chance(r, 50) ? 55 : 100;

	memset(p->is_free, 0, sizeof(p->is_free));
	for (b = 1; b < whole; b++)
		p->is_free[b] = !rng_chance(r, used_percent);
}

static void choose_params(struct lab_params *p, struct rng *r)
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
	if (rng_chance(r, 6))
		p->durability = BOWIMG_DURABILITY_PROCESS;
	choose_free_map(p, r);
}

/* Between two checkpoints: the same image, a fresh UUID, and what may be free now. */
static void next_params(struct lab *lab)
{
	const uint8_t *bytes = lab->disk.cache;
	uint32_t b, whole = (uint32_t)(lab->p.size / SIM_BLOCK);

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

/* Dead while serving: the state must still be CHECKPOINT, and serving goes on. */
static int revive(struct timeline *t)
{
	enum bowimg_state state;
	int rc;

	do {
		crash_kill(t, power_fails(t));
		rc = crash_state(t, &state);
		if (!rc)
			maybe_die(t, 15, 12);
		if (!rc)
			rc = crash_attach(t);
	} while (rc == LAB_DEAD);
	return rc;
}

static int serve_step(struct timeline *t)
{
	struct lab *lab = &t->lab;
	struct lab_request req;
	int rc;

	maybe_die(t, 4, 20);
	if (rng_chance(&lab->rng, 6)) {
		rc = lab_detach(lab);
		if (!rc)
			rc = lab_attach(lab);
		if (!rc)
			rc = lab_read_all(lab);
	} else {
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
	uint32_t n = rng_below(&lab->rng, 100);
	bool again = n >= 90;
	int rc = LAB_OK;

	if (rng_chance(&lab->rng, 70))
		rc = lab_detach(lab);
	if (rc == LAB_DEAD || lab->engine)
		crash_kill(t, power_fails(t));
	else if (rc)
		return rc;
	lab->disk.die_at = 0;
	maybe_die(t, 30, 40);
	rc = lab_end(lab, !again && n >= 45, again);
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
	if (state != BOWIMG_STATE_CHECKPOINT)
		return crash_follow(t);
	rc = serve(t, rng_between(&t->lab.rng, 2, 24));
	return rc ? rc : finish(t);
}

int crash_random_scenario(struct timeline *t, uint64_t number)
{
	static const uint32_t per_barrier[] = {8, 8, 12, 16, 24, 128};
	struct rng r = {rng_mix(number, 0x5ce4)};
	uint32_t rounds = rng_chance(&r, 25) ? 3 : 1;
	struct lab_params p;
	int rc = LAB_OK;

	choose_params(&p, &r);
	t->run->per_barrier = per_barrier[rng_below(&r, 6)];
	t->explore = p.durability == BOWIMG_DURABILITY_POWER;
	lab_make_image(&t->lab, &p, number);
	crash_watch(t);
	while (rc == LAB_OK && rounds-- > 0) {
		next_params(&t->lab);
		rc = one_checkpoint(t);
	}
	return rc;
}
