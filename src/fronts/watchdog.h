/* SPDX-License-Identifier: MIT */
/*
 * A small process beside the daemon that frees a stuck mount.
 *
 * Stuck means: the kernel waits for answers, and for a long time not one request has been finished.
 * Then the FUSE connection is aborted, so that every waiter gets EIO instead of hanging for ever. A
 * slow disk is not stuck: one finished request, or a piece of a long one, starts the time anew.
 */
#ifndef BOW_FRONTS_WATCHDOG_H
#define BOW_FRONTS_WATCHDOG_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"

/* Seconds without progress after which the mount counts as stuck, unless --stuck-after says else.
 */
#define BOW_STUCK_AFTER_S 120u

struct bow_watchdog;

/* Fork it: before any thread is started. stuck_after_s 0: none, *out is NULL. */
int bow_watchdog_start(unsigned stuck_after_s, struct bow_watchdog **out, struct bowimg_error *err);

/* Now there is a FUSE connection of this number to watch. */
void bow_watchdog_arm(struct bow_watchdog *dog, unsigned connection);

/* A request has come in; one has been finished, or a piece of it. NULL is accepted. */
void bow_watchdog_begin(struct bow_watchdog *dog);
void bow_watchdog_progress(struct bow_watchdog *dog);
void bow_watchdog_end(struct bow_watchdog *dog);

/* End it and wait until it is gone. NULL is accepted. */
void bow_watchdog_stop(struct bow_watchdog *dog);

#endif
