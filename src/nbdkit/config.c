/* SPDX-License-Identifier: MIT */
/* The parameters of the plugin, and how many requests of a connection it takes at a time. */
#include "nbdkit/plugin.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

static int set_durability(const char *value)
{
	if (strcmp(value, "power") == 0)
		bow_nbdkit.opts.durability = BOWIMG_DURABILITY_POWER;
	else if (strcmp(value, "process") == 0)
		bow_nbdkit.opts.durability = BOWIMG_DURABILITY_PROCESS;
	else
		return bow_nbdkit_error("durability=%s: it is power or process", value), -1;
	return 0;
}

static int set_force(const char *value)
{
	if (strcmp(value, "changed") != 0)
		return bow_nbdkit_error("force=%s: only force=changed is known", value), -1;
	bow_nbdkit.opts.force |= BOWIMG_FORCE_CHANGED;
	return 0;
}

/* The library opens a URI. A path is made absolute before nbdkit leaves the directory. */
static int set_image(const char *value)
{
	bool is_uri = strncmp(value, "nbd", 3) == 0 && strstr(value, "://");

	free(bow_nbdkit.path);
	bow_nbdkit.path = is_uri ? strdup(value) : nbdkit_realpath(value);
	return bow_nbdkit.path ? 0 : -1;
}

static int set_descriptor(const char *key, const char *value, int *out)
{
	if (nbdkit_parse_int(key, value, out) < 0)
		return -1;
	if (*out >= 0 && fcntl(*out, F_SETFD, FD_CLOEXEC) == 0)
		return 0;
	bow_nbdkit_error("%s=%s: no such descriptor", key, value);
	return -1;
}

static int set_cache(const char *key, const char *value)
{
	bow_nbdkit.opts.writeback_bytes = BOW_NBD_CACHE_BYTES;
	return set_descriptor(key, value, &bow_nbdkit.opts.writeback_carry);
}

static int set_kind(const char *value, enum bow_nbdkit_kind kind)
{
	int yes_or_no = nbdkit_parse_bool(value);

	if (yes_or_no > 0)
		bow_nbdkit.what.kind = kind;
	return yes_or_no < 0 ? -1 : 0;
}

/* nbdkit keeps the text as long as it lives. */
static int set_mark(const char *value)
{
	if (!bowimg_mark_name_ok(value))
		return bow_nbdkit_error("mark=%s: that is no name for a mark", value), -1;
	bow_nbdkit.what = (struct bow_nbdkit_what){BOW_NBDKIT_BEFORE, value};
	return 0;
}

int bow_nbdkit_config(const char *key, const char *value)
{
	if (strcmp(key, "image") == 0)
		return set_image(value);
	if (strcmp(key, "durability") == 0)
		return set_durability(value);
	if (strcmp(key, "force") == 0)
		return set_force(value);
	if (strcmp(key, "control") == 0)
		return set_descriptor(key, value, &bow_nbdkit.control);
	if (strcmp(key, "carry") == 0)
		return set_descriptor(key, value, &bow_nbdkit.opts.carry);
	if (strcmp(key, "cache") == 0)
		return set_cache(key, value);
	if (strcmp(key, "track") == 0)
		return set_kind(value, BOW_NBDKIT_TRACKER);
	if (strcmp(key, "before") == 0)
		return set_kind(value, BOW_NBDKIT_BEFORE);
	if (strcmp(key, "mark") == 0)
		return set_mark(value);
	bow_nbdkit_error("there is no parameter '%s'", key);
	return -1;
}

int bow_nbdkit_config_complete(void)
{
	if (!bow_nbdkit.path)
		nbdkit_error("the image is missing: nbdkit bowimg IMAGE");
	else if (bow_nbdkit.what.kind == BOW_NBDKIT_TRACKER && bow_nbdkit.control < 0)
		nbdkit_error("track= is for bowimg prepare --free-from=trim");
	else if (bow_nbdkit.opts.writeback_bytes && !bow_nbdkit.opts.carry)
		nbdkit_error("cache= is for bowimg serve and run, with carry=");
	else
		return 0;
	return -1;
}

/*
 * Before 1.34, nbdkit's threads share a connection's socket and do not notice that another thread
 * has closed it: a client that hangs up while two of its requests are in flight ends the whole
 * process by an assertion (raw_send_socket()). One thread for each connection avoids that. Then the
 * requests of one client are served one after the other; those of different clients still are not.
 */
int bow_nbdkit_thread_model(void)
{
	/* This function is newer than the fix, and is in all stable versions that have the fix. */
	bool mended = dlsym(RTLD_DEFAULT, "nbdkit_disconnect") != NULL;

	return mended ? NBDKIT_THREAD_MODEL_PARALLEL : NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS;
}
