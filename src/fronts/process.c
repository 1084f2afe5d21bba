/* SPDX-License-Identifier: MIT */
/* Processes. Waiting is by pidfd, so that it works for children and others, next to a signalfd. */
#include "fronts/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"

extern char **environ;

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
		return bow_err_errno(err, -errno, "making a descriptor for signals");
	return fd;
}

void bow_process_restore_signals(void)
{
	sigset_t set;

	caught_set(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int bow_process_take_signal(int signal_fd, bool *from_terminal)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return 0;
	/* The terminal driver has sent its signal to the whole foreground group, children included.
	 */
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

pid_t bow_process_spawn(char *const argv[], struct bowimg_error *err)
{
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	int ret = posix_spawnp(&pid, argv[0], NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	if (ret)
		return bow_err_errno(err, -ret, "starting %s", argv[0]);
	return pid;
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

int bow_process_wait(pid_t pid, int signal_fd, int *wstatus, int *caught, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = pidfd_open(pid, 0);
	int ret;

	if (fd < 0)
		return bow_err_errno(err, -errno, "watching process %d", (int)pid);
	while ((ret = bow_process_wait_fd(fd, signal_fd)) == -EINTR)
		pass_on(pid, signal_fd, caught);
	if (ret)
		return bow_err_errno(err, ret, "waiting for process %d", (int)pid);
	if (waitpid(pid, wstatus, 0) < 0)
		return bow_err_errno(err, -errno, "waiting for process %d", (int)pid);
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
	/* The second field is the name in parentheses and may hold anything: start after the last.
	 */
	const char *rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1,
			    " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
			    "%*d %*d %llu",
			    &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

int bow_process_wait_gone(pid_t pid, uint64_t start_time, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = pidfd_open(pid, 0);

	if (fd < 0 && errno == ESRCH)
		return 0;
	if (fd < 0)
		return bow_err_errno(err, -errno, "watching process %d", (int)pid);
	/* Asked after the pidfd was made: that one now stands for the process of this start time.
	 */
	if (bow_process_start_time(pid) == start_time) {
		int ret = bow_process_wait_fd(fd, -1);
		if (ret)
			return bow_err_errno(err, ret, "waiting for process %d", (int)pid);
	}
	waitpid(pid, NULL, WNOHANG); /* if it was a child of ours */
	return 0;
}
