/* SPDX-License-Identifier: MIT */
/*
 * The daemon: takes its memory, opens the image, serves it through FUSE, waits for the end.
 *
 * Happy path: report "serving"; told 'L' (a loop device has the file) and 'B' (background); then
 * the loop device is detached or FUSE unmounted, by whomever; flush, close, result.json, exit.
 * Failure modes: the command that started it dies before 'B' (control pipe closes): take down,
 * lazily if need be; SIGTERM: take down if nobody uses it, else go on serving; the connection is
 * aborted: the threads end by themselves; SIGKILL: the kernel answers EIO, and the next bowimg
 * command that meets the entry clears up. The forks (watchdog) come before the threads (library,
 * FUSE).
 */
#include "fronts/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fronts/fuse.h"
#include "fronts/loop.h"
#include "fronts/memory.h"
#include "fronts/mounts.h"
#include "fronts/notice.h"
#include "fronts/process.h"
#include "fronts/service_before.h"
#include "fronts/watchdog.h"

struct daemon {
	struct bow_entry *entry;
	const struct bow_serve_options *opts;
	int control, report, signal_fd;
	bool tied; /* ends with the last close of the disk */
	struct bow_watchdog *dog;
	struct bow_fuse_source source;
	struct bow_fuse *fuse;
};

static void null_stdio(int first, int last)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = first; fd <= last && null >= 0; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}

/* Keep standard error for notices, the two pipes, and nothing else that was inherited. */
static void leave_caller(struct daemon *d)
{
	unsigned low = (unsigned)(d->control < d->report ? d->control : d->report);
	unsigned high = (unsigned)(d->control < d->report ? d->report : d->control);

	setsid();
	null_stdio(0, 1);
	if (low > 3)
		close_range(3, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0u, 0);
	if (chdir("/") < 0)
		bow_notice("leaving the working directory: %s", strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	umask(077);
}

static void go_to_background(struct daemon *d)
{
	bow_notice_to_syslog();
	null_stdio(0, 2);
	close(d->control);
	d->control = -1;
}

static int open_image(struct daemon *d, struct bowimg_error *err)
{
	struct bowimg_open_options opts = {.durability = d->opts->durability,
					   .force = d->opts->force,
					   .events.notice = bow_notice_event};

	if (d->opts->before)
		return bowimg_look_open(d->entry->image, opts.force, &d->source.look, err);
	return bowimg_open(d->entry->image, &opts, &d->source.img, err);
}

/* The FUSE directory shows the partitions there are now; later changes of the table are not seen.
 */
static int make_fuse(struct daemon *d, struct bowimg_error *err)
{
	struct bow_entry *e = d->entry;
	struct bow_parts *parts = malloc(sizeof(*parts));

	if (!parts)
		return bow_err_errno(err, -ENOMEM, "serving %s", e->image);
	int ret = bow_parts_read(&d->source, parts, err);
	if (!ret)
		ret = bow_parts_check(parts, e->image, e->partition, e->mount_dir[0], err);
	if (!ret && parts->err.code == -EUCLEAN)
		bow_notice("only the whole disk is shown: %s", parts->err.message);
	if (!ret)
		ret = bow_fuse_new(&d->source, parts, e->image, e->fuse_dir, d->dog, &d->fuse, err);
	free(parts);
	return ret;
}

static int set_up(struct daemon *d, struct bowimg_error *err)
{
	bow_memory_prepare(d->opts->verbose);
	d->signal_fd = bow_process_catch_signals(err);
	if (d->signal_fd < 0)
		return d->signal_fd;
	int ret = bow_watchdog_start(d->opts->stuck_after_s, &d->dog, err);
	if (!ret)
		ret = open_image(d, err);
	if (!ret)
		ret = make_fuse(d, err);
	if (ret)
		return ret;
	d->entry->connection = bow_fuse_connection(d->fuse);
	bow_watchdog_arm(d->dog, d->entry->connection);
	ret = bow_fuse_start(d->fuse, err);
	if (!ret)
		bow_memory_lock(d->opts->verbose);
	return ret;
}

static void send_report(struct daemon *d, const struct bowimg_error *err)
{
	struct bow_daemon_report report = {.err = *err, .connection = d->entry->connection};

	ssize_t bytes = write(d->report, &report, sizeof(report));
	(void)bytes; /* a command that is gone has closed the control pipe too; that is seen next */
	close(d->report);
}

/* Unmount what the command has mounted, detach the loop device. 0: it will end now, or soon. */
static int take_down(struct daemon *d, int flags, struct bowimg_error *err)
{
	struct bow_entry *e = d->entry;
	char disk[PATH_MAX + 16], device[BOW_LOOP_NAME];
	struct bow_entry now = *e;
	int ret = 0;

	/* The command has gone on writing after the fork. */
	if (bow_state_read(e->dir, &now) == 1)
		*e = now;
	ret = bow_service_remove_before(e, flags, err);
	bow_entry_disk(e, disk, sizeof(disk));
	bool has_loop = bow_loop_find(disk, device);
	if (!ret && has_loop && bow_mounts_has(e->mount_dir, device))
		ret = bow_mounts_remove(e->mount_dir, flags, err);
	if (has_loop)
		return ret ? ret : bow_loop_release(device, disk, err);
	return ret ? ret : bow_mounts_remove(e->fuse_dir, flags, err);
}

/* The command has died, or asks for the end: nobody else will take things down. */
static void on_orphaned(struct daemon *d)
{
	struct bowimg_error err = {0};

	close(d->control);
	d->control = -1;
	d->tied = d->entry->wants_loop;
	if (take_down(d, MNT_DETACH, &err) != 0)
		bow_notice_error(&err);
}

static void on_signal(struct daemon *d)
{
	struct bowimg_error err = {0};
	bool from_terminal;

	if (bow_process_take_signal(d->signal_fd, &from_terminal) && take_down(d, 0, &err) != 0)
		bow_notice("told to end, but still in use: %s", err.message);
}

static void on_control(struct daemon *d)
{
	char what = 0;

	if (read(d->control, &what, 1) != 1)
		on_orphaned(d);
	else if (what == BOW_CONTROL_TIED)
		d->tied = true;
	else if (what == BOW_CONTROL_BACKGROUND)
		go_to_background(d);
}

/* Returns when the service is over. */
static void wait_for_end(struct daemon *d)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = bow_fuse_ended_fd(d->fuse), .events = POLLIN},
				       {.fd = bow_fuse_closed_fd(d->fuse), .events = POLLIN},
				       {.fd = d->signal_fd, .events = POLLIN},
				       {.fd = d->control, .events = POLLIN}};
		uint64_t count;

		if (poll(fds, 4, -1) < 0)
			continue;
		if (fds[0].revents)
			return;
		if (fds[1].revents && read(fds[1].fd, &count, sizeof(count)) < 0)
			continue;
		if (fds[2].revents)
			on_signal(d);
		if (d->control >= 0 && fds[3].revents)
			on_control(d);
		if (d->tied && !bow_fuse_is_open(d->fuse))
			return;
	}
}

/* Flush and close whatever is open; the first error counts. */
static void close_all(struct daemon *d, struct bowimg_error *err)
{
	struct bowimg_error later = {0};

	if (d->fuse && bow_fuse_stop(d->fuse, &later) && !err->code)
		*err = later;
	bow_err_clear(&later);
	if (d->source.img && bowimg_close(d->source.img, &later) && !err->code)
		*err = later;
	bow_err_clear(&later);
	if (bowimg_look_close(d->source.look, &later) && !err->code)
		*err = later;
	bow_watchdog_stop(d->dog);
}

/*
 * A detach that waits for us holds the lock, reads the result and removes the entry. When nobody
 * waits and all is well, nobody would: then it is removed here.
 */
static void leave_result(struct daemon *d, const struct bowimg_error *err)
{
	struct bow_entry *e = d->entry;
	char disk[PATH_MAX + 16], device[BOW_LOOP_NAME];

	int ret = bow_entry_save_result(e, err);
	if (err->code)
		bow_notice_error(err);
	if (ret)
		bow_notice("writing down how serving %s ended: %s", e->image, strerror(-ret));
	bow_entry_disk(e, disk, sizeof(disk));
	if (!err->code && !bow_loop_find(disk, device) && bow_entry_try_lock(e))
		bow_entry_leave(e, true);
}

_Noreturn void bow_daemon_main(struct bow_entry *e, const struct bow_serve_options *opts,
			       int control, int report)
{
	struct daemon d = {.entry = e, .opts = opts, .control = control, .report = report};
	struct bowimg_error err = {0};

	leave_caller(&d);
	int ret = set_up(&d, &err);
	err.code = ret;
	if (!ret) {
		send_report(&d, &err);
		wait_for_end(&d);
	}
	close_all(&d, &err);
	if (ret)
		send_report(&d, &err);
	else
		leave_result(&d, &err);
	_exit(err.code ? 1 : 0);
}
