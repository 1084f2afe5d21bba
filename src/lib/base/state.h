/* SPDX-License-Identifier: MIT */
/* The states of an image, in words. */
#ifndef BOW_BASE_STATE_H
#define BOW_BASE_STATE_H

#include "lib/base/err.h"

/* "nothing to do here" for a verb on an image in this state; never returns 0. */
int bow_wrong_state(enum bowimg_state state, const char *verb, struct bowimg_error *err);

#endif
