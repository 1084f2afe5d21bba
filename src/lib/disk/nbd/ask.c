/* SPDX-License-Identifier: MIT */
/*
 * What the server announces, and whether that is enough.
 *
 * It is asked once for each connection. Its announcements are checked before they are believed, and
 * hold as long as the connection does. Writing needs flushes: without them there is no barrier, and
 * no undo survives.
 */
#include <libnbd.h>

#include "lib/disk/nbd/nbd.h"

/* NBD's value for a server that announces none. */
#define DEFAULT_MAXIMUM (32u << 20)
#define ZERO_MAXIMUM (1u << 30)

static int refuse(struct bowimg_error *err, int code, const char *uri, const char *what,
		  const char *hint)
{
	bow_err(err, code, "%s: open: %s", uri, what);
	bow_err_hint(err, "%s", hint);
	return code;
}

static int check_sizes(const char *uri, int64_t size, int64_t minimum, struct bowimg_error *err)
{
	if (size < 0)
		return refuse(err, -EIO, uri, "the server does not say how large the export is",
			      "another NBD server may help");
	if (size == 0)
		return refuse(err, -EOPNOTSUPP, uri, "the export is empty",
			      "name the export that holds a raw disk image");
	if (minimum < 1 || minimum > BOWIMG_BLOCK_SIZE || (minimum & (minimum - 1)))
		return refuse(err, -EOPNOTSUPP, uri,
			      "the server takes requests of more than 4096 bytes only",
			      "nbdkit --filter=blocksize in front of it takes smaller ones, but "
			      "cannot make them safe against a power cut");
	if (size % minimum)
		return refuse(err, -EOPNOTSUPP, uri,
			      "its size is no multiple of the smallest request the server takes",
			      "its end could not be read; make the image longer, or use a server "
			      "without that limit");
	return 0;
}

static int ask_sizes(struct nbd_handle *h, const char *uri, struct bow_nbd_limits *limits,
		     struct bowimg_error *err)
{
	int64_t size = nbd_get_size(h), minimum = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
	int64_t maximum = nbd_get_block_size(h, LIBNBD_SIZE_MAXIMUM);
	int rc;

	/* 0: nothing was announced. */
	if (minimum == 0)
		minimum = 1;
	rc = check_sizes(uri, size, minimum, err);
	if (rc)
		return rc;
	limits->zero_maximum = ZERO_MAXIMUM;
	if (maximum <= 0 || maximum > DEFAULT_MAXIMUM)
		maximum = DEFAULT_MAXIMUM;
	else
		limits->zero_maximum = (uint32_t)(maximum - maximum % minimum);
	limits->size = (uint64_t)size;
	limits->minimum = (uint32_t)minimum;
	limits->maximum = (uint32_t)(maximum - maximum % minimum);
	return limits->maximum ? 0
			       : refuse(err, -EOPNOTSUPP, uri, "the server takes no request at all",
					"its largest is smaller than its smallest");
}

static int ask(struct nbd_handle *h, const char *uri, struct bow_nbd_limits *limits,
	       struct bowimg_error *err)
{
	int rc = ask_sizes(h, uri, limits, err);

	if (rc)
		return rc;
	limits->can_zero = nbd_can_zero(h) == 1;
	limits->can_flush = nbd_can_flush(h) == 1;
	limits->knows_extents = nbd_can_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
	if (limits->readonly)
		return 0;
	if (nbd_is_read_only(h) != 0)
		return refuse(err, -EROFS, uri, "the export is read-only",
			      "let the server allow writing to it");
	if (!limits->can_flush)
		return refuse(err, -EOPNOTSUPP, uri,
			      "the server cannot flush, so that nothing could be made durable",
			      "use a server that can: nbdkit file, qemu-nbd");
	return 0;
}

int bow_nbd_ask(struct nbd_handle *h, const struct bow_nbd_way *way, struct bow_nbd_limits *limits,
		struct bowimg_error *err)
{
	int rc = 0;

	bow_nbd_export_connected(&limits->export, way->uri, nbd_aio_get_fd(h));
	if (way->lock)
		rc = bow_nbd_lock_connected(way->lock, &limits->export, way->uri, err);
	return rc ? rc : ask(h, way->uri, limits, err);
}
