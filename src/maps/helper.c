/* SPDX-License-Identifier: MIT */
#include "maps/helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

extern char **environ;

static bool is_program(const char *dir, size_t bytes, const char *program, char path[PATH_MAX])
{
	struct stat st;
	int n = snprintf(path, PATH_MAX, "%.*s/%s", (int)bytes, dir, program);

	return n > 0 && n < PATH_MAX && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       access(path, X_OK) == 0;
}

static bool find_in(const char *list, const char *program, char path[PATH_MAX])
{
	while (list && *list) {
		size_t bytes = strcspn(list, ":");

		/* Never from wherever we happen to be. */
		if (*list == '/' && is_program(list, bytes, program, path))
			return true;
		list += bytes + (list[bytes] == ':');
	}
	return false;
}

bool bow_helper_find(const char *program, char path[PATH_MAX])
{
	return find_in(getenv("PATH"), program, path) ||
	       find_in("/usr/local/sbin:/usr/sbin:/sbin", program, path);
}

/* Our environment, but with messages that everybody gets in the same words. */
static char **c_locale(void)
{
	size_t n = 0, k = 0;
	char **env;

	while (environ && environ[n])
		n++;
	env = calloc(n + 2, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "LC_ALL=", 7) != 0)
			env[k++] = environ[i];
	env[k] = (char *)"LC_ALL=C"; /* only read, as argv is */
	return env;
}

struct run {
	char *const *argv;
	int input, output; /* above all numbers that the program is given */
	int words_read, words_write;
	int pidfd;
	pid_t pid;
	const struct bow_helper_limits *limits;
	struct bow_helper_words *words;
};

static int add_descriptors(const struct run *r, posix_spawn_file_actions_t *actions)
{
	int rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

	if (!rc)
		rc = posix_spawn_file_actions_adddup2(actions, r->words_write, 1);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(actions, r->words_write, 2);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(actions, r->input, BOW_HELPER_INPUT);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(actions, r->output, BOW_HELPER_OUTPUT);
	if (!rc)
		rc = posix_spawn_file_actions_addclosefrom_np(actions, BOW_HELPER_OUTPUT + 1);
	return rc;
}

/* What we ignore or block is our business; the program starts as from a shell. */
static int set_signals(posix_spawnattr_t *attr)
{
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setsigdefault(attr, &all);
	return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int spawn(struct run *r, char **env)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int rc = posix_spawn_file_actions_init(&actions);

	if (rc)
		return -rc;
	rc = posix_spawnattr_init(&attr);
	if (!rc) {
		rc = add_descriptors(r, &actions);
		if (!rc)
			rc = set_signals(&attr);
		if (!rc)
			rc = posix_spawn(&r->pid, r->argv[0], &actions, &attr, r->argv, env);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -rc;
}

static void hear(struct run *r, const char *text, size_t bytes)
{
	struct bow_helper_words *w = r->words;
	const size_t room = sizeof(w->text) - 1;
	size_t drop;

	if (bytes > room) {
		text += bytes - room;
		bytes = room;
	}
	drop = w->bytes + bytes > room ? w->bytes + bytes - room : 0;
	memmove(w->text, w->text + drop, w->bytes - drop);
	memcpy(w->text + w->bytes - drop, text, bytes);
	w->bytes += bytes - drop;
	w->text[w->bytes] = '\0';
}

/* Everything that is there to be read. False: nobody will say anything any more. */
static bool listen(struct run *r)
{
	char buf[1024];
	ssize_t n;

	while ((n = read(r->words_read, buf, sizeof(buf))) > 0)
		hear(r, buf, (size_t)n);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until it has ended; -ETIMEDOUT if it says nothing for too long. */
static int watch(struct run *r)
{
	struct pollfd fds[2] = {{.fd = r->pidfd, .events = POLLIN},
				{.fd = r->words_read, .events = POLLIN}};
	const int64_t patience = (int64_t)r->limits->silent_s * 1000;
	int64_t heard = now_ms();

	for (;;) {
		int64_t left = heard + patience - now_ms();

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(fds, 2, (int)bow_min((uint64_t)left, 60000)) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents) {
			heard = now_ms();
			if (!listen(r))
				fds[1].fd = -1;
		}
		if (fds[0].revents)
			return 0;
	}
}

static int say_end(const struct run *r, const siginfo_t *end, struct bowimg_error *err)
{
	if (end->si_code == CLD_EXITED && end->si_status == 0)
		return 0;
	if (end->si_code == CLD_EXITED)
		return bow_err(err, -EIO, "%s ended with status %d", r->argv[0], end->si_status);
	return bow_err(err, -EIO, "%s was killed by signal %d", r->argv[0], end->si_status);
}

static int follow(struct run *r, struct bowimg_error *err)
{
	siginfo_t end = {0};
	int rc = watch(r);

	if (rc)
		kill(r->pid, SIGKILL); /* our child, not yet waited for: the number is its own */
	while (waitid(P_PIDFD, (id_t)r->pidfd, &end, WEXITED) < 0)
		if (errno != EINTR)
			return bow_err_errno(err, -errno, "%s: learn how it ended", r->argv[0]);
	listen(r);
	if (rc == -ETIMEDOUT)
		return bow_err(err, rc, "%s said nothing for %u seconds and was stopped",
			       r->argv[0], r->limits->silent_s);
	return rc ? bow_err_errno(err, rc, "%s: wait for it", r->argv[0]) : say_end(r, &end, err);
}

static int start(struct run *r, struct bowimg_error *err)
{
	const struct rlimit size = {r->limits->output_bytes, r->limits->output_bytes};
	CLEANUP_FREE char **env = c_locale();
	int rc = env ? spawn(r, env) : -ENOMEM;

	close(r->words_write);
	if (rc)
		return bow_err_errno(err, rc, "start %s", r->argv[0]);
	/* A child of ours stays what its number says until it is waited for. */
	prlimit(r->pid, RLIMIT_FSIZE, &size, NULL);
	r->pidfd = pidfd_open(r->pid, 0);
	if (r->pidfd >= 0)
		return 0;
	rc = bow_err_errno(err, -errno, "watch %s", r->argv[0]);
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	return rc;
}

int bow_helper_run(char *const argv[], int input, int output,
		   const struct bow_helper_limits *limits, struct bow_helper_words *words,
		   struct bowimg_error *err)
{
	const int above = BOW_HELPER_OUTPUT + 1;
	CLEANUP_CLOSE int in = fcntl(input, F_DUPFD_CLOEXEC, above);
	CLEANUP_CLOSE int out = fcntl(output, F_DUPFD_CLOEXEC, above);
	struct run r = {.argv = argv, .limits = limits, .words = words, .input = in, .output = out};
	int ends[2], rc;

	*words = (struct bow_helper_words){0};
	if (in < 0 || out < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return bow_err_errno(err, -errno, "start %s", argv[0]);
	r.words_read = ends[0];
	r.words_write = ends[1];
	rc = fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0
		     ? bow_err_errno(err, -errno, "start %s", argv[0])
		     : 0;
	if (rc)
		close(ends[1]);
	else
		rc = start(&r, err);
	if (!rc) {
		rc = follow(&r, err);
		close(r.pidfd);
	}
	close(ends[0]);
	return rc;
}
