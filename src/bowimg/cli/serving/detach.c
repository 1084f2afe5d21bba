/* SPDX-License-Identifier: MIT */
/* bowimg detach: the end of bowimg attach. */
#include "bowimg/cli/verbs.h"

#include <errno.h>

#include "lib/base/err.h"
#include "lib/base/show.h"
#include "bowimg/serve/find.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/serving/all.h"
#include "bowimg/cli/serving/service.h"

/* The disk as it was, attached beside the disk, if that is named or all that is attached. */
static bool is_before(const struct bow_session *entry)
{
	char device[BOW_LOOP_NAME];

	return entry->before_loop[0] && bow_service_has_before(entry, device) &&
	       (entry->named_before || bow_service_is_mounted(entry));
}

static int detach(struct bow_cli *cli, const char *name)
{
	struct bowimg_error err = {0};
	struct bow_session entry;

	int ret = bow_runtime_find(name, &entry, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	/* Either verb removes what a killed daemon has left. */
	if (!bow_session_alive(&entry))
		return bow_serving_stop(cli, &entry);
	if (is_before(&entry))
		return bow_serving_stop_before(cli, &entry);
	if (entry.named_loop && !entry.mount_dir[0] && bow_service_has_files(&entry))
		return bow_serving_stop_device(cli, &entry);
	if (!bow_service_is_mounted(&entry))
		return bow_serving_stop(cli, &entry);
	bow_session_leave(&entry, false);
	bow_err(&err, -EBUSY, "cannot detach %s: it is mounted at %s", name, entry.mount_dir);
	bow_err_hint(&err, "unmount %sit: bowimg umount %s", entry.wants_loop ? "and detach " : "",
		     BOW_WORD(entry.image));
	return bow_cli_fail(cli, -EBUSY, &err);
}

static bool is_attached(const struct bow_served *s)
{
	return s->how != BOW_SERVED_MOUNT || !s->alive;
}

int bow_verb_detach(int argc, char **argv)
{
	struct bow_cli cli = {0};
	bool all = false;
	const struct bow_cli_option options[] = {
		{"all", 'a', BOW_CLI_FLAG, &all, 0, NULL},
		BOW_CLI_OPT_VERBOSE(&cli),
		{0},
	};
	static const struct bow_serving_all attached = {is_attached, detach,
							.befores_attached = true};

	int status = bow_cli_parse(&cli, argc, argv, options, "[IMAGE]");
	if (!status && all == (cli.operand_count > 0))
		status = bow_cli_usage(&cli, "expected either IMAGE or --all");
	if (status)
		return status;
	return all ? bow_serving_end_all(&cli, &attached) : detach(&cli, cli.image);
}
