/* SPDX-License-Identifier: MIT */
/* What the verbs that serve an image share: mount, attach, run; umount, detach. */
#ifndef BOW_PROGRAMS_SERVING_H
#define BOW_PROGRAMS_SERVING_H

#include "fronts/service.h"
#include "fronts/watchdog.h"
#include "programs/cli.h"

struct bow_serving {
	int durability;
	unsigned force, stuck_after_s;
};

#define BOW_SERVING_DEFAULTS                       \
	{                                          \
		.stuck_after_s = BOW_STUCK_AFTER_S \
	}

/* Rows for the table of options; the row of --stuck-after stands alone. */
#define BOW_SERVING_OPT_STUCK_AFTER(s)                                         \
	{                                                                      \
		"stuck-after", 0, BOW_CLI_NUMBER, &(s)->stuck_after_s, 0, NULL \
	}

/* -p; dest is `unsigned`. */
#define BOW_SERVING_OPT_PARTITION(dest)                         \
	{                                                       \
		"partition", 'p', BOW_CLI_NUMBER, dest, 0, NULL \
	}

struct bow_serve_options bow_serving_options(const struct bow_cli *cli,
					     const struct bow_serving *serving);

/* Start, say what was cleared up, and let the daemon go on alone. Returns the exit status. */
int bow_serving_start(struct bow_cli *cli, const char *image,
		      const struct bow_service_options *opts, struct bow_service *service);

/* Take the entry's service down, say how that went. Returns the exit status. */
int bow_serving_stop(struct bow_cli *cli, struct bow_entry *entry);

/* Only the mount of the disk as it was, beside a disk that stays. */
int bow_serving_stop_before(struct bow_cli *cli, struct bow_entry *entry);

#endif
