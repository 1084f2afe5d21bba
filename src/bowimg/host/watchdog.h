/* SPDX-License-Identifier: MIT */
/*
 * A small process beside the daemon that gives up on a stuck mount.
 *
 * A mount is stuck if the kernel waits for answers, and no request has been finished for a long
 * time. Then the FUSE connection is aborted, so that every waiter gets EIO instead of hanging for
 * ever. A slow disk is not stuck: one finished request, or a piece of a long one, starts the time
 * again.
 */
#ifndef BOW_HOST_WATCHDOG_H
#define BOW_HOST_WATCHDOG_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>
#include "lib/base/err.h"

/* Seconds without progress after which a mount is stuck, unless --stuck-after is given. */
#define BOW_STUCK_AFTER_S 120u

struct bow_watchdog;

/* Fork it, before any thread is started. If stuck_after_s is 0, there is none and *out is NULL. */
int bow_watchdog_start(unsigned stuck_after_s, struct bow_watchdog **out, struct bowimg_error *err);

/* Watch the FUSE connection of this number. NULL is accepted. */
void bow_watchdog_arm(struct bow_watchdog *dog, unsigned connection);

/* The connection is gone: another mount may get its number. NULL is accepted. */
void bow_watchdog_disarm(struct bow_watchdog *dog);

/* A request has come in; one has been finished, or a piece of it. NULL is accepted. */
void bow_watchdog_begin(struct bow_watchdog *dog);
void bow_watchdog_progress(struct bow_watchdog *dog);
void bow_watchdog_end(struct bow_watchdog *dog);

/* End it and wait until it is gone. NULL is accepted. */
void bow_watchdog_stop(struct bow_watchdog *dog);

#endif
