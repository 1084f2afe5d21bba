/* SPDX-License-Identifier: MIT */
/* Waits use a pidfd, which works for children and others, and beside a signalfd. */
#include "bowimg/host/process.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "lib/base/program.h"

static void caught_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

int bow_process_catch_signals(struct bowimg_error *err)
{
	sigset_t set;

	caught_set(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return bow_err_errno(err, -errno, "cannot make a descriptor for signals");
	return fd;
}

int bow_process_take_signal(int signal_fd, bool *from_terminal)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return 0;
	/* A terminal sends its signal to the whole foreground group, and so to children. */
	*from_terminal = info.ssi_code > 0;
	return (int)info.ssi_signo;
}

int bow_process_wait_fd(int fd, int signal_fd)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};

	for (;;) {
		if (poll(fds, 2, -1) < 0) {
			if (errno != EINTR)
				return -errno;
			continue;
		}
		if (fds[0].revents)
			return 0;
		if (fds[1].revents)
			return -EINTR;
	}
}

/* ctx is our pid. The signal comes when the thread that forked ends. */
static int die_with_parent(void *ctx)
{
	const pid_t *parent = ctx;

	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		return -errno;
	/* We may have died before that. */
	if (getppid() != *parent)
		raise(SIGTERM);
	return 0;
}

int bow_process_refuse_missing(const char *name, int code, struct bowimg_error *err)
{
	bow_err_errno(err, code, "cannot start %s", name);
	if (code == -ENOENT)
		bow_err_hint(err, "is it installed, and in a directory of PATH?");
	return code;
}

static pid_t start(const struct bow_program *program, struct bowimg_error *err)
{
	struct bow_child child = BOW_NO_CHILD;
	int ret = bow_program_start(program, &child);

	if (!ret)
		return child.pid;
	return bow_process_refuse_missing(program->argv[0], ret, err);
}

pid_t bow_process_spawn(char *const argv[], struct bowimg_error *err)
{
	return start(&(struct bow_program){.argv = argv}, err);
}

pid_t bow_process_spawn_bound(char *const argv[], struct bowimg_error *err)
{
	pid_t self = getpid();

	return start(&(struct bow_program){.argv = argv, .prepare = die_with_parent, .ctx = &self},
		     err);
}

static void pass_on(pid_t pid, int signal_fd, int *caught)
{
	bool from_terminal = false;
	int signo = bow_process_take_signal(signal_fd, &from_terminal);

	if (signo) {
		*caught = signo;
		if (!from_terminal)
			kill(pid, signo);
	}
}

/* As bow_process_wait_fd(), but it goes on after a signal or an aside. */
static int wait_beside(pid_t pid, int fd, int signal_fd, struct bow_process_aside *aside,
		       int *caught)
{
	struct pollfd fds[3] = {{.fd = fd, .events = POLLIN},
				{.fd = signal_fd, .events = POLLIN},
				{.events = POLLIN}};

	for (;;) {
		fds[2].fd = aside->fd;
		if (poll(fds, 3, -1) < 0) {
			if (errno != EINTR)
				return -errno;
			continue;
		}
		if (fds[0].revents)
			return 0;
		if (fds[1].revents)
			pass_on(pid, signal_fd, caught);
		if (fds[2].revents && aside->turn)
			aside->turn(aside);
	}
}

int bow_process_wait(pid_t pid, int signal_fd, int *wstatus, int *caught, struct bowimg_error *err)
{
	return bow_process_wait_beside(pid, signal_fd, NULL, wstatus, caught, err);
}

int bow_process_wait_beside(pid_t pid, int signal_fd, struct bow_process_aside *aside, int *wstatus,
			    int *caught, struct bowimg_error *err)
{
	struct bow_process_aside nothing = {.fd = -1};
	CLEANUP_CLOSE int fd = pidfd_open(pid, 0);
	int ret;

	if (fd < 0)
		return bow_err_errno(err, -errno, "cannot watch process %d", (int)pid);
	ret = wait_beside(pid, fd, signal_fd, aside ? aside : &nothing, caught);
	if (ret)
		return bow_err_errno(err, ret, "cannot wait for process %d", (int)pid);
	if (waitpid(pid, wstatus, 0) < 0)
		return bow_err_errno(err, -errno, "cannot wait for process %d", (int)pid);
	return 0;
}

uint64_t bow_process_start_time(pid_t pid)
{
	char path[64], text[1024];
	unsigned long long start = 0;
	char state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t bytes = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (bytes <= 0)
		return 0;
	text[bytes] = '\0';
	/* The second field is the name in parentheses, which may hold others: start after the last.
	 */
	const char *rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1,
			    " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
			    "%*d %*d %llu",
			    &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

int64_t bow_process_started_at(uint64_t start_time)
{
	const int64_t second = 1000000000, tick = second / sysconf(_SC_CLK_TCK);
	struct timespec now, up;
	int64_t at;

	/* In nanoseconds: of two seconds that are cut off apart, one may be missing in the end. */
	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &up);
	if (start_time > (uint64_t)(INT64_MAX / 2 / tick))
		return now.tv_sec;
	at = (now.tv_sec - up.tv_sec) * second + now.tv_nsec - up.tv_nsec;
	at = (at + (int64_t)start_time * tick) / second;
	return at < now.tv_sec ? at : now.tv_sec;
}

static int wait_ended(int fd, int timeout_ms)
{
	struct pollfd end = {.fd = fd, .events = POLLIN};
	int n;

	while ((n = poll(&end, 1, timeout_ms)) < 0 && errno == EINTR)
		;
	return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
}

int bow_process_wait_gone(pid_t pid, uint64_t start_time, int timeout_ms, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = pidfd_open(pid, 0);

	if (fd < 0 && errno == ESRCH)
		return 0;
	if (fd < 0)
		return bow_err_errno(err, -errno, "cannot watch process %d", (int)pid);
	/* Compared after the pidfd was made: now the pidfd is of the process with this start time.
	 */
	if (bow_process_start_time(pid) == start_time) {
		int ret = wait_ended(fd, timeout_ms);
		if (ret)
			return bow_err_errno(err, ret, "cannot wait for process %d", (int)pid);
	}
	waitpid(pid, NULL, WNOHANG); /* if it was a child of ours */
	return 0;
}
