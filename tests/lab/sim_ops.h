/* SPDX-License-Identifier: MIT */
/* Between the files of the simulated disk: sim_dev.c, sim_disk.c, sim_fault.c, sim_cut.c. */
#ifndef TESTS_SIM_OPS_H
#define TESTS_SIM_OPS_H

#include "sim_dev.h"

enum op_sort { OP_READ, OP_WRITE, OP_ZERO, OP_RESIZE, OP_RESERVE, OP_FLUSH, OP_META };

/* sim_fault.c: count the operation and decide its fate: 0 or -errno. May shorten *bytes. */
int sim_enter(struct sim_disk *disk, enum op_sort op, uint64_t off, uint64_t *bytes);

/* sim_disk.c: remember a sector as it is in the cache now, or a new size; the op is filled in. */
void sim_add_pending(struct sim_disk *disk, struct sim_pending pending);
/* sim_disk.c: the data of pending sector i of src reach these bytes of dst. */
void sim_apply_sector(struct sim_disk *dst, uint8_t *bytes, const struct sim_disk *src, uint32_t i);
/* Pending versions reach the stable bytes. */
void sim_make_stable(struct sim_disk *disk);

/* sim_disk.c: zero [off, disk->used) in cache or stable bytes. */
void sim_clear(struct sim_disk *disk, uint8_t *bytes, uint64_t off);
/* sim_disk.c: cache and stable bytes are zeros past the end, of both sizes: no need to look there.
 */
void sim_forget_tail(struct sim_disk *disk);
/* sim_disk.c: these bytes of the cache, or the stable ones, have changed. */
void sim_changed(struct sim_disk *disk, uint64_t off, uint64_t bytes);

extern const struct bow_backend_ops sim_dev_ops;

#endif
