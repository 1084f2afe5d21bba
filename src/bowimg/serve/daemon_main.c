/* SPDX-License-Identifier: MIT */
/*
 * The daemon: opens the image, serves it through FUSE, takes its memory, waits for the end.
 *
 * Happy path: it sends its report; receives TIED (a loop device has the file open) and answers it
 * when it has its memory; receives BACKGROUND; then someone detaches the loop device or unmounts
 * FUSE; flush, close, result.json, exit. Failure modes: the command that started it dies before
 * BACKGROUND (the socket closes): take down, lazily if need be; SIGTERM: take down if the disk is
 * not in use, else go on serving; the connection is aborted: the threads end by themselves;
 * SIGKILL: the kernel answers EIO, and the next bowimg command that finds the session clears up.
 * The fork of the watchdog comes before the threads of the library and of FUSE.
 */
#include "bowimg/serve/daemon.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bowimg/fuse/fuse.h"
#include "bowimg/host/loop.h"
#include "bowimg/host/memory.h"
#include "bowimg/host/mounts.h"
#include "bowimg/host/notice.h"
#include "bowimg/host/process.h"
#include "bowimg/serve/before.h"
#include "bowimg/serve/disks.h"
#include "bowimg/serve/find.h"
#include "bowimg/host/watchdog.h"

/* How often an orphaned daemon tries again to take down what is mounted. */
#define ORPHAN_RETRY_MS 100

/*
 * A FUSE file needs no memory taken beforehand, but its user may put a loop device on it. Most
 * commands are done before this, and need not wait for it.
 */
#define TAKE_AFTER_MS 1000

/*
 * Who takes down what the command has set up: loop device, mounts, the mount of FUSE.
 *
 *	stage		who			next
 *	WITH_COMMAND	the command		BACKGROUND by its message; ORPHANED if it ends
 *	BACKGROUND	umount, detach, users	none
 *	ORPHANED	we, again and again	none
 */
enum stage { WITH_COMMAND, BACKGROUND, ORPHANED };

struct daemon {
	struct bow_session *session;
	const struct bow_serve_options *opts;
	enum stage stage;
	int sock; /* to the command; -1 after WITH_COMMAND */
	int signal_fd;
	bool tied; /* a loop device has the disk open: we end with the last close */
	bool has_memory;
	struct bow_watchdog *dog;
	struct bow_disks disks;
	struct bow_fuse *fuse;
};

/* Keep standard error for notices, the socket, and nothing else that was inherited. */
static void leave_caller(struct daemon *d)
{
	setsid();
	bow_child_use_null(0, 1);
	d->sock = bow_child_keep_only(d->sock, 3);
	/* The lock is the command's: a copy here would hold it as long as we live. */
	d->session->lock_fd = -1;
	if (chdir("/") < 0)
		bow_notice("cannot leave the working directory: %s", strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	umask(077);
}

static void leave_command(struct daemon *d, enum stage next)
{
	close(d->sock);
	d->sock = -1;
	d->stage = next;
}

static void go_to_background(struct daemon *d)
{
	bow_notice_to_syslog();
	bow_child_use_null(0, 2);
	leave_command(d, BACKGROUND);
}

/* The FUSE directory has the partitions of now; it does not follow changes of the table. */
static int make_fuse(struct daemon *d, struct bowimg_error *err)
{
	const struct bow_fuse_source *source = &d->disks.source;
	struct bow_session *e = d->session;
	struct bow_parts *parts = malloc(sizeof(*parts));

	if (!parts)
		return bow_err_errno(err, -ENOMEM, "cannot serve %s", e->image);
	int ret = bow_parts_read(source->disk ?: source->before, parts, err);
	if (!ret)
		ret = bow_parts_check(parts, e->image, e->partition, e->mount_dir[0], err);
	if (!ret && parts->err.code == -EUCLEAN)
		bow_notice("only the whole disk is shown: %s", parts->err.message);
	e->partitions = ret ? 0 : parts->count;
	if (!ret)
		ret = bow_fuse_new(source, parts, e->image, e->fuse_dir, d->dog, &d->fuse, err);
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
		ret = bow_disks_open(&d->disks, err);
	if (!ret)
		ret = make_fuse(d, err);
	if (ret)
		return ret;
	d->session->connection = bow_fuse_connection(d->fuse);
	bow_watchdog_arm(d->dog, d->session->connection);
	return bow_fuse_start(d->fuse, err);
}

static void take_memory(struct daemon *d)
{
	bow_memory_take(d->opts->verbose);
	d->has_memory = true;
}

static void send_report(struct daemon *d, const struct bowimg_error *err)
{
	const struct bow_daemon_report report = {.message = {BOW_DAEMON_SERVING, *err},
						 .connection = d->session->connection,
						 .partitions = d->session->partitions};

	/* If the command is gone, on_message() finds the socket closed. */
	bow_packet_send(d->sock, &report, sizeof(report));
}

/* Unmount what the command has mounted, detach the loop device. 0: we end now, or soon. */
static int take_down(struct daemon *d, int flags, struct bowimg_error *err)
{
	struct bow_session *e = d->session;
	char disk[PATH_MAX + 16], device[BOW_LOOP_NAME];
	struct bow_session now = *e;
	int ret = 0;

	/* The command has changed its state after the fork. */
	if (bow_state_read(e->dir, &now) == 1) {
		now.connection = e->connection;
		*e = now;
	}
	ret = bow_service_remove_before(e, flags, err);
	bow_session_disk(e, disk, sizeof(disk));
	bool has_loop = bow_service_has_loop(e, device);
	if (!ret && has_loop && bow_mounts_has(e->mount_dir, bow_loop_number(device)))
		ret = bow_mounts_remove(e->mount_dir, flags, err);
	if (has_loop)
		return ret ? ret : bow_loop_release(device, disk, bow_service_fs(e), err);
	return ret ? ret : bow_mounts_remove(e->fuse_dir, flags, err);
}

/* The command has died, or asks for the end. */
static void on_orphaned(struct daemon *d)
{
	struct bowimg_error err = {0};

	leave_command(d, ORPHANED);
	d->tied = d->session->wants_loop;
	if (take_down(d, MNT_DETACH, &err) != 0)
		bow_notice_error(&err);
}

/* What the command had begun may go on without it: mount(8), most of all. */
static void on_pause(struct daemon *d)
{
	struct bowimg_error err = {0};

	if (d->stage == ORPHANED)
		take_down(d, MNT_DETACH, &err);
	else
		take_memory(d);
}

static int pause_ms(const struct daemon *d)
{
	return d->stage == ORPHANED ? ORPHAN_RETRY_MS : d->has_memory ? -1 : TAKE_AFTER_MS;
}

/* Whatever is written to the loop device, is written after the answer. */
static void on_tied(struct daemon *d)
{
	d->tied = true;
	if (!d->has_memory)
		take_memory(d);
	/* If the command is gone, on_message() finds the socket closed. */
	bow_message_send(d->sock, BOW_DAEMON_TIED, NULL);
}

static void on_signal(struct daemon *d)
{
	struct bowimg_error err = {0};
	bool from_terminal;

	if (bow_process_take_signal(d->signal_fd, &from_terminal) && take_down(d, 0, &err) != 0)
		bow_notice("cannot end yet: %s", err.message);
}

static void on_message(struct daemon *d)
{
	struct bow_message message;

	if (bow_packet_recv(d->sock, &message, sizeof(message)))
		on_orphaned(d);
	else if (message.what == BOW_DAEMON_TIED)
		on_tied(d);
	else if (message.what == BOW_DAEMON_BACKGROUND)
		go_to_background(d);
}

/* Returns when the service is over. */
static void wait_for_end(struct daemon *d)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = bow_fuse_ended_fd(d->fuse), .events = POLLIN},
				       {.fd = bow_fuse_closed_fd(d->fuse), .events = POLLIN},
				       {.fd = d->signal_fd, .events = POLLIN},
				       {.fd = d->sock, .events = POLLIN}};
		uint64_t count;

		int ready = poll(fds, 4, pause_ms(d));
		if (ready < 0)
			continue;
		if (ready == 0)
			on_pause(d);
		if (fds[0].revents)
			return;
		if (fds[1].revents && read(fds[1].fd, &count, sizeof(count)) < 0)
			continue;
		if (fds[2].revents)
			on_signal(d);
		if (d->stage == WITH_COMMAND && fds[3].revents)
			on_message(d);
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
	/* No time limit for making everything durable. */
	bow_watchdog_disarm(d->dog);
	bow_disks_close(&d->disks, err);
	bow_watchdog_stop(d->dog);
}

/*
 * A detach that waits for us holds the lock, reads the result and removes the session. If none
 * waits and all is well, it is removed here.
 */
static void leave_result(struct daemon *d, const struct bowimg_error *err)
{
	struct bow_session *e = d->session;
	char device[BOW_LOOP_NAME];

	int ret = bow_session_save_result(e, BOW_RESULT, err);
	if (err->code)
		bow_notice_error(err);
	if (ret)
		bow_notice("cannot write how serving %s ended: %s", e->image, strerror(-ret));
	if (!err->code && !bow_service_has_loop(e, device) && bow_session_try_lock(e))
		bow_session_leave(e, true);
}

int bow_daemon_main(struct bow_session *e, const struct bow_serve_options *opts, int sock)
{
	struct daemon d = {
		.session = e, .opts = opts, .sock = sock, .disks = {.session = e, .opts = opts}};
	struct bowimg_error err = {0};

	leave_caller(&d);
	int ret = set_up(&d, &err);
	err.code = ret;
	if (!ret) {
		send_report(&d, &err);
		/* Beside the command, which makes the loop device meanwhile. */
		if (e->wants_loop)
			take_memory(&d);
		wait_for_end(&d);
	}
	close_all(&d, &err);
	if (ret)
		send_report(&d, &err);
	else
		leave_result(&d, &err);
	return err.code ? 1 : 0;
}
