/* SPDX-License-Identifier: MIT */
/* What there is of a session now, by the kernel. Its state says only what was set up once. */
#ifndef BOW_SERVE_FIND_H
#define BOW_SERVE_FIND_H

#include "bowimg/serve/runtime.h"

/* The device number of its FUSE file system; 0 if it is not known. */
dev_t bow_service_fs(const struct bow_session *e);

/* Is its FUSE mount there, and not covered by another one? */
bool bow_service_has_fuse(const struct bow_session *e);

/* A loop device on the disk; and one on the disk as it was, beside the first. */
bool bow_service_has_loop(const struct bow_session *e, char device[BOW_LOOP_NAME]);
bool bow_service_has_before(const struct bow_session *e, char device[BOW_LOOP_NAME]);

/* Is the disk mounted where bowimg mount has mounted it? */
bool bow_service_is_mounted(const struct bow_session *e);

#endif
