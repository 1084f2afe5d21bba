/* SPDX-License-Identifier: MIT */
/* The loop device on a disk that is served, and the mount on that. */
#ifndef BOW_SERVE_DEVICE_H
#define BOW_SERVE_DEVICE_H

#include "bowimg/serve/service.h"

/* As the session and the options say; the session has e->loop then. */
int bow_device_add(struct bow_service *s, const struct bow_service_options *opts,
		   struct bowimg_error *err);

/* Take it away again, if it is there, and its mount, lazily if need be. */
void bow_device_remove(const struct bow_session *e);

#endif
