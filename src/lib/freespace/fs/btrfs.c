/* SPDX-License-Identifier: MIT */
/*
 * Is a btrfs clean, and all of it here? And which places does partclone forget?
 *
 * After the "On-disk Format" page of the btrfs documentation. All numbers are little-endian.
 *
 * Partclone is not believed about metadata: versions in use leave out second copies (DUP) and nodes
 * of younger trees. So a block group counts as used as a whole, unless it is plain data in one
 * copy; partclone is believed about the free space inside such groups, and about what is in no
 * group. The chunk tree, which is small, is read here to know the block groups.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/kinds.h"

#define SUPER_OFFSET (64u << 10)
#define SUPER_BYTES 4096u
#define RESERVED_BYTES (1u << 20) /* never in a block group: superblock, boot loaders */
/* A mount replays the log. */
#define MOUNT "mount " BOW_HINT_DEVICE " /mnt && umount /mnt"
#define CHECK "btrfs check " BOW_HINT_DEVICE
#define TUNE "run the btrfstune again that was interrupted"

#define FLAG_ERROR (1ull << 2)
#define FLAG_SEED (1ull << 32)
#define FLAGS_DUMP (1ull << 33 | 1ull << 34)
#define FLAGS_CHANGING (1ull << 35 | 1ull << 36 | 1ull << 38 | 1ull << 39 | 1ull << 40)
/* Up to skinny metadata, no holes, another UUID for metadata, three and four copies, simple quota.
 */
#define INCOMPAT_KNOWN (0xfffull | 1ull << 16)
#define INCOMPAT_RAID56 (1ull << 7)
#define COMPAT_RO_KNOWN 0x7ull /* the free space tree, valid; verity */

#define TYPE_DATA 1ull
#define TYPE_SYSTEM_METADATA 6ull
#define PROFILE_DUP (1ull << 5)
#define PROFILES_OTHER (0x7d8ull) /* RAID0 1 10 5 6 1C3 1C4 */

#define KEY_BYTES 17u
#define CHUNK_KEY 228
#define CHUNK_BYTES 48u /* without stripes */
#define STRIPE_BYTES 32u
#define HEADER_BYTES 101u
#define ITEM_BYTES 25u
#define POINTER_BYTES 33u
#define LEVELS 8u
#define NODES_MAX (1u << 20) /* far more than a chunk tree has; a hostile one must end */
#define SYSTEM_CHUNKS_MAX 32u

struct chunk {
	uint64_t logical, bytes, type;
	uint32_t stripes;
	const uint8_t *stripe; /* of STRIPE_BYTES each: device, place, UUID */
};

struct reader {
	struct bowimg_disk *vol;
	uint8_t super[SUPER_BYTES];
	uint32_t node_bytes;
	struct chunk system[SYSTEM_CHUNKS_MAX]; /* from the superblock: where the chunk tree is */
	uint32_t n_system;
	uint64_t off; /* of the volume in the image */
	struct bow_bitmap *free;
};

static int read_super(struct reader *r, struct bowimg_error *err)
{
	int rc = bow_fs_read(r->vol, r->super, SUPER_BYTES, SUPER_OFFSET, err);

	if (rc)
		return rc;
	r->node_bytes = bow_get32(r->super + 148);
	if (memcmp(r->super + 64, "_BHRfS_M", 8) != 0 || r->node_bytes < 4096 ||
	    r->node_bytes > 65536 || r->node_bytes & (r->node_bytes - 1) || r->super[199] >= LEVELS)
		return bow_fs_malformed(r->vol, "impossible sizes in the superblock", err);
	if (bow_get64(r->super + 209) > r->vol->size)
		return bow_fs_cut_off(r->vol, err);
	return 0;
}

/* A seed is sound, but the devices that were added to it refer to its blocks by their place. */
static int check_seed(struct bowimg_disk *vol, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"%s: read the free map: a btrfs seed device, which others may be built on",
		vol->name);
	bow_err_hint(err, "leave a seed as it is; where nothing is built on it, this makes it an "
			  "ordinary one: btrfstune -S 0 " BOW_HINT_DEVICE);
	return -EOPNOTSUPP;
}

static int check_flags(struct bowimg_disk *vol, uint64_t flags, struct bowimg_error *err)
{
	if (flags & FLAG_ERROR)
		return bow_fs_unclean(vol, "the btrfs has noted errors", CHECK, err);
	if (flags & FLAG_SEED)
		return check_seed(vol, err);
	if (flags & FLAGS_DUMP)
		return bow_fs_unsupported(
			vol, "the metadata alone of a btrfs, as btrfs-image restores it", err);
	if (flags & FLAGS_CHANGING)
		return bow_fs_unclean(vol, "the btrfs is half converted", TUNE, err);
	return 0;
}

static int check_super(const struct reader *r, enum bow_fs_reader reader, struct bowimg_error *err)
{
	const uint64_t incompat = bow_get64(r->super + 188);
	const uint64_t compat_ro = bow_get64(r->super + 180);
	int rc;

	if (bow_get64(r->super + 136) != 1)
		return bow_fs_unsupported(r->vol,
					  "a btrfs on several devices, of which this is one", err);
	rc = check_flags(r->vol, bow_get64(r->super + 56), err);
	if (rc || reader == BOW_FS_KERNEL)
		return rc; /* the kernel knows its features, and replays the log */
	if (bow_get64(r->super + 96))
		return bow_fs_unclean(r->vol, "the btrfs has a log tree, which must be replayed",
				      MOUNT, err);
	if (incompat & (~INCOMPAT_KNOWN | INCOMPAT_RAID56) || compat_ro & ~COMPAT_RO_KNOWN)
		return bow_fs_not_for_helpers(
			r->vol, "a btrfs with features that partclone may not know", err);
	return 0;
}

static int check(struct bowimg_disk *vol, enum bow_fs_reader reader, struct bow_fs_limits *limits,
		 struct bowimg_error *err)
{
	CLEANUP_FREE struct reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return bow_fs_no_memory(vol, err);
	r->vol = vol;
	rc = read_super(r, err);
	limits->extent = rc ? 0 : bow_get64(r->super + 209); /* of its only device */
	return rc ? rc : check_super(r, reader, err);
}

/* A chunk item of `room` bytes at most; *bytes: its length. */
static bool decode_chunk(uint64_t logical, const uint8_t *item, uint64_t room, struct chunk *c,
			 uint64_t *bytes)
{
	if (room < CHUNK_BYTES)
		return false;
	c->logical = logical;
	c->bytes = bow_get64(item);
	c->type = bow_get64(item + 24);
	c->stripes = bow_get16(item + 44);
	c->stripe = item + CHUNK_BYTES;
	*bytes = CHUNK_BYTES + (uint64_t)c->stripes * STRIPE_BYTES;
	return c->stripes && *bytes <= room && c->bytes && logical <= UINT64_MAX - c->bytes;
}

static bool read_system_chunks(struct reader *r)
{
	const uint32_t room = bow_get32(r->super + 160);
	const uint8_t *array = r->super + 811;
	uint64_t at = 0, bytes;

	if (room > 2048)
		return false;
	for (; at < room; at += KEY_BYTES + bytes) {
		if (r->n_system == SYSTEM_CHUNKS_MAX || room - at <= KEY_BYTES ||
		    array[at + 8] != CHUNK_KEY ||
		    !decode_chunk(bow_get64(array + at + 9), array + at + KEY_BYTES,
				  room - at - KEY_BYTES, &r->system[r->n_system], &bytes))
			return false;
		r->n_system++;
	}
	return true;
}

/* Read a node of the chunk tree, from the first copy that is what it should be. */
static int read_node(struct reader *r, uint64_t logical, uint32_t level, uint8_t *node,
		     struct bowimg_error *err)
{
	for (uint32_t i = 0; i < r->n_system; i++) {
		const struct chunk *c = &r->system[i];
		uint64_t in = logical - c->logical;

		if (logical < c->logical || in >= c->bytes)
			continue;
		for (uint32_t k = 0; k < c->stripes; k++) {
			uint64_t at = bow_get64(c->stripe + k * STRIPE_BYTES + 8);

			if (at > INT64_MAX - in ||
			    bow_fs_read(r->vol, node, r->node_bytes, at + in, NULL))
				continue;
			if (bow_get64(node + 48) == logical && node[100] == level)
				return 0;
		}
	}
	return bow_fs_malformed(r->vol, "a node of the chunk tree cannot be found", err);
}

static int mark_used_chunk(struct reader *r, const struct chunk *c, struct bowimg_error *err)
{
	int rc = 0;

	if (c->type & PROFILES_OTHER)
		return bow_fs_unsupported(r->vol, "a btrfs with RAID block groups", err);
	if (c->type & TYPE_DATA && !(c->type & (TYPE_SYSTEM_METADATA | PROFILE_DUP)) &&
	    c->stripes == 1)
		return 0;
	for (uint32_t k = 0; k < c->stripes && !rc; k++)
		rc = bow_fs_mark_used(r->free, r->off, bow_get64(c->stripe + k * STRIPE_BYTES + 8),
				      c->bytes);
	if (rc == -EUCLEAN)
		return bow_fs_malformed(r->vol, "a block group is not inside of it", err);
	return rc ? bow_err_errno(err, rc, "%s: keep the free map", r->vol->name) : 0;
}

static int mark_used_in_leaf(struct reader *r, const uint8_t *node, uint32_t items,
			     struct bowimg_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < items && !rc; i++) {
		const uint8_t *item = node + HEADER_BYTES + i * ITEM_BYTES;
		uint64_t at = (uint64_t)HEADER_BYTES + bow_get32(item + 17), bytes;
		uint32_t size = bow_get32(item + 21);
		struct chunk c;

		if (item[8] != CHUNK_KEY)
			continue;
		if (!bow_range_ok(at, size, r->node_bytes) ||
		    !decode_chunk(bow_get64(item + 9), node + at, size, &c, &bytes))
			return bow_fs_malformed(r->vol, "a malformed entry in the chunk tree", err);
		rc = mark_used_chunk(r, &c, err);
	}
	return rc;
}

/* The way from the root to where the walk is; levels fall by one, so that it ends. */
struct path {
	uint8_t *node[LEVELS];
	uint32_t next[LEVELS], items[LEVELS];
};

static int enter(struct reader *r, struct path *p, uint64_t logical, uint32_t level,
		 struct bowimg_error *err)
{
	const uint32_t each = level ? POINTER_BYTES : ITEM_BYTES;
	int rc = read_node(r, logical, level, p->node[level], err);

	if (rc)
		return rc;
	p->next[level] = 0;
	p->items[level] = bow_get32(p->node[level] + 96);
	if (p->items[level] > (r->node_bytes - HEADER_BYTES) / each)
		return bow_fs_malformed(r->vol, "a node of the chunk tree is overfull", err);
	return level ? 0 : mark_used_in_leaf(r, p->node[0], p->items[0], err);
}

static int walk(struct reader *r, struct path *p, struct bowimg_error *err)
{
	const uint32_t root = r->super[199];
	uint32_t level = root, nodes = 0;
	int rc = enter(r, p, bow_get64(r->super + 88), root, err);

	while (!rc) {
		while (level <= root && (!level || p->next[level] == p->items[level]))
			level++;
		if (level > root)
			return 0;
		if (++nodes > NODES_MAX)
			return bow_fs_malformed(r->vol, "the chunk tree does not end", err);
		const uint8_t *pointer =
			p->node[level] + HEADER_BYTES + (uint64_t)p->next[level]++ * POINTER_BYTES;
		level--;
		rc = enter(r, p, bow_get64(pointer + KEY_BYTES), level, err);
	}
	return rc;
}

static int mark_used_chunks(struct reader *r, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *nodes = malloc((size_t)LEVELS * r->node_bytes);
	struct path p = {0};

	if (!nodes)
		return bow_fs_no_memory(r->vol, err);
	if (!read_system_chunks(r))
		return bow_fs_malformed(r->vol, "malformed system chunks in the superblock", err);
	for (uint32_t i = 0; i < LEVELS; i++)
		p.node[i] = nodes + (size_t)i * r->node_bytes;
	return walk(r, &p, err);
}

static int mark_used(struct bowimg_disk *vol, uint64_t off, struct bow_bitmap *free,
		     struct bowimg_error *err)
{
	static const uint64_t copies[] = {64ull << 20, 256ull << 30};
	CLEANUP_FREE struct reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return bow_fs_no_memory(vol, err);
	r->vol = vol;
	r->off = off;
	r->free = free;
	rc = read_super(r, err);
	if (!rc && (bow_fs_mark_used(free, off, 0, RESERVED_BYTES) ||
		    bow_fs_mark_used(free, off, copies[0], SUPER_OFFSET) ||
		    bow_fs_mark_used(free, off, copies[1], SUPER_OFFSET)))
		rc = bow_fs_no_memory(vol, err);
	return rc ? rc : mark_used_chunks(r, err);
}

const struct bow_fs_kind bow_fs_btrfs = {
	.type = "btrfs",
	.name = "btrfs",
	.program = "partclone.btrfs",
	.check = check,
	.mark_used = mark_used,
};
