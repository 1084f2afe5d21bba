/* SPDX-License-Identifier: MIT */
/* Shared by the parts of the nbdkit plugin. */
#ifndef BOW_NBDKIT_PLUGIN_H
#define BOW_NBDKIT_PLUGIN_H

#include <pthread.h>
#include <stdatomic.h>
#include "nbdkit/report.h"
#include "nbdkit/disk.h"

/*
 * nbdkit has one image per process. A request holds `in_use` for reading. A thread that closes the
 * image, or that is given an order for it, holds it for writing. Members above `disk` never change
 * once there are threads.
 */
extern struct bow_nbdkit {
	char *path;
	struct bowimg_open_options opts;
	int control;
	struct bow_nbdkit_what what;
	bool cheap_zeros;
	struct bow_nbdkit_disk disk;
	bool ordered; /* to prepare, when it is closed */
	struct bow_nbd_order order;
	pthread_rwlock_t in_use;
	pthread_t awaiter; /* waits for what comes by `control` */
	bool is_awaiting;
	pthread_mutex_t marks_lock; /* for who opens the disk as of a mark; inside `in_use` */
	atomic_int last_error;
} bow_nbdkit;

/* nbdkit_error(), safe for a terminal; and bowimg's messages, to stderr or else by that. */
void bow_nbdkit_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void bow_nbdkit_complain(const char *text, const char *hint);

/* ---- config.c: as nbdkit calls them --------------------------------------------------- */

int bow_nbdkit_config(const char *key, const char *value);
int bow_nbdkit_config_complete(void);
int bow_nbdkit_thread_model(void);

#define BOW_NBDKIT_CONFIG_HELP                                                               \
	"[image=]IMAGE            an image on which bowimg prepare opened a checkpoint "     \
	"(required)\n"                                                                       \
	"durability=power|process power (default) survives a power cut\n"                    \
	"before=yes               only the disk as it was at prepare, read-only; the image " \
	"is not changed\n"                                                                   \
	"mark=NAME                the same, as it was at this mark\n"                        \
	"force=changed            go on although the image was changed from outside\n"       \
	"control=FD, carry=FD, cache=FD, track=yes\n"                                        \
	"                         for the program that starts nbdkit"

/* ---- exports.c: what a connection is for ----------------------------------------- */

/*
 * The disk, and as a second export "before"; or that alone. Beside the disk, "before@NAME" is the
 * disk as it was at that mark, though no list names it. A connection's handle tells which.
 */
struct nbdkit_exports;
int bow_nbdkit_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports);
const char *bow_nbdkit_default_export(int readonly, int is_tls);
const char *bow_nbdkit_export_description(void *handle);
void *bow_nbdkit_open(int readonly);
bool bow_nbdkit_is_before(const void *handle);
/* What a connection reads, as long as the image is open. */
bowimg_disk *bow_nbdkit_disk_of(void *handle);
/* For can_write, can_flush and can_extents. */
int bow_nbdkit_is_disk(void *handle);

/* ---- requests.c: callbacks ------------------------------------------------------- */

int bow_nbdkit_read(void *handle, void *buf, uint32_t count, uint64_t off, uint32_t flags);
int bow_nbdkit_write(void *handle, const void *buf, uint32_t count, uint64_t off, uint32_t flags);
int bow_nbdkit_flush(void *handle, uint32_t flags);
int bow_nbdkit_trim(void *handle, uint32_t count, uint64_t off, uint32_t flags);
int bow_nbdkit_zero(void *handle, uint32_t count, uint64_t off, uint32_t flags);
struct nbdkit_extents;
int bow_nbdkit_extents(void *handle, uint32_t count, uint64_t off, uint32_t flags,
		       struct nbdkit_extents *extents);

#endif
