/* SPDX-License-Identifier: MIT */
/* bowimg diff --files: a line or a JSON object for each path that changed. */
#include "bowimg/cli/print/diff.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bowimg/diff/layer/layer.h"
#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/progress.h"
#include "bowimg/cli/print/item.h"
#include "bowimg/cli/print/summary.h"

struct listing {
	struct bow_diff_run *run;
	uint64_t items;
	struct bow_summary summary;
	bool other; /* a place whose files cannot be compared has changes */
};

static int print_item(struct listing *l, const struct bow_diff_item *i, const char *place)
{
	const struct bow_cli *cli = l->run->cli;
	int rc = 0;

	if (l->run->summary)
		rc = bow_summary_add(&l->summary, i, place);
	else if (cli->json)
		rc = bow_item_print_json(i, place, l->items == 0);
	else if (l->run->files && !cli->quiet)
		rc = bow_item_print(i);
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

	if (n && name && l->run->files && !l->run->summary && !cli->json && !cli->quiet)
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
		bow_cli_print(l->run->cli, "%s: %" PRIu64 " entries, %" PRIu64 " whiteouts",
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

/* For a partition whose files cannot be compared: only whether it changed. */
static int other_place(struct listing *l, struct bow_place *p, struct bowimg_error *err)
{
	int rc = bowimg_disk_changes_since(l->run->now, l->run->mark, first_change, p, err);

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
				     "%zu partitions have files to compare: choose one for --tar "
				     "with --partition=NUMBER",
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

int bow_diff_print_files(struct bow_diff_run *run)
{
	struct listing l = {.run = run};
	struct bowimg_error err = {0};
	size_t n = 0;
	int rc = find_comparable(&l, &n, &err), status;

	if (!rc && (status = check_one(&l, n)))
		return status;
	for (size_t i = 0; !rc && i < run->places.n; i++) {
		struct bow_place *p = &run->places.v[i];

		/* If no partition can be compared, the error says why. */
		rc = p->can_compare || !n ? one_place(&l, p, &err) : other_place(&l, p, &err);
	}
	/* A read that was interrupted may look like damage. */
	if (bow_interrupt_came(NULL))
		rc = -ECANCELED;
	if (!rc && run->summary)
		rc = bow_summary_print(&l.summary, run, &err);
	bow_summary_free(&l.summary);
	/* Without any data if it fails at once; valid JSON if it fails later. */
	if (run->cli->json && !run->summary && (!rc || l.items))
		puts(l.items ? "\n]" : "[]");
	if (rc)
		return bow_cli_fail(run->cli, rc, &err);
	return l.items || l.other ? BOW_EXIT_FAILED : BOW_EXIT_DONE;
}
