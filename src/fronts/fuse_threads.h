/* SPDX-License-Identifier: MIT */
/* The threads of a FUSE session. */
#ifndef BOW_FRONTS_FUSE_THREADS_H
#define BOW_FRONTS_FUSE_THREADS_H

struct bow_fuse;

/* Start all of them and wait until each has its memory; then let them serve. 0 or -errno. */
int bow_fuse_threads_start(struct bow_fuse *fuse);

/* Wait for their end, which comes with the unmount. */
void bow_fuse_threads_join(struct bow_fuse *fuse);

/* After joining. */
void bow_fuse_threads_free(struct bow_fuse *fuse);

#endif
