/* SPDX-License-Identifier: MIT */
/*
 * The nbdkit plugin: the disk on an image with an open checkpoint, over NBD.
 *
 * One handle serves all connections, so that a flush on one covers what was written on the others.
 * A trim promises nothing about what is read afterwards and becomes a discard; a zero request does.
 * There are no extents: to tell holes from data would mean to ask the image and the log for each.
 *
 * nbdkit waits for its clients before it ends, and a client may stay for ever. A program that gave
 * us a control socket (nbd_report.h) need not: when it says so, the image is flushed and closed
 * under the clients, and the process ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "bowimg.h"
#include "fronts/nbd_report.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* nbdkit knows one image per process; a request holds `in_use` for reading, closing for writing. */
static struct {
	char *path;
	struct bowimg_open_options opts;
	int control;
	bool cheap_zeros;
	bowimg *img;
	pthread_rwlock_t in_use;
	atomic_int last_error;
} server = {
	.control = -1,
	.in_use = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP,
};

/* ---- saying things --------------------------------------------------------------------------- */

static void complain(const char *text, const char *hint)
{
	const char *sep = hint[0] ? "; " : "";

	if (server.control >= 0)
		fprintf(stderr, "bowimg: warning: %s%s%s\n", text, sep, hint);
	else
		nbdkit_error("%s%s%s", text, sep, hint);
}

static void notice(void *ctx, const char *text)
{
	(void)ctx;
	complain(text, "");
}

static void report(int what, const struct bowimg_error *err)
{
	struct bow_nbd_report packet = {.what = what, .err = *err};

	/* If nobody is there to hear it, nobody waits for it either. */
	if (server.control >= 0)
		(void)!send(server.control, &packet, sizeof(packet), MSG_NOSIGNAL);
	else if (err->code)
		complain(err->message, err->hint);
}

/* ---- configuration --------------------------------------------------------------------------- */

static int set_durability(const char *value)
{
	if (strcmp(value, "power") == 0)
		server.opts.durability = BOWIMG_DURABILITY_POWER;
	else if (strcmp(value, "process") == 0)
		server.opts.durability = BOWIMG_DURABILITY_PROCESS;
	else
		return nbdkit_error("durability=%s: it is power or process", value), -1;
	return 0;
}

static int set_force(const char *value)
{
	if (strcmp(value, "changed") != 0)
		return nbdkit_error("force=%s: only force=changed is known", value), -1;
	server.opts.force |= BOWIMG_FORCE_CHANGED;
	return 0;
}

static int set_image(const char *value)
{
	free(server.path);
	server.path = nbdkit_realpath(value);
	return server.path ? 0 : -1;
}

static int set_control(const char *value)
{
	if (nbdkit_parse_int("control", value, &server.control) < 0)
		return -1;
	if (server.control >= 0 && fcntl(server.control, F_SETFD, FD_CLOEXEC) == 0)
		return 0;
	nbdkit_error("control=%s: no such descriptor", value);
	return -1;
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
	nbdkit_error("there is no parameter '%s'", key);
	return -1;
}

static int config_complete(void)
{
	if (server.path)
		return 0;
	nbdkit_error("the image is missing: nbdkit bowimg IMAGE");
	return -1;
}

#define CONFIG_HELP                                                                      \
	"[image=]IMAGE            an image on which bowimg prepare opened a checkpoint " \
	"(required)\n"                                                                   \
	"durability=power|process power (default) survives a power cut\n"                \
	"force=changed            go on although the image was changed from outside\n"   \
	"control=FD               for the program that starts nbdkit"

/* ---- the image's life ------------------------------------------------------------------------ */

/* Clients of a killed server may still hold writes to be durable that are gone. */
static void say_if_unclean(void)
{
	struct bowimg_status now;

	if (bowimg_status(server.path, BOWIMG_FORCE_CHANGED, &now, NULL) == 0 &&
	    now.state == BOWIMG_STATE_CHECKPOINT && now.attached && !now.in_use)
		complain("the image was not detached cleanly: what was written but not flushed "
			 "before may be gone",
			 "start clients anew that were connected then");
}

static int get_ready(void)
{
	struct bowimg_error err = {0};
	struct stat st;

	server.cheap_zeros = stat(server.path, &st) == 0 && S_ISREG(st.st_mode);
	server.opts.events.notice = notice;
	say_if_unclean();
	err.code = bowimg_open(server.path, &server.opts, &server.img, &err);
	report(BOW_NBD_OPENED, &err);
	return err.code ? -1 : 0;
}

static void close_image(void)
{
	struct bowimg_error err = {0};

	pthread_rwlock_wrlock(&server.in_use);
	if (server.img) {
		err.code = bowimg_close(server.img, &err);
		server.img = NULL;
		report(BOW_NBD_CLOSED, &err);
	}
	pthread_rwlock_unlock(&server.in_use);
}

static void *await_the_end(void *unused)
{
	char byte;
	ssize_t got;

	do
		got = recv(server.control, &byte, sizeof(byte), 0);
	while (got > 0 || (got < 0 && errno == EINTR));
	close_image();
	_exit(EXIT_SUCCESS);
	return unused;
}

static int after_fork(void)
{
	pthread_t thread;
	int ret = 0;

	if (server.control >= 0)
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
	free(server.path);
}

/* ---- a connection ---------------------------------------------------------------------------- */

static void *open_connection(int readonly)
{
	(void)readonly;
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t get_size(void *handle)
{
	int64_t size = -1;

	(void)handle;
	pthread_rwlock_rdlock(&server.in_use);
	if (server.img)
		size = (int64_t)bowimg_size(server.img);
	pthread_rwlock_unlock(&server.in_use);
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

/* ---- requests -------------------------------------------------------------------------------- */

static bool begin(void)
{
	pthread_rwlock_rdlock(&server.in_use);
	if (server.img)
		return true;
	pthread_rwlock_unlock(&server.in_use);
	nbdkit_set_error(ESHUTDOWN);
	return false;
}

/* What NBD has no word for would reach the client as "invalid argument". */
static int errno_of(int code)
{
	switch (-code) {
	case ENOSPC:
	case EINVAL:
	case ENOMEM:
		return -code;
	default:
		return EIO;
	}
}

/* A failure is said once, not for each of the thousand requests that follow. */
static int end(int code, const struct bowimg_error *err)
{
	pthread_rwlock_unlock(&server.in_use);
	if (!code)
		return 0;
	if (atomic_exchange(&server.last_error, code) != code)
		complain(err->message, err->hint);
	nbdkit_set_error(errno_of(code));
	return -1;
}

static unsigned flags_of(uint32_t flags)
{
	return flags & NBDKIT_FLAG_FUA ? BOWIMG_FUA : 0;
}

static int read_disk(void *handle, void *buf, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	(void)flags;
	return begin() ? end(bowimg_read(server.img, buf, count, off, &err), &err) : -1;
}

static int write_disk(void *handle, const void *buf, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	if (!begin())
		return -1;
	return end(bowimg_write(server.img, buf, count, off, flags_of(flags), &err), &err);
}

static int flush_disk(void *handle, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	(void)flags;
	return begin() ? end(bowimg_flush(server.img, &err), &err) : -1;
}

static int trim_disk(void *handle, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	if (!begin())
		return -1;
	int ret = bowimg_discard(server.img, off, count, &err);
	if (!ret && flags & NBDKIT_FLAG_FUA)
		ret = bowimg_flush(server.img, &err);
	return end(ret, &err);
}

/*
 * MAY_TRIM is granted in any case. In a file, zeroing is a promise or a call to the file system; on
 * a device it may be as slow as writing, which a client that asked for "fast" wants to hear first.
 */
static int zero_disk(void *handle, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	if (flags & NBDKIT_FLAG_FAST_ZERO && !server.cheap_zeros) {
		nbdkit_set_error(EOPNOTSUPP);
		return -1;
	}
	if (!begin())
		return -1;
	return end(bowimg_zero(server.img, off, count, flags_of(flags), &err), &err);
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
	.open = open_connection,
	.get_size = get_size,
	.block_size = block_size,
	.can_multi_conn = yes,
	.can_fua = can_fua,
	.can_fast_zero = yes,
	.pread = read_disk,
	.pwrite = write_disk,
	.flush = flush_disk,
	.trim = trim_disk,
	.zero = zero_disk,
};

/* nbdkit looks for this function; its prototype is nowhere but in the macro. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
NBDKIT_REGISTER_PLUGIN(plugin)
