/* SPDX-License-Identifier: MIT */
/* bowimg status: what state an image is in, for people or as JSON. */
#include "programs/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* "stop", "tail", or NULL where no checkpoint says anything. */
static const char *on_full_name(enum bowimg_on_full on_full)
{
	switch (on_full) {
	case BOWIMG_ON_FULL_STOP:
		return "stop";
	case BOWIMG_ON_FULL_TAIL:
		return "tail";
	case BOWIMG_ON_FULL_DEFAULT:
		break;
	}
	return NULL;
}

/* NULL becomes null: "s?" of json_pack. */
static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static json_int_t bytes(uint64_t value)
{
	return (json_int_t)value;
}

static json_t *identity(const char *image, const struct bowimg_status *s)
{
	return json_pack("{s:s,s:o,s:s?,s:s,s:s?,s:I,s:i,s:s?,s:b,s:s?,s:[],s:b,s:b,s:o}",
			 "version", bowimg_version(), "image", bow_cli_json_text(image), "format",
			 or_null(s->format), "state", bowimg_state_name(s->state), "uuid",
			 or_null(s->uuid), "virtual-size", bytes(s->virtual_size), "block-size",
			 (int)s->block_size, "free-source", or_null(s->free_source), "exact",
			 s->exact, "on-full", on_full_name(s->on_full), "marks", "attached",
			 s->attached, "in-use", s->in_use, "next", bow_cli_json_text(s->next));
}

static json_t *amounts(const struct bowimg_status *s)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "free-total-bytes",
			 bytes(s->free_total_bytes), "free-left-bytes", bytes(s->free_left_bytes),
			 "backup-bytes", bytes(s->backup_bytes), "changed-bytes",
			 bytes(s->changed_bytes), "log-bytes", bytes(s->log_bytes), "entries",
			 bytes(s->entries), "tail-bytes", bytes(s->tail_bytes));
}

static int print_json(struct bow_cli *cli, const char *image, const struct bowimg_status *s)
{
	json_t *root = identity(image, s);
	json_t *more = amounts(s);
	int status = BOW_EXIT_DONE;

	if (!root || !more || json_object_update(root, more) != 0 ||
	    json_dumpf(root, stdout, JSON_INDENT(2)) != 0)
		status = bow_cli_error(cli, -ENOMEM, NULL, "status %s: no memory for the answer",
				       image);
	putchar('\n');
	json_decref(more);
	json_decref(root);
	return status;
}

static void say_size(struct bow_cli *cli, const char *what, uint64_t value)
{
	if (value < 1024)
		bow_cli_say(cli, "%-11s %s", what, bow_cli_human(value).text);
	else
		bow_cli_say(cli, "%-11s %s (%" PRIu64 ")", what, bow_cli_human(value).text, value);
}

/* As the serving process says it, from three quarters on. */
static void say_warning(struct bow_cli *cli, const struct bowimg_status *s)
{
	uint64_t total = s->free_total_bytes / BOWIMG_BLOCK_SIZE;
	uint64_t used = total - s->free_left_bytes / BOWIMG_BLOCK_SIZE;

	if (total && !s->store_tail && used * 100 / total >= 75)
		bow_cli_say(cli, "warning     %" PRIu64 " %% of the free space is used",
			    used * 100 / total);
}

static void say_budget(struct bow_cli *cli, const struct bowimg_status *s)
{
	say_size(cli, "free left", s->free_left_bytes);
	say_size(cli, "  of", s->free_total_bytes);
	say_warning(cli, s);
	if (s->tail_bytes || s->store_tail)
		say_size(cli, "tail", s->tail_bytes);
	bow_cli_say(cli, "when full   %s",
		    s->on_full == BOWIMG_ON_FULL_TAIL
			    ? "tail: backups go on past the image's end"
			    : "stop: writes fail with \"no space left\"; rollback still works");
}

static void say_amounts(struct bow_cli *cli, const struct bowimg_status *s)
{
	say_size(cli, "changed", s->changed_bytes);
	say_size(cli, "backups", s->backup_bytes);
	say_size(cli, "log", s->log_bytes);
	bow_cli_say(cli, "entries     %" PRIu64, s->entries);
}

/* The kernel's checkpoint: what it was made with is not on the disk. */
static void say_dm_bow(struct bow_cli *cli, const struct bowimg_status *s)
{
	bow_cli_say(cli, "checkpoint  by the kernel's dm-bow, in blocks of %" PRIu32 " bytes",
		    s->block_size);
	bow_cli_say(cli, "rollback    every used block; free blocks may differ");
	say_amounts(cli, s);
}

static void say_checkpoint(struct bow_cli *cli, const struct bowimg_status *s)
{
	bow_cli_say(cli, "checkpoint  %s", s->uuid);
	bow_cli_say(cli, "free map    from %s", s->free_source);
	bow_cli_say(cli, "rollback    %s",
		    s->exact ? "exact: the whole image, byte for byte"
			     : "every used block; free blocks may differ");
	say_amounts(cli, s);
	say_budget(cli, s);
	bow_cli_say(cli, "attached    %s",
		    s->in_use	  ? "yes"
		    : s->attached ? "no; the last time did not end cleanly, nothing is lost"
				  : "no");
}

static void print_plain(struct bow_cli *cli, const char *image, const struct bowimg_status *s)
{
	bow_cli_say(cli, "image       %s", image);
	bow_cli_say(cli, "state       %s%s%s%s", bowimg_state_name(s->state),
		    s->format[0] ? " (format " : "", s->format, s->format[0] ? ")" : "");
	say_size(cli, "size", s->virtual_size);
	if (strcmp(s->format, "dm-bow") == 0)
		say_dm_bow(cli, s);
	else if (s->state != BOWIMG_STATE_NONE && s->state != BOWIMG_STATE_INTERRUPTED)
		say_checkpoint(cli, s);
	if (s->next[0])
		bow_cli_say(cli, "next        %s", s->next);
}

int bow_cmd_status(int argc, char **argv)
{
	struct bow_cli cli = {0};
	unsigned force = 0;
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_FORCE(&force),
		{0},
	};
	struct bowimg_status answer = {0};
	struct bowimg_error err = {0};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (status || (status = bow_cli_want_operands(&cli, 1, 1, "IMAGE")))
		return status;
	int ret = bowimg_status(cli.operands[0], force, &answer, &err);
	if (ret)
		return bow_cli_fail(&cli, ret, &err);
	if (cli.json)
		return print_json(&cli, cli.operands[0], &answer);
	print_plain(&cli, cli.operands[0], &answer);
	return BOW_EXIT_DONE;
}
