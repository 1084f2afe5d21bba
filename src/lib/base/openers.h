/* SPDX-License-Identifier: MIT */
/*
 * Which process has a file open? Only asked to make a refusal helpful, so "don't know" is an
 * answer. Files are told by their numbers, as the kernel has them in memory: file systems that may
 * not answer are not asked.
 */
#ifndef BOW_BASE_OPENERS_H
#define BOW_BASE_OPENERS_H

#include <stdbool.h>
#include <sys/types.h>

struct bow_opener {
	pid_t pid;
	char comm[64]; /* any bytes, chosen by the process */
};

/* What a descriptor stands for, or a working or root directory. */
struct bow_open_file {
	unsigned mount; /* it was opened through; 0: not known (before Linux 5.8) */
	dev_t fs;	/* the file system it is on */
	ino_t ino;	/* its number there */
	dev_t device;	/* if it is a block device: its number; else 0 */
	bool is_path;	/* by O_PATH or as a directory: keeps a mount, but not a device */
};

/* The first process with a file of which `matches` is true; our own descriptor `except` (-1: none)
 * does not count. */
bool bow_find_opener(bool (*matches)(void *ctx, const struct bow_open_file *file), void *ctx,
		     int except, struct bow_opener *out);

#endif
