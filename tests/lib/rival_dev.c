/* SPDX-License-Identifier: MIT */
/* See rival_dev.h. */
#include "rival_dev.h"

#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"

#define RIVAL_BYTE 0x5a

static struct rival_dev *self(struct bowimg_disk *dev)
{
	return (struct rival_dev *)dev;
}

/* What happens before each operation; false: it fails. */
static bool enter(struct rival_dev *r)
{
	if (r->ops == r->at) {
		memset(r->bytes + r->off, RIVAL_BYTE, RIVAL_SECTOR);
		r->came = true;
	}
	return r->ops++ < r->die_at;
}

static int64_t rival_read(struct bowimg_disk *dev, void *buf, size_t bytes, uint64_t off)
{
	struct rival_dev *r = self(dev);

	if (!enter(r))
		return -EIO;
	if (off >= BOWIMG_BLOCK_SIZE) {
		memcpy(buf, r->bytes + off, bytes);
		return (int64_t)bytes;
	}
	r->first_read = bow_min(r->first_read, r->ops - 1);
	r->seen = r->seen || (r->came && r->dropped_at + 2 == r->ops);
	if (!r->is_cached)
		memcpy(r->cached, r->bytes, BOWIMG_BLOCK_SIZE);
	r->is_cached = true;
	bytes = bow_min(bytes, BOWIMG_BLOCK_SIZE - off);
	memcpy(buf, r->cached + off, bytes);
	return (int64_t)bytes;
}

/* `risky`: it would destroy what the rival wrote, or has behind the end of the image. */
static void count_change(struct rival_dev *r, bool risky)
{
	r->since += r->came;
	r->after += r->seen;
	if (risky && r->n_risks < RIVAL_RISKS)
		r->risks[r->n_risks++] = r->ops - 1;
}

static int64_t rival_write(struct bowimg_disk *dev, const void *buf, size_t bytes, uint64_t off)
{
	struct rival_dev *r = self(dev);

	if (!enter(r) || off + bytes > r->capacity)
		return -EIO;
	count_change(r, off < dev->first_bytes);
	memcpy(r->bytes + off, buf, bytes);
	if (off < BOWIMG_BLOCK_SIZE)
		memcpy(r->cached + off, buf, bow_min(bytes, BOWIMG_BLOCK_SIZE - off));
	return (int64_t)bytes;
}

static int rival_flush(struct bowimg_disk *dev)
{
	return enter(self(dev)) ? 0 : -EIO;
}

static int rival_resize(struct bowimg_disk *dev, uint64_t size)
{
	struct rival_dev *r = self(dev);

	if (!enter(r) || size > r->capacity)
		return -EIO;
	count_change(r, size < dev->size);
	if (size < dev->size)
		memset(r->bytes + size, 0, dev->size - size);
	return 0;
}

static int rival_drop_cache(struct bowimg_disk *dev, uint64_t off, uint64_t bytes)
{
	struct rival_dev *r = self(dev);

	(void)bytes;
	if (!enter(r))
		return -EIO;
	r->dropped_at = r->ops - 1;
	r->is_cached = r->is_cached && off > 0;
	return 0;
}

static int rival_close(struct bowimg_disk *dev)
{
	(void)dev;
	return 0;
}

static const struct bow_backend_ops rival_ops = {
	.read = rival_read,
	.write = rival_write,
	.flush = rival_flush,
	.close = rival_close,
	.resize = rival_resize,
	.drop_cache = rival_drop_cache,
};

bool rival_init(struct rival_dev *r, uint64_t capacity)
{
	memset(r, 0, sizeof(*r));
	r->capacity = capacity;
	r->bytes = calloc(1, capacity);
	return r->bytes;
}

void rival_release(struct rival_dev *r)
{
	free(r->bytes);
}

struct bowimg_disk *rival_open(struct rival_dev *r, uint64_t size, bool can_grow)
{
	uint8_t *bytes = r->bytes;
	uint64_t capacity = r->capacity;

	*r = (struct rival_dev){.bytes = bytes, .capacity = capacity};
	r->at = r->die_at = r->first_read = RIVAL_NEVER;
	r->dev = (struct bowimg_disk){
		.ops = &rival_ops,
		.name = "shared disk",
		.size = size,
		.sector_size = 512,
		.can_grow = can_grow,
	};
	return &r->dev;
}

bool rival_is_intact(const struct rival_dev *r)
{
	for (uint32_t i = 0; i < RIVAL_SECTOR; i++)
		if (r->bytes[r->off + i] != RIVAL_BYTE)
			return false;
	return true;
}
