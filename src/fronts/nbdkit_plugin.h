/* SPDX-License-Identifier: MIT */
/* What the parts of the nbdkit plugin share. */
#ifndef BOW_FRONTS_NBDKIT_PLUGIN_H
#define BOW_FRONTS_NBDKIT_PLUGIN_H

#include <pthread.h>
#include <stdatomic.h>
#include "fronts/nbd_report.h"
#include "fronts/nbdkit_disk.h"

/* nbdkit knows one image per process; a request holds `in_use` for reading, closing for writing. */
extern struct bow_nbdkit {
	char *path;
	struct bowimg_open_options opts;
	int control;
	enum bow_nbdkit_kind kind;
	bool cheap_zeros;
	struct bow_nbdkit_disk disk;
	bool ordered; /* to prepare, when it is closed */
	struct bow_nbd_order order;
	pthread_rwlock_t in_use;
	atomic_int last_error;
} bow_nbdkit;

/* Say it where bowimg's messages go, or else by nbdkit's own means. */
void bow_nbdkit_complain(const char *text, const char *hint);

/* ---- nbdkit_exports.c: what a connection is for ---------------------------------------------- */

/* The disk, and as a second export "before"; or that alone. A connection's handle tells which. */
struct nbdkit_exports;
int bow_nbdkit_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports);
const char *bow_nbdkit_default_export(int readonly, int is_tls);
const char *bow_nbdkit_export_description(void *handle);
void *bow_nbdkit_open(int readonly);
bool bow_nbdkit_is_before(const void *handle);
/* For can_write, can_flush and can_extents. */
int bow_nbdkit_is_disk(void *handle);

/* ---- nbdkit_requests.c: callbacks ------------------------------------------------------------ */

int bow_nbdkit_read(void *handle, void *buf, uint32_t count, uint64_t off, uint32_t flags);
int bow_nbdkit_write(void *handle, const void *buf, uint32_t count, uint64_t off, uint32_t flags);
int bow_nbdkit_flush(void *handle, uint32_t flags);
int bow_nbdkit_trim(void *handle, uint32_t count, uint64_t off, uint32_t flags);
int bow_nbdkit_zero(void *handle, uint32_t count, uint64_t off, uint32_t flags);
struct nbdkit_extents;
int bow_nbdkit_extents(void *handle, uint32_t count, uint64_t off, uint32_t flags,
		       struct nbdkit_extents *extents);

#endif
