/* SPDX-License-Identifier: MIT */
/*
 * state.json, result.json and refusal.json. JSON strings are UTF-8 but file names are bytes, so
 * that every byte outside printable ASCII is written as %XX, and '%' itself too.
 */
#include "bowimg/serve/runtime.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/show.h"
#include "lib/base/uri.h"
#include "bowimg/host/outfile.h"

static void escape(char *out, size_t bytes, const char *in)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (; *in && n + 4 <= bytes; in++) {
		unsigned char c = (unsigned char)*in;
		if (c > ' ' && c < 0x7f && c != '%') {
			out[n++] = *in;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	out[n] = '\0';
}

void bow_state_unescape(char *out, size_t bytes, const char *in)
{
	size_t n = 0;

	while (*in && n + 1 < bytes) {
		if (in[0] == '%' && isxdigit((unsigned char)in[1]) &&
		    isxdigit((unsigned char)in[2])) {
			char digits[3] = {in[1], in[2], '\0'};
			out[n++] = (char)strtoul(digits, NULL, 16);
			in += 3;
		} else {
			out[n++] = *in++;
		}
	}
	out[n] = '\0';
}

json_t *bow_state_escaped(const char *text)
{
	char out[3 * PATH_MAX];

	escape(out, sizeof(out), text);
	return json_string(out);
}

static int dump(json_t *root, int fd)
{
	return json_dumpfd(root, fd, JSON_INDENT(1)) == 0 ? 0 : errno ? -errno : -EIO;
}

int bow_state_replace(const char *dir, const char *name, json_t *root, struct bowimg_error *err)
{
	char path[PATH_MAX + 32];
	struct bow_outfile out;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int ret = bow_outfile_open(path, NULL, &out, err);
	if (!ret) {
		/* After a power cut nothing that it names is there; one without content counts as
		 * none. */
		out.brief = true;
		errno = 0;
		ret = dump(root, out.fd);
		if (ret)
			ret = bow_outfile_failed(ret, path, err);
		if (ret)
			bow_outfile_discard(&out);
		else
			ret = bow_outfile_finish(&out, err);
	}
	json_decref(root);
	return ret;
}

/* clang-format off */
int bow_state_write(const char *dir, const struct bow_session *e, struct bowimg_error *err)
{
	json_t *root = json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:b, s:b, s:b, s:I, s:I, s:I, "
		"s:i, s:I}",
		"image", bow_state_escaped(e->image),
		"fuse-dir", bow_state_escaped(e->fuse_dir),
		"mount-dir", bow_state_escaped(e->mount_dir),
		"before-dir", bow_state_escaped(e->before_dir),
		"before-loop", bow_state_escaped(e->before_loop),
		"before-mark", bow_state_escaped(e->before_mark),
		"mark", bow_state_escaped(e->mark),
		"loop", bow_state_escaped(e->loop),
		"partition", (json_int_t)e->partition,
		"before-partition", (json_int_t)e->before_partition,
		"before-only", e->before_only,
		"disk-device", e->disk_device,
		"wants-loop", e->wants_loop,
		"pid", (json_int_t)e->pid,
		"start-time", (json_int_t)e->start_time,
		"connection", (json_int_t)e->connection,
		"durability", (int)e->durability,
		"force", (json_int_t)e->force);

	if (!root)
		return bow_err_errno(err, -ENOMEM, "writing %s/state.json", dir);
	return bow_state_replace(dir, "state.json", root, err);
}

/* clang-format on */

static json_t *read_object(const char *dir, const char *name)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return json_load_file(path, 0, NULL);
}

static bool is_in(json_int_t n, json_int_t max)
{
	return n >= 0 && n <= max;
}

/* clang-format off */
/* What is missing is "", 0 or false. False: a value is of another type, or out of its bounds. */
static bool unpack_state(json_t *root, struct bow_session *e)
{
	const char *image = "", *fuse_dir = "", *mount_dir = "", *before_dir = "", *loop = "";
	const char *before_loop = "", *before_mark = "", *mark = "";
	json_int_t partition = 0, before_partition = 0, pid = 0, start_time = 0, connection = 0;
	json_int_t durability = 0, force = 0;
	int before_only = 0, disk_device = 0, wants_loop = 0;

	if (json_unpack(root,
			"{s?s, s?s, s?s, s?s, s?s, s?s, s?s, s?s, s?I, s?I, s?b, s?b, s?b, s?I, s?I, s?I, "
			"s?I, s?I}",
			"image", &image,
			"fuse-dir", &fuse_dir,
			"mount-dir", &mount_dir,
			"before-dir", &before_dir,
			"before-loop", &before_loop,
			"before-mark", &before_mark,
			"mark", &mark,
			"loop", &loop,
			"partition", &partition,
			"before-partition", &before_partition,
			"before-only", &before_only,
			"disk-device", &disk_device,
			"wants-loop", &wants_loop,
			"pid", &pid,
			"start-time", &start_time,
			"connection", &connection,
			"durability", &durability,
			"force", &force) ||
	    !is_in(partition, INT_MAX) || !is_in(before_partition, INT_MAX) ||
	    !is_in(pid, INT_MAX) || !is_in(start_time, INT64_MAX) || !is_in(connection, INT_MAX) ||
	    !is_in(durability, INT_MAX) || !is_in(force, INT_MAX))
		return false;
	bow_state_unescape(e->image, sizeof(e->image), image);
	bow_state_unescape(e->fuse_dir, sizeof(e->fuse_dir), fuse_dir);
	bow_state_unescape(e->mount_dir, sizeof(e->mount_dir), mount_dir);
	bow_state_unescape(e->before_dir, sizeof(e->before_dir), before_dir);
	bow_state_unescape(e->before_loop, sizeof(e->before_loop), before_loop);
	bow_state_unescape(e->before_mark, sizeof(e->before_mark), before_mark);
	bow_state_unescape(e->mark, sizeof(e->mark), mark);
	bow_state_unescape(e->loop, sizeof(e->loop), loop);
	e->partition = (unsigned)partition;
	e->before_partition = (unsigned)before_partition;
	e->before_only = before_only;
	e->disk_device = disk_device;
	e->wants_loop = wants_loop;
	e->pid = (pid_t)pid;
	e->start_time = (uint64_t)start_time;
	e->connection = (unsigned)connection;
	e->durability = (enum bowimg_durability)durability;
	e->force = (unsigned)force;
	return true;
}

/* clang-format on */

int bow_state_read(const char *dir, struct bow_session *e)
{
	json_t *root = read_object(dir, "state.json");
	bool ok = root && unpack_state(root, e);

	json_decref(root);
	return ok && (e->image[0] == '/' || bow_uri_is_nbd(e->image)) && e->fuse_dir[0] == '/';
}

int bow_session_save_result(const struct bow_session *e, const char *name,
			    const struct bowimg_error *result)
{
	json_t *root = json_pack("{s:i, s:o, s:o}", "code", result->code, "message",
				 bow_state_escaped(result->message), "hint",
				 bow_state_escaped(result->hint));

	return root ? bow_state_replace(e->dir, name, root, NULL) : -ENOMEM;
}

void bow_session_forget_result(const struct bow_session *e, const char *name)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", e->dir, name);
	unlink(path);
}

bool bow_session_load_result(const struct bow_session *e, const char *name,
			     struct bowimg_error *result)
{
	json_t *root = read_object(e->dir, name);
	const char *message = "", *hint = "";
	json_int_t code = 0;

	if (!root)
		return false;
	json_unpack(root, "{s?I, s?s, s?s}", "code", &code, "message", &message, "hint", &hint);
	bow_err_clear(result);
	result->code = code < 0 && code > -4096 ? (int)code : 0;
	bow_state_unescape(result->message, sizeof(result->message), message);
	bow_state_unescape(result->hint, sizeof(result->hint), hint);
	json_decref(root);
	return true;
}
