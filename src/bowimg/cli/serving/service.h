/* SPDX-License-Identifier: MIT */
/* Starting and stopping the daemon of mount, attach and run, with the messages about it. */
#ifndef BOW_SERVING_SERVICE_H
#define BOW_SERVING_SERVICE_H

#include "bowimg/serve/service.h"
#include "bowimg/cli/cli.h"

/* Start, warn of what was cleared up, and let the daemon go on alone. Returns the exit status. */
int bow_serving_start(struct bow_cli *cli, const char *image,
		      const struct bow_service_options *opts, struct bow_service *service);

/* End the session's service, warn if it had been killed. Returns the exit status. */
int bow_serving_stop(struct bow_cli *cli, struct bow_session *entry);

/* Only the loop device of the disk, where it stands on files that stay. */
int bow_serving_stop_device(struct bow_cli *cli, struct bow_session *entry);

/* Only the disk as it was, beside a disk that stays. */
int bow_serving_stop_before(struct bow_cli *cli, struct bow_session *entry);

#endif
