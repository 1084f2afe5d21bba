/* SPDX-License-Identifier: MIT */
/* The time since the machine started: for how long something took, and until when to wait. */
#ifndef BOW_BASE_CLOCK_H
#define BOW_BASE_CLOCK_H

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

#endif
