/* SPDX-License-Identifier: MIT */
/*
 * The watchdog process. It shares one page with the daemon and keeps open the file that aborts the
 * connection, so it works even if the machine cannot do anything else.
 *
 * Happy path: the daemon arms it, it opens /sys/fs/fuse/connections/N/abort, looks once a second,
 * and ends when the daemon's end of the socket is closed. Failure modes: the daemon is killed (the
 * socket closes; nothing to do, the kernel answers EIO by itself); the daemon is stopped or
 * deadlocked (abort); that file cannot be opened (then the daemon is killed instead, which ends the
 * connection too).
 */
#include "bowimg/host/watchdog.h"

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
#include <time.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/cleanup.h"
#include "bowimg/host/notice.h"

struct bow_watchdog {
	_Atomic unsigned connection; /* 0: not armed, or not any more */
	_Atomic uint64_t begun, ended, progress;
	unsigned stuck_after_s;
	pid_t daemon;
	struct bow_child child; /* the daemon's end of the socket is closed when the daemon ends */
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
	    mount("fusectl", "/sys/fs/fuse/connections", "fusectl",
		  MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0)
		fd = open_control(connection, "abort", O_WRONLY);
	return fd;
}

/*
 * The daemon counts the requests that it has read. A stopped daemon reads none, so the kernel's
 * count is used, too (its file must be opened anew for each reading).
 */
static bool has_waiting(const struct bow_watchdog *dog, unsigned connection)
{
	char text[16] = "";

	if (atomic_load(&dog->begun) != atomic_load(&dog->ended))
		return true;
	CLEANUP_CLOSE int fd = open_control(connection, "waiting", O_RDONLY);
	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && atoi(text) > 0;
}

/*
 * Then the daemon finds its connection gone, closes the image and ends. If it has not ended after
 * as much time again, it never will: it is killed, so that no process waits for it for ever.
 */
static void cut_off(const struct bow_watchdog *dog, int abort_fd, struct pollfd *daemon_end)
{
	bow_notice(
		"no request was finished for %u seconds: the mount is cut off, so that no "
		"process hangs for ever; unmount it, then attach the image again or roll it back",
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

static void watch(const struct bow_watchdog *dog, int sock)
{
	struct pollfd fd = {.fd = sock};
	uint64_t seen = 0, since = now_s();
	unsigned connection = 0;
	int abort_fd = -1;

	while (poll(&fd, 1, 1000) == 0 || !(fd.revents & (POLLHUP | POLLERR))) {
		if (!connection && (connection = atomic_load(&dog->connection)) != 0) {
			abort_fd = open_abort(connection);
			mlockall(MCL_CURRENT);
		}
		uint64_t progress = atomic_load(&dog->progress);
		bool armed = connection && atomic_load(&dog->connection);
		if (!armed || progress != seen || !has_waiting(dog, connection)) {
			seen = progress;
			since = now_s();
		} else if (now_s() - since >= dog->stuck_after_s) {
			cut_off(dog, abort_fd, &fd);
			return;
		}
	}
}

/* It keeps no descriptor of the daemon: a pipe or a lock would seem to be in use without it. */
static int run(int sock, void *ctx)
{
	bow_child_use_null(0, 2);
	sock = bow_child_keep_only(sock, 3);
	bow_notice_to_syslog();
	prctl(PR_SET_NAME, "bowimg-watchdog");
	watch(ctx, sock);
	return 0;
}

int bow_watchdog_start(unsigned stuck_after_s, struct bow_watchdog **out, struct bowimg_error *err)
{
	*out = NULL;
	if (stuck_after_s == 0)
		return 0;
	struct bow_watchdog *dog =
		mmap(NULL, sizeof(*dog), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (dog == MAP_FAILED)
		return bow_err_errno(err, -errno, "cannot start the watchdog");
	dog->stuck_after_s = stuck_after_s;
	dog->daemon = getpid();
	dog->child = BOW_NO_CHILD;
	int ret = bow_child_fork(&dog->child, run, dog);
	if (ret) {
		munmap(dog, sizeof(*dog));
		return bow_err_errno(err, ret, "cannot start the watchdog");
	}
	*out = dog;
	return 0;
}

void bow_watchdog_arm(struct bow_watchdog *dog, unsigned connection)
{
	if (dog)
		atomic_store(&dog->connection, connection);
}

void bow_watchdog_disarm(struct bow_watchdog *dog)
{
	if (dog)
		atomic_store(&dog->connection, 0);
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
	bow_child_end(&dog->child);
	munmap(dog, sizeof(*dog));
}
