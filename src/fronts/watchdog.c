/* SPDX-License-Identifier: MIT */
/*
 * The watchdog process. It shares one page with the daemon and holds the file open that aborts the
 * connection, so that it needs nothing from a machine that has come to a halt.
 *
 * Happy path: the daemon arms it, it opens /sys/fs/fuse/connections/N/abort, looks once a second,
 * and ends when the daemon's end of the pipe is closed. Failure modes: the daemon is killed (the
 * pipe closes; nothing to do, the kernel answers EIO by itself); the daemon is stopped or
 * deadlocked (abort); that file cannot be opened (then the daemon is killed instead, which ends the
 * connection too).
 */
#include "fronts/watchdog.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fronts/notice.h"

struct bow_watchdog {
	_Atomic unsigned connection; /* 0: not armed */
	_Atomic uint64_t begun, ended, progress;
	unsigned stuck_after_s;
	pid_t daemon, pid;
	int pipe; /* the daemon's end: closed when it is gone */
};

static int open_control(unsigned connection, const char *name, int flags)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/%s", connection, name);
	return open(path, flags | O_CLOEXEC);
}

static int open_abort(unsigned connection)
{
	int fd = open_control(connection, "abort", O_WRONLY);

	if (fd < 0 && errno == ENOENT && geteuid() == 0 &&
	    mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, NULL) == 0)
		fd = open_control(connection, "abort", O_WRONLY);
	return fd;
}

/*
 * Requests in the daemon's hands it has counted itself. One that is stopped has not even fetched
 * them: these only the kernel can count (in a file that can be read once per opening).
 */
static bool somebody_waits(const struct bow_watchdog *dog, unsigned connection)
{
	char text[16] = "";

	if (atomic_load(&dog->begun) != atomic_load(&dog->ended))
		return true;
	CLEANUP_CLOSE int fd = open_control(connection, "waiting", O_RDONLY);
	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && atoi(text) > 0;
}

/*
 * The daemon's turn is next: it finds its connection gone, closes the image and ends. If it does
 * not do so in as much time again, it never will, and whoever waits for it would wait for ever.
 */
static void cut_off(const struct bow_watchdog *dog, int abort_fd, struct pollfd *daemon_end)
{
	bow_notice("no request was finished for %u seconds: the mount is cut off, so that nobody "
		   "hangs for ever; unmount it, then attach the image again or roll it back",
		   dog->stuck_after_s);
	bool aborted = abort_fd >= 0 && write(abort_fd, "1", 1) == 1;
	unsigned grace_s = dog->stuck_after_s < INT_MAX / 1000 ? dog->stuck_after_s : 1000;
	if (!aborted || poll(daemon_end, 1, (int)grace_s * 1000) == 0)
		kill(dog->daemon, SIGKILL);
}

static uint64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec;
}

static void watch(const struct bow_watchdog *dog, int pipe_fd)
{
	struct pollfd fd = {.fd = pipe_fd};
	uint64_t seen = 0, since = now_s();
	unsigned connection = 0;
	int abort_fd = -1;

	while (poll(&fd, 1, 1000) == 0 || !(fd.revents & (POLLHUP | POLLERR))) {
		if (!connection && (connection = atomic_load(&dog->connection)) != 0) {
			abort_fd = open_abort(connection);
			mlockall(MCL_CURRENT);
		}
		uint64_t progress = atomic_load(&dog->progress);
		if (!connection || progress != seen || !somebody_waits(dog, connection)) {
			seen = progress;
			since = now_s();
		} else if (now_s() - since >= dog->stuck_after_s) {
			cut_off(dog, abort_fd, &fd);
			return;
		}
	}
}

/* Keep no descriptor of the daemon's: a pipe or a lock would seem to be in use without it. */
static void leave_everything(int keep)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	if (keep > 3)
		close_range(3, (unsigned)keep - 1, 0);
	close_range((unsigned)keep + 1, ~0u, 0);
	bow_notice_to_syslog();
	prctl(PR_SET_NAME, "bowimg-watchdog");
}

static pid_t fork_watchdog(struct bow_watchdog *dog)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0) {
		close(ends[1]);
		leave_everything(ends[0]);
		watch(dog, ends[0]);
		_exit(0);
	}
	int ret = pid < 0 ? -errno : pid;
	close(ends[0]);
	if (pid < 0)
		close(ends[1]);
	else
		dog->pipe = ends[1];
	return ret;
}

int bow_watchdog_start(unsigned stuck_after_s, struct bow_watchdog **out, struct bowimg_error *err)
{
	*out = NULL;
	if (stuck_after_s == 0)
		return 0;
	struct bow_watchdog *dog =
		mmap(NULL, sizeof(*dog), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (dog == MAP_FAILED)
		return bow_err_errno(err, -errno, "starting the watchdog");
	dog->stuck_after_s = stuck_after_s;
	dog->daemon = getpid();
	pid_t pid = fork_watchdog(dog);
	if (pid < 0) {
		munmap(dog, sizeof(*dog));
		return bow_err_errno(err, pid, "starting the watchdog");
	}
	dog->pid = pid;
	*out = dog;
	return 0;
}

void bow_watchdog_arm(struct bow_watchdog *dog, unsigned connection)
{
	if (dog)
		atomic_store(&dog->connection, connection);
}

void bow_watchdog_begin(struct bow_watchdog *dog)
{
	if (dog)
		atomic_fetch_add(&dog->begun, 1);
}

void bow_watchdog_progress(struct bow_watchdog *dog)
{
	if (dog)
		atomic_fetch_add(&dog->progress, 1);
}

void bow_watchdog_end(struct bow_watchdog *dog)
{
	if (dog) {
		atomic_fetch_add(&dog->ended, 1);
		atomic_fetch_add(&dog->progress, 1);
	}
}

void bow_watchdog_stop(struct bow_watchdog *dog)
{
	if (!dog)
		return;
	close(dog->pipe);
	waitpid(dog->pid, NULL, 0);
	munmap(dog, sizeof(*dog));
}
