/* SPDX-License-Identifier: MIT */
/*
 * For simulated devices under ThreadSanitizer. Such a device has a lock of its own, which orders
 * whatever passes through it, as no real disk does: races of its callers would never be seen. So
 * the lock and all that is done under it are overlooked, and only what the device does with its
 * caller's buffer is told. Without the sanitizer all of this is nothing.
 */
#ifndef TESTS_TSAN_H
#define TESTS_TSAN_H

#include <stddef.h>

#ifdef __SANITIZE_THREAD__

/* The sanitizer's own names; it brings no header for them. */
void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
void __tsan_read_range(void *start, long bytes);
void __tsan_write_range(void *start, long bytes);

static inline void tsan_overlook_begin(void)
{
	AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
	AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}

static inline void tsan_overlook_end(void)
{
	AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
	AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
}

static inline void tsan_reads(const void *start, size_t bytes)
{
	__tsan_read_range((void *)start, (long)bytes);
}

static inline void tsan_writes(void *start, size_t bytes)
{
	__tsan_write_range(start, (long)bytes);
}

#else

static inline void tsan_overlook_begin(void)
{
}

static inline void tsan_overlook_end(void)
{
}

static inline void tsan_reads(const void *start, size_t bytes)
{
	(void)start;
	(void)bytes;
}

static inline void tsan_writes(void *start, size_t bytes)
{
	(void)start;
	(void)bytes;
}

#endif

#endif
