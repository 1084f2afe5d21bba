/* SPDX-License-Identifier: MIT */
/* A limit on time for work that may wait for storage in a way that nothing can end. */
#ifndef BOW_HOST_WITHIN_H
#define BOW_HOST_WITHIN_H

#include "lib/base/err.h"

/*
 * Go on in a child process: there this returns 0, and the caller does the work and exits. In the
 * parent it returns 1 when the child has exited with *status, or -ETIMEDOUT when time is up. Then
 * the child is killed; it may live on for as long as the kernel waits for the storage. No other
 * thread may be running.
 */
int bow_within(unsigned seconds, int *status, struct bowimg_error *err);

#endif
