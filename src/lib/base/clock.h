/* SPDX-License-Identifier: MIT */
/* The time since the machine started: for how long something took, and how long to wait. */
#ifndef BOW_BASE_CLOCK_H
#define BOW_BASE_CLOCK_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t bow_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int64_t bow_now_ms(void)
{
	return (int64_t)(bow_now_ns() / 1000000u);
}

/* All of it, whatever signals come. */
static inline void bow_sleep_ms(unsigned ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000L};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

#endif
