/* SPDX-License-Identifier: MIT */
/*
 * bowimg diff: the ranges that were written, from the log alone. One at a time: there may be more
 * of them than fit into memory. A range is cut where a partition begins or ends.
 */
#include "bowimg/cli/print/diff.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "lib/base/bytes.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/size.h"

struct report {
	struct bow_diff_run *run;
	size_t place; /* the first that ends after what was printed last */
	uint64_t ranges, changed_bytes, was_free_bytes, zeroed_bytes;
};

static json_int_t bytes(uint64_t value)
{
	return (json_int_t)value;
}

static const char *before_name(const struct bowimg_change *c)
{
	return c->was_free ? "free" : c->was_zero ? "zero" : "data";
}

static const char *now_name(const struct bowimg_change *c)
{
	return c->zero_now ? "zero" : "data";
}

static int print_json(const struct report *r, const struct bowimg_change *c, const char *place)
{
	json_t *o = json_pack("{s:I,s:I,s:s?,s:s,s:s}", "offset", bytes(c->off), "bytes",
			      bytes(c->bytes), "partition", place, "before", before_name(c), "now",
			      now_name(c));

	if (!o)
		return -ENOMEM;
	if (r->ranges)
		fputs(",\n    ", stdout);
	bow_cli_put_json(o, stdout, JSON_COMPACT);
	json_decref(o);
	return 0;
}

static void print_row(const struct report *r, const struct bowimg_change *c, const char *place)
{
	if (r->ranges == 0)
		printf("%16s %14s  %-6s  %-4s  %s\n", "offset", "bytes", "before", "now",
		       "partition");
	printf("%16" PRIu64 " %14" PRIu64 "  %-6s  %-4s  %s\n", c->off, c->bytes, before_name(c),
	       now_name(c), place ? place : "-");
}

static int print_piece(struct report *r, const struct bowimg_change *c, struct bow_place *place)
{
	const char *name = place && place->name[0] ? place->name : NULL;
	int rc = 0;

	if (!place && r->run->partition)
		return 0;
	if (r->run->cli->json)
		rc = print_json(r, c, name);
	else if (!r->run->cli->quiet)
		print_row(r, c, name);
	r->ranges++;
	r->changed_bytes += c->bytes;
	r->was_free_bytes += c->was_free ? c->bytes : 0;
	r->zeroed_bytes += c->zero_now ? c->bytes : 0;
	if (place) {
		place->changed_bytes += c->bytes;
		place->was_free_bytes += c->was_free ? c->bytes : 0;
		place->zeroed_bytes += c->zero_now ? c->bytes : 0;
	}
	return rc ? rc : ferror(stdout) ? -EIO : 0;
}

static int on_change(void *ctx, const struct bowimg_change *change)
{
	struct report *r = ctx;
	const struct bow_places *all = &r->run->places;
	struct bowimg_change c = *change;
	uint64_t left = c.bytes;
	int rc = 0;

	for (; !rc && left; c.off += c.bytes, left -= c.bytes) {
		struct bow_place *p = NULL;

		while (r->place < all->n && all->v[r->place].off + all->v[r->place].bytes <= c.off)
			r->place++;
		c.bytes = left;
		if (r->place < all->n && all->v[r->place].off > c.off)
			c.bytes = bow_min(left, all->v[r->place].off - c.off);
		else if (r->place < all->n)
			p = &all->v[r->place];
		if (p)
			c.bytes = bow_min(left, p->off + p->bytes - c.off);
		rc = print_piece(r, &c, p);
	}
	return rc;
}

static json_t *json_places(const struct bow_places *places)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < places->n; i++) {
		const struct bow_place *p = &places->v[i];

		json_array_append_new(list, json_pack("{s:s?,s:I,s:I,s:I,s:I,s:I}", "partition",
						      p->name[0] ? p->name : NULL, "offset",
						      bytes(p->off), "bytes", bytes(p->bytes),
						      "changed-bytes", bytes(p->changed_bytes),
						      "was-free-bytes", bytes(p->was_free_bytes),
						      "zeroed-bytes", bytes(p->zeroed_bytes)));
	}
	return list;
}

static int begin_json(const struct report *r)
{
	json_t *name = bow_cli_json_text(r->run->image);

	fputs("{\n  \"image\": ", stdout);
	if (!name || bow_cli_put_json(name, stdout, JSON_ENCODE_ANY)) {
		json_decref(name);
		return -ENOMEM;
	}
	json_decref(name);
	printf(",\n  \"virtual-size\": %" PRIu64 ",\n  \"ranges\": [\n    ",
	       bowimg_disk_size(r->run->now));
	return 0;
}

static int end_json(const struct report *r)
{
	json_t *places = json_places(&r->run->places);

	fputs("\n  ],\n  \"partitions\": ", stdout);
	if (!places || bow_cli_put_json(places, stdout, JSON_COMPACT)) {
		json_decref(places);
		return -ENOMEM;
	}
	json_decref(places);
	printf(",\n  \"changed-bytes\": %" PRIu64 ",\n  \"was-free-bytes\": %" PRIu64
	       ",\n  \"zeroed-bytes\": %" PRIu64 "\n}\n",
	       r->changed_bytes, r->was_free_bytes, r->zeroed_bytes);
	return 0;
}

static void print_total(struct bow_cli *cli, const char *what, uint64_t changed, uint64_t was_free)
{
	const struct bow_cli_size all = bow_cli_human(changed), fresh = bow_cli_human(was_free);

	bow_cli_print(cli, "%s: %s written, %s of it to free space", what, all.text, fresh.text);
}

static void print_totals(const struct report *r)
{
	const struct bow_places *all = &r->run->places;
	char what[64];

	for (size_t i = 0; i < all->n; i++) {
		if (!all->v[i].name[0] || !all->v[i].changed_bytes)
			continue;
		snprintf(what, sizeof(what), "partition %s%s%s%s", all->v[i].name,
			 all->v[i].content[0] ? " (" : "", all->v[i].content,
			 all->v[i].content[0] ? ")" : "");
		print_total(r->run->cli, what, all->v[i].changed_bytes, all->v[i].was_free_bytes);
	}
	if (r->changed_bytes)
		print_total(r->run->cli, "total", r->changed_bytes, r->was_free_bytes);
	else if (r->run->mark)
		bow_cli_print(r->run->cli, "nothing was written since the mark '%s'", r->run->mark);
	else
		bow_cli_print(r->run->cli, "nothing was written since prepare");
}

int bow_diff_print_ranges(struct bow_diff_run *run)
{
	struct report r = {.run = run};
	struct bowimg_error err = {0};
	int rc = run->cli->json ? begin_json(&r) : 0;

	if (!rc)
		rc = bowimg_disk_changes_since(run->now, run->mark, on_change, &r, &err);
	if (!rc && run->cli->json)
		rc = end_json(&r);
	if (rc)
		return bow_cli_fail(run->cli, rc, &err);
	if (!run->cli->json)
		print_totals(&r);
	return r.changed_bytes ? BOW_EXIT_FAILED : BOW_EXIT_DONE;
}
