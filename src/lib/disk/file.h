/* SPDX-License-Identifier: MIT */
/* Between open.c, which finds out what a path leads to, and file.c, which serves it. */
#ifndef BOW_DISK_FILE_H
#define BOW_DISK_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include "lib/disk/disk.h"

struct bow_file_geometry {
	uint64_t size; /* bytes */
	uint32_t sector_size;
	bool block_device; /* otherwise a regular file */
	bool readonly;
};

/* Returns a device that owns this descriptor from now on. NULL if memory is out. */
struct bowimg_disk *bow_file_new(int fd, const char *name,
				 const struct bow_file_geometry *geometry);

/* Does a limit of this process (RLIMIT_FSIZE) forbid a file of this size? */
bool bow_file_beyond_limit(uint64_t end);

/* Bytes that are left on this file system; false: it does not tell. */
struct statvfs;
bool bow_file_room_left(const struct statvfs *fs, uint64_t *left);

#endif
