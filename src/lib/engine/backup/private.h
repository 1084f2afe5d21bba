/* SPDX-License-Identifier: MIT */
/* Between the two ways to back up. */
#ifndef BOW_ENGINE_BACKUP_PRIVATE_H
#define BOW_ENGINE_BACKUP_PRIVATE_H

#include "lib/disk/scatter.h"
#include "lib/engine/engine.h"

/* Read blocks into buf; what the image's last block lacks is zeros there. */
int bow_save_read(struct bow_engine *img, struct bow_run run, uint8_t *buf,
		  struct bowimg_error *err);
/* Add an entry to a request whose entries others may add to. Takes the lock. */
void bow_save_add(struct bow_engine *img, struct bow_request *req, const struct bow_entry *e);
/* The same for a run of originals that read as zeros. */
void bow_save_add_zero(struct bow_engine *img, struct bow_request *req, uint64_t start, uint64_t n);

#endif
