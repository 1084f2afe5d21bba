/* SPDX-License-Identifier: MIT */
/* The runtime directory itself, and searching it. */
#ifndef BOW_FRONTS_RUNTIME_DIR_H
#define BOW_FRONTS_RUNTIME_DIR_H

#include "fronts/runtime.h"

/* Its path; made if missing. -EPERM if others could write in it. */
int bow_runtime_base(char *out, size_t bytes, struct bowimg_error *err);

/* The first entry that matches: 1 and *out (not locked), 0 none, -errno. */
int bow_runtime_search(bool (*matches)(const struct bow_entry *e, const char *what),
		       const char *what, struct bow_entry *out, struct bowimg_error *err);

#endif
