/* SPDX-License-Identifier: MIT */
/* Images on an NBD server, between disk/open.c and the files of this folder. */
#ifndef BOW_DISK_NBD_NBD_H
#define BOW_DISK_NBD_NBD_H

#include "lib/disk/disk.h"
#include "lib/disk/nbd/lock.h"

/*
 * As bow_disk_open_file(), by URI. -EOPNOTSUPP: the server cannot flush, wants requests of more
 * than 4096 bytes, or the image is empty; or bowimg was built without libnbd. -EROFS: a read-only
 * export. -EBUSY: another bowimg of this machine has it open for writing.
 */
int bow_nbd_open(const char *uri, enum bow_open_mode mode, const struct bowimg_events *events,
		 struct bowimg_disk **out, struct bowimg_error *err);

/* ---- connect.c ------------------------------------------------------------------- */

struct nbd_handle;
struct bow_silence;

/* How a server is reached. */
struct bow_nbd_way {
	const char *uri;
	struct bow_nbd_lock *lock; /* NULL: only looking */
	unsigned patience_ms;	   /* a silent server is given up after so long */
	struct bow_silence *silence;
};

/* Returns the handle, ready for requests. */
int bow_nbd_connect(const struct bow_nbd_way *way, struct nbd_handle **out,
		    struct bowimg_error *err);

/* ---- ask.c ----------------------------------------------------------------------- */

struct bow_nbd_limits {
	uint64_t size;	  /* bytes, a multiple of minimum */
	uint32_t minimum; /* offsets and lengths are multiples of it: 1 to 4096, a power of two */
	uint32_t maximum; /* bytes of one request at most, a multiple of minimum */
	uint32_t zero_maximum; /* the same for zeroing, which carries no data */
	bool can_zero;	       /* write zeroes, which may leave holes or not */
	bool can_flush;
	bool knows_extents; /* of base:allocation */
	bool readonly;
	struct bow_nbd_export export;
};

/*
 * Of a new connection: hold the lock on what it leads to, and ask for the limits; `readonly` and
 * `export` say what is wanted, by bow_nbd_export_set().
 */
int bow_nbd_ask(struct nbd_handle *h, const struct bow_nbd_way *way, struct bow_nbd_limits *limits,
		struct bowimg_error *err);

/* ---- nbd.c ----------------------------------------------------------------------- */

struct bow_link;

/* Owns the link from now on. NULL: memory is out; it does not. */
struct bowimg_disk *bow_nbd_new(struct bow_link *link, const char *uri,
				const struct bow_nbd_limits *limits);

#endif
