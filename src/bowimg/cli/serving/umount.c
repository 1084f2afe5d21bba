/* SPDX-License-Identifier: MIT */
/* bowimg umount: the end of bowimg mount. */
#include "bowimg/cli/verbs.h"

#include <errno.h>

#include "lib/base/err.h"
#include "lib/base/show.h"
#include "bowimg/serve/find.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/options.h"
#include "bowimg/cli/serving/all.h"
#include "bowimg/cli/serving/service.h"

static int refuse_attached(struct bow_cli *cli, struct bow_session *entry, const char *name)
{
	struct bowimg_error err = {0};

	bow_session_leave(entry, false);
	bow_err(&err, -ENODATA, "cannot unmount %s: it is attached, not mounted", name);
	bow_err_hint(&err, "detach it: bowimg detach %s",
		     BOW_WORD(entry->named_before ? name : entry->image));
	return bow_cli_fail(cli, -ENODATA, &err);
}

/* The mount of the disk as it was, beside the disk, if that is named or all that is mounted. */
static bool is_before(const struct bow_session *entry)
{
	char device[BOW_LOOP_NAME];

	return entry->named_before || (!entry->mount_dir[0] && !entry->before_loop[0] &&
				       bow_service_has_before(entry, device));
}

static int unmount(struct bow_cli *cli, const char *name)
{
	struct bowimg_error err = {0};
	struct bow_session entry;

	int ret = bow_runtime_find(name, &entry, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	/* Either verb removes what a killed daemon has left. */
	if (!bow_session_alive(&entry))
		return is_before(&entry) ? bow_serving_stop_before(cli, &entry)
					 : bow_serving_stop(cli, &entry);
	if (entry.named_before && entry.before_loop[0])
		return refuse_attached(cli, &entry, name);
	if (is_before(&entry))
		return bow_serving_stop_before(cli, &entry);
	if (!entry.mount_dir[0])
		return refuse_attached(cli, &entry, name);
	return bow_service_has_files(&entry) ? bow_serving_stop_device(cli, &entry)
					     : bow_serving_stop(cli, &entry);
}

/* Either verb removes what a killed process has left. */
static bool is_mounted(const struct bow_served *s)
{
	return s->how == BOW_SERVED_MOUNT || !s->alive;
}

int bow_verb_umount(int argc, char **argv)
{
	struct bow_cli cli = {0};
	bool all = false;
	const struct bow_cli_option options[] = {
		{"all", 'a', BOW_CLI_FLAG, &all, 0, NULL},
		BOW_CLI_OPT_VERBOSE(&cli),
		{0},
	};
	static const struct bow_serving_all mounted = {is_mounted, unmount,
						       .befores_attached = false};

	int status = bow_cli_parse(&cli, argc, argv, options, "[DIR|IMAGE]");
	if (!status && all == (cli.operand_count > 0))
		status = bow_cli_usage(&cli, "expected either DIR|IMAGE or --all");
	if (status)
		return status;
	return all ? bow_serving_end_all(&cli, &mounted) : unmount(&cli, cli.operands[0]);
}
