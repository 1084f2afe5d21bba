/* SPDX-License-Identifier: MIT */
/* Starting and stopping a service, with what there is to say about it. */
#include "programs/serving.h"

struct bow_serve_options bow_serving_options(const struct bow_cli *cli,
					     const struct bow_serving *serving)
{
	return (struct bow_serve_options){
		.durability = (enum bowimg_durability)serving->durability,
		.force = serving->force,
		.stuck_after_s = serving->stuck_after_s,
		.verbose = cli->verbose > 0,
	};
}

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
		bow_cli_warn(cli, "%s: what a killed daemon had left was taken away first", image);
	return BOW_EXIT_DONE;
}

static int stop(struct bow_cli *cli, struct bow_entry *entry,
		int (*how)(struct bow_entry *e, bool *died, struct bowimg_error *err))
{
	struct bowimg_error err = {0};
	bool died;

	int ret = how(entry, &died, &err);
	if (ret)
		return bow_cli_fail(cli, ret, &err);
	if (died)
		bow_cli_warn(cli,
			     "%s: its daemon had been killed; what it left is taken away. What was "
			     "not flushed is lost. The image can be attached again or rolled back",
			     entry->image);
	return BOW_EXIT_DONE;
}

int bow_serving_stop(struct bow_cli *cli, struct bow_entry *entry)
{
	return stop(cli, entry, bow_service_stop);
}

int bow_serving_stop_before(struct bow_cli *cli, struct bow_entry *entry)
{
	return stop(cli, entry, bow_service_stop_before);
}
