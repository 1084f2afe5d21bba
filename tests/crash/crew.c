/* SPDX-License-Identifier: MIT */
/* Many scenarios on all processors: processes that take the next one as long as there are any. */
#include "crew.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_JOBS 64u
#define MAX_FAILURES 5u /* of one process; the first of them are told in full */
#define MAX_TOLD 2u

/* Seen by all processes. */
struct board {
	atomic_bool stop;
	_Atomic uint64_t begun;	 /* scenarios */
	_Atomic uint64_t states; /* of those that ended */
	struct crash_counts counts[MAX_JOBS];
};

static void report(const struct crash_crew *crew, struct crash_run *run)
{
	if (crew->first_only) {
		printf("# %s\n", run->failure);
		fflush(stdout);
		return;
	}
	if (run->counts.failures <= MAX_TOLD)
		crash_minimise(run);
	crash_tell(run);
}

/* The next scenario of the course, if there is one, and states are still wanted. */
static bool take_scenario(const struct crash_course *course, struct board *board, uint64_t *n)
{
	*n = course->first + board->begun++ * course->step;
	return *n < course->end && board->states < course->states && !board->stop;
}

/* One process's part. */
static void run_part(const struct crash_crew *crew, const struct crash_course *course,
		     struct board *board, uint32_t job)
{
	struct crash_run *run = crash_run_new(crash_kind_blocks(course->kind), crew->trace);
	struct crash_id id = {.kind = course->kind};

	if (!run) {
		printf("# out of memory\n");
		board->counts[job].failures++;
		return;
	}
	while (take_scenario(course, board, &id.number)) {
		uint64_t states = run->counts.states;
		bool good = crash_run_scenario(run, &id);

		board->states += run->counts.states - states;
		/* Noted at once: the next scenario may end the process. */
		board->counts[job] = run->counts;
		if (!good) {
			report(crew, run);
			if (crew->first_only)
				board->stop = true;
		}
		if (run->counts.failures >= MAX_FAILURES)
			break;
	}
	crash_run_free(run);
}

/* All members are counters of the same size. */
static void add(struct crash_counts *sum, const struct crash_counts *part)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)part;
	size_t i;

	for (i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

static int wait_for(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	printf("# a process ended badly (status %#x)\n", status);
	return -ECHILD;
}

static int run_forked(const struct crash_crew *crew, const struct crash_course *course,
		      struct board *board)
{
	pid_t pid[MAX_JOBS];
	uint32_t job, started, jobs = crew->jobs * (strchr("tw", course->kind) ? 2 : 1);
	int rc = 0, rc2;

	fflush(stdout);
	for (started = 0; started < jobs; started++) {
		pid[started] = fork();
		if (pid[started] < 0) {
			rc = -errno;
			break;
		}
		if (pid[started] == 0) {
			run_part(crew, course, board, started);
			exit(0);
		}
	}
	for (job = 0; job < started; job++) {
		rc2 = wait_for(pid[job]);
		rc = rc ? rc : rc2;
	}
	return rc;
}

int crash_crew_run(const struct crash_crew *crew, const struct crash_course *course,
		   struct crash_counts *counts)
{
	struct board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t job;
	int rc = 0;

	if (board == MAP_FAILED)
		return -errno;
	if (crew->jobs > MAX_JOBS / 2)
		rc = -EINVAL;
	else if (crew->jobs > 1 || !crew->trace)
		rc = run_forked(crew, course, board);
	else
		run_part(crew, course, board, 0);
	for (job = 0; job < MAX_JOBS; job++)
		add(counts, &board->counts[job]);
	munmap(board, sizeof(*board));
	return rc;
}

FILE *crash_summary(void)
{
	const char *text = getenv("SUMMARY_FD");
	int fd = text && *text ? dup(atoi(text)) : -1;

	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	/* A child of ours would print again what is still in a buffer. */
	if (f)
		setvbuf(f, NULL, _IOLBF, BUFSIZ);
	return f;
}
