/* SPDX-License-Identifier: MIT */
/*
 * Writes to a server that takes whole sectors only. A piece of a sector is written by reading the
 * sector, changing it and writing it back; no other write to it may be in flight meanwhile, or it
 * would be undone. Whole sectors may be written at the same time as each other.
 */
#ifndef BOW_DISK_NBD_SECTORS_H
#define BOW_DISK_NBD_SECTORS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct bow_nbd_write {
	uint64_t start, end; /* bytes, whole sectors */
	bool alone;	     /* reads, changes and writes back */
	LIST_ENTRY(bow_nbd_write) others;
};

struct bow_nbd_sectors {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	LIST_HEAD(bow_nbd_writes, bow_nbd_write) writes;
};

void bow_nbd_sectors_init(struct bow_nbd_sectors *sectors);
void bow_nbd_sectors_destroy(struct bow_nbd_sectors *sectors);

/* Wait until no write in flight forbids it; `w` is the caller's until the end. */
void bow_nbd_write_begin(struct bow_nbd_sectors *sectors, struct bow_nbd_write *w);
void bow_nbd_write_end(struct bow_nbd_sectors *sectors, struct bow_nbd_write *w);

#endif
