/* SPDX-License-Identifier: MIT */
/* Who has the image, and what can be done with it now, in words. */
#ifndef BOW_CLI_NEXT_H
#define BOW_CLI_NEXT_H

#include <stddef.h>

#include "bowimg.h"
#include "bowimg/serve/list.h"

/* "mounted at /mnt (process 2361)". Returns `out`. */
#define BOW_NEXT_SERVED_MAX (3 * PATH_MAX)
const char *bow_next_served(const struct bow_served *served, char *out, size_t bytes);

/*
 * The commands that are possible now. `served` is from bow_served_find(), or NULL. Returns `out`.
 */
#define BOW_NEXT_MAX (4 * PATH_MAX)
const char *bow_next_step(const char *image, const struct bowimg_status *s,
			  const struct bow_served *served, char *out, size_t bytes);

/*
 * Of an image that a daemon of bowimg's serves, else false: in one line that is cut nowhere,
 * "process 12 serves it at /mnt; to end that: bowimg umount IMAGE".
 */
bool bow_next_in_use(const char *image, char *out, size_t bytes);

/* "end that first: bowimg umount IMAGE". false: the message is about no such process. */
bool bow_next_hint(const char *image, const char *message, char *out, size_t bytes);

#endif
