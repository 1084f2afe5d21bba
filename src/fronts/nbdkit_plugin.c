/* SPDX-License-Identifier: MIT */
/*
 * The nbdkit plugin: the disk on an image with an open checkpoint, over NBD; and beside it, or
 * alone, the disk as it was at prepare (nbdkit_exports.c).
 *
 * One handle serves all connections, so that a flush on one covers what was written on the others.
 * A trim promises nothing about what is read afterwards and becomes a discard; a zero request does.
 * What reads as zeros without being read is told as a hole, so that clients need not ask for it.
 *
 * nbdkit waits for its clients before it ends, and a client may stay for ever. A program that gave
 * us a control socket (nbd_report.h) need not: when it says so, the image is flushed and closed
 * under the clients, and the process ends.
 */
#include "fronts/nbdkit_plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

struct bow_nbdkit bow_nbdkit = {
	.control = -1,
	.in_use = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP,
};

/* ---- saying things --------------------------------------------------------------------------- */

void bow_nbdkit_complain(const char *text, const char *hint)
{
	const char *sep = hint[0] ? "; " : "";

	if (bow_nbdkit.control >= 0)
		fprintf(stderr, "bowimg: warning: %s%s%s\n", text, sep, hint);
	else
		nbdkit_error("%s%s%s", text, sep, hint);
}

static void notice(void *ctx, const char *text)
{
	(void)ctx;
	bow_nbdkit_complain(text, "");
}

static void report(int what, const struct bowimg_error *err,
		   const struct bowimg_prepare_report *prepared)
{
	struct bow_nbd_report packet = {.what = what, .err = *err};

	if (prepared)
		packet.prepared = *prepared;
	/* If nobody is there to hear it, nobody waits for it either. */
	if (bow_nbdkit.control >= 0)
		(void)!send(bow_nbdkit.control, &packet, sizeof(packet), MSG_NOSIGNAL);
	else if (err->code)
		bow_nbdkit_complain(err->message, err->hint);
}

/* ---- configuration --------------------------------------------------------------------------- */

static int set_durability(const char *value)
{
	if (strcmp(value, "power") == 0)
		bow_nbdkit.opts.durability = BOWIMG_DURABILITY_POWER;
	else if (strcmp(value, "process") == 0)
		bow_nbdkit.opts.durability = BOWIMG_DURABILITY_PROCESS;
	else
		return nbdkit_error("durability=%s: it is power or process", value), -1;
	return 0;
}

static int set_force(const char *value)
{
	if (strcmp(value, "changed") != 0)
		return nbdkit_error("force=%s: only force=changed is known", value), -1;
	bow_nbdkit.opts.force |= BOWIMG_FORCE_CHANGED;
	return 0;
}

/* A URI is the library's business; it is opened before nbdkit leaves the directory. */
static int set_image(const char *value)
{
	bool is_uri = strncmp(value, "nbd", 3) == 0 && strstr(value, "://");

	free(bow_nbdkit.path);
	bow_nbdkit.path = is_uri ? strdup(value) : nbdkit_realpath(value);
	return bow_nbdkit.path ? 0 : -1;
}

static int set_control(const char *value)
{
	if (nbdkit_parse_int("control", value, &bow_nbdkit.control) < 0)
		return -1;
	if (bow_nbdkit.control >= 0 && fcntl(bow_nbdkit.control, F_SETFD, FD_CLOEXEC) == 0)
		return 0;
	nbdkit_error("control=%s: no such descriptor", value);
	return -1;
}

static int set_kind(const char *value, enum bow_nbdkit_kind kind)
{
	int yes_or_no = nbdkit_parse_bool(value);

	if (yes_or_no > 0)
		bow_nbdkit.kind = kind;
	return yes_or_no < 0 ? -1 : 0;
}

static int config(const char *key, const char *value)
{
	if (strcmp(key, "image") == 0)
		return set_image(value);
	if (strcmp(key, "durability") == 0)
		return set_durability(value);
	if (strcmp(key, "force") == 0)
		return set_force(value);
	if (strcmp(key, "control") == 0)
		return set_control(value);
	if (strcmp(key, "learn") == 0)
		return set_kind(value, BOW_NBDKIT_LEARN);
	if (strcmp(key, "before") == 0)
		return set_kind(value, BOW_NBDKIT_BEFORE);
	nbdkit_error("there is no parameter '%s'", key);
	return -1;
}

static int config_complete(void)
{
	if (!bow_nbdkit.path)
		nbdkit_error("the image is missing: nbdkit bowimg IMAGE");
	else if (bow_nbdkit.kind == BOW_NBDKIT_LEARN && bow_nbdkit.control < 0)
		nbdkit_error("learn= is for bowimg prepare --free-from=trim");
	else
		return 0;
	return -1;
}

#define CONFIG_HELP                                                                          \
	"[image=]IMAGE            an image on which bowimg prepare opened a checkpoint "     \
	"(required)\n"                                                                       \
	"durability=power|process power (default) survives a power cut\n"                    \
	"before=yes               only the disk as it was at prepare, read-only; the image " \
	"is not changed\n"                                                                   \
	"force=changed            go on although the image was changed from outside\n"       \
	"control=FD, learn=yes    for the program that starts nbdkit"

/* ---- the image's life ------------------------------------------------------------------------ */

/* Clients of a killed server may still hold writes to be durable that are gone. */
static void say_if_unclean(void)
{
	struct bowimg_status now;

	if (bowimg_status(bow_nbdkit.path, BOWIMG_FORCE_CHANGED, &now, NULL) == 0 &&
	    now.state == BOWIMG_STATE_CHECKPOINT && now.attached && !now.in_use)
		bow_nbdkit_complain(
			"the image was not detached cleanly: what was written but not flushed "
			"before may be gone",
			"start clients anew that were connected then");
}

static int get_ready(void)
{
	struct bowimg_error err = {0};
	struct stat st;

	bow_nbdkit.cheap_zeros = stat(bow_nbdkit.path, &st) == 0 && S_ISREG(st.st_mode);
	bow_nbdkit.opts.events.notice = notice;
	if (bow_nbdkit.kind != BOW_NBDKIT_BEFORE)
		say_if_unclean();
	err.code = bow_nbdkit_disk_open(&bow_nbdkit.disk, bow_nbdkit.path, bow_nbdkit.kind,
					&bow_nbdkit.opts, &err);
	report(BOW_NBD_OPENED, &err, NULL);
	return err.code ? -1 : 0;
}

static void close_image(void)
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

	pthread_rwlock_wrlock(&bow_nbdkit.in_use);
	if (bow_nbdkit_disk_is_open(&bow_nbdkit.disk)) {
		err.code = bow_nbdkit_disk_close(
			&bow_nbdkit.disk, bow_nbdkit.ordered ? &opts : NULL, &prepared, &err);
		report(BOW_NBD_CLOSED, &err, &prepared);
	}
	pthread_rwlock_unlock(&bow_nbdkit.in_use);
}

static void *await_the_end(void *unused)
{
	ssize_t got;

	do {
		got = recv(bow_nbdkit.control, &bow_nbdkit.order, sizeof(bow_nbdkit.order), 0);
		bow_nbdkit.ordered |= got == (ssize_t)sizeof(bow_nbdkit.order);
	} while (got > 0 || (got < 0 && errno == EINTR));
	close_image();
	_exit(EXIT_SUCCESS);
	return unused;
}

static int after_fork(void)
{
	pthread_t thread;
	int ret = 0;

	if (bow_nbdkit.control >= 0)
		ret = pthread_create(&thread, NULL, await_the_end, NULL);
	if (ret) {
		nbdkit_error("starting a thread: %s", strerror(ret));
		return -1;
	}
	return 0;
}

static void unload(void)
{
	close_image();
	free(bow_nbdkit.path);
}

/* ---- a connection ---------------------------------------------------------------------------- */

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
	.config = config,
	.config_complete = config_complete,
	.config_help = CONFIG_HELP,
	.magic_config_key = "image",
	.get_ready = get_ready,
	.after_fork = after_fork,
	.unload = unload,
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
