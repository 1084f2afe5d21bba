/* SPDX-License-Identifier: MIT */
/* Waiting for a process that serves, which may wait for a server itself: not in silence. */
#ifndef BOW_CLI_SERVING_PATIENCE_H
#define BOW_CLI_SERVING_PATIENCE_H

#include <pthread.h>

#include "bowimg/cli/cli.h"
#include "bowimg/serve/runtime.h"

struct bow_patience {
	struct bow_cli *cli;
	char text[PATH_MAX + 64];
	pthread_t thread;
	bool runs;
	pthread_mutex_t lock; /* of over */
	pthread_cond_t wake;
	bool over;
};

/* From here on it is said once, after BOWIMG_SILENT_S seconds, who is waited for. */
void bow_patience_begin(struct bow_patience *p, struct bow_cli *cli, const struct bow_session *e);
void bow_patience_end(struct bow_patience *p);

#endif
