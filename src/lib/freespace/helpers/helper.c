/* SPDX-License-Identifier: MIT */
#include "lib/freespace/helpers/helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/cleanup.h"
#include "lib/base/program.h"
#include "lib/base/stop.h"

/* A signal interrupts poll(); one that comes just before it is seen after this time. */
#define LOOK_UP_MS 1000

extern char **environ;

bool bow_helper_find(const char *program, char path[PATH_MAX])
{
	return bow_program_find(getenv("PATH"), program, path) ||
	       bow_program_find("/usr/local/sbin:/usr/sbin:/sbin", program, path);
}

/* Our environment, but with messages in English, which the lists of noise know. */
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
	const struct bow_helper *helper;
	struct bow_helper_end *end;
	struct bow_child child;
	int pidfd;
	int output; /* our end of the pipe; never blocks */
};

/* Everything that can be read now. False: nothing will come any more. */
static bool read_output(struct run *r)
{
	char buf[1024];
	ssize_t n;

	while ((n = read(r->output, buf, sizeof(buf))) > 0)
		bow_helper_output_add(&r->end->output, buf, (size_t)n);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Until it has ended; -ETIMEDOUT: it printed nothing for too long, -ECANCELED: it is to end. */
static int watch(struct run *r)
{
	struct pollfd fds[2] = {{.fd = r->pidfd, .events = POLLIN},
				{.fd = r->output, .events = POLLIN}};
	const int64_t patience = (int64_t)r->helper->silent_s * 1000;
	int64_t last_output = bow_now_ms();

	for (;;) {
		int64_t left = last_output + patience - bow_now_ms();

		if (left <= 0)
			return -ETIMEDOUT;
		if (bow_stop_asked(r->helper->events, NULL))
			return -ECANCELED;
		if (poll(fds, 2, (int)bow_min((uint64_t)left, LOOK_UP_MS)) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents) {
			last_output = bow_now_ms();
			if (!read_output(r))
				fds[1].fd = -1;
		}
		if (fds[0].revents)
			return 0;
	}
}

static int report_end(const struct run *r, int wstatus, struct bowimg_error *err)
{
	const char *program = r->helper->argv[0];

	if (wstatus < 0)
		return bow_err_errno(err, wstatus, "%s: learn how it ended", program);
	if (WIFSIGNALED(wstatus))
		return bow_err(err, -EIO, "%s was killed by signal %d", program, WTERMSIG(wstatus));
	r->end->status = WEXITSTATUS(wstatus);
	if (!r->end->status)
		return 0;
	return bow_err(err, -EIO, "%s ended with status %d", program, r->end->status);
}

static int follow(struct run *r, struct bowimg_error *err)
{
	const char *program = r->helper->argv[0];
	int rc = watch(r), wstatus;

	if (rc)
		kill(r->child.pid, SIGKILL); /* not waited for yet: the number is its own */
	wstatus = bow_child_end(&r->child);
	read_output(r);
	/* Ctrl-C in a terminal ends the program as well, perhaps before we are told to stop. */
	if (bow_stop_asked(r->helper->events, err))
		return -ECANCELED;
	if (rc == -ETIMEDOUT)
		return bow_err(err, rc, "%s printed nothing for %u seconds and was stopped",
			       program, r->helper->silent_s);
	return rc ? bow_err_errno(err, rc, "%s: wait for it", program)
		  : report_end(r, wstatus, err);
}

/* In the child. */
static int limit_file(void *ctx)
{
	const struct bow_helper *h = ctx;
	const struct rlimit size = {h->file_bytes, h->file_bytes};

	if (h->file_bytes == UINT64_MAX)
		return 0;
	return setrlimit(RLIMIT_FSIZE, &size) < 0 ? -errno : 0;
}

static int start(struct run *r, int volume, int output, struct bowimg_error *err)
{
	const int fds[] = {BOW_PROGRAM_NULL, output, output, volume, r->helper->file};
	CLEANUP_FREE char **env = c_locale();
	const struct bow_program program = {.argv = r->helper->argv,
					    .env = env,
					    .fds = fds,
					    .fd_count = sizeof(fds) / sizeof(fds[0]),
					    .default_signals = true,
					    .prepare = limit_file,
					    .ctx = (void *)r->helper};
	int rc = env ? bow_program_start(&program, &r->child) : -ENOMEM;

	return rc ? bow_err_errno(err, rc, "start %s", program.argv[0]) : 0;
}

static int start_and_follow(struct run *r, int volume, int output, struct bowimg_error *err)
{
	int rc = start(r, volume, output, err);

	close(output);
	if (rc)
		return rc;
	r->pidfd = pidfd_open(r->child.pid, 0);
	if (r->pidfd < 0) {
		rc = bow_err_errno(err, -errno, "watch %s", r->helper->argv[0]);
		kill(r->child.pid, SIGKILL);
		bow_child_end(&r->child);
		return rc;
	}
	rc = follow(r, err);
	close(r->pidfd);
	return rc;
}

int bow_helper_run(const struct bow_helper *h, int volume, struct bow_helper_end *end,
		   struct bowimg_error *err)
{
	struct run r = {.helper = h, .end = end, .child = BOW_NO_CHILD};
	int ends[2], rc;

	*end = (struct bow_helper_end){.ran = true, .status = -1};
	if (pipe2(ends, O_CLOEXEC) < 0)
		return bow_err_errno(err, -errno, "start %s", h->argv[0]);
	r.output = ends[0];
	if (fcntl(r.output, F_SETFL, O_NONBLOCK) < 0) {
		rc = bow_err_errno(err, -errno, "start %s", h->argv[0]);
		close(ends[1]);
	} else {
		rc = start_and_follow(&r, volume, ends[1], err);
	}
	close(r.output);
	return rc;
}
