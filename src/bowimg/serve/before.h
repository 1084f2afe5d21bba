/* SPDX-License-Identifier: MIT */
/* The disk as it was, mounted or attached beside the disk of a daemon that is up. */
#ifndef BOW_SERVE_BEFORE_H
#define BOW_SERVE_BEFORE_H

#include "bowimg/serve/runtime.h"

struct bow_before {
	const char *mark;	   /* as it was at this one; NULL: at prepare */
	unsigned partition;	   /* 0: the whole disk */
	const char *dir;	   /* mount it here; NULL: only a loop device */
	const char *mount_options; /* for mount(8), or NULL */
};

/*
 * If the image is served: offer the disk as it was beside it, read-only, and return 1; `device` is
 * its loop device. If it is not served: return 0. -EBUSY: it is there already; -EOPNOTSUPP: the
 * kernel would mix up the two, or a partition must be chosen; -ENOENT: there is no such partition,
 * or mark; -EINTR: a signal came.
 */
int bow_service_add_before(const char *image, const struct bow_before *what,
			   char device[BOW_LOOP_NAME], struct bowimg_error *err);

/*
 * The options, beginning with `first`, to mount the file system on `fd` while another version of it
 * is mounted: the kernel may know it by its UUID. -EOPNOTSUPP: it would mix up the two.
 */
int bow_before_options(int fd, const char *first, const char *wanted, char *out, size_t bytes,
		       struct bowimg_error *err);

/*
 * Unmount and detach it, if it is there. With MNT_DETACH it is taken out of the tree now, and goes
 * with its last user. -EBUSY: it is in use, and it stays.
 */
int bow_service_remove_before(const struct bow_session *e, int flags, struct bowimg_error *err);

#endif
