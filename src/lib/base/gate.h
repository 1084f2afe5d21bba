/* SPDX-License-Identifier: MIT */
/*
 * Where threads sleep until something has happened: an event count. Unlike those of a condition,
 * sleepers need no lock when they wake up, so that many of them can be woken by one call and none
 * gets in the way of another.
 *
 * Who waits looks, checks that what it waits for is not so, and sleeps unless the gate was opened
 * since that look; then it begins again. Who makes it so opens the gate behind that.
 */
#ifndef BOW_BASE_GATE_H
#define BOW_BASE_GATE_H

#include <linux/futex.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

struct bow_gate {
	atomic_uint openings; /* raised by each */
};

static inline unsigned bow_gate_look(struct bow_gate *g)
{
	return atomic_load(&g->openings);
}

/* Sleep unless the gate was opened since the look that returned `seen`. May return too early. */
static inline void bow_gate_sleep(struct bow_gate *g, unsigned seen)
{
	syscall(SYS_futex, &g->openings, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

/* Wake n of those that sleep, at most INT_MAX, and all that have looked and do not sleep yet. */
static inline void bow_gate_open(struct bow_gate *g, int n)
{
	atomic_fetch_add(&g->openings, 1);
	syscall(SYS_futex, &g->openings, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

#endif
