/* SPDX-License-Identifier: MIT */
/* bowimg status: the state of an image, and what can be done with it. */
#include "bowimg/cli/verbs.h"

#include <errno.h>
#include <string.h>

#include "bowimg/host/within.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/next.h"
#include "bowimg/cli/print/status.h"
#include "bowimg/cli/waiting.h"

/* A checkpoint of another kind, or one that ends, has none. */
static int read_marks(struct bow_cli *cli, unsigned force, const struct bowimg_status *now,
		      struct bow_marks *out, struct bowimg_error *err)
{
	bool open = now->state == BOWIMG_STATE_CHECKPOINT ||
		    now->state == BOWIMG_STATE_ROLLING_BACK;

	out->count = 0;
	if (!open || strcmp(now->format, "bowimg") != 0)
		return 0;
	return bow_marks_read(cli, force, out, err);
}

static int show(struct bow_cli *cli, unsigned force)
{
	const struct bowimg_options call = bow_cli_call(cli, force);
	struct bowimg_status answer = {0};
	struct bow_marks marks;
	struct bow_served served;
	struct bowimg_error err = {0};

	int ret = bowimg_status(cli->image, &call, &answer, &err);
	if (!ret)
		ret = read_marks(cli, force, &answer, &marks, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	if (answer.in_use)
		bow_next_in_use(cli->image, answer.next, sizeof(answer.next));
	bool found = bow_served_find(cli->image, &served);
	if (cli->json)
		return bow_status_print_json(cli, cli->image, &answer, &marks,
					     found ? &served : NULL);
	bow_status_print(cli, cli->image, &answer, &marks, found ? &served : NULL);
	return BOW_EXIT_DONE;
}

/* What is known without its storage. */
static int give_up(struct bow_cli *cli, unsigned seconds)
{
	char where[BOW_NEXT_SERVED_MAX];
	struct bow_served served;
	bool found = bow_served_find(cli->image, &served);

	return bow_cli_error(cli, -ETIMEDOUT,
			     "nothing was changed; look at the server or the disk that holds it",
			     "cannot read the state of %s: no answer within %u second%s; on this "
			     "machine it is %s",
			     cli->image, seconds, seconds == 1 ? "" : "s",
			     found ? bow_next_served(&served, where, sizeof(where))
				   : "not mounted, attached or served");
}

int bow_verb_status(int argc, char **argv)
{
	struct bow_cli cli = {0};
	unsigned force = 0, timeout = 0;
	const struct bow_cli_option options[] = {
		BOW_CLI_OPT_JSON(&cli),
		BOW_CLI_OPT_FORCE(&force),
		BOW_CLI_OPT_VERBOSE(&cli),
		{"timeout", 0, BOW_CLI_NUMBER, &timeout, 0, NULL},
		{0},
	};
	struct bowimg_error err = {0};

	int status = bow_cli_parse(&cli, argc, argv, options, "IMAGE");
	if (status)
		return status;
	int ret = timeout ? bow_within(timeout, &status, &err) : 0;
	if (ret == 0)
		return show(&cli, force);
	if (ret == -ETIMEDOUT)
		return give_up(&cli, timeout);
	return ret > 0 ? status : bow_cli_fail(&cli, ret, &err);
}
