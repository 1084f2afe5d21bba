/* SPDX-License-Identifier: MIT */
/* bowimg log: the log's entries, newest first, as a table or as a JSON array. */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/waiting.h"

struct printer {
	bool json;
	uint64_t printed;
};

static bool is_of_a_mark(const struct bowimg_log_entry *e)
{
	return strcmp(e->type, "mark") == 0 || strcmp(e->type, "unmark") == 0 ||
	       strcmp(e->type, "revert") == 0;
}

static int add_mark(json_t *object, const struct bowimg_log_entry *e)
{
	if (!is_of_a_mark(e))
		return 0;
	/* A damaged disk's name may have any bytes. */
	if (json_object_set_new(object, "name", bow_cli_json_text(e->name)))
		return -1;
	return json_object_set_new(object, "record", json_integer((json_int_t)e->record));
}

/* One object at a time: the log may be longer than memory. */
static int print_json(struct printer *p, const struct bowimg_log_entry *e)
{
	char hash[2 + 16 + 1]; /* as text: a JSON reader's numbers may have 53 bits only */

	snprintf(hash, sizeof(hash), "0x%016" PRIx64, e->hash);
	json_t *object = json_pack("{s:I,s:I,s:s,s:I,s:I,s:I,s:s}", "segment",
				   (json_int_t)e->segment_blk, "sequence", (json_int_t)e->sequence,
				   "type", e->type, "source", (json_int_t)e->source_blk, "dest",
				   (json_int_t)e->dest_blk, "count", (json_int_t)e->count_blk,
				   "hash", hash);
	if (!object || add_mark(object, e)) {
		json_decref(object);
		return -ENOMEM;
	}
	fputs(p->printed ? ",\n  " : "[\n  ", stdout);
	int ret = bow_cli_put_json(object, stdout, JSON_COMPACT);
	json_decref(object);
	return ret ? -EIO : 0;
}

static void print_row(struct printer *p, const struct bowimg_log_entry *e)
{
	if (p->printed == 0)
		printf("%10s %-8s %14s %14s %10s %16s %14s\n", "record", "type", "source", "dest",
		       "blocks", "hash", "segment");
	printf("%10" PRIu64 " %-8s %14" PRIu64 " %14" PRIu64 " %10" PRIu64 " %016" PRIx64
	       " %14" PRIu64,
	       e->sequence, e->type, e->source_blk, e->dest_blk, e->count_blk, e->hash,
	       e->segment_blk);
	if (is_of_a_mark(e)) {
		printf("  record %" PRIu64 " ", e->record);
		bow_cli_put(stdout, e->name);
	}
	putchar('\n');
}

static int on_entry(void *ctx, const struct bowimg_log_entry *e)
{
	struct printer *p = ctx;
	int ret = 0;

	if (p->json)
		ret = print_json(p, e);
	else
		print_row(p, e);
	p->printed++;
	/* The output failed (a closed pipe, a full disk): main() reports it. */
	return ret ? ret : ferror(stdout) ? -EIO : 0;
}

int bow_verb_log(int argc, char **argv)
{
	struct bow_cli cli = {0};
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_JSON(&cli),
		{0},
	};
	struct bowimg_error err = {0};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (status)
		return status;
	struct printer printer = {.json = cli.json};
	const struct bowimg_options call = bow_cli_call(&cli, 0);
	int ret = bowimg_log(cli.image, &call, on_entry, &printer, &err);
	/* Without any data if it fails at once; valid JSON if it fails later. */
	if (cli.json && (ret == 0 || printer.printed))
		puts(printer.printed ? "\n]" : "[]");
	return ret ? bow_cli_fail(&cli, ret, &err) : BOW_EXIT_DONE;
}
