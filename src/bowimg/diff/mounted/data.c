/* SPDX-License-Identifier: MIT */
/* The data of an open file: its places, or a hash of it. */
#include "bowimg/diff/mounted/data.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"

#define CHUNK_BYTES (1u << 20)
#define GRAIN_BYTES 4096u /* a piece of this size is left out of a hash if it is all zeros */
#define EXTENTS 64u	  /* asked for at once */

int64_t bow_tree_next_data(int fd, uint64_t off, uint64_t size)
{
	const off_t at = off < size ? lseek(fd, (off_t)off, SEEK_DATA) : (off_t)size;

	if (at >= 0)
		return (int64_t)bow_min((uint64_t)at, size);
	return errno == ENXIO ? (int64_t)size : -errno;
}

int bow_tree_pread(int fd, void *buf, size_t bytes, uint64_t off)
{
	uint8_t *p = buf;

	while (bytes) {
		ssize_t n = pread(fd, p, bytes, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* Zeros do not count, whether they are a hole or not. */
static void hash_grains(XXH3_state_t *h, const uint8_t *buf, size_t bytes, uint64_t off)
{
	for (size_t at = 0, n; at < bytes; at += n) {
		const uint64_t where = off + at;

		n = bow_min(bytes - at, GRAIN_BYTES);
		if (bow_is_zero(buf + at, n))
			continue;
		XXH3_128bits_update(h, &where, sizeof(where));
		XXH3_128bits_update(h, buf + at, n);
	}
}

int bow_tree_hash_data(int fd, uint64_t size, XXH3_state_t *h)
{
	CLEANUP_FREE uint8_t *buf = malloc(CHUNK_BYTES);
	int64_t off = 0;
	int rc = 0;

	if (!buf)
		return -ENOMEM;
	while (!rc && (off = bow_tree_next_data(fd, (uint64_t)off, size)) >= 0 &&
	       (uint64_t)off < size) {
		off -= off % GRAIN_BYTES;
		const size_t n = bow_min(CHUNK_BYTES, size - (uint64_t)off);

		rc = bow_tree_pread(fd, buf, n, (uint64_t)off);
		if (!rc)
			hash_grains(h, buf, n, (uint64_t)off);
		off += (int64_t)n;
	}
	return off < 0 ? (int)off : rc;
}

/* Flags of extents whose bytes are on the disk as they are in the file. */
#define PLAIN_FLAGS \
	(FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_MERGED | FIEMAP_EXTENT_SHARED)

/* A struct fiemap with room behind it. */
struct extents {
	_Alignas(struct fiemap)
		uint8_t raw[sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent)];
};

/* False: an extent has no plain place, or something was written there. */
static bool hash_extents(const struct bow_changed *changed, const struct fiemap *e, XXH3_state_t *h)
{
	const uint64_t blk = changed->block_size;

	for (uint32_t i = 0; i < e->fm_mapped_extents; i++) {
		const struct fiemap_extent *x = &e->fm_extents[i];
		const uint64_t what[] = {x->fe_logical, x->fe_physical, x->fe_length,
					 x->fe_flags & FIEMAP_EXTENT_UNWRITTEN};
		uint64_t start;

		if (x->fe_flags & ~(uint32_t)PLAIN_FLAGS || x->fe_length > changed->bytes ||
		    x->fe_physical > changed->bytes - x->fe_length ||
		    bow_changed_next(changed, x->fe_physical / blk,
				     bow_div_up(x->fe_physical + x->fe_length, blk), &start))
			return false;
		XXH3_128bits_update(h, what, sizeof(what));
	}
	return true;
}

int bow_tree_hash_places(int fd, const struct bow_changed *changed, XXH3_state_t *h, bool *placed)
{
	struct extents room;
	struct fiemap *e = (struct fiemap *)room.raw;
	uint64_t off = 0;

	*placed = true;
	while (*placed) {
		*e = (struct fiemap){.fm_start = off,
				     .fm_length = FIEMAP_MAX_OFFSET - off,
				     .fm_extent_count = EXTENTS};
		if (ioctl(fd, FS_IOC_FIEMAP, e) < 0) {
			*placed = false;
			return errno == EOPNOTSUPP || errno == ENOTTY ? 0 : -errno;
		}
		if (e->fm_mapped_extents == 0)
			return 0;
		*placed = hash_extents(changed, e, h);
		const struct fiemap_extent *last = &e->fm_extents[e->fm_mapped_extents - 1];
		if (last->fe_flags & FIEMAP_EXTENT_LAST)
			return 0;
		*placed = *placed && last->fe_logical + last->fe_length > off;
		off = last->fe_logical + last->fe_length;
	}
	return 0;
}
