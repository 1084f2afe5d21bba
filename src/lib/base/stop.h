/* SPDX-License-Identifier: MIT */
/* Does the caller want an end to it? Asked where everything can be left as it is. */
#ifndef BOW_BASE_STOP_H
#define BOW_BASE_STOP_H

#include "lib/base/err.h"

/* 0, or -ECANCELED with a message. Of events NULL, nobody stops anything. */
int bow_stop_asked(const struct bowimg_events *events, struct bowimg_error *err);

#endif
