/* SPDX-License-Identifier: MIT */
/*
 * Large buffers under AddressSanitizer. It maps and unmaps each of them, and an engine has dozens,
 * which comes and goes thousands of times: most of the time would be the kernel's. Here they are
 * kept when freed, poisoned until they are given out again. The linker sends the program's calls
 * here (--wrap, see LDFLAGS beside this file); without the sanitizer to pool.c.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void __real_free(void *p);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void __wrap_free(void *p);

#define LEAST (128u << 10)
#define MOST (4u << 20)
#define KEPT 512u

struct buffer {
	void *p;
	size_t bytes;
	bool used;
};

static struct buffer kept[KEPT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A kept buffer of this size, or NULL; *slot: where a new one can be noted, or KEPT. */
static void *take(size_t bytes, unsigned *slot)
{
	unsigned i;

	*slot = KEPT;
	for (i = 0; i < KEPT; i++) {
		if (!kept[i].p && *slot == KEPT)
			*slot = i;
		if (kept[i].p && !kept[i].used && kept[i].bytes == bytes) {
			kept[i].used = true;
			__asan_unpoison_memory_region(kept[i].p, bytes);
			return kept[i].p;
		}
	}
	return NULL;
}

void *__wrap_malloc(size_t bytes)
{
	unsigned slot;
	void *p;

	if (bytes < LEAST || bytes > MOST)
		return __real_malloc(bytes);
	pthread_mutex_lock(&lock);
	p = take(bytes, &slot);
	if (!p) {
		p = __real_malloc(bytes);
		if (p && slot < KEPT)
			kept[slot] = (struct buffer){p, bytes, true};
	}
	pthread_mutex_unlock(&lock);
	return p;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	void *p;

	if (!count || bytes > MOST / count || count * bytes < LEAST)
		return __real_calloc(count, bytes);
	p = __wrap_malloc(count * bytes);
	if (p)
		memset(p, 0, count * bytes);
	return p;
}

/* Its size if p is one of those kept; else 0. */
static size_t release(void *p)
{
	size_t bytes = 0;
	unsigned i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < KEPT && p; i++)
		if (kept[i].p == p && kept[i].used) {
			bytes = kept[i].bytes;
			kept[i].used = false;
			__asan_poison_memory_region(p, bytes);
		}
	pthread_mutex_unlock(&lock);
	return bytes;
}

static size_t size_of(const void *p)
{
	size_t bytes = 0;
	unsigned i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < KEPT && p; i++)
		if (kept[i].p == p && kept[i].used)
			bytes = kept[i].bytes;
	pthread_mutex_unlock(&lock);
	return bytes;
}

void *__wrap_realloc(void *p, size_t bytes)
{
	size_t old = size_of(p);
	void *to;

	if (!old)
		return __real_realloc(p, bytes);
	to = __wrap_malloc(bytes);
	if (to) {
		memcpy(to, p, old < bytes ? old : bytes);
		release(p);
	}
	return to;
}

void __wrap_free(void *p)
{
	if (!release(p))
		__real_free(p);
}

#endif
