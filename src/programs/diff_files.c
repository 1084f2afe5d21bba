/* SPDX-License-Identifier: MIT */
/* bowimg diff --files: a line or a JSON object for each path that changed. */
#include "programs/diff_report.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fronts/layer.h"

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

/* "/" behind directories; the root has it anyway. */
static const char *slash(const struct bow_diff_item *i)
{
	const char type = i->type_now ? i->type_now : i->type_before;

	return type == 'd' && strcmp(i->path, "/") != 0 ? "/" : "";
}

static int print_line(const struct bow_diff_item *i)
{
	CLEANUP_FREE char *path = bow_diff_escape(i->path);
	CLEANUP_FREE char *old = bow_diff_escape(i->old_path ? i->old_path : "");
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
	CLEANUP_FREE char *escaped = bow_diff_escape(path);
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

	if (!o || !what)
		return NULL;
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
	if (i->type_before) {
		json_object_set_new(o, "type-before",
				    json_string(bow_diff_type_name(i->type_before)));
		json_object_set_new(o, "size-before", json_integer((json_int_t)i->size_before));
	}
	if (i->type_now) {
		json_object_set_new(o, "type", json_string(bow_diff_type_name(i->type_now)));
		json_object_set_new(o, "size", json_integer((json_int_t)i->size_now));
	}
	return o;
}

static int print_json(const struct bow_diff_item *i, const char *place, bool first)
{
	json_t *o = json_item(i, place);

	if (!o)
		return -ENOMEM;
	fputs(first ? "[\n  " : ",\n  ", stdout);
	json_dumpf(o, stdout, JSON_COMPACT);
	json_decref(o);
	return 0;
}

struct listing {
	struct bow_diff_run *run;
	uint64_t items;
	bool other; /* a place whose files cannot be compared has changes */
};

static int print_item(struct listing *l, const struct bow_diff_item *i, const char *place)
{
	const struct bow_cli *cli = l->run->cli;
	int rc = 0;

	if (cli->json)
		rc = print_json(i, place, l->items == 0);
	else if (l->run->files && !cli->quiet)
		rc = print_line(i);
	l->items++;
	return rc ? rc : ferror(stdout) ? -EIO : 0;
}

static int print_items(struct listing *l, const struct bow_diff *d, const struct bow_place *place)
{
	const char *name = place->name[0] ? place->name : NULL;
	const struct bow_cli *cli = l->run->cli;
	size_t n;
	const struct bow_diff_item *items = bow_diff_items(d, &n);
	int rc = 0;

	if (n && name && l->run->files && !cli->json && !cli->quiet)
		printf("partition %s:\n", name);
	for (size_t i = 0; !rc && i < n; i++)
		if (items[i].kind != BOW_DIFF_MODIFIED || items[i].what)
			rc = print_item(l, &items[i], name);
	return rc;
}

static int write_tar(struct listing *l, struct bow_diff *d, struct bowimg_error *err)
{
	struct bow_layer_report report;
	int rc = bow_layer_write(d, l->run->tar, &report, err);

	bow_cli_clear_bar(l->run->cli);
	if (!rc && !l->run->files && !l->run->cli->json)
		bow_cli_say(l->run->cli, "%s: %" PRIu64 " entries, %" PRIu64 " whiteouts",
			    l->run->tar, report.entries, report.whiteouts);
	return rc;
}

static int one_place(struct listing *l, struct bow_place *place, struct bowimg_error *err)
{
	const struct bow_diff_options opts = {.off = place->off,
					      .bytes = place->bytes,
					      .all_links = l->run->tar != NULL,
					      .events = bow_cli_count_events(l->run->cli)};
	struct bow_diff *d;
	int rc = bow_diff_files(&l->run->source, &opts, &d, err);

	if (rc)
		return rc;
	bow_cli_clear_bar(l->run->cli);
	rc = print_items(l, d, place);
	if (!rc && l->run->tar)
		rc = write_tar(l, d, err);
	bow_diff_free(d);
	return rc;
}

static int first_change(void *ctx, const struct bowimg_change *change)
{
	const struct bow_place *p = ctx;

	return change->off < p->off + p->bytes && p->off < change->off + change->bytes;
}

/* Of a partition whose files cannot be compared, only that it changed can be said. */
static int other_place(struct listing *l, struct bow_place *p, struct bowimg_error *err)
{
	int rc = bowimg_look_changes(l->run->look, first_change, p, err);

	if (rc <= 0)
		return rc;
	l->other = true;
	bow_cli_warn(l->run->cli, "partition %s%s%s%s changed, but its files are not compared: %s",
		     p->name, p->content[0] ? " (" : "", p->content, p->content[0] ? ")" : "",
		     p->why_not.message);
	return 0;
}

/* An archive holds the files of one file system. */
static int check_one(struct listing *l, size_t n)
{
	if (l->run->tar && n > 1)
		return bow_cli_usage(l->run->cli,
				     "--tar: there are %zu partitions with files that can be "
				     "compared: say which one with --partition",
				     n);
	return 0;
}

static int find_comparable(struct listing *l, size_t *n, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < l->run->places.n; i++) {
		struct bow_place *p = &l->run->places.v[i];

		rc = bow_diff_probe(&l->run->source, p->off, p->bytes, &p->can_compare, &p->why_not,
				    err);
		*n += p->can_compare;
	}
	return rc;
}

int bow_diff_list_files(struct bow_diff_run *run)
{
	struct listing l = {.run = run};
	struct bowimg_error err = {0};
	size_t n = 0;
	int rc = find_comparable(&l, &n, &err), status;

	if (!rc && (status = check_one(&l, n)))
		return status;
	for (size_t i = 0; !rc && i < run->places.n; i++) {
		struct bow_place *p = &run->places.v[i];

		/* Where nothing at all can be compared, that is an error and says why. */
		rc = p->can_compare || !n ? one_place(&l, p, &err) : other_place(&l, p, &err);
	}
	/* Where it fails at once there is no data; where it fails later, what there is stays valid.
	 */
	if (run->cli->json && (!rc || l.items))
		puts(l.items ? "\n]" : "[]");
	if (rc)
		return bow_cli_fail(run->cli, rc, &err);
	return l.items || l.other ? BOW_EXIT_FAILED : BOW_EXIT_DONE;
}
