/* SPDX-License-Identifier: MIT */
/* bowimg rescue: find a checkpoint whose sector 0 was lost, and make that anew if asked to. */
#include "programs/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static void say_when(struct bow_cli *cli, int64_t at)
{
	char text[64] = "at an unknown time";
	time_t t = (time_t)at;
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %z", &tm);
	bow_cli_say(cli, "prepared    %s", text);
}

static void say_found(struct bow_cli *cli, const struct bowimg_rescue_report *r)
{
	bow_cli_say(cli, "image       %s", cli->operands[0]);
	bow_cli_say(cli, "checkpoint  %s", r->uuid);
	say_when(cli, r->prepared_at);
	bow_cli_say(cli, "size        %s (%" PRIu64 ")", bow_cli_human(r->virtual_size).text,
		    r->virtual_size);
	bow_cli_say(cli,
		    "log         %" PRIu64
		    " entries, whole; its newest part begins at byte %" PRIu64,
		    r->entries, r->segment_off);
	bow_cli_say(cli, "changed     %s", bow_cli_human(r->changed_bytes).text);
	bow_cli_say(cli, "backups     %s, every one as it was written",
		    bow_cli_human(r->backup_bytes).text);
	bow_cli_say(cli, "rollback    %s",
		    r->exact ? "exact: the whole image, byte for byte"
			     : "every used block; free blocks may differ");
	if (r->only_rollback)
		bow_cli_say(cli, "limit       where the newest content of block 0 is cannot be "
				 "told: only a rollback can follow");
}

static void say_next(struct bow_cli *cli, const struct bowimg_rescue_report *r)
{
	if (!r->written) {
		bow_cli_say(cli, "next        nothing was changed; 'bowimg rescue --write' makes "
				 "block 0 anew");
		return;
	}
	bow_cli_say(cli, "next        block 0 is in place again; %s",
		    r->only_rollback ? "'bowimg rollback' brings everything back"
				     : "'bowimg rollback' brings everything back, 'commit' keeps "
				       "the changes");
	if (!r->only_rollback)
		bow_cli_say(cli,
			    "            If a rollback or commit had been begun before block 0 "
			    "was lost, run that one and no other.");
}

int bow_cmd_rescue(int argc, char **argv)
{
	struct bow_cli cli = {0};
	struct bowimg_rescue_options opts = {0};
	const struct bow_cli_option options[] = {
		{"write", 'w', BOW_CLI_FLAG, &opts.write, 0, NULL},
		BOW_CLI_OPT_FORCE(&opts.force),
		BOW_CLI_OPT_QUIET(&cli),
		{0},
	};
	struct bowimg_rescue_report report = {0};
	struct bowimg_error err = {0};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (status || (status = bow_cli_want_operands(&cli, 1, 1, "IMAGE")))
		return status;
	opts.events = bow_cli_events(&cli);
	int ret = bowimg_rescue(cli.operands[0], &opts, &report, &err);
	if (ret)
		return bow_cli_fail(&cli, ret, &err);
	say_found(&cli, &report);
	say_next(&cli, &report);
	return BOW_EXIT_DONE;
}
