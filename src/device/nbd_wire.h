/* SPDX-License-Identifier: MIT */
/*
 * One connection to an NBD server, used by any number of threads at once: each sends its request
 * and waits for its own answer.
 */
#ifndef BOW_DEVICE_NBD_WIRE_H
#define BOW_DEVICE_NBD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nbd_handle;
struct bow_wire;

/*
 * On a connected handle, which belongs to it from now on. NULL when memory or descriptors are out;
 * then the handle is still the caller's. Nothing is kept by a thread of its own: it survives a fork
 * while no request is under way.
 */
struct bow_wire *bow_wire_new(struct nbd_handle *h);

/* Say goodbye to the server and close; no request may be under way. */
void bow_wire_free(struct bow_wire *w);

/*
 * Requests; they must fit the server's limits. 0 or -errno, which is the server's word or
 * -ENOTCONN: once the connection is lost, every request fails, for it is never made again. What had
 * been written and not flushed may be gone then, as after a barrier that failed.
 */
int bow_wire_read(struct bow_wire *w, void *buf, size_t bytes, uint64_t off);
int bow_wire_write(struct bow_wire *w, const void *buf, size_t bytes, uint64_t off);
int bow_wire_zero(struct bow_wire *w, uint64_t off, uint64_t bytes, bool may_punch);
int bow_wire_flush(struct bow_wire *w);

/* What the range begins with: a hole that reads as zeros? And how long that goes on, 0: no answer.
 */
int bow_wire_extent(struct bow_wire *w, uint64_t off, uint64_t bytes, bool *hole, uint64_t *reach);

#endif
