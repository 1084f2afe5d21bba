/* SPDX-License-Identifier: MIT */
/* bowimg detach: the end of bowimg attach. */
#include "programs/serving.h"

#include <errno.h>

static int detach(struct bow_cli *cli)
{
	const char *name = cli->operands[0];
	struct bowimg_error err = {0};
	struct bow_entry entry;

	int ret = bow_runtime_find(name, &entry, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	/* What is left of a killed daemon may be taken away by either verb. */
	if (!entry.mount_dir[0] || !bow_entry_alive(&entry))
		return bow_serving_stop(cli, &entry);
	bow_entry_leave(&entry, false);
	return bow_cli_error(cli, -EBUSY, "to unmount and detach it: bowimg umount IMAGE",
			     "%s is mounted at %s", name, entry.mount_dir);
}

int bow_cmd_detach(int argc, char **argv)
{
	struct bow_cli cli = {0};
	const struct bow_cli_option options[] = {{0}};

	int status = bow_cli_parse(&cli, argc, argv, options);
	if (!status)
		status = bow_cli_want_operands(&cli, 1, 1, "IMAGE");
	return status ? status : detach(&cli);
}
