/* SPDX-License-Identifier: MIT */
/* What a daemon serves: the disk and the disk as it was, or the latter alone. */
#ifndef BOW_SERVE_DISKS_H
#define BOW_SERVE_DISKS_H

#include "bowimg/fuse/disk.h"
#include "bowimg/host/parts.h"
#include "bowimg/serve/daemon.h"

struct bow_disks {
	struct bow_session *session;
	const struct bow_serve_options *opts;
	char image[PATH_MAX]; /* its name when it was opened last */
	bowimg_disk *view;    /* open if only the disk as it was is served */
	struct bow_fuse_source source;
	/* If the disk may come late: */
	struct bow_parts parts;	       /* of it */
	struct bowimg_disk_info shown; /* of the disk as it was: which checkpoint, which mark */
};

/*
 * By the options. Where only the disk as it was is to be shown, the disk itself may come late:
 * source.open_disk is set. Needs bow_disks_close() after an error, too.
 */
int bow_disks_open(struct bow_disks *d, struct bowimg_error *err);

/* Makes everything durable; the first error goes into *err, unless one is there. */
void bow_disks_close(struct bow_disks *d, struct bowimg_error *err);

#endif
