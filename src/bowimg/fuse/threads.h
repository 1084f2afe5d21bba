/* SPDX-License-Identifier: MIT */
/* The threads of a FUSE session. */
#ifndef BOW_FUSE_THREADS_H
#define BOW_FUSE_THREADS_H

struct bow_fuse;

/* Start all threads, wait until each has its memory, then let them serve. 0 or -errno. */
int bow_fuse_threads_start(struct bow_fuse *fuse);

/* Wait until they end, which the unmount makes them do. */
void bow_fuse_threads_join(struct bow_fuse *fuse);

/* After joining. */
void bow_fuse_threads_free(struct bow_fuse *fuse);

#endif
