/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/interrupted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bowimg/cli/typed.h"
#include "bowimg/cli/waiting.h"

/* By the state of the image. */
static const char *what_became(const struct bow_cli *cli, const struct bowimg_status *now)
{
	if (now->state == BOWIMG_STATE_ROLLING_BACK)
		return "the rollback is half done and nothing is lost";
	if (now->state == BOWIMG_STATE_COMMITTING)
		return "the commit is half done and nothing is lost";
	/* A warning is about other changes: a mount, with which the kernel read the free map. */
	return cli->warned ? "nothing else was changed" : "nothing was changed";
}

char *bow_interrupted_text(struct bow_cli *cli, const char *image, const struct bowimg_error *err)
{
	const struct bowimg_options call = bow_cli_call(cli, BOWIMG_FORCE_CHANGED);
	struct bowimg_status now = {0};
	char *command = bow_cli_typed(cli, ""), *text = NULL;

	if (!err->hint[0] && image)
		bowimg_status(image, &call, &now, NULL);
	bool half = now.state != BOWIMG_STATE_NONE && now.state != BOWIMG_STATE_CHECKPOINT;
	/* Quotes around quotes could not be pasted. */
	const char *quote = command && !strchr(command, '\'') ? "'" : "";
	if (asprintf(&text, "interrupted: %s; run %s%s%s to %s",
		     err->hint[0] ? err->hint : what_became(cli, &now), quote,
		     command ? command : "it again", quote, half ? "finish" : "begin again") < 0)
		text = NULL;
	free(command);
	return text;
}
