/* SPDX-License-Identifier: MIT */
/*
 * A daemon under a loop device must not wait for memory: to free some, the kernel may have to write
 * through that very daemon. So it takes what it needs before anything is written, and keeps it.
 */
#ifndef BOW_HOST_MEMORY_H
#define BOW_HOST_MEMORY_H

#include "lib/base/err.h"

/* First thing in the daemon, before threads: they inherit it. */
void bow_memory_prepare(bool verbose);

/*
 * When everything is allocated: take all pages of it, and pin them. Threads may run meanwhile. It
 * takes longer than all else that a start needs.
 */
void bow_memory_take(bool verbose);

/*
 * -EOPNOTSUPP if this process is in a memory cgroup whose limit could make a loop device over FUSE
 * hang. The message names the cgroup, the limit and ways without a loop device.
 */
int bow_cgroup_refuse_limited(struct bowimg_error *err);

#endif
