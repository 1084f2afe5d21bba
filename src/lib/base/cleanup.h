/* SPDX-License-Identifier: MIT */
/* Scope-bound release of memory and read-only descriptors; never for anything whose close can fail.
 */
#ifndef BOW_BASE_CLEANUP_H
#define BOW_BASE_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void bow_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void bow_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define CLEANUP_FREE __attribute__((cleanup(bow_cleanup_free)))
#define CLEANUP_CLOSE __attribute__((cleanup(bow_cleanup_close)))

#endif
