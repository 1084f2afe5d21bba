/* SPDX-License-Identifier: MIT */
/*
 * Happy path: fork; the child arranges its descriptors and signals and executes the program, which
 * closes the pipe. Failure modes: any step fails: the child writes its errno to the pipe and exits,
 * and is waited for here.
 */
#include "lib/base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- in the child ---------------------------------------------------------------- */

/* First out of the way, above all numbers that are given: any may have another's number. */
static int place_fds(const struct bow_program *p, int *report)
{
	int high[BOW_PROGRAM_FDS_MAX], fd = fcntl(*report, F_DUPFD_CLOEXEC, p->fd_count);

	if (fd < 0)
		return -errno;
	*report = fd;
	for (int i = 0; i < p->fd_count; i++) {
		fd = p->fds[i];
		if (fd == BOW_PROGRAM_NULL)
			fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		high[i] = fcntl(fd, F_DUPFD_CLOEXEC, p->fd_count);
		if (high[i] < 0)
			return -errno;
	}
	for (int i = 0; i < p->fd_count; i++)
		if (dup2(high[i], i) < 0)
			return -errno;
	fd = bow_child_keep_only(*report, p->fd_count);
	*report = fd < 0 ? *report : fd;
	return fd < 0 ? fd : 0;
}

static void set_signals(const struct bow_program *p)
{
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	for (int signo = 1; p->default_signals && signo < NSIG; signo++)
		signal(signo, SIG_DFL); /* fails for SIGKILL and SIGSTOP: fine */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(const struct bow_program *p, int report)
{
	int rc = p->fds ? place_fds(p, &report) : 0;

	set_signals(p);
	if (!rc && p->prepare)
		rc = p->prepare(p->ctx);
	if (!rc) {
		execvpe(p->argv[0], p->argv, p->env ? p->env : environ);
		rc = -errno;
	}
	(void)!write(report, &rc, sizeof(rc));
	_exit(127);
}

/* ---- starting -------------------------------------------------------------------- */

/* All signals are blocked meanwhile: our handlers must not run in the child. */
static pid_t fork_program(const struct bow_program *p, int report)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pid_t pid = fork();
	if (pid == 0)
		become(p, report);
	pid = pid < 0 ? -errno : pid;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid;
}

int bow_program_start(const struct bow_program *p, struct bow_child *c)
{
	struct bow_child started = BOW_NO_CHILD;
	int ends[2], rc = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	started.pid = fork_program(p, ends[1]);
	close(ends[1]);
	while (started.pid > 0 && read(ends[0], &rc, sizeof(rc)) < 0 && errno == EINTR)
		;
	close(ends[0]);
	if (started.pid < 0)
		return started.pid;
	if (rc)
		bow_child_end(&started);
	else
		c->pid = started.pid;
	return rc;
}

/* ---- finding --------------------------------------------------------------------- */

static bool is_program(const char *dir, size_t bytes, const char *name, char path[PATH_MAX])
{
	struct stat st;
	int n = snprintf(path, PATH_MAX, "%.*s/%s", (int)bytes, dir, name);

	return n > 0 && n < PATH_MAX && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       access(path, X_OK) == 0;
}

bool bow_program_find(const char *dirs, const char *name, char path[PATH_MAX])
{
	while (dirs && *dirs) {
		size_t bytes = strcspn(dirs, ":");

		/* Never in the current directory. */
		if (*dirs == '/' && is_program(dirs, bytes, name, path))
			return true;
		dirs += bytes + (dirs[bytes] == ':');
	}
	return false;
}
