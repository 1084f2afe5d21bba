/* SPDX-License-Identifier: MIT */
/* The daemon's memory: no growth while serving, nothing paged out, last to be killed. */
#include "fronts/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fronts/notice.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/* What small allocations while serving live on: libfuse's request structures, mostly. */
#define HEAP_RESERVE_BYTES (4u << 20)

/* One heap that never shrinks: a trimmed heap would have to grow again at a bad moment. */
static void reserve_heap(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	void *reserve = malloc(HEAP_RESERVE_BYTES);
	if (reserve) {
		memset(reserve, 0x5a, HEAP_RESERVE_BYTES);
		/* So that the compiler does not leave out the touching of memory it sees freed. */
		__asm__ volatile("" : : "r"(reserve) : "memory");
	}
	free(reserve);
}

/* Without CAP_SYS_RESOURCE the kernel allows down to the lowest value this process ever had. */
static void lower_oom_score(void)
{
	CLEANUP_CLOSE int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char now_text[16] = "", text[16];
	int now;

	if (fd < 0 || read(fd, now_text, sizeof(now_text) - 1) <= 0 ||
	    sscanf(now_text, "%d", &now) != 1)
		return;
	for (int score = -1000; score < now; score += 100) {
		int bytes = snprintf(text, sizeof(text), "%d", score);
		if (pwrite(fd, text, (size_t)bytes, 0) == bytes)
			return;
	}
}

void bow_memory_prepare(bool verbose)
{
	/* Allocations then never wait for dirty pages to be written, which could be ours to write.
	 */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0 && verbose)
		bow_notice("this process may not become an I/O flusher (%s); it could be slowed "
			   "down when memory is short",
			   strerror(errno));
	lower_oom_score();
	reserve_heap();
}

void bow_memory_lock(bool verbose)
{
	if (mlockall(MCL_CURRENT) < 0 && verbose)
		bow_notice("this process may not lock its memory (%s); it could be slowed down "
			   "when memory is short",
			   strerror(errno));
}
