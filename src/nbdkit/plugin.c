/* SPDX-License-Identifier: MIT */
/*
 * The nbdkit plugin: the disk on an image with an open checkpoint, over NBD; and beside it, or
 * alone, the disk as it was at prepare (exports.c).
 *
 * One handle serves all connections, so a flush on one covers the writes on the others. A trim
 * guarantees nothing about later reads and becomes a discard; a zero request does. Ranges that read
 * as zeros without being read are reported as holes, so that clients need not read them.
 *
 * nbdkit waits for its clients before it ends, and a client may stay for ever. A program that gave
 * us a control socket (report.h) need not wait: at its order the image is flushed and closed under
 * the clients, and the process ends.
 */
#include "nbdkit/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/show.h"

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* ---- saying things --------------------------------------------------------------- */

static void notice(void *ctx, const char *text)
{
	(void)ctx;
	bow_nbdkit_complain(text, "");
}

static void report(int what, const struct bowimg_error *err,
		   const struct bowimg_prepare_report *prepared)
{
	struct bow_nbd_report packet = {
		.what = what, .err = *err, .carried = bow_nbdkit_disk_carried(&bow_nbdkit.disk)};

	if (prepared)
		packet.prepared = *prepared;
	/* A report that cannot be sent is no error: then no program waits for it. */
	if (bow_nbdkit.control >= 0)
		(void)!send(bow_nbdkit.control, &packet, sizeof(packet), MSG_NOSIGNAL);
	else if (err->code)
		bow_nbdkit_complain(err->message, err->hint);
}

/* ---- the image's life ------------------------------------------------------------ */

/* Clients of a killed server may count on writes that are gone. */
static void log_if_unclean(bool unclean)
{
	if (unclean && bow_nbdkit.disk.disk && !bow_nbdkit_disk_carried(&bow_nbdkit.disk))
		bow_nbdkit_complain(
			"the image was not detached cleanly: writes that were not flushed "
			"may be gone",
			"restart the clients that were connected then");
}

/* nbdkit does not change this limit; the write that meets it shall fail, not the server. */
static void load(void)
{
	signal(SIGXFSZ, SIG_IGN);
}

static bool is_unclean(void)
{
	const struct bowimg_options call = {BOWIMG_FORCE_CHANGED, bow_nbdkit.opts.events};
	struct bowimg_status now;

	return bowimg_status(bow_nbdkit.path, &call, &now, NULL) == 0 &&
	       now.state == BOWIMG_STATE_CHECKPOINT && now.attached && !now.in_use;
}

static int get_ready(void)
{
	struct bowimg_error err = {0};
	struct stat st;
	bool unclean;

	bow_nbdkit.cheap_zeros = stat(bow_nbdkit.path, &st) == 0 && S_ISREG(st.st_mode);
	bow_nbdkit.opts.events.notice = notice;
	bow_nbdkit.opts.events.waiting = notice;
	unclean = bow_nbdkit.what.kind == BOW_NBDKIT_DISK && is_unclean();
	err.code = bow_nbdkit_disk_open(&bow_nbdkit.disk, bow_nbdkit.path, &bow_nbdkit.what,
					&bow_nbdkit.opts, &err);
	log_if_unclean(unclean);
	report(BOW_NBD_OPENED, &err, NULL);
	return err.code ? -1 : 0;
}

/* Under the lock: an order may come while another thread wants to close. */
static void close_open_image(void)
{
	const struct bowimg_prepare_options opts = {
		.exact = bow_nbdkit.order.exact,
		.store = bow_nbdkit.order.store,
		.on_full = bow_nbdkit.order.on_full,
		.dry_run = bow_nbdkit.order.dry_run,
		.events.notice = notice,
	};
	struct bowimg_prepare_report prepared = {0};
	struct bowimg_error err = {0};

	err.code = bow_nbdkit_disk_close(&bow_nbdkit.disk, bow_nbdkit.ordered ? &opts : NULL,
					 &prepared, &err);
	report(BOW_NBD_CLOSED, &err, &prepared);
}

/* Returns false if it was closed already. */
static bool close_image(void)
{
	pthread_rwlock_wrlock(&bow_nbdkit.in_use);
	bool was_open = bow_nbdkit_disk_is_open(&bow_nbdkit.disk);
	if (was_open)
		close_open_image();
	pthread_rwlock_unlock(&bow_nbdkit.in_use);
	return was_open;
}

/* Reads an order as a whole or not at all. Returns false if there will be no other. */
static bool take_order(void)
{
	struct bow_nbd_order order;
	ssize_t got = recv(bow_nbdkit.control, &order, sizeof(order), MSG_TRUNC);

	if (got == (ssize_t)sizeof(order)) {
		pthread_rwlock_wrlock(&bow_nbdkit.in_use);
		bow_nbdkit.order = order;
		bow_nbdkit.ordered = true;
		pthread_rwlock_unlock(&bow_nbdkit.in_use);
	}
	return got > 0 || (got < 0 && errno == EINTR);
}

/* If nbdkit has closed the image, it is about to end by itself and to unmap our code. */
static void *await_the_end(void *unused)
{
	while (take_order())
		;
	if (close_image())
		_exit(EXIT_SUCCESS);
	return unused;
}

static int after_fork(void)
{
	int ret = 0;

	if (bow_nbdkit.control >= 0)
		ret = pthread_create(&bow_nbdkit.awaiter, NULL, await_the_end, NULL);
	if (ret) {
		bow_nbdkit_error("starting a thread: %s", strerror(ret));
		return -1;
	}
	bow_nbdkit.is_awaiting = bow_nbdkit.control >= 0;
	return 0;
}

static void unload(void)
{
	close_image();
	/* nbdkit unmaps the plugin after this, and the thread would return to nowhere. */
	if (bow_nbdkit.is_awaiting) {
		shutdown(bow_nbdkit.control, SHUT_RD);
		pthread_join(bow_nbdkit.awaiter, NULL);
	}
	bow_nbdkit_marks_free(&bow_nbdkit.disk);
	free(bow_nbdkit.path);
}

/*
 * With no descriptor left nbdkit tries to accept the next client again and again, and logs that
 * each time. The lowest free number shows how many are in use; the rest is for clients on their way
 * here.
 */
static int preconnect(int readonly)
{
	struct rlimit limit = {0};
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)readonly;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && (rlim_t)fd < limit.rlim_cur - limit.rlim_cur / 8)
		return 0;
	if (atomic_exchange(&bow_nbdkit.last_error, -EMFILE) != -EMFILE)
		bow_nbdkit_complain("too many clients are connected; others are turned away", "");
	return -1;
}

/* ---- a connection ---------------------------------------------------------------- */

static int64_t get_size(void *handle)
{
	int64_t size = -1;

	(void)handle;
	pthread_rwlock_rdlock(&bow_nbdkit.in_use);
	if (bow_nbdkit_disk_is_open(&bow_nbdkit.disk))
		size = (int64_t)bow_nbdkit_disk_size(&bow_nbdkit.disk);
	pthread_rwlock_unlock(&bow_nbdkit.in_use);
	if (size < 0)
		nbdkit_error("the server is about to end");
	return size;
}

static int yes(void *handle)
{
	(void)handle;
	return 1;
}

static int can_fua(void *handle)
{
	(void)handle;
	return NBDKIT_FUA_NATIVE;
}

/* Any request is served; pieces of blocks are backed up as whole blocks. */
static int block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	(void)handle;
	*minimum = 1;
	*preferred = BOWIMG_BLOCK_SIZE;
	*maximum = UINT32_MAX;
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "bowimg",
	.longname = "undo for disk images",
	.version = BOWIMG_VERSION,
	.description = "Serves the disk on an image with an open bowimg checkpoint: what is "
		       "written can be rolled back.",
	.load = load,
	.config = bow_nbdkit_config,
	.config_complete = bow_nbdkit_config_complete,
	.config_help = BOW_NBDKIT_CONFIG_HELP,
	.magic_config_key = "image",
	.thread_model = bow_nbdkit_thread_model,
	.get_ready = get_ready,
	.after_fork = after_fork,
	.unload = unload,
	.preconnect = preconnect,
	.list_exports = bow_nbdkit_list_exports,
	.default_export = bow_nbdkit_default_export,
	.open = bow_nbdkit_open,
	.export_description = bow_nbdkit_export_description,
	.get_size = get_size,
	.can_write = bow_nbdkit_is_disk,
	.can_flush = bow_nbdkit_is_disk,
	.block_size = block_size,
	.can_multi_conn = yes,
	.can_fua = can_fua,
	.can_fast_zero = yes,
	.can_extents = bow_nbdkit_is_disk, /* of the disk as it is */
	.pread = bow_nbdkit_read,
	.pwrite = bow_nbdkit_write,
	.flush = bow_nbdkit_flush,
	.trim = bow_nbdkit_trim,
	.zero = bow_nbdkit_zero,
	.extents = bow_nbdkit_extents,
};

/* nbdkit looks for this function; its prototype is nowhere but in the macro. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
NBDKIT_REGISTER_PLUGIN(plugin)
