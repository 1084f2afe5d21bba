/* SPDX-License-Identifier: MIT */
/* Taking away what a dead daemon has left. */
#ifndef BOW_SERVE_STOP_H
#define BOW_SERVE_STOP_H

#include "bowimg/serve/runtime.h"

/*
 * Take away its mount, loop device and FUSE mount. If they are in use: -EBUSY, or with `lazy` they
 * are detached now and go with their last user.
 */
int bow_service_clear(const struct bow_session *e, bool lazy, struct bowimg_error *err);

#endif
