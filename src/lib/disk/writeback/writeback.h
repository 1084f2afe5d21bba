/* SPDX-License-Identifier: MIT */
/* A write-back cache in memory, over a disk whose single writes are slow. */
#ifndef BOW_DISK_WRITEBACK_WRITEBACK_H
#define BOW_DISK_WRITEBACK_WRITEBACK_H

#include "lib/disk/disk.h"

struct bow_writeback_options {
	size_t bytes; /* of memory, at most */
	/*
	 * 0, or the descriptor of a file in memory that the cache is in, which outlives the
	 * process; and the number of this attach, which a process that goes on after a killed one
	 * shares with it (0: it does not go on).
	 */
	int file;
	uint64_t attach;
	struct bowimg_events events; /* `notice` */
};

/*
 * A disk over `below` that answers small writes before they are there. Memory holds what is not
 * written yet; after 50 ms, when half of it is full, or at a flush, all of it is written, many
 * requests at a time. Reads see every write that returned. A flush makes all of these durable, as
 * on any disk; what was not flushed is gone if the process is killed, unless there is a file, and
 * the next process takes it over. What is in a file of another attach is gone, which is said.
 *
 * What could not be written fails the next flush and all writes from then on, and closing the disk.
 * *out owns `below`, on success only. -ENOMEM, -EAGAIN: no memory, no thread; -errno of the file.
 */
int bow_writeback_new(struct bowimg_disk *below, const struct bow_writeback_options *opts,
		      struct bowimg_disk **out, struct bowimg_error *err);

#endif
