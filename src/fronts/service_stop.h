/* SPDX-License-Identifier: MIT */
/* Taking away what a daemon that is no more has left. */
#ifndef BOW_FRONTS_SERVICE_STOP_H
#define BOW_FRONTS_SERVICE_STOP_H

#include "fronts/runtime.h"

/*
 * Its mount, loop device and FUSE mount. Somebody still uses them: -EBUSY, or with `lazy` they
 * vanish from sight now and go for good with the last user.
 */
int bow_service_clear(const struct bow_entry *e, bool lazy, struct bowimg_error *err);

#endif
