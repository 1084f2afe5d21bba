/* SPDX-License-Identifier: MIT */
#include "bowimg/host/within.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 0: it has ended, or -ETIMEDOUT. */
static int wait_until(int pidfd, int64_t deadline)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};

	for (;;) {
		int64_t left = deadline - now_ms();
		int n = poll(&end, 1, left > 0 ? (int)bow_min(left, INT_MAX) : 0);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0 && left <= INT_MAX)
			return -ETIMEDOUT;
	}
}

static int take_status(pid_t child, int *status, struct bowimg_error *err)
{
	int wstatus;

	if (waitpid(child, &wstatus, 0) < 0)
		return bow_err_errno(err, -errno, "cannot wait for process %d", (int)child);
	if (!WIFEXITED(wstatus))
		return bow_err(err, -EIO, "the process that did it was killed by signal %d",
			       WTERMSIG(wstatus));
	*status = WEXITSTATUS(wstatus);
	return 1;
}

static int wait_within(pid_t child, unsigned seconds, int *status, struct bowimg_error *err)
{
	int64_t deadline = now_ms() + (int64_t)seconds * 1000;
	CLEANUP_CLOSE int fd = pidfd_open(child, 0);
	int rc = fd < 0 ? -errno : wait_until(fd, deadline);

	if (!rc)
		return take_status(child, status, err);
	kill(child, SIGKILL);
	return bow_err_errno(err, rc, "cannot wait for process %d", (int)child);
}

int bow_within(unsigned seconds, int *status, struct bowimg_error *err)
{
	pid_t parent = getpid(), child = fork();

	if (child < 0)
		return bow_err_errno(err, -errno, "cannot start a process");
	if (child > 0)
		return wait_within(child, seconds, status, err);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		raise(SIGTERM);
	return 0;
}
