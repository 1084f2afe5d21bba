/* SPDX-License-Identifier: MIT */
/*
 * The checkers that come with file systems, run so that they can only read. If a map of free blocks
 * is wrong, but agrees with itself and is marked clean, only a walk through the whole file system
 * finds it.
 */
#ifndef BOW_FREESPACE_HELPERS_CHECKER_H
#define BOW_FREESPACE_HELPERS_CHECKER_H

#include "lib/freespace/helpers/volume.h"

#define BOW_CHECKED_BYTES 64 /* names of programs, joined by "+" */

/* Is there a checker for what libblkid calls `type`? */
bool bow_checker_is_there(const char *type);

/*
 * Run the checker for `type`, which must have one, on that part of a device, and add its name to
 * `by`. -EUCLEAN: it found damage, and the message has its output. -EOPNOTSUPP: it is not
 * installed, or the part cannot be exposed to it read-only. -EIO: it could not do its work.
 */
int bow_checker_run(const struct bow_part_of *part, const char *type,
		    const struct bowimg_helpers *helpers, char by[BOW_CHECKED_BYTES],
		    struct bowimg_error *err);

/*
 * check.c: check the whole device, or each of its partitions that has a checker. -EOPNOTSUPP also
 * if none has one. events->notice names those that were not checked.
 */
struct bow_contents;
int bow_check_disk(struct bowimg_disk *dev, const struct bow_contents *contents,
		   const struct bowimg_events *events, char by[BOW_CHECKED_BYTES],
		   struct bowimg_error *err);

#endif
