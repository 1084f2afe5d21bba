/* SPDX-License-Identifier: MIT */
/* An image in memory: the device that most tests run on. */
#ifndef TESTS_MEM_DEV_H
#define TESTS_MEM_DEV_H

#include "lib/disk/disk.h"

/*
 * A device of `size` zero bytes, all of it one hole. It behaves like a regular file: zeroing
 * punches holes, there is an mtime that every change moves, and where max_size > size it may grow
 * up to that (beyond: -ENOSPC, like a full host disk). Only address space is set aside for
 * max_size, so pointers from mem_dev_bytes() stay valid until bow_disk_close(). NULL when memory is
 * out.
 */
struct bowimg_disk *mem_dev_new(uint64_t size, uint64_t max_size);

/* From now on behave like a block device: fixed size, no holes, no help with zeros, no mtime. */
void mem_dev_make_device(struct bowimg_disk *dev);

/* The content; dev->size bytes of it mean something. What is past the end reads as zeros. */
uint8_t *mem_dev_bytes(struct bowimg_disk *dev);

#endif
