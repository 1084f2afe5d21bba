/* SPDX-License-Identifier: MIT */
/* Starting the daemon, from the command's side. Two pipes: its report once, and our control. */
#include "fronts/daemon.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fronts/process.h"

static pid_t fork_daemon(struct bow_entry *e, const struct bow_serve_options *opts,
			 const int control[2], const int report[2])
{
	pid_t pid = fork();

	if (pid == 0) {
		close(control[1]);
		close(report[0]);
		/* The lock is the command's; a copy here would hold it for ever. */
		close(e->lock_fd);
		e->lock_fd = -1;
		bow_daemon_main(e, opts, control[0], report[1]);
	}
	return pid < 0 ? -errno : pid;
}

/* Its report, or what can be said of a daemon that ended without one. */
static int read_report(struct bow_entry *e, int fd, int signal_fd, struct bowimg_error *err)
{
	struct bow_daemon_report report;

	int ret = bow_process_wait_fd(fd, signal_fd);
	if (ret == -EINTR)
		return bow_err(err, -EINTR, "serving %s: interrupted by a signal", e->image);
	ssize_t bytes = ret ? -1 : read(fd, &report, sizeof(report));
	if (bytes != (ssize_t)sizeof(report)) {
		ret = bow_err(err, -EIO, "serving %s: the daemon ended without a word", e->image);
		bow_err_hint(err, "was it killed for want of memory? see dmesg and the system log");
		return ret;
	}
	if (report.err.code && err)
		*err = report.err;
	e->connection = report.connection;
	return report.err.code;
}

static int wait_ready(struct bow_entry *e, struct bow_daemon *daemon, int report_fd, int signal_fd,
		      struct bowimg_error *err)
{
	e->pid = daemon->pid;
	e->start_time = bow_process_start_time(daemon->pid);
	int ret = bow_entry_save(e, err);
	if (!ret)
		ret = read_report(e, report_fd, signal_fd, err);
	if (!ret)
		ret = bow_entry_save(e, err);
	return ret;
}

int bow_daemon_start(struct bow_entry *e, const struct bow_serve_options *opts, int signal_fd,
		     struct bow_daemon *out, struct bowimg_error *err)
{
	int control[2], report[2];

	if (pipe2(control, O_CLOEXEC) < 0)
		return bow_err_errno(err, -errno, "starting the daemon for %s", e->image);
	if (pipe2(report, O_CLOEXEC) < 0) {
		int ret = bow_err_errno(err, -errno, "starting the daemon for %s", e->image);
		close(control[0]);
		close(control[1]);
		return ret;
	}
	pid_t pid = fork_daemon(e, opts, control, report);
	close(control[0]);
	close(report[1]);
	struct bow_daemon daemon = {.pid = pid, .control = control[1]};
	int ret = pid < 0 ? bow_err_errno(err, pid, "starting the daemon for %s", e->image)
			  : wait_ready(e, &daemon, report[0], signal_fd, err);
	close(report[0]);
	if (!ret) {
		*out = daemon;
		return 0;
	}
	/* Without us it takes down what it has set up. */
	close(daemon.control);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return ret;
}

static int send_byte(struct bow_daemon *daemon, char what, struct bowimg_error *err)
{
	if (write(daemon->control, &what, 1) == 1)
		return 0;
	return bow_err(err, -EIO, "the daemon (process %d) has ended unexpectedly",
		       (int)daemon->pid);
}

int bow_daemon_tie_to_loop(struct bow_daemon *daemon, struct bowimg_error *err)
{
	return send_byte(daemon, BOW_CONTROL_TIED, err);
}

int bow_daemon_background(struct bow_daemon *daemon, struct bowimg_error *err)
{
	int ret = send_byte(daemon, BOW_CONTROL_BACKGROUND, err);

	if (!ret) {
		close(daemon->control);
		daemon->control = -1;
	}
	return ret;
}
