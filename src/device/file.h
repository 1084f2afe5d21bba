/* SPDX-License-Identifier: MIT */
/* Between open.c, which finds out what a path leads to, and file.c, which serves it. */
#ifndef BOW_DEVICE_FILE_H
#define BOW_DEVICE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include "device/device.h"

struct bow_file_facts {
	uint64_t size; /* bytes */
	uint32_t sector_size;
	bool block_device; /* otherwise a regular file */
	bool readonly;
};

/* A device on this descriptor, which belongs to it from now on. NULL when memory is out. */
struct bow_dev *bow_file_new(int fd, const char *name, const struct bow_file_facts *facts);

#endif
