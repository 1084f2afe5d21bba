/* SPDX-License-Identifier: MIT */
/*
 * The backend for an image on an NBD server.
 *
 * Barriers are NBD's flush, which covers every write that the server had answered. Nothing is
 * cached on this side, and what the server caches cannot be dropped: after a flush that succeeded
 * its word is taken for what its storage has (rule 8).
 *
 * A server may want whole sectors of up to 4096 bytes. Requests are then cut at sectors: whole ones
 * go as they are, at the ends the sector around is read, and for a write changed and written back
 * (nbd_sectors.h). So a sector is written at once or not at all, as far as the server does that.
 */
#include "device/nbd.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/bytes.h"
#include "device/nbd_sectors.h"
#include "device/nbd_wire.h"

/*
 * What a killed bowimg had sent, the server may still be carrying out; NBD has no way to ask. It
 * takes milliseconds; this is what a slow one gets before its image is believed.
 */
#define SETTLE_MS 2000

/* More than this at once is asked about in pieces; a multiple of every sector. */
#define ASK_MAX (1u << 30)

struct remote {
	struct bow_dev dev; /* must be first */
	struct bow_wire *wire;
	struct bow_nbd_sectors sectors;
	struct bow_nbd_facts facts;
	int lock; /* held by being open; -1 for looking */
	char name[];
};

static struct remote *self(struct bow_dev *dev)
{
	return (struct remote *)dev;
}

/*
 * Words of the server that mean something else here are an I/O error. So is a lost connection: it
 * ends all further I/O by itself.
 */
static int word(int rc)
{
	return !rc || rc == -ENOSPC || rc == -ENOMEM || rc == -EPERM ? rc : -EIO;
}

/* How much of a request goes as it is; 0: it begins or ends within a sector. */
static size_t whole(const struct remote *r, size_t bytes, uint64_t off)
{
	if (off % r->facts.minimum)
		return 0;
	return bow_min(bytes - bytes % r->facts.minimum, r->facts.maximum);
}

/* The piece of a request within one sector: where that begins, where in it, and how much. */
struct part {
	uint64_t sector;
	size_t from, bytes;
};

static struct part first_part(const struct remote *r, size_t bytes, uint64_t off)
{
	size_t from = off % r->facts.minimum;

	return (struct part){off - from, from, bow_min(bytes, r->facts.minimum - from)};
}

static int64_t remote_read(struct bow_dev *dev, void *buf, size_t bytes, uint64_t off)
{
	struct remote *r = self(dev);
	struct part p = first_part(r, bytes, off);
	uint8_t sector[BOWIMG_BLOCK_SIZE];
	size_t take = whole(r, bytes, off);
	int rc;

	if (take) {
		rc = word(bow_wire_read(r->wire, buf, take, off));
		return rc ? rc : (int64_t)take;
	}
	rc = word(bow_wire_read(r->wire, sector, r->facts.minimum, p.sector));
	if (rc)
		return rc;
	memcpy(buf, sector + p.from, p.bytes);
	return (int64_t)p.bytes;
}

static void begin(struct remote *r, struct bow_nbd_write *w)
{
	if (r->facts.minimum > 1)
		bow_nbd_write_begin(&r->sectors, w);
}

static void end(struct remote *r, struct bow_nbd_write *w)
{
	if (r->facts.minimum > 1)
		bow_nbd_write_end(&r->sectors, w);
}

static int64_t write_whole(struct remote *r, const void *buf, size_t bytes, uint64_t off)
{
	struct bow_nbd_write w = {.start = off, .end = off + bytes};
	int rc;

	begin(r, &w);
	rc = word(bow_wire_write(r->wire, buf, bytes, off));
	end(r, &w);
	return rc ? rc : (int64_t)bytes;
}

static int64_t write_part(struct remote *r, const void *buf, struct part p)
{
	struct bow_nbd_write w = {p.sector, p.sector + r->facts.minimum, .alone = true};
	uint8_t sector[BOWIMG_BLOCK_SIZE];
	int rc;

	begin(r, &w);
	rc = bow_wire_read(r->wire, sector, r->facts.minimum, p.sector);
	if (!rc) {
		memcpy(sector + p.from, buf, p.bytes);
		rc = bow_wire_write(r->wire, sector, r->facts.minimum, p.sector);
	}
	end(r, &w);
	return rc ? word(rc) : (int64_t)p.bytes;
}

static int64_t remote_write(struct bow_dev *dev, const void *buf, size_t bytes, uint64_t off)
{
	struct remote *r = self(dev);
	size_t take = whole(r, bytes, off);

	return take ? write_whole(r, buf, take, off)
		    : write_part(r, buf, first_part(r, bytes, off));
}

static int remote_flush(struct bow_dev *dev)
{
	return word(bow_wire_flush(self(dev)->wire));
}

static int remote_close(struct bow_dev *dev)
{
	struct remote *r = self(dev);

	bow_wire_free(r->wire);
	bow_nbd_sectors_destroy(&r->sectors);
	/* Last: who gets it next finds nobody else at the server. */
	if (r->lock >= 0)
		close(r->lock);
	free(r);
	return 0;
}

static int zero_piece(struct remote *r, uint64_t off, uint64_t bytes, enum bow_zero_mode mode)
{
	struct bow_nbd_write w = {.start = off, .end = off + bytes};
	int rc;

	begin(r, &w);
	rc = bow_wire_zero(r->wire, off, bytes, mode == BOW_ZERO_PUNCH);
	end(r, &w);
	return rc;
}

/* What the server refuses in this form is done by writing zeros. */
static int remote_zero(struct bow_dev *dev, uint64_t off, uint64_t bytes, enum bow_zero_mode mode)
{
	struct remote *r = self(dev);
	int rc = 0;

	if (!r->facts.can_zero || off % r->facts.minimum || bytes % r->facts.minimum)
		return -EOPNOTSUPP;
	while (bytes > 0 && !rc) {
		uint64_t piece = bow_min(bytes, r->facts.zero_maximum);

		rc = zero_piece(r, off, piece, mode);
		off += piece;
		bytes -= piece;
	}
	if (rc == -EINVAL || rc == -EOVERFLOW)
		rc = -EOPNOTSUPP;
	return rc == -EOPNOTSUPP ? rc : word(rc);
}

/* Advice only: a server that fails to tell holes may still read and write. */
static int remote_extent(struct bow_dev *dev, uint64_t off, bool *hole, uint64_t *bytes)
{
	struct remote *r = self(dev);
	uint64_t from = off % r->facts.minimum, start = off - from, reach = 0;
	uint64_t most = bow_min(r->facts.size - start, ASK_MAX);

	if (!r->facts.knows_extents || bow_wire_extent(r->wire, start, most, hole, &reach) ||
	    reach <= from)
		return -EOPNOTSUPP;
	*bytes = reach - from;
	return 0;
}

static int remote_settle(struct bow_dev *dev, uint64_t off, uint64_t bytes)
{
	struct timespec left = {.tv_sec = SETTLE_MS / 1000, .tv_nsec = SETTLE_MS % 1000 * 1000000L};

	(void)off;
	/* Only where all is dropped did somebody end without saying so. */
	if (bytes > 0)
		return 0;
	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
	return dev->readonly ? 0 : remote_flush(dev);
}

static bool remote_in_use(struct bow_dev *dev)
{
	return self(dev)->lock < 0 && bow_nbd_is_locked(self(dev)->facts.key);
}

static const struct bow_dev_ops remote_ops = {
	.read = remote_read,
	.write = remote_write,
	.flush = remote_flush,
	.close = remote_close,
	.zero = remote_zero,
	.extent = remote_extent,
	.drop_cache = remote_settle,
	.in_use = remote_in_use,
};

static const char io_hint[] =
	"the NBD server failed, or the connection to it is lost; when it is back, the image is "
	"opened as after a power cut: run the same command again";

struct bow_dev *bow_nbd_new(struct nbd_handle *h, int lock, const char *uri,
			    const struct bow_nbd_facts *facts)
{
	size_t name_bytes = strlen(uri) + 1;
	struct remote *r = calloc(1, sizeof(*r) + name_bytes);

	if (!r)
		return NULL;
	r->wire = bow_wire_new(h);
	if (!r->wire) {
		free(r);
		return NULL;
	}
	bow_nbd_sectors_init(&r->sectors);
	r->facts = *facts;
	r->lock = lock;
	memcpy(r->name, uri, name_bytes);
	r->dev = (struct bow_dev){
		.ops = &remote_ops,
		.name = r->name,
		.size = facts->size,
		.sector_size = facts->minimum <= 512 ? 512 : BOWIMG_BLOCK_SIZE,
		.readonly = facts->readonly,
		.io_hint = io_hint,
	};
	return &r->dev;
}
