/* SPDX-License-Identifier: MIT */
/*
 * Memory and random numbers for programs that open and leave a disk thousands of times a second.
 * What the program frees is kept by its size and given out again, without the allocator's search
 * for a piece that fits; only the main thread's, so that no lock is needed. Random numbers, which
 * range maps ask the kernel for, come from a counter: no system call, and every run is alike. The
 * linker sends the program's calls here (--wrap, see LDFLAGS beside this file). Under
 * AddressSanitizer buffers.c takes their place.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include "lib/rng.h"

ssize_t __wrap_getrandom(void *buf, size_t bytes, unsigned flags);

ssize_t __wrap_getrandom(void *buf, size_t bytes, unsigned flags)
{
	static _Atomic uint64_t calls;

	(void)flags;
	rng_fill(buf, bytes, rng_mix(calls++, 0x4a7d));
	return (ssize_t)bytes;
}

#ifndef __SANITIZE_ADDRESS__

#include <malloc.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void __real_free(void *p);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void __wrap_free(void *p);

#define SHELVES 1024u
#define MOST_BYTES (4u << 20) /* of one piece that is kept */
#define MOST_PIECES 256u      /* of one size: an engine's buffers, some times over */
#define UNIT 16u	      /* the allocator's */

/* Pieces of one size, linked through their first bytes. */
struct shelf {
	size_t size;
	uint32_t pieces;
	void *first;
};

static struct shelf shelves[SHELVES];
static pthread_t owner;

__attribute__((constructor)) static void note_owner(void)
{
	owner = pthread_self();
}

static struct shelf *shelf_of(size_t size)
{
	return &shelves[size / UNIT % SHELVES];
}

/* A piece that the allocator would make as large for this; NULL: there is none. */
static void *take(size_t bytes)
{
	size_t size = bytes < UNIT ? UNIT + 8 : (bytes + 8 + UNIT - 1) / UNIT * UNIT - 8;
	struct shelf *s = shelf_of(size);
	void *p = s->first;

	if (s->size != size || !p || !pthread_equal(pthread_self(), owner))
		return NULL;
	memcpy(&s->first, p, sizeof(s->first));
	s->pieces--;
	return p;
}

void *__wrap_malloc(size_t bytes)
{
	return take(bytes) ?: __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	void *p = bytes && count > MOST_BYTES / bytes ? NULL : take(count * bytes);

	return p ? memset(p, 0, count * bytes) : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
	return __real_realloc(p, bytes);
}

void __wrap_free(void *p)
{
	size_t size = p ? malloc_usable_size(p) : 0;
	struct shelf *s = shelf_of(size);

	if (!p || size > MOST_BYTES || s->pieces == MOST_PIECES || (s->pieces && s->size != size) ||
	    !pthread_equal(pthread_self(), owner)) {
		__real_free(p);
		return;
	}
	memcpy(p, &s->first, sizeof(s->first));
	s->first = p;
	s->size = size;
	s->pieces++;
}

#endif
