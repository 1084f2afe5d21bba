/* SPDX-License-Identifier: MIT */
/* A new connection to the same disk, after the one before was lost. */
#ifndef BOW_DISK_NBD_AGAIN_H
#define BOW_DISK_NBD_AGAIN_H

#include "lib/disk/nbd/nbd.h"

/* What must be the same on the new connection. */
struct bow_nbd_known {
	const char *uri;
	struct bow_nbd_lock *lock; /* NULL: only looking */
	struct bowimg_events events;
	struct bow_nbd_limits limits;
	uint32_t first_bytes; /* of block 0 as it was last seen; 0: it was not */
	uint8_t first[BOWIMG_BLOCK_SIZE];
};

struct bow_wire;

/*
 * Connects for up to BOW_NBD_AGAIN_S seconds, which a server that is started anew takes, and
 * compares. On success known->limits.export is what is connected now, and the user was told. The
 * message of a failure names neither the URI nor what was attempted.
 */
#define BOW_NBD_AGAIN_S 10
int bow_nbd_again(struct bow_nbd_known *known, struct bow_wire **out, struct bowimg_error *err);

#endif
