/* SPDX-License-Identifier: MIT */
/* Faults at the n-th device operation or allocation of one phase, and what must be true after. */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include "lab/lab.h"

enum fault_phase {
	PHASE_PREPARE,
	PHASE_SERVE,
	PHASE_ATTACH, /* after a power cut, so that there is something to redo */
	PHASE_ROLLBACK,
	PHASE_COMMIT,
	PHASE_VERIFY,
	PHASE_STATUS,
	PHASE_MARK,
	PHASE_UNMARK,
	PHASE_TO, /* back to a mark */
	PHASES
};

#define FAULT_VARIANTS 4u /* of the image and its options */

/* phases.c: bring the disk to where the phase begins, with nothing failing. */
int phase_setup(struct lab *lab, enum fault_phase phase, uint32_t variant);
/* Do what the phase is, whatever fails: LAB_OK, LAB_FAULT or LAB_BAD. */
int phase_act(struct lab *lab, enum fault_phase phase);
/* Nothing fails any more: the image must come back, by the way chosen with `commit` if it may. */
int phase_recover(struct lab *lab, enum fault_phase phase, bool attach);

/* alloc.c: the allocations of this program, one of which can be made to fail. */
void alloc_arm(uint64_t countdown, bool forever);
void alloc_disarm(void);
uint64_t alloc_faults(void);

#endif
