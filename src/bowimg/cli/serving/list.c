/* SPDX-License-Identifier: MIT */
/* bowimg list: what is attached, mounted and served, by this user. */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "bowimg/serve/list.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/next.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/size.h"

struct listing {
	struct bow_cli *cli;
	json_t *array;
	unsigned count;
};

static json_t *text_or_null(const char *text)
{
	return text[0] ? bow_cli_json_text(text) : json_null();
}

static json_t *json_entry(const struct bow_served *s)
{
	return json_pack("{s:o,s:s,s:o,s:o,s:o,s:b,s:o,s:o,s:i,s:o,s:b}", "image",
			 bow_cli_json_text(s->image), "how", bow_served_how_name(s->how), "where",
			 bow_cli_json_text(s->where), "device", text_or_null(s->device),
			 "partition", s->partition ? json_integer(s->partition) : json_null(),
			 "before", s->before_only, "mark", text_or_null(s->mark), "before-where",
			 text_or_null(s->before_dir), "pid", (int)s->pid, "since",
			 s->since ? json_integer(s->since) : json_null(), "alive", s->alive);
}

static void print_entry(struct bow_cli *cli, const struct bow_served *s)
{
	char who[BOW_NEXT_SERVED_MAX];
	int64_t now = time(NULL);

	bow_next_served(s, who, sizeof(who));
	if (s->since > 0 && s->since <= now)
		bow_cli_print(cli, "%s: %s, for %s", s->image, who,
			      bow_cli_ago((uint64_t)(now - s->since)).text);
	else
		bow_cli_print(cli, "%s: %s", s->image, who);
}

static int on_served(void *ctx, const struct bow_served *s)
{
	struct listing *l = ctx;

	l->count++;
	if (l->cli->json)
		return json_array_append_new(l->array, json_entry(s)) ? -ENOMEM : 0;
	print_entry(l->cli, s);
	return 0;
}

static int list(struct listing *l)
{
	struct bowimg_error err = {0};
	int ret = l->array ? bow_served_each(on_served, l, &err) : -ENOMEM;

	if (!ret && l->cli->json)
		ret = bow_cli_put_json(l->array, stdout, JSON_INDENT(2)) ? -ENOMEM : 0;
	if (ret)
		return bow_cli_fail(l->cli, ret, &err);
	if (l->cli->json)
		putchar('\n');
	else if (!l->count)
		bow_cli_note(l->cli, "nothing is attached, mounted or served");
	return BOW_EXIT_DONE;
}

int bow_verb_list(int argc, char **argv)
{
	struct bow_cli cli = {0};
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_QUIET(&cli),
		{0},
	};
	int status = bow_cli_parse(&cli, argc, argv, options, "");
	if (status)
		return status;
	struct listing l = {.cli = &cli, .array = json_array()};
	status = list(&l);
	json_decref(l.array);
	return status;
}
