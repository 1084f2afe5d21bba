/* SPDX-License-Identifier: MIT */
/*
 * The allocator with a countdown. The linker sends the program's calls here (--wrap, see LDFLAGS
 * beside this file); those inside the C library are not touched. Linked without these flags the
 * program still runs, and fails for want of a single fault.
 */
#include "fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

__attribute__((weak)) void *__real_malloc(size_t bytes);
__attribute__((weak)) void *__real_calloc(size_t count, size_t bytes);
__attribute__((weak)) void *__real_realloc(void *p, size_t bytes);
__attribute__((weak)) void *__real_aligned_alloc(size_t alignment, size_t bytes);
__attribute__((weak)) int __real_posix_memalign(void **p, size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **p, size_t alignment, size_t bytes);

static atomic_bool armed, again;
static _Atomic uint64_t left, failed;

void alloc_arm(uint64_t countdown, bool forever)
{
	left = countdown;
	again = forever;
	failed = 0;
	armed = true;
}

void alloc_disarm(void)
{
	armed = false;
}

uint64_t alloc_faults(void)
{
	return failed;
}

static bool fails(void)
{
	if (!armed)
		return false;
	if (left > 0) {
		left--;
		return false;
	}
	if (failed && !again)
		return false;
	failed++;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
	return fails() ? NULL : __real_realloc(p, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return fails() ? NULL : __real_aligned_alloc(alignment, bytes);
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t bytes)
{
	return fails() ? ENOMEM : __real_posix_memalign(p, alignment, bytes);
}
