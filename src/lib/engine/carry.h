/* SPDX-License-Identifier: MIT */
/* The file in memory that outlives a serving process; see carry.c. */
#ifndef BOW_ENGINE_CARRY_H
#define BOW_ENGINE_CARRY_H

#include <stdatomic.h>
#include "lib/engine/engine.h"

struct bow_carried_zeros {
	uint32_t n;
	struct bow_run runs[BOW_ZERO_PENDING_MAX];
};

struct bow_carry {
	uint64_t magic;
	uint8_t uuid[16];
	uint64_t blocks;
	uint64_t updates[2]; /* of the superblock: on the disk, and about to be */
	uint64_t attach;     /* a random number, for what else outlives the process */
	atomic_uint current; /* which list counts; the other one is being made */
	struct bow_carried_zeros lists[2];
	uint64_t zero_done[] __attribute__((aligned(BOW_BLOCK))); /* a bit for each block */
};

/* The log has all done zeros: clear their bits. */
void bow_carry_forget_zero_done(struct bow_engine *img);

#endif
