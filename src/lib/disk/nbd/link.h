/* SPDX-License-Identifier: MIT */
/*
 * A disk's connection to its server, made again after it was lost where that is safe. Any number of
 * threads use it at once.
 */
#ifndef BOW_DISK_NBD_LINK_H
#define BOW_DISK_NBD_LINK_H

#include "lib/disk/nbd/nbd.h"

/*
 * Takes over a connected handle, and way->lock. `limits` are what it was asked for. Of `events` (or
 * NULL) its `waiting` is kept. NULL: memory or descriptors are out, and all is still the caller's.
 * Like the connection itself it survives a fork while no request is in flight.
 */
struct bow_link *bow_link_new(struct nbd_handle *h, const struct bow_nbd_way *way,
			      const struct bow_nbd_limits *limits,
			      const struct bowimg_events *events);

/* No request may be in flight. */
void bow_link_free(struct bow_link *l);

/*
 * As the calls of wire.h. A read that was in flight when the connection was lost is sent once more
 * on the next one, and so is what had not been sent. -ECONNRESET or -ENOTCONN: there is no next
 * one, for this request or for good.
 */
int bow_link_read(struct bow_link *l, void *buf, size_t bytes, uint64_t off);
int bow_link_write(struct bow_link *l, const void *buf, size_t bytes, uint64_t off);
int bow_link_zero(struct bow_link *l, uint64_t off, uint64_t bytes, bool may_punch);
int bow_link_flush(struct bow_link *l);
int bow_link_extent(struct bow_link *l, uint64_t off, uint64_t bytes, bool *hole, uint64_t *reach);

/* Returns false unless it is lost for good: why it was not made again, for a message. */
#define BOW_LINK_WHY_BYTES 320
bool bow_link_why(struct bow_link *l, char why[BOW_LINK_WHY_BYTES]);

/* As bow_nbd_is_locked(), of what it is connected to now. */
bool bow_link_is_locked(struct bow_link *l, struct bow_guard_user *user);

#endif
