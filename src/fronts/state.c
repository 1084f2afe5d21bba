/* SPDX-License-Identifier: MIT */
/*
 * state.json and result.json. JSON strings are UTF-8 but file names are bytes, so that every byte
 * outside printable ASCII is written as %XX, and '%' itself too.
 */
#include "fronts/runtime.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/uri.h"

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

static void unescape(char *out, size_t bytes, const char *in)
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

static void set_text(json_t *root, const char *key, const char *text)
{
	char escaped[3 * PATH_MAX];

	escape(escaped, sizeof(escaped), text);
	json_object_set_new(root, key, json_string(escaped));
}

static void get_text(const json_t *root, const char *key, char *out, size_t bytes)
{
	const char *text = json_string_value(json_object_get(root, key));

	unescape(out, bytes, text ? text : "");
}

/* Readers see the old content or the new, never half of it. */
static int replace(const char *dir, const char *name, json_t *root)
{
	char path[PATH_MAX + 32], fresh[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(fresh, sizeof(fresh), "%s/%s.new", dir, name);
	int ret = json_dump_file(root, fresh, JSON_INDENT(1)) ? -EIO : 0;
	json_decref(root);
	if (!ret && rename(fresh, path) < 0)
		ret = -errno;
	return ret;
}

int bow_state_write(const char *dir, const struct bow_entry *e, struct bowimg_error *err)
{
	json_t *root = json_object();

	if (!root)
		return bow_err_errno(err, -ENOMEM, "writing %s/state.json", dir);
	set_text(root, "image", e->image);
	set_text(root, "fuse-dir", e->fuse_dir);
	set_text(root, "mount-dir", e->mount_dir);
	set_text(root, "before-dir", e->before_dir);
	set_text(root, "loop", e->loop);
	json_object_set_new(root, "partition", json_integer(e->partition));
	json_object_set_new(root, "before-partition", json_integer(e->before_partition));
	json_object_set_new(root, "before-only", json_boolean(e->before_only));
	json_object_set_new(root, "wants-loop", json_boolean(e->wants_loop));
	json_object_set_new(root, "pid", json_integer(e->pid));
	json_object_set_new(root, "start-time", json_integer((json_int_t)e->start_time));
	json_object_set_new(root, "connection", json_integer(e->connection));
	int ret = replace(dir, "state.json", root);
	if (!ret)
		return 0;
	ret = bow_err_errno(err, ret, "writing %s/state.json", dir);
	bow_err_hint(err, "is there room on that file system? (df %s)", dir);
	return ret;
}

static json_t *read_object(const char *dir, const char *name)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return json_load_file(path, 0, NULL);
}

static json_int_t get_number(const json_t *root, const char *key, json_int_t max)
{
	json_int_t n = json_integer_value(json_object_get(root, key));

	return n < 0 || n > max ? 0 : n;
}

int bow_state_read(const char *dir, struct bow_entry *e)
{
	json_t *root = read_object(dir, "state.json");

	if (!root)
		return 0;
	get_text(root, "image", e->image, sizeof(e->image));
	get_text(root, "fuse-dir", e->fuse_dir, sizeof(e->fuse_dir));
	get_text(root, "mount-dir", e->mount_dir, sizeof(e->mount_dir));
	get_text(root, "before-dir", e->before_dir, sizeof(e->before_dir));
	get_text(root, "loop", e->loop, sizeof(e->loop));
	e->partition = (unsigned)get_number(root, "partition", INT_MAX);
	e->before_partition = (unsigned)get_number(root, "before-partition", INT_MAX);
	e->before_only = json_is_true(json_object_get(root, "before-only"));
	e->wants_loop = json_is_true(json_object_get(root, "wants-loop"));
	e->pid = (pid_t)get_number(root, "pid", INT_MAX);
	e->start_time = (uint64_t)get_number(root, "start-time", INT64_MAX);
	e->connection = (unsigned)get_number(root, "connection", INT_MAX);
	json_decref(root);
	return (e->image[0] == '/' || bow_uri_is_nbd(e->image)) && e->fuse_dir[0] == '/';
}

int bow_entry_save_result(const struct bow_entry *e, const struct bowimg_error *result)
{
	json_t *root = json_object();

	if (!root)
		return -ENOMEM;
	json_object_set_new(root, "code", json_integer(result->code));
	set_text(root, "message", result->message);
	set_text(root, "hint", result->hint);
	return replace(e->dir, "result.json", root);
}

bool bow_entry_load_result(const struct bow_entry *e, struct bowimg_error *result)
{
	json_t *root = read_object(e->dir, "result.json");

	if (!root)
		return false;
	json_int_t code = json_integer_value(json_object_get(root, "code"));
	bow_err_clear(result);
	result->code = code < 0 && code > -4096 ? (int)code : 0;
	get_text(root, "message", result->message, sizeof(result->message));
	get_text(root, "hint", result->hint, sizeof(result->hint));
	json_decref(root);
	return true;
}
