/* SPDX-License-Identifier: MIT */
/* Who else uses this file? */
#ifndef BOW_INUSE_INUSE_H
#define BOW_INUSE_INUSE_H

#include "lib/base/err.h"

/*
 * Refuse (-EBUSY) if the image is mounted, swap, behind a loop device or under another device. fd
 * may be an O_PATH descriptor.
 */
int bow_guard_check(int fd, const char *path, struct bowimg_error *err);

/*
 * Take flock and QEMU's byte-range locks on fd, for as long as it is open. Refuses (-EBUSY) if
 * another process holds them or has the file open. fd must be open for writing, and be this
 * process's only descriptor of the image.
 */
int bow_guard_lock(int fd, const char *path, struct bowimg_error *err);

/*
 * The same for a reader (fd may be read-only): others may read as well, but not write. Refuses
 * (-EBUSY) if another process may be writing.
 */
int bow_guard_lock_shared(int fd, const char *path, struct bowimg_error *err);

#endif
