/* SPDX-License-Identifier: MIT */
/* The runtime directory, and a search in it. */
#ifndef BOW_SERVE_RUNTIME_DIR_H
#define BOW_SERVE_RUNTIME_DIR_H

#include "bowimg/serve/runtime.h"

/* Its path. Made if it is missing. -EPERM if other users could write in it. */
int bow_runtime_base(char *out, size_t bytes, struct bowimg_error *err);

/*
 * Calls `one` with the path of every entry. A value other than 0 ends the walk and is returned.
 * Nothing is made: if there is no such directory, there are no entries.
 */
int bow_runtime_each(int (*one)(void *ctx, const char *path), void *ctx, struct bowimg_error *err);

/* The first session that matches: 1 and *out (not locked), 0 if there is none, -errno. */
int bow_runtime_search(bool (*matches)(const struct bow_session *e, const char *what),
		       const char *what, struct bow_session *out, struct bowimg_error *err);

#endif
