/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/report.h"

#include <errno.h>
#include <jansson.h>

#include "bowimg.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"

int bow_cli_report(struct bow_cli *cli, struct json_t *more, FILE *out)
{
	json_t *root = json_pack("{s:s,s:o,s:s}", "version", bowimg_version(), "image",
				 bow_cli_json_text(cli->image), "verb", cli->verb);
	size_t flags = out == stderr ? JSON_COMPACT : JSON_INDENT(2);
	int status = BOW_EXIT_DONE;

	if (!root || !more || json_object_update(root, more) != 0 ||
	    bow_cli_put_json(root, out, flags) != 0)
		status = bow_cli_error(cli, -ENOMEM, NULL,
				       "%s of %s is done, but the report cannot be printed: out of "
				       "memory",
				       cli->verb, cli->image);
	putc('\n', out);
	json_decref(root);
	json_decref(more);
	return status;
}
