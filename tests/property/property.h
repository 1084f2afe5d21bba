/* SPDX-License-Identifier: MIT */
/* The property test's parts: each is given a seed and says in lab->why what went wrong. */
#ifndef TESTS_PROPERTY_H
#define TESTS_PROPERTY_H

#include "lab/lab.h"

struct property_counts {
	uint64_t requests, refused, checkpoints, rolled_back, committed, reattached, killed;
	uint64_t given_bytes, relocated_bytes, tail_bytes, backup_bytes;
	uint64_t went_back; /* to a mark */
};

/* cases.c: one image, one to three checkpoints on it. */
int property_case(struct lab *lab, uint64_t seed, struct property_counts *counts);
/* Write everything, twice: with `tail` nothing may be refused, without it something must be. */
int property_full(struct lab *lab, uint64_t seed, bool tail, struct property_counts *counts);
/* Roll back again and again to a fresh checkpoint, changing things in between. */
int property_again(struct lab *lab, uint64_t seed, struct property_counts *counts);

void property_params(struct lab_params *p, struct rng *r, uint32_t min_blocks, uint32_t max_blocks);
void property_count(const struct lab *lab, struct property_counts *counts);

/* Of these, for the others: prepare to end; the next UUID and free map; detach and count. */
int property_one_checkpoint(struct lab *lab, struct property_counts *counts);
void property_renew(struct lab *lab);
int property_detach(struct lab *lab, struct property_counts *counts);

/* large.c: the first on a sparse image of 64 MiB, with streams and neighbours; one checkpoint. */
int property_big(struct lab *lab, uint64_t seed, struct property_counts *counts);

/* A device much divided: its log has hundreds of pieces, all to be zeroed in the last step. */
int property_divided(struct lab *lab, uint64_t seed, struct property_counts *counts);

/* marks.c: change something and go back to a mark, many times: it costs no more every time. */
int property_marks(struct lab *lab, uint64_t seed, struct property_counts *counts);
/* The log takes all that was free at the mark, but for the reserve: the way back has room. */
int property_marks_full(struct lab *lab, uint64_t seed, struct property_counts *counts);

/* threads.c: several threads at once, each on bytes of its own, in blocks that they share. */
int property_threads(struct lab *lab, uint64_t seed, struct property_counts *counts);

#endif
