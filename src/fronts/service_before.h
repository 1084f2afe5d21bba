/* SPDX-License-Identifier: MIT */
/* The disk as it was, mounted beside the disk of a daemon that is up. */
#ifndef BOW_FRONTS_SERVICE_BEFORE_H
#define BOW_FRONTS_SERVICE_BEFORE_H

#include "fronts/runtime.h"

/*
 * Where the image is served: mount what it was (or a partition of it, if not 0) at `dir`,
 * read-only;
 * 1. Where nobody serves it: 0, and nothing was done. -EBUSY: that view is mounted already;
 * -EOPNOTSUPP: the kernel would mix up the two, or a partition must be chosen; -ENOENT: there is no
 * such partition; -EINTR: a signal came.
 */
int bow_service_add_before(const char *image, unsigned partition, const char *dir,
			   const char *options, struct bowimg_error *err);

/* Is there a loop device on it? Not where it is all that is served. */
bool bow_service_has_before(const struct bow_entry *e, char device[BOW_LOOP_NAME]);

/*
 * Unmount and detach it; nothing to do where it is not there. With MNT_DETACH it vanishes from
 * sight now, and goes for good with its last user. -EBUSY: somebody uses it, and it stays.
 */
int bow_service_remove_before(const struct bow_entry *e, int flags, struct bowimg_error *err);

#endif
