/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/print/item.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/cleanup.h"
#include "lib/base/show.h"
#include "bowimg/cli/output.h"

static const char *const kind_names[] = {
	[BOW_DIFF_ADDED] = "added",
	[BOW_DIFF_DELETED] = "deleted",
	[BOW_DIFF_MODIFIED] = "modified",
	[BOW_DIFF_RENAMED] = "renamed",
};

static const struct {
	unsigned bit;
	const char *name;
} what_names[] = {
	{BOW_DIFF_TYPE, "type"},     {BOW_DIFF_CONTENT, "content"}, {BOW_DIFF_SIZE, "size"},
	{BOW_DIFF_MODE, "mode"},     {BOW_DIFF_OWNER, "owner"},	    {BOW_DIFF_TIMES, "times"},
	{BOW_DIFF_XATTRS, "xattrs"}, {BOW_DIFF_TARGET, "target"},   {BOW_DIFF_DEVICE, "device"},
};

#define N_WHAT (sizeof(what_names) / sizeof(what_names[0]))

const char *bow_item_kind_name(enum bow_diff_kind kind)
{
	return kind_names[kind];
}

/* File names are any bytes; a terminal would obey some of them, and JSON takes UTF-8 only. */
char *bow_item_escape(const char *path)
{
	char *text = malloc(BOW_SHOWN_MAX(strlen(path))), *to = text;
	const char *p = path;

	for (size_t n; text && *p; p += n) {
		n = bow_shown_bytes(p);
		if (n && *p != '\\') {
			memcpy(to, p, n);
			to += n;
			continue;
		}
		n = 1;
		to += *p == '\\' ? sprintf(to, "\\\\") : sprintf(to, "\\x%02x", (unsigned char)*p);
	}
	if (text)
		*to = '\0';
	return text;
}

/* "/" behind directories; the root has it anyway. */
static const char *slash(const struct bow_diff_item *i)
{
	const char type = i->new_type ? i->new_type : i->old_type;

	return type == 'd' && strcmp(i->path, "/") != 0 ? "/" : "";
}

int bow_item_print(const struct bow_diff_item *i)
{
	CLEANUP_FREE char *path = bow_item_escape(i->path);
	CLEANUP_FREE char *old = bow_item_escape(i->old_path ? i->old_path : "");
	const char *before = " (";

	if (!path || !old)
		return -ENOMEM;
	printf("%-8s  ", kind_names[i->kind]);
	if (i->old_path)
		printf("%s%s -> ", old, slash(i));
	printf("%s%s", path, slash(i));
	for (size_t k = 0; k < N_WHAT; k++) {
		if (!(i->what & what_names[k].bit))
			continue;
		printf("%s%s", before, what_names[k].name);
		before = ", ";
	}
	puts(i->what ? ")" : "");
	return 0;
}

/* The exact bytes of a name that is no text, in hexadecimal. */
static void set_path(json_t *o, const char *key, const char *path)
{
	CLEANUP_FREE char *escaped = bow_item_escape(path);
	CLEANUP_FREE char *hex = malloc(2 * strlen(path) + 1);
	json_t *text = json_string(path);
	char hex_key[32];

	if (text || !escaped || !hex) {
		json_object_set_new(o, key, text);
		return;
	}
	json_object_set_new(o, key, json_string(escaped));
	for (size_t i = 0; path[i]; i++)
		sprintf(hex + 2 * i, "%02x", (unsigned char)path[i]);
	snprintf(hex_key, sizeof(hex_key), "%s-hex", key);
	json_object_set_new(o, hex_key, json_string(hex));
}

static json_t *json_item(const struct bow_diff_item *i, const char *place)
{
	json_t *o = json_object(), *what = json_array();

	if (!o || !what) {
		json_decref(o);
		json_decref(what);
		return NULL;
	}
	json_object_set_new(o, "change", json_string(kind_names[i->kind]));
	set_path(o, "path", i->path);
	if (i->old_path)
		set_path(o, "old-path", i->old_path);
	if (place)
		json_object_set_new(o, "partition", json_string(place));
	for (size_t k = 0; k < N_WHAT; k++)
		if (i->what & what_names[k].bit)
			json_array_append_new(what, json_string(what_names[k].name));
	json_object_set_new(o, "what", what);
	if (i->old_type) {
		json_object_set_new(o, "type-before", json_string(bow_diff_type_name(i->old_type)));
		json_object_set_new(o, "size-before", json_integer((json_int_t)i->old_size));
	}
	if (i->new_type) {
		json_object_set_new(o, "type", json_string(bow_diff_type_name(i->new_type)));
		json_object_set_new(o, "size", json_integer((json_int_t)i->new_size));
	}
	return o;
}

int bow_item_print_json(const struct bow_diff_item *i, const char *place, bool first)
{
	json_t *o = json_item(i, place);

	if (!o)
		return -ENOMEM;
	fputs(first ? "[\n  " : ",\n  ", stdout);
	bow_cli_put_json(o, stdout, JSON_COMPACT);
	json_decref(o);
	return 0;
}
