/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/serving/options.h"

const struct bow_cli_choice bow_serving_durability[] = {
	{"power", BOWIMG_DURABILITY_POWER},
	{"process", BOWIMG_DURABILITY_PROCESS},
	{NULL, 0},
};

int bow_serving_check(struct bow_cli *cli, const struct bow_serving *serving)
{
	return bow_mark_check(cli, "--before", bow_mark_of(serving->before));
}

struct bow_serve_options bow_serving_by_fuse(const struct bow_cli *cli,
					     const struct bow_serving *serving)
{
	return (struct bow_serve_options){
		.durability = (enum bowimg_durability)serving->durability,
		.force = serving->force,
		.stuck_after_s = serving->stuck_after_s,
		.before = serving->before != NULL,
		.mark = bow_mark_of(serving->before),
		.verbose = cli->verbose > 0,
	};
}

struct bow_nbd_options bow_serving_by_nbd(const struct bow_serving *serving)
{
	return (struct bow_nbd_options){
		.durability = (enum bowimg_durability)serving->durability,
		.force = serving->force,
		.partition = serving->partition,
		.before = serving->before != NULL,
		.mark = bow_mark_of(serving->before),
	};
}

int bow_serving_add_before(struct bow_cli *cli, const struct bow_serving *serving,
			   const struct bow_before *what, char device[BOW_LOOP_NAME],
			   struct bowimg_error *err)
{
	struct bowimg_mark mark;
	int ret = what->mark ? bow_mark_find(cli, serving->force, what->mark, &mark, err) : 0;

	return ret ? ret : bow_service_add_before(cli->image, what, device, err);
}
