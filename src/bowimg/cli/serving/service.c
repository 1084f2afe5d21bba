/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/serving/service.h"

#include <errno.h>

#include "lib/base/err.h"
#include "lib/base/show.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/output.h"
#include "bowimg/cli/serving/patience.h"

int bow_serving_start(struct bow_cli *cli, const char *image,
		      const struct bow_service_options *opts, struct bow_service *service)
{
	struct bowimg_error err = {0};

	int ret = bow_service_start(service, image, opts, &err);
	if (!ret)
		ret = bow_service_leave(service, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	if (service->cleared)
		bow_cli_warn(cli,
			     "%s: the mounts and devices of a killed daemon were removed first",
			     image);
	return BOW_EXIT_DONE;
}

static int stop(struct bow_cli *cli, struct bow_session *entry,
		int (*how)(struct bow_session *e, bool *died, struct bowimg_error *err))
{
	struct bow_patience patience;
	struct bowimg_error err = {0};
	bool died;

	bow_patience_begin(&patience, cli, entry);
	int ret = how(entry, &died, &err);
	bow_patience_end(&patience);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	if (died)
		bow_cli_warn(cli,
			     "%s: its daemon had been killed; its mounts and devices are removed. "
			     "Writes "
			     "that were not flushed are lost. The image can be attached again or "
			     "rolled back",
			     entry->image);
	else if (cli->verbose)
		bow_cli_print(cli, "%s: ended by %s; everything is on disk", entry->image,
			      cli->verb);
	return BOW_EXIT_DONE;
}

int bow_serving_stop(struct bow_cli *cli, struct bow_session *entry)
{
	return stop(cli, entry, bow_service_stop);
}

int bow_serving_stop_device(struct bow_cli *cli, struct bow_session *entry)
{
	return stop(cli, entry, bow_service_stop_device);
}

int bow_serving_stop_before(struct bow_cli *cli, struct bow_session *entry)
{
	return stop(cli, entry, bow_service_stop_before);
}
