/* SPDX-License-Identifier: MIT */
/* The options of the verbs that serve a disk, and what they mean to each way to serve one. */
#ifndef BOW_SERVING_OPTIONS_H
#define BOW_SERVING_OPTIONS_H

#include "bowimg/host/watchdog.h"
#include "bowimg/nbd/nbd.h"
#include "bowimg/serve/before.h"
#include "bowimg/serve/service.h"
#include "bowimg/cli/marks.h"

struct bow_serving {
	int durability;
	unsigned force, stuck_after_s, partition;
	const char *before; /* "prepare" or a mark; NULL: the disk as it is */
};

#define BOW_SERVING_DEFAULTS                       \
	{                                          \
		.stuck_after_s = BOW_STUCK_AFTER_S \
	}

extern const struct bow_cli_choice bow_serving_durability[];

/* The rows of every one: serve, attach, mount, run. */
#define BOW_SERVING_OPTIONS(cli, s)                                                     \
	{"durability", 0, BOW_CLI_CHOICE, &(s)->durability, 0, bow_serving_durability}, \
		BOW_CLI_OPT_FORCE(&(s)->force), BOW_CLI_OPT_VERBOSE(cli)

/* --before: serve, attach, mount. */
#define BOW_SERVING_OPT_BEFORE(s)                                             \
	{                                                                     \
		"before", 0, BOW_CLI_MAYBE, &(s)->before, 0, bow_mark_default \
	}

/* --stuck-after: attach, mount, run. */
#define BOW_SERVING_OPT_STUCK_AFTER(s)                                         \
	{                                                                      \
		"stuck-after", 0, BOW_CLI_NUMBER, &(s)->stuck_after_s, 0, NULL \
	}

/* -p: mount, run. */
#define BOW_SERVING_OPT_PARTITION(s)                                       \
	{                                                                  \
		"partition", 'p', BOW_CLI_NUMBER, &(s)->partition, 0, NULL \
	}

/* The options that need more than their row. Returns 0 or the exit status. */
int bow_serving_check(struct bow_cli *cli, const struct bow_serving *serving);

struct bow_serve_options bow_serving_by_fuse(const struct bow_cli *cli,
					     const struct bow_serving *serving);
struct bow_nbd_options bow_serving_by_nbd(const struct bow_serving *serving);

/* bow_service_add_before(), for a mark that there is. */
int bow_serving_add_before(struct bow_cli *cli, const struct bow_serving *serving,
			   const struct bow_before *what, char device[BOW_LOOP_NAME],
			   struct bowimg_error *err);

#endif
