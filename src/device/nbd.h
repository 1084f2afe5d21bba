/* SPDX-License-Identifier: MIT */
/* Images on an NBD server, between open.c and the nbd_*.c files. */
#ifndef BOW_DEVICE_NBD_H
#define BOW_DEVICE_NBD_H

#include "device/device.h"

/*
 * As bow_dev_open_file(), by URI. -EOPNOTSUPP: the server cannot flush, wants requests of more than
 * 4096 bytes, or the image is empty; or bowimg was built without libnbd. -EROFS: a read-only
 * export. -EBUSY: another bowimg of this machine has it open for writing.
 */
int bow_nbd_open(const char *uri, enum bow_open_mode mode, struct bow_dev **out,
		 struct bowimg_error *err);

/* ---- nbd_connect.c --------------------------------------------------------------------------- */

struct nbd_handle;

/* The handle, ready for requests. A server that says nothing is given up after a while. */
int bow_nbd_connect(const char *uri, struct nbd_handle **out, struct bowimg_error *err);

/* ---- nbd.c ----------------------------------------------------------------------------------- */

struct bow_nbd_facts {
	uint64_t size;	  /* bytes, a multiple of minimum */
	uint32_t minimum; /* offsets and lengths are multiples of it: 1 to 4096, a power of two */
	uint32_t maximum; /* bytes of one request at most, a multiple of minimum */
	uint32_t zero_maximum; /* the same for zeroing, which carries no data */
	bool can_zero;	       /* write zeroes, which may leave holes or not */
	bool knows_extents;    /* of base:allocation */
	bool readonly;
	uint64_t key; /* of its URI */
};

/* Owns the handle, and the lock (-1: none), from now on. NULL: out of memory, and neither. */
struct bow_dev *bow_nbd_new(struct nbd_handle *h, int lock, const char *uri,
			    const struct bow_nbd_facts *facts);

/* ---- nbd_lock.c ------------------------------------------------------------------------------ */

/* Take the lock that bowimgs of one machine have on an export: a descriptor, or -errno (-EBUSY). */
int bow_nbd_lock(uint64_t key);

bool bow_nbd_is_locked(uint64_t key);

#endif
