/* SPDX-License-Identifier: MIT */
/*
 * The order of writes [I1, I2], checked at every write and without any crash: before a used block
 * loses its original content, and before a block that holds the only copy of one is overwritten,
 * the *stable* bytes of the disk must hold that content somewhere else. Contents are unique, so
 * looking for them is exact.
 */
#ifndef TESTS_ORDER_H
#define TESTS_ORDER_H

#include "oracle.h"
#include "sim_dev.h"

#define ORDER_MAX_BLOCKS 16640u

struct order {
	const struct sim_disk *disk;
	const struct oracle *oracle;
	bool on;	       /* a checkpoint is open, or being opened, and not being committed */
	bool block_0_may_move; /* finishing: its original is packed, where no search finds it */
	char why[256];	       /* empty as long as nothing was wrong */
	bool changed[ORDER_MAX_BLOCKS];	  /* used blocks that differ from their original */
	uint32_t found[ORDER_MAX_BLOCKS]; /* where the copy was last seen */
};

/* A checkpoint begins: nothing is changed yet. */
void order_start(struct order *order, const struct sim_disk *disk, const struct oracle *oracle);
/* The same of another disk, which is a copy. */
void order_copy(struct order *dst, const struct order *src, const struct sim_disk *disk,
		const struct oracle *oracle);
/* From now on, after a time without: what was changed meanwhile is found out. */
void order_resume(struct order *order);

/* Hooks of a simulated disk. */
void order_before_write(struct order *order, uint64_t off, const uint8_t *data, uint64_t bytes);
void order_before_shrink(struct order *order, uint64_t size);

#endif
