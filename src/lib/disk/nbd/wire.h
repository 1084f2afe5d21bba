/* SPDX-License-Identifier: MIT */
/*
 * One connection to an NBD server, used by any number of threads at once: each sends its request
 * and waits for its own answer.
 */
#ifndef BOW_DISK_NBD_WIRE_H
#define BOW_DISK_NBD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bowimg_events;
struct nbd_handle;
struct bow_wire;

/*
 * Takes over a connected handle. `uri` is kept; of `events` (or NULL) its `waiting` is. NULL:
 * memory or descriptors are out, and the handle is still the caller's. It has no thread of its own,
 * so it survives a fork while no request is in flight.
 */
struct bow_wire *bow_wire_new(struct nbd_handle *h, const char *uri,
			      const struct bowimg_events *events);

/* Say goodbye to the server and close; no request may be in flight. */
void bow_wire_free(struct bow_wire *w);

/*
 * Requests; they must fit the server's limits. Return 0 or -errno: the server's error; -ECONNRESET:
 * the connection was lost while the request was in flight; -ENOTCONN: it had been lost before, and
 * nothing was sent. Once it is lost, every request fails.
 */
int bow_wire_read(struct bow_wire *w, void *buf, size_t bytes, uint64_t off);
int bow_wire_write(struct bow_wire *w, const void *buf, size_t bytes, uint64_t off);
int bow_wire_zero(struct bow_wire *w, uint64_t off, uint64_t bytes, bool may_punch);
int bow_wire_flush(struct bow_wire *w);

/* Does the range begin with a hole that reads as zeros? *bytes: how far that goes; 0: no answer. */
int bow_wire_extent(struct bow_wire *w, uint64_t off, uint64_t bytes, bool *hole, uint64_t *reach);

#endif
