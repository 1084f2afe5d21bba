/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/print/summary.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/cleanup.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/print/item.h"
#include "bowimg/cli/size.h"

static void release(struct bow_summary_item *i)
{
	free(i->path);
	free(i->place);
	*i = (struct bow_summary_item){0};
}

void bow_summary_free(struct bow_summary *s)
{
	for (size_t i = 0; i < s->n; i++)
		release(&s->biggest[i]);
	s->n = 0;
}

/* Sorted, the biggest first; of equal ones the first that came. */
static int keep(struct bow_summary *s, const struct bow_diff_item *i, const char *place,
		uint64_t bytes)
{
	size_t at = s->n;

	while (at > 0 && s->biggest[at - 1].bytes < bytes)
		at--;
	if (at == BOW_SUMMARY_BIGGEST)
		return 0;
	struct bow_summary_item item = {strdup(i->path), place ? strdup(place) : NULL, i->kind,
					bytes};
	if (!item.path || (place && !item.place)) {
		release(&item);
		return -ENOMEM;
	}
	if (s->n == BOW_SUMMARY_BIGGEST)
		release(&s->biggest[--s->n]);
	memmove(&s->biggest[at + 1], &s->biggest[at], (s->n - at) * sizeof(item));
	s->biggest[at] = item;
	s->n++;
	return 0;
}

int bow_summary_add(struct bow_summary *s, const struct bow_diff_item *i, const char *place)
{
	bool gone = i->kind == BOW_DIFF_DELETED;
	uint64_t bytes = gone ? i->old_size : i->new_size;

	s->count[i->kind]++;
	return (gone ? i->old_type : i->new_type) == 'f' && bytes ? keep(s, i, place, bytes) : 0;
}

static int add_range(void *ctx, const struct bowimg_change *change)
{
	*(uint64_t *)ctx += change->bytes;
	return 0;
}

static void print_text(const struct bow_summary *s, uint64_t written)
{
	const char *before = "; biggest: ";

	for (int kind = 0; kind < 4; kind++)
		printf("%s%" PRIu64 " %s", kind ? ", " : "", s->count[kind],
		       bow_item_kind_name((enum bow_diff_kind)kind));
	for (size_t i = 0; i < s->n; i++) {
		CLEANUP_FREE char *path = bow_item_escape(s->biggest[i].path);

		printf("%s%s (%s, %s)", before, path ? path : "?",
		       bow_item_kind_name(s->biggest[i].kind),
		       bow_cli_human(s->biggest[i].bytes).text);
		before = ", ";
	}
	putchar('\n');
	if (written)
		printf("%s written on the disk: whole blocks, those of the file system itself, and "
		       "every write, even of the same content\n",
		       bow_cli_human(written).text);
}

static int print_json(const struct bow_summary *s, uint64_t written)
{
	json_t *biggest = json_array(), *root;

	for (size_t i = 0; i < s->n; i++) {
		CLEANUP_FREE char *path = bow_item_escape(s->biggest[i].path);

		json_array_append_new(biggest, json_pack("{s:o,s:s?,s:s,s:I}", "path",
							 bow_cli_json_text(path ? path : ""),
							 "partition", s->biggest[i].place, "change",
							 bow_item_kind_name(s->biggest[i].kind),
							 "size", (json_int_t)s->biggest[i].bytes));
	}
	root = json_pack("{s:I,s:I,s:I,s:I,s:o,s:I}", "added", (json_int_t)s->count[BOW_DIFF_ADDED],
			 "deleted", (json_int_t)s->count[BOW_DIFF_DELETED], "modified",
			 (json_int_t)s->count[BOW_DIFF_MODIFIED], "renamed",
			 (json_int_t)s->count[BOW_DIFF_RENAMED], "biggest", biggest,
			 "changed-bytes", (json_int_t)written);
	int rc = root && bow_cli_put_json(root, stdout, JSON_INDENT(2)) == 0 ? 0 : -ENOMEM;
	putchar('\n');
	json_decref(root);
	return rc;
}

int bow_summary_print(const struct bow_summary *s, struct bow_diff_run *run,
		      struct bowimg_error *err)
{
	uint64_t written = 0;
	int rc = bowimg_disk_changes(run->now, add_range, &written, err);

	if (rc || run->cli->quiet)
		return rc;
	if (run->cli->json)
		return print_json(s, written);
	print_text(s, written);
	return 0;
}
