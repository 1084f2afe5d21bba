/* SPDX-License-Identifier: MIT */
/* bowimg umount: the end of bowimg mount. */
#include "programs/serving.h"

#include <errno.h>

#include "fronts/service_before.h"

static int unmount(struct bow_cli *cli)
{
	const char *name = cli->operands[0];
	struct bowimg_error err = {0};
	char device[BOW_LOOP_NAME];
	struct bow_entry entry;

	int ret = bow_runtime_find(name, &entry, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	if (entry.named_before || (!entry.mount_dir[0] && bow_service_has_before(&entry, device)))
		return bow_serving_stop_before(cli, &entry);
	if (entry.mount_dir[0])
		return bow_serving_stop(cli, &entry);
	bow_entry_leave(&entry, false);
	return bow_cli_error(cli, -ENODATA, "to take it away: bowimg detach IMAGE",
			     "%s is attached, not mounted by bowimg", name);
}

int bow_cmd_umount(int argc, char **argv)
{
	struct bow_cli cli = {0};
	const struct bow_cli_option options[] = {{0}};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (!status)
		status = bow_cli_want_operands(&cli, 1, 1, "DIR or IMAGE");
	return status ? status : unmount(&cli);
}
