/* SPDX-License-Identifier: MIT */
/*
 * Opening an export: what the server announces, and whether that is enough.
 *
 * The server is asked once, here. Its announcements are checked before they are believed, and hold
 * as long as the connection does. Writing needs flushes: without them there is no barrier, and no
 * undo survives.
 */
#include <libnbd.h>
#include <unistd.h>

#include "lib/base/uri.h"
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
	limits->knows_extents = nbd_can_meta_context(h, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
	if (limits->readonly)
		return 0;
	if (nbd_is_read_only(h) != 0)
		return refuse(err, -EROFS, uri, "the export is read-only",
			      "let the server allow writing to it");
	if (nbd_can_flush(h) != 1)
		return refuse(err, -EOPNOTSUPP, uri,
			      "the server cannot flush, so that nothing could be made durable",
			      "use a server that can: nbdkit file, qemu-nbd");
	return 0;
}

/* Takes over `lock`, also when it fails. */
static int open_locked(const char *uri, struct bow_nbd_lock *lock, struct bow_nbd_limits *limits,
		       const struct bowimg_events *events, struct bowimg_disk **out,
		       struct bowimg_error *err)
{
	struct nbd_handle *h = NULL;
	struct bowimg_disk *dev = NULL;
	int rc = bow_nbd_connect(uri, events, &h, err);

	if (!rc) {
		bow_nbd_export_connected(&limits->export, uri, nbd_aio_get_fd(h));
		rc = lock ? bow_nbd_lock_connected(lock, &limits->export, uri, err) : 0;
	}
	if (!rc)
		rc = ask(h, uri, limits, err);
	if (!rc) {
		dev = bow_nbd_new(h, lock, uri, limits, events);
		rc = dev ? 0 : bow_err_errno(err, -ENOMEM, "%s: open", uri);
	}
	if (!rc) {
		*out = dev;
		return 0;
	}
	nbd_close(h);
	bow_nbd_unlock(lock);
	return rc;
}

int bow_nbd_open(const char *uri, enum bow_open_mode mode, const struct bowimg_events *events,
		 struct bowimg_disk **out, struct bowimg_error *err)
{
	struct bow_nbd_limits limits = {.readonly = mode != BOW_OPEN_EXCLUSIVE};
	char absolute[PATH_MAX];
	struct bow_nbd_lock *lock = NULL;
	int rc = bow_uri_absolute(uri, absolute, err);

	if (rc)
		return rc;
	bow_nbd_export_set(&limits.export, absolute);
	/* NBD has no lock that readers share: two readers keep each other out. */
	if (mode != BOW_OPEN_LOOK) {
		rc = bow_nbd_lock(&limits.export, uri, &lock, err);
		if (rc)
			return rc;
	}
	return open_locked(absolute, lock, &limits, events, out, err);
}
