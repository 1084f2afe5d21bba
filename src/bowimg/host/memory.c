/* SPDX-License-Identifier: MIT */
/* The daemon's memory: no growth while serving, nothing paged out, last to be killed. */
#include "bowimg/host/memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "bowimg/host/notice.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* Most that is taken of one mapping, and of one that is neither written nor run. */
#define MAPPING_BYTES (1u << 30)
#define TABLE_BYTES (8u << 20)

/* What small allocations while serving live on: libfuse's request structures, mostly. */
#define HEAP_RESERVE_BYTES (4u << 20)

/* One heap that never shrinks: a trimmed heap would have to grow again at a bad moment. */
static void reserve_heap(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	void *reserve = malloc(HEAP_RESERVE_BYTES);
	/* Keeps the compiler from removing both calls. */
	__asm__ volatile("" : : "r"(reserve) : "memory");
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
	/* Allocations then never wait for dirty pages, which we might have to write. */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0 && verbose)
		bow_notice("this process may not become an I/O flusher (%s); it could be slowed "
			   "down when memory is short",
			   strerror(errno));
	lower_oom_score();
	reserve_heap();
}

/* ---- taking it ------------------------------------------------------------------- */

struct mapping {
	uintptr_t start, end;
	char access[5]; /* as "rw-p" */
	char name[PATH_MAX];
};

static bool parse(const char *line, struct mapping *out)
{
	out->name[0] = '\0';
	return sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %4095[^\n]", &out->start,
		      &out->end, out->access, out->name) >= 3;
}

/* For a kernel that cannot do it (before 5.14). Other threads may write there, too. */
static void touch(const struct mapping *m)
{
	const long page = sysconf(_SC_PAGESIZE);

	for (uintptr_t at = m->start; at < m->end; at += (uintptr_t)page)
		__atomic_fetch_or((uint8_t *)at, 0, __ATOMIC_RELAXED);
}

/*
 * What the process writes, and the code that it may run. Large tables of libraries are left out:
 * serving looks nothing up in the 30 MB that the names of all characters take.
 */
static void take(const struct mapping *m)
{
	const size_t bytes = m->end - m->start;
	bool writes = m->access[1] == 'w';

	/* The mappings of terabytes that sanitizers make are no memory yet. */
	if (bytes > MAPPING_BYTES || m->access[0] != 'r' || m->access[3] != 'p' ||
	    strncmp(m->name, "[v", 2) == 0 ||
	    (!writes && m->access[2] != 'x' && bytes > TABLE_BYTES))
		return;
	if (madvise((void *)m->start, bytes, writes ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) <
		    0 &&
	    errno == EINVAL && writes)
		touch(m);
}

static void take_all(void)
{
	CLEANUP_FREE struct mapping *m = malloc(sizeof(*m));
	CLEANUP_FREE char *line = NULL;
	size_t room = 0;
	FILE *f = fopen("/proc/self/maps", "re");

	while (m && f && getline(&line, &room, f) > 0)
		if (parse(line, m))
			take(m);
	if (f)
		fclose(f);
}

void bow_memory_take(bool verbose)
{
	/* Nothing is read for this: what take_all() leaves out is pinned when it is used. */
	if (mlockall(MCL_CURRENT | MCL_ONFAULT) < 0 && verbose)
		bow_notice("this process may not lock its memory (%s); it could be slowed down "
			   "when memory is short",
			   strerror(errno));
	take_all();
}
