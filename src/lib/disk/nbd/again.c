/* SPDX-License-Identifier: MIT */
/*
 * A server that was started anew is found by trying. What answers is believed as little as at
 * first, and must be the same disk: as long, in sectors of the same size, with the same block 0,
 * under the lock that this process has on it.
 */
#include "lib/disk/nbd/again.h"

#include <inttypes.h>
#include <libnbd.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/uri.h"
#include "lib/disk/nbd/silence.h"
#include "lib/disk/nbd/wire.h"

#define PAUSE_MS 100

static int compare_limits(const struct bow_nbd_limits *was, const struct bow_nbd_limits *is,
			  struct bowimg_error *err)
{
	if (is->size != was->size)
		return bow_err(err, -ESTALE,
			       "the disk there is %" PRIu64 " bytes long, not %" PRIu64, is->size,
			       was->size);
	if (is->minimum != was->minimum)
		return bow_err(err, -ESTALE,
			       "the disk there has sectors of %" PRIu32 " bytes, not %" PRIu32,
			       is->minimum, was->minimum);
	if (is->maximum < was->maximum || is->zero_maximum < was->zero_maximum ||
	    (was->can_zero && !is->can_zero))
		return bow_err(err, -ESTALE, "the server there takes less than the one before");
	return 0;
}

/* -EAGAIN: the connection is lost again. */
static int compare_first(const struct bow_nbd_known *known, struct bow_wire *w,
			 struct bowimg_error *err)
{
	uint8_t block[BOWIMG_BLOCK_SIZE];
	int rc = bow_wire_read(w, block, known->first_bytes, 0);

	if (rc == -ECONNRESET || rc == -ENOTCONN || rc == -ESHUTDOWN)
		return bow_err_errno(err, -EAGAIN, "it is lost again");
	if (rc)
		return bow_err_errno(err, rc, "read block 0");
	if (memcmp(block, known->first, known->first_bytes) != 0)
		return bow_err(err, -ESTALE, "the disk there has another block 0");
	return 0;
}

static int compare(struct bow_nbd_known *known, struct nbd_handle *h, const struct bow_nbd_way *way,
		   struct bow_nbd_limits *limits, struct bowimg_error *err)
{
	int rc = bow_nbd_ask(h, way, limits, err);

	return rc ? rc : compare_limits(&known->limits, limits, err);
}

/* One try; -EAGAIN: nothing answers. */
static int try(struct bow_nbd_known *known, const struct bow_nbd_way *way, struct bow_wire **out,
	       struct bowimg_error *err)
{
	struct bow_nbd_limits limits = {.readonly = known->limits.readonly};
	struct nbd_handle *h;
	int rc;

	bow_nbd_export_set(&limits.export, known->uri);
	if (bow_nbd_connect(way, &h, err))
		return -EAGAIN;
	rc = compare(known, h, way, &limits, err);
	*out = rc ? NULL : bow_wire_new(h, known->uri, &known->events);
	if (!*out) {
		nbd_close(h);
		return rc ? rc : bow_err_errno(err, -ENOMEM, "connect");
	}
	rc = compare_first(known, *out, err);
	if (rc)
		bow_wire_free(*out);
	else
		known->limits.export = limits.export;
	return rc;
}

static void tell(const struct bow_nbd_known *known)
{
	char server[PATH_MAX], text[PATH_MAX + 64];

	if (!known->events.waiting)
		return;
	bow_uri_server(known->uri, server);
	snprintf(text, sizeof(text), "lost the connection to %s; connected again", server);
	known->events.waiting(known->events.ctx, text);
}

int bow_nbd_again(struct bow_nbd_known *known, struct bow_wire **out, struct bowimg_error *err)
{
	int64_t now = bow_now_ms(), deadline = now + BOW_NBD_AGAIN_S * 1000;
	struct bowimg_error last = {0};
	struct bow_silence silence;
	int rc = -EAGAIN;

	bow_silence_init(&silence, known->uri, &known->events);
	bow_silence_begin(&silence);
	for (; rc == -EAGAIN && now < deadline; now = bow_now_ms()) {
		const struct bow_nbd_way way = {known->uri, known->lock, (unsigned)(deadline - now),
						&silence};

		rc = try(known, &way, out, &last);
		if (rc == -EAGAIN) {
			bow_silence_check(&silence);
			bow_sleep_ms(PAUSE_MS);
		}
	}
	if (!rc) {
		tell(known);
		return 0;
	}
	bow_err_take_out(&last, known->uri);
	if (rc == -EAGAIN)
		return bow_err(err, rc, "within %d seconds it could not be made again: %s",
			       BOW_NBD_AGAIN_S, last.message);
	return bow_err(err, rc, "it was not made again: %s", last.message);
}
