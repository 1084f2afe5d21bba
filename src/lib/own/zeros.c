/* SPDX-License-Identifier: MIT */
/*
 * What was zeros: the log names it, a run at a time. Where many requests can be in flight, runs are
 * collected and several threads take one each; no two of them overlap.
 */
#include <pthread.h>
#include <stdlib.h>

#include "lib/base/bytes.h"
#include "lib/base/crew.h"
#include "lib/own/steps.h"

#define ZEROS 4096u /* runs that are collected; 96 KiB */

int bow_zeros_init(struct bow_zeros *z, struct bowimg_disk *dev)
{
	*z = (struct bow_zeros){.dev = dev};
	z->runs = malloc(ZEROS * sizeof(z->runs[0]));
	return z->runs ? 0 : -ENOMEM;
}

void bow_zeros_release(struct bow_zeros *z)
{
	free(z->runs);
	z->runs = NULL;
}

/*
 * A block that was allocated stays allocated: a full host disk could not give it back later. A hole
 * stays a hole: it reads as zeros, and a log that names a whole sparse image must not fill the
 * host's disk.
 */
static int zero_run(struct bowimg_disk *dev, const struct bow_zero_run *run,
		    struct bowimg_error *err)
{
	uint64_t off = run->off, bytes = run->bytes, reach;
	bool hole;
	int rc = 0;

	for (; bytes && !rc; off += reach, bytes -= reach) {
		rc = bow_disk_extent(dev, off, &hole, &reach, err);
		reach = rc ? 0 : bow_min(reach, bytes);
		if (!rc && !hole)
			rc = bow_disk_zero(dev, off, reach, run->mode, err);
		if (rc)
			break;
	}
	return rc;
}

static int zero_one(void *ctx, unsigned number, size_t i, struct bowimg_error *err)
{
	struct bow_zeros *z = ctx;

	(void)number;
	return zero_run(z->dev, &z->runs[i], err);
}

int bow_zeros_flush(struct bow_zeros *z, struct bowimg_error *err)
{
	int rc = bow_crew_each(z->dev->queue_depth, z->n, zero_one, z, err);

	z->n = 0;
	return rc;
}

int bow_zeros_add(struct bow_zeros *z, const struct bow_zero_run *run, struct bowimg_error *err)
{
	z->runs[z->n++] = *run;
	return z->n == ZEROS || z->dev->queue_depth <= 1 ? bow_zeros_flush(z, err) : 0;
}
