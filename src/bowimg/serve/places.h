/* SPDX-License-Identifier: MIT */
/* The directories that a user gives to mount on. */
#ifndef BOW_SERVE_PLACES_H
#define BOW_SERVE_PLACES_H

#include <limits.h>
#include "lib/base/err.h"

/* An existing directory, as an absolute path of up to PATH_MAX bytes. */
int bow_place_directory(const char *dir, char *out, struct bowimg_error *err);

/* One that is empty: FUSE would hide what is in it, without a word. */
int bow_place_empty(const char *dir, char *out, struct bowimg_error *err);

#endif
