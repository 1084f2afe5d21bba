/* SPDX-License-Identifier: MIT */
/* bowimg rescue: find a checkpoint whose sector 0 was lost; --write writes it anew. */
#include "bowimg/cli/verbs.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <time.h>

#include "lib/base/show.h"
#include "bowimg/cli/interrupt.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/progress.h"
#include "bowimg/cli/report.h"
#include "bowimg/cli/size.h"

static void print_when(struct bow_cli *cli, int64_t at)
{
	char text[64] = "at an unknown time";
	time_t t = (time_t)at;
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %z", &tm);
	bow_cli_print(cli, "prepared    %s", text);
}

static void print_found(struct bow_cli *cli, const struct bowimg_rescue_report *r)
{
	bow_cli_print(cli, "image       %s", cli->image);
	bow_cli_print(cli, "checkpoint  %s", r->uuid);
	print_when(cli, r->prepared_at);
	bow_cli_print(cli, "size        %s (%" PRIu64 ")", bow_cli_human(r->virtual_size).text,
		      r->virtual_size);
	bow_cli_print(cli,
		      "log         %" PRIu64
		      " entries, complete; its newest segment begins at byte %" PRIu64,
		      r->entries, r->segment_off);
	bow_cli_print(cli, "changed     %s", bow_cli_human(r->changed_bytes).text);
	bow_cli_print(cli, "backups     %s, all of them intact",
		      bow_cli_human(r->backup_bytes).text);
	bow_cli_print(cli, "rollback    %s",
		      r->exact ? "exact: the whole image, byte for byte"
			       : "every used block; free blocks may differ");
	if (r->only_rollback)
		bow_cli_print(
			cli,
			"limit       the newest content of block 0 is lost: only a rollback is "
			"possible");
}

static void print_next(struct bow_cli *cli, const struct bowimg_rescue_report *r)
{
	char word[BOW_SHOWN_MAX(PATH_MAX)];
	const char *name = bow_shell_word(word, sizeof(word), cli->image);

	if (!r->written) {
		bow_cli_print(cli,
			      "next        nothing was changed; to write block 0: bowimg rescue "
			      "--write %s",
			      name);
		return;
	}
	bow_cli_print(cli,
		      "next        block 0 is written; to undo the changes: bowimg rollback %s",
		      name);
	if (r->only_rollback)
		return;
	bow_cli_print(cli, "            to keep them: bowimg commit %s", name);
	bow_cli_print(cli,
		      "            If a rollback or commit had begun before block 0 was lost, run "
		      "that one and not the other.");
}

static int print_json(struct bow_cli *cli, const struct bowimg_rescue_report *r)
{
	return bow_cli_report(
		cli,
		json_pack("{s:b,s:s,s:I,s:I,s:b,s:b,s:I,s:I,s:I,s:I}", "written", r->written,
			  "uuid", r->uuid, "prepared-at", (json_int_t)r->prepared_at,
			  "virtual-size", (json_int_t)r->virtual_size, "exact", r->exact,
			  "only-rollback", r->only_rollback, "segment-offset",
			  (json_int_t)r->segment_off, "entries", (json_int_t)r->entries,
			  "changed-bytes", (json_int_t)r->changed_bytes, "backup-bytes",
			  (json_int_t)r->backup_bytes),
		stdout);
}

int bow_verb_rescue(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bowimg_rescue_options opts = {0};
	const struct bow_cli_option options[] = {
		{"write", 'w', BOW_CLI_FLAG, &opts.write, 0, NULL},
		BOW_CLI_OPT_FORCE(&opts.force),
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_QUIET(&cli),
		BOW_CLI_OPT_PROGRESS_FD(&cli),
		{0},
	};
	struct bowimg_rescue_report report = {0};
	struct bowimg_error err = {0};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (status)
		return status;
	bow_interrupt_catch();
	opts.events = bow_cli_events(&cli);
	int ret = bowimg_rescue(cli.image, &opts, &report, &err);
	if (ret)
		return bow_cli_fail(&cli, ret, &err);
	if (cli.json)
		return print_json(&cli, &report);
	print_found(&cli, &report);
	print_next(&cli, &report);
	return BOW_EXIT_DONE;
}
