/* SPDX-License-Identifier: MIT */
/*
 * Disks with a checkpoint of dm-bow, from random histories (lib/dmbow_gen.c): rolled back, or
 * committed, and compared. The power is cut at every barrier of that, with many subsets of what was
 * written since the one before; then it is run again, and cut again; now and then the original
 * tool's way of restoring finishes it. Some disks were left by that tool in the middle of its work,
 * some by a power cut in the newest log write. And single bits are flipped in logs and backups.
 *
 *	DMBOW_SEEDS=N	histories (700)
 *	DMBOW_SEED=S	only this one
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "dmbow_gen.h"
#include "lab/lab.h"
#include "lib/verbs/operations.h"
#include "rng.h"
#include "sim_dev.h"

struct counts {
	uint64_t histories, chains, moves, live_moves, full, torn, halfway, cuts, again, by_tool;
	uint64_t flips, harmless, reported, partial;
};

struct run {
	struct dmbow gen, scratch;
	struct sim_disk disk, fork;
	struct rng rng;
	struct counts n;
	uint64_t seed;
	uint32_t barriers, limit;
	bool commit;
	uint8_t *expected; /* of a commit: the whole disk */
	uint8_t *found;	   /* the disk before a rollback */
	char why[512];
};

static bool wrong(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct run *r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (!r->why[0])
		vsnprintf(r->why, sizeof(r->why), fmt, args);
	va_end(args);
	return false;
}

/* ---- calls ----------------------------------------------------------------------- */

static int end(struct run *r, struct sim_disk *disk, bool commit, unsigned force,
	       struct bowimg_end_report *report, struct bowimg_error *err)
{
	struct bowimg_end_options opts = {.force = force};
	int rc;

	memset(err, 0, sizeof(*err));
	(void)r;
	rc = commit ? bow_commit_dev(sim_open(disk), &opts, report, err)
		    : bow_rollback_dev(sim_open(disk), &opts, report, err);
	sim_kill(disk);
	return rc;
}

static bool look(struct run *r, struct sim_disk *disk, enum bowimg_state *state)
{
	struct bowimg_status st = {0};
	struct bowimg_error err = {0};
	uint64_t changes = disk->changes;
	int rc = bow_status_dev(sim_open(disk), 0, &st, &err);

	sim_kill(disk);
	if (rc)
		return wrong(r, "status: %s", err.message);
	if (disk->changes != changes)
		return wrong(r, "status has written");
	if (st.state != BOWIMG_STATE_NONE && strcmp(st.format, "dm-bow") != 0)
		return wrong(r, "the format is '%s'", st.format);
	*state = st.state;
	return true;
}

static bool compare(struct run *r, const struct sim_disk *disk)
{
	size_t bytes = (size_t)r->gen.blocks * r->gen.block_size;
	int blk;

	if (r->commit)
		return !memcmp(disk->cache, r->expected, bytes) ||
		       wrong(r, "a commit did not leave what the file system had");
	blk = dmbow_compare(&r->gen, disk->cache);
	return blk < 0 || wrong(r, "block %d did not come back", blk);
}

/* ---- after a cut ----------------------------------------------------------------- */

/* The original tool goes on where ours was cut. */
static bool finish_by_tool(struct run *r)
{
	struct dmbow *s = &r->scratch;

	s->block_size = r->gen.block_size;
	s->blocks = r->gen.blocks;
	memcpy(s->disk, r->fork.cache, (size_t)s->blocks * s->block_size);
	r->n.by_tool++;
	dmbow_restore(s, UINT32_MAX, rng_chance(&r->rng, 50));
	return dmbow_compare(&r->gen, s->disk) < 0 ||
	       wrong(r, "the original tool could not finish it");
}

static bool go_on(struct run *r, enum bowimg_state state)
{
	struct bowimg_end_report report;
	struct bowimg_error err;
	struct sim_cut cut = {'r', rng_next(&r->rng) & 0xffffff, false};
	int rc;

	if (state == BOWIMG_STATE_ROLLING_BACK && rng_chance(&r->rng, 20) &&
	    end(r, &r->fork, true, 0, &report, &err) != -EINPROGRESS)
		return wrong(r, "a commit was not refused in the middle of a rollback");
	if (state == BOWIMG_STATE_COMMITTING && rng_chance(&r->rng, 20) &&
	    end(r, &r->fork, false, 0, &report, &err) != -EINPROGRESS)
		return wrong(r, "a rollback was not refused in the middle of a commit");
	if (rng_chance(&r->rng, 30)) {
		r->fork.die_at = r->fork.ops + rng_between(&r->rng, 1, 8);
		r->n.again++;
	}
	rc = end(r, &r->fork, r->commit, 0, &report, &err);
	if (rc == -EIO)
		sim_power_cut(&r->fork, &r->fork, &cut);
	else if (rc)
		return wrong(r, "run again: %s", err.message);
	return true;
}

static bool untouched(const struct run *r)
{
	return !memcmp(r->fork.cache, r->gen.disk, (size_t)r->gen.blocks * r->gen.block_size);
}

static bool follow(struct run *r)
{
	enum bowimg_state state;

	for (;;) {
		if (!look(r, &r->fork, &state))
			return false;
		if (state == BOWIMG_STATE_NONE)
			return compare(r, &r->fork);
		if (state == BOWIMG_STATE_CHECKPOINT && !untouched(r))
			return wrong(r, "it does not show that its end has begun");
		if (state == BOWIMG_STATE_ROLLING_BACK && rng_chance(&r->rng, 15))
			return finish_by_tool(r);
		if (!go_on(r, state))
			return false;
	}
}

static void at_barrier(void *ctx)
{
	struct run *r = ctx;
	struct sim_cut cut;
	uint64_t seed = rng_mix(r->seed, r->barriers++);

	for (uint32_t n = 0; !r->why[0] && sim_cut_choose(&r->disk, n, r->limit, seed, true, &cut);
	     n++) {
		sim_power_cut(&r->fork, &r->disk, &cut);
		r->n.cuts++;
		follow(r);
	}
}

/* ---- one disk -------------------------------------------------------------------- */

static void load(struct run *r, struct sim_disk *disk)
{
	uint64_t bytes = (uint64_t)r->gen.blocks * r->gen.block_size;
	uint32_t sector = r->gen.block_size == 4096 && r->seed % 3 == 0 ? 4096 : 512;

	sim_format(disk, bytes, sector, false);
	sim_load(disk, 0, r->gen.disk, bytes);
}

static bool end_and_cut(struct run *r, bool commit)
{
	static const struct sim_cut nothing_kept = {'p', 0, false};
	struct bowimg_end_report report = {0};
	struct bowimg_error err;
	int rc;

	r->commit = commit;
	r->barriers = 0;
	load(r, &r->disk);
	r->disk.hooks.barrier = at_barrier;
	r->disk.hooks.ctx = r;
	rc = end(r, &r->disk, commit, 0, &report, &err);
	if (rc)
		return wrong(r, "%s: %s", commit ? "commit" : "rollback", err.message);
	/* What counts is what is durable now. */
	sim_power_cut(&r->disk, &r->disk, &nothing_kept);
	return !r->why[0] && compare(r, &r->disk);
}

/* What the history becomes before it is ours to end. */
static void leave(struct run *r, bool *can_commit)
{
	struct dmbow *g = &r->gen;
	uint32_t stop = rng_below(&r->rng, g->entries);

	*can_commit = false;
	switch (rng_below(&r->rng, 8)) {
	case 0:
	case 1:
		r->n.torn += dmbow_tear(g);
		break;
	case 2:
	case 3:
		r->n.halfway += !dmbow_restore(g, stop, rng_chance(&r->rng, 50));
		break;
	default:
		*can_commit = true;
	}
}

static void make(struct run *r, uint64_t seed)
{
	struct dmbow *g = &r->gen;

	r->seed = seed;
	r->why[0] = '\0';
	r->rng = (struct rng){rng_mix(seed, 0x7e57)};
	dmbow_make(g, seed);
	memcpy(r->expected, g->disk, (size_t)g->blocks * g->block_size);
	memcpy(r->expected, g->live, g->block_size);
	r->n.histories++;
	r->n.chains += g->log_blocks > 1;
	r->n.moves += g->moves;
	r->n.live_moves += g->live_moves;
	r->n.full += g->refused > 0;
}

static bool report(const struct run *r)
{
	if (!r->why[0])
		return true;
	printf("# DMBOW_SEED=%" PRIu64 ": %s\n", r->seed, r->why);
	return false;
}

static bool history(struct run *r, uint64_t seed)
{
	bool can_commit;

	make(r, seed);
	leave(r, &can_commit);
	end_and_cut(r, false);
	if (!r->why[0] && can_commit)
		end_and_cut(r, true);
	return report(r);
}

/* ---- damage ---------------------------------------------------------------------- */

static void flip(struct run *r)
{
	struct dmbow *g = &r->gen;
	uint32_t blk = 0;
	size_t bit;

	/* The newest log block, or what dm-bow parked. */
	if (rng_chance(&r->rng, 60))
		do
			blk = rng_below(&r->rng, g->blocks);
		while (g->type[blk] != DMBOW_BACKUP);
	bit = rng_below(&r->rng, g->block_size * 8);
	if (blk == 0 && rng_chance(&r->rng, 50))
		bit = rng_below(&r->rng, 8 * (28 + 24 * 3));
	g->disk[(size_t)blk * g->block_size + bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* Each block is what it was at the checkpoint, or what it was left as. */
static bool check_partial(struct run *r, const struct bowimg_end_report *report)
{
	uint32_t left = 0, size = r->gen.block_size;

	for (uint32_t b = 0; b < r->gen.blocks; b++) {
		size_t off = (size_t)b * size;
		const uint8_t *now = r->disk.cache + off;

		if (!r->gen.used[b] || !memcmp(now, r->gen.original + off, size))
			continue;
		left++;
		if (memcmp(now, b ? r->found + off : r->gen.live, size))
			return wrong(r, "block %u is a third thing", b);
	}
	if (left && !report->lost_entries)
		return wrong(r, "%u blocks were lost, and nothing was said", left);
	return true;
}

static bool try_partial(struct run *r)
{
	struct bowimg_end_report report = {0};
	struct bowimg_error err;
	uint64_t changes = r->disk.changes;
	int rc = end(r, &r->disk, false, BOWIMG_FORCE_PARTIAL, &report, &err);

	/* Without a header there is nothing to begin with. */
	if (rc == -EUCLEAN && r->disk.changes == changes && strstr(err.message, "header"))
		return true;
	if (rc)
		return wrong(r, "--force=partial: %s", err.message);
	r->n.partial++;
	return check_partial(r, &report);
}

static bool damaged(struct run *r, uint64_t seed)
{
	struct bowimg_end_report report_ = {0};
	struct bowimg_error err;
	uint64_t changes;
	int rc;

	make(r, seed);
	flip(r);
	load(r, &r->disk);
	memcpy(r->found, r->gen.disk, (size_t)r->gen.blocks * r->gen.block_size);
	changes = r->disk.changes;
	r->commit = false;
	r->n.flips++;
	rc = end(r, &r->disk, false, 0, &report_, &err);
	if (rc == 0) {
		r->n.harmless++;
		compare(r, &r->disk);
	} else if (r->disk.changes != changes) {
		wrong(r, "refused, but something was written: %s", err.message);
	} else if (rc == -EUCLEAN || rc == -EBADMSG) {
		r->n.reported++;
		try_partial(r);
	} else if (rc != -EOPNOTSUPP && rc != -ENODATA) {
		wrong(r, "%s (%d)", err.message, rc);
	}
	return report(r);
}

/* ---- all of them ----------------------------------------------------------------- */

static uint64_t env_number(const char *name, uint64_t usual)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : usual;
}

static bool run_all(struct run *r, bool (*one)(struct run *, uint64_t), uint64_t n)
{
	uint64_t only = env_number("DMBOW_SEED", UINT64_MAX), bad = 0;

	if (only != UINT64_MAX)
		return one(r, only);
	for (uint64_t seed = 0; seed < n && bad < 5; seed++)
		bad += !one(r, seed);
	return !bad;
}

static void print_counts(FILE *f, const struct counts *n)
{
	fprintf(f,
		"# dm-bow: %" PRIu64 " histories (%" PRIu64 " with chains, %" PRIu64
		" moved backups, %" PRIu64 " moves of block 0's live content, %" PRIu64
		" out of space, %" PRIu64 " with a torn log, %" PRIu64
		" left by the original tool), %" PRIu64 " power cuts, %" PRIu64
		" second ones, %" PRIu64 " finished by the original tool\n",
		n->histories, n->chains, n->moves, n->live_moves, n->full, n->torn, n->halfway,
		n->cuts, n->again, n->by_tool);
	fprintf(f,
		"# dm-bow: %" PRIu64 " bits flipped, %" PRIu64 " harmless, %" PRIu64
		" reported before anything was written, %" PRIu64 " brought back in part\n",
		n->flips, n->harmless, n->reported, n->partial);
}

int main(void)
{
	static struct run r;
	const char *fd = getenv("SUMMARY_FD");
	uint64_t n = env_number("DMBOW_SEEDS", 700);
	FILE *summary = fd && *fd ? fdopen(atoi(fd), "w") : NULL;
	bool good[2];

	lab_keep_memory();
	dmbow_init(&r.gen);
	dmbow_init(&r.scratch);
	r.expected = malloc(DMBOW_MAX_BYTES);
	r.found = malloc(DMBOW_MAX_BYTES);
	if (!r.expected || !r.found || sim_init(&r.disk, DMBOW_MAX_BYTES) ||
	    sim_init(&r.fork, DMBOW_MAX_BYTES)) {
		fprintf(stderr, "out of memory\n");
		return 2;
	}
	r.limit = (uint32_t)env_number("DMBOW_CUTS", 12);
	good[0] = run_all(&r, history, n);
	good[1] = run_all(&r, damaged, 4 * n);
	print_counts(stdout, &r.n);
	if (summary)
		print_counts(summary, &r.n);
	printf("1..2\n%sok 1 - dm-bow's disks come back, whatever cuts the restore\n"
	       "%sok 2 - a flipped bit in dm-bow's log or backups is harmless or reported\n",
	       good[0] ? "" : "not ", good[1] ? "" : "not ");
	return !(good[0] && good[1]);
}
