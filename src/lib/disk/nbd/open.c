/* SPDX-License-Identifier: MIT */
/* Opening an export: the lock, the connection, the disk. */
#include <libnbd.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/uri.h"
#include "lib/disk/nbd/link.h"
#include "lib/disk/nbd/nbd.h"
#include "lib/disk/nbd/silence.h"

/* For a server that accepts the connection and says nothing, or serves another client first. */
#define PATIENCE_MS 30000

static int reach(const struct bow_nbd_way *way, struct bow_nbd_limits *limits,
		 struct nbd_handle **out, struct bowimg_error *err)
{
	int rc;

	bow_silence_begin(way->silence);
	rc = bow_nbd_connect(way, out, err);
	if (rc)
		return rc;
	rc = bow_nbd_ask(*out, way, limits, err);
	if (rc)
		nbd_close(*out);
	return rc;
}

static int no_memory(const char *uri, struct bowimg_error *err)
{
	return bow_err_errno(err, -ENOMEM, "%s: open", uri);
}

/* Takes over way->lock, also when it fails. */
static int open_link(const struct bow_nbd_way *way, struct bow_nbd_limits *limits,
		     const struct bowimg_events *events, struct bow_link **out,
		     struct bowimg_error *err)
{
	struct nbd_handle *h;
	int rc = reach(way, limits, &h, err);

	if (!rc) {
		*out = bow_link_new(h, way, limits, events);
		if (*out)
			return 0;
		nbd_close(h);
		rc = no_memory(way->uri, err);
	}
	bow_nbd_unlock(way->lock);
	return rc;
}

/*
 * What others wrote before may still be in the server's cache. Flushed, it is the same after the
 * server was lost, and the connection can be made again (link.c); so if this fails, that is all.
 * While another process serves the disk, it is that one's to flush.
 */
static void flush_before(struct bow_link *link, struct bowimg_disk *dev,
			 const struct bow_nbd_way *way, const struct bow_nbd_limits *limits)
{
	if (!limits->can_flush || (!way->lock && bow_nbd_is_locked_elsewhere(&limits->export)))
		return;
	if (bow_link_flush(link) == 0)
		dev->flushed = dev->changes + 1;
}

static int open_disk(const struct bow_nbd_way *way, struct bow_nbd_limits *limits,
		     const struct bowimg_events *events, struct bowimg_disk **out,
		     struct bowimg_error *err)
{
	struct bow_link *link;
	struct bowimg_disk *dev;
	int rc = open_link(way, limits, events, &link, err);

	if (rc)
		return rc;
	dev = bow_nbd_new(link, way->uri, limits);
	if (!dev) {
		bow_link_free(link);
		return no_memory(way->uri, err);
	}
	flush_before(link, dev, way, limits);
	*out = dev;
	return 0;
}

int bow_nbd_open(const char *uri, enum bow_open_mode mode, const struct bowimg_events *events,
		 struct bowimg_disk **out, struct bowimg_error *err)
{
	struct bow_nbd_limits limits = {.readonly = mode != BOW_OPEN_EXCLUSIVE};
	char absolute[PATH_MAX];
	struct bow_silence silence;
	struct bow_nbd_way way = {absolute, NULL, PATIENCE_MS, &silence};
	int rc = bow_uri_absolute(uri, absolute, err);

	if (rc)
		return rc;
	bow_nbd_export_set(&limits.export, absolute);
	/* NBD has no lock that readers share: two readers keep each other out. */
	if (mode != BOW_OPEN_LOOK) {
		rc = bow_nbd_lock(&limits.export, uri, &way.lock, err);
		if (rc)
			return rc;
	}
	bow_silence_init(&silence, absolute, events);
	return open_disk(&way, &limits, events, out, err);
}
