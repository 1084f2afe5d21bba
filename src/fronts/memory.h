/* SPDX-License-Identifier: MIT */
/*
 * A daemon under a loop device must not wait for memory: freeing memory may mean writing through
 * that very daemon. So it takes what it needs before it serves, and keeps it.
 */
#ifndef BOW_FRONTS_MEMORY_H
#define BOW_FRONTS_MEMORY_H

#include "base/err.h"

/* First thing in the daemon, before threads: they inherit it. */
void bow_memory_prepare(bool verbose);

/* When everything is allocated: pin it. */
void bow_memory_lock(bool verbose);

/*
 * -EOPNOTSUPP if this process is in a memory cgroup whose limit could make a loop device over FUSE
 * hang; names the cgroup, the limit and the roads without a loop device.
 */
int bow_cgroup_refuse_limited(struct bowimg_error *err);

#endif
