/* SPDX-License-Identifier: MIT */
/*
 * The backend for an image on an NBD server.
 *
 * Barriers are NBD's flush, which covers every write that the server had answered. This side caches
 * nothing, and the server's cache cannot be dropped: after a successful flush the server's word
 * counts as the state of its storage (rule 8).
 *
 * A server may require whole sectors of up to 4096 bytes. Requests are then cut at sectors: whole
 * ones go as they are; at the ends the surrounding sector is read, and for a write changed and
 * written back (sectors.h). So a sector is written at once or not at all, as far as the server does
 * that.
 */
#include "lib/disk/nbd/nbd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/crew.h"
#include "lib/disk/nbd/link.h"
#include "lib/disk/nbd/sectors.h"

/*
 * The server may still carry out what a killed bowimg had sent, and NBD has no way to ask. It takes
 * milliseconds; a slow server gets this long before its image is believed.
 */
#define SETTLE_MS 2000

/* Longer ranges are asked about in pieces; a multiple of every sector. */
#define ASK_MAX (1u << 30)

/* Extents that end within a block, before a server is no longer asked for any. */
#define TINY_MAX 256u

struct remote {
	struct bowimg_disk dev; /* must be first */
	struct bow_link *link;
	struct bow_nbd_sectors sectors;
	struct bow_nbd_limits limits;
	unsigned tiny; /* extents that ended within a block, so far; atomic */
	char name[];
};

static struct remote *self(struct bowimg_disk *dev)
{
	return (struct remote *)dev;
}

/*
 * Errors of the server that mean something else here become I/O errors. So does a connection that
 * is lost and not made again, which ends all further I/O.
 */
static int word(int rc)
{
	return !rc || rc == -ENOSPC || rc == -ENOMEM || rc == -EPERM ? rc : -EIO;
}

/* Returns how much of a request goes as it is; 0: it begins or ends within a sector. */
static size_t whole(const struct remote *r, size_t bytes, uint64_t off)
{
	if (off % r->limits.minimum)
		return 0;
	return bow_min(bytes - bytes % r->limits.minimum, r->limits.maximum);
}

/* The piece of a request within one sector: where that begins, where in it, and how much. */
struct in_sector {
	uint64_t sector;
	size_t from, bytes;
};

static struct in_sector first_part(const struct remote *r, size_t bytes, uint64_t off)
{
	size_t from = off % r->limits.minimum;

	return (struct in_sector){off - from, from, bow_min(bytes, r->limits.minimum - from)};
}

static int64_t remote_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	struct remote *r = self(dev);
	struct in_sector p = first_part(r, bytes, off);
	uint8_t sector[BOWIMG_BLOCK_SIZE];
	size_t take = whole(r, bytes, off);
	int rc;

	if (take) {
		rc = word(bow_link_read(r->link, buf, take, off));
		return rc ? rc : (int64_t)take;
	}
	rc = word(bow_link_read(r->link, sector, r->limits.minimum, p.sector));
	if (rc)
		return rc;
	memcpy(buf, sector + p.from, p.bytes);
	return (int64_t)p.bytes;
}

static void begin(struct remote *r, struct bow_nbd_write *w)
{
	if (r->limits.minimum > 1)
		bow_nbd_write_begin(&r->sectors, w);
}

static void end(struct remote *r, struct bow_nbd_write *w)
{
	if (r->limits.minimum > 1)
		bow_nbd_write_end(&r->sectors, w);
}

static int64_t write_whole(struct remote *r, const void *buf, size_t bytes, uint64_t off)
{
	struct bow_nbd_write w = {.start = off, .end = off + bytes};
	int rc;

	begin(r, &w);
	rc = word(bow_link_write(r->link, buf, bytes, off));
	end(r, &w);
	return rc ? rc : (int64_t)bytes;
}

static int64_t write_part(struct remote *r, const void *buf, struct in_sector p)
{
	struct bow_nbd_write w = {p.sector, p.sector + r->limits.minimum, .alone = true};
	uint8_t sector[BOWIMG_BLOCK_SIZE];
	int rc;

	begin(r, &w);
	rc = bow_link_read(r->link, sector, r->limits.minimum, p.sector);
	if (!rc) {
		memcpy(sector + p.from, buf, p.bytes);
		rc = bow_link_write(r->link, sector, r->limits.minimum, p.sector);
	}
	end(r, &w);
	return rc ? word(rc) : (int64_t)p.bytes;
}

static int64_t remote_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	struct remote *r = self(dev);
	size_t take = whole(r, bytes, off);

	return take ? write_whole(r, buf, take, off)
		    : write_part(r, buf, first_part(r, bytes, off));
}

static int remote_flush(struct bowimg_disk *dev)
{
	return word(bow_link_flush(self(dev)->link));
}

static int remote_close(struct bowimg_disk *dev)
{
	struct remote *r = self(dev);

	bow_link_free(r->link);
	bow_nbd_sectors_destroy(&r->sectors);
	free(r);
	return 0;
}

static int zero_piece(struct remote *r, uint64_t off, uint64_t bytes, enum bow_zero_mode mode)
{
	struct bow_nbd_write w = {.start = off, .end = off + bytes};
	int rc;

	begin(r, &w);
	rc = bow_link_zero(r->link, off, bytes, mode == BOW_ZERO_PUNCH);
	end(r, &w);
	return rc;
}

/* If the server refuses this form, zeros are written. */
static int remote_zero(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		       enum bow_zero_mode mode)
{
	struct remote *r = self(dev);
	int rc = 0;

	if (!r->limits.can_zero || off % r->limits.minimum || bytes % r->limits.minimum)
		return -EOPNOTSUPP;
	while (bytes > 0 && !rc) {
		uint64_t piece = bow_min(bytes, r->limits.zero_maximum);

		rc = zero_piece(r, off, piece, mode);
		off += piece;
		bytes -= piece;
	}
	if (rc == -EINVAL || rc == -EOVERFLOW)
		rc = -EOPNOTSUPP;
	return rc == -EOPNOTSUPP ? rc : word(rc);
}

/*
 * A server that knows blocks reports whole ones. A smaller extent counts as data, to the end of the
 * block; a server that goes on like that would cost a request for each byte.
 */
static uint64_t whole_reach(struct remote *r, uint64_t off, uint64_t reach, bool *hole)
{
	uint64_t to_block_end = BOWIMG_BLOCK_SIZE - off % BOWIMG_BLOCK_SIZE;

	if (reach >= to_block_end || off + reach >= r->limits.size)
		return reach;
	*hole = false;
	__atomic_add_fetch(&r->tiny, 1, __ATOMIC_RELAXED);
	return bow_min(to_block_end, r->limits.size - off);
}

/* Advice only: a server that fails to report holes may still read and write. */
static int remote_extent(struct bowimg_disk *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	struct remote *r = self(dev);
	uint64_t from = off % r->limits.minimum, start = off - from, reach = 0;
	uint64_t most = bow_min(r->limits.size - start, ASK_MAX);

	if (!r->limits.knows_extents || __atomic_load_n(&r->tiny, __ATOMIC_RELAXED) > TINY_MAX ||
	    bow_link_extent(r->link, start, most, hole, &reach) || reach <= from)
		return -EOPNOTSUPP;
	*bytes = whole_reach(r, off, reach - from, hole);
	return 0;
}

static int remote_settle(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	(void)off;
	/* Only a caller that drops everything comes after a process that did not detach. */
	if (bytes > 0)
		return 0;
	bow_sleep_ms(SETTLE_MS);
	return dev->readonly ? 0 : remote_flush(dev);
}

static bool remote_in_use(struct bowimg_disk *dev, struct bow_guard_user *user)
{
	return bow_link_is_locked(self(dev)->link, user);
}

static void remote_explain(struct bowimg_disk *dev, struct bowimg_error *err)
{
	char why[BOW_LINK_WHY_BYTES];

	if (err && bow_link_why(self(dev)->link, why))
		bow_err(err, err->code, "%s: %s", err->message, why);
}

static const struct bow_backend_ops remote_ops = {
	.read = remote_read,
	.write = remote_write,
	.flush = remote_flush,
	.close = remote_close,
	.zero = remote_zero,
	.extent = remote_extent,
	.drop_cache = remote_settle,
	.in_use = remote_in_use,
	.explain = remote_explain,
};

static const char io_hint[] =
	"the NBD server failed, or the connection to it is lost; when it is back, the image is "
	"opened as after a power cut: run the same command again";

struct bowimg_disk *bow_nbd_new(struct bow_link *link, const char *uri,
				const struct bow_nbd_limits *limits)
{
	size_t name_bytes = strlen(uri) + 1;
	struct remote *r = calloc(1, sizeof(*r) + name_bytes);

	if (!r)
		return NULL;
	memcpy(r->name, uri, name_bytes);
	r->link = link;
	bow_nbd_sectors_init(&r->sectors);
	r->limits = *limits;
	r->dev = (struct bowimg_disk){
		.ops = &remote_ops,
		.name = r->name,
		.size = limits->size,
		.queue_depth = BOW_CREW_MAX,
		.sector_size = limits->minimum <= 512 ? 512 : BOWIMG_BLOCK_SIZE,
		.readonly = limits->readonly,
		.io_hint = io_hint,
	};
	return &r->dev;
}
