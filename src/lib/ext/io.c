/* SPDX-License-Identifier: MIT */
/*
 * The io_manager. libext2fs opens it by name and passes no other argument, so the name holds the
 * window's address: a registry would be global state. The name is made here and read here, and
 * never comes from outside.
 *
 * Everything is bounded by the window: block numbers come from a disk that may be hostile.
 */
#include "lib/ext/io.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/stop.h"
#include "lib/base/show.h"

#define NAME_PREFIX "bowimg-window-"

static errcode_t io_open(const char *name, int flags, io_channel *out)
{
	struct bow_ext_io *io;
	io_channel channel;
	errcode_t rc;

	if (flags & IO_FLAG_RW)
		return EROFS;
	if (strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) != 0)
		return EXT2_ET_BAD_DEVICE_NAME;
	io = (struct bow_ext_io *)(uintptr_t)strtoull(name + strlen(NAME_PREFIX), NULL, 16);
	rc = ext2fs_get_memzero(sizeof(*channel), &channel);
	if (rc)
		return rc;
	rc = ext2fs_get_mem(strlen(name) + 1, &channel->name);
	if (rc) {
		ext2fs_free_mem(&channel);
		return rc;
	}
	memcpy(channel->name, name, strlen(name) + 1);
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = &io->manager;
	channel->block_size = 1024;
	channel->refcount = 1;
	channel->private_data = io;
	*out = channel;
	return 0;
}

static errcode_t io_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	ext2fs_free_mem(&channel->name);
	ext2fs_free_mem(&channel);
	return 0;
}

static errcode_t io_set_blksize(io_channel channel, int blksize)
{
	if (blksize < EXT2_MIN_BLOCK_SIZE || blksize > EXT2_MAX_BLOCK_SIZE)
		return EXT2_ET_INVALID_ARGUMENT;
	channel->block_size = blksize;
	return 0;
}

/* The first piece that ends behind `off`. */
static size_t find(const struct bow_ext_ahead *ahead, uint64_t off)
{
	size_t low = 0, high = ahead->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (ahead->v[mid].off + ahead->v[mid].bytes > off)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* All of it, or it is read; then `data` may have been written to. */
static bool take_ahead(const struct bow_ext_io *io, uint64_t off, uint64_t bytes, uint8_t *data)
{
	const struct bow_ext_ahead *ahead = io->ahead;
	size_t i = ahead ? find(ahead, off) : 0;

	for (; ahead && bytes && i < ahead->n; i++) {
		const struct bow_ext_piece *p = &ahead->v[i];
		uint64_t skip, n;

		if (!p->known || off < p->off)
			return false;
		skip = off - p->off;
		n = bow_min(bytes, p->bytes - skip);
		memcpy(data, ahead->data + p->at + skip, n);
		off += n;
		data += n;
		bytes -= n;
	}
	return ahead && !bytes;
}

/* A negative count is libext2fs' way to ask for that many bytes instead of blocks. */
static errcode_t io_read_blk64(io_channel channel, unsigned long long block, int count, void *data)
{
	struct bow_ext_io *io = channel->private_data;
	const uint64_t size = (uint64_t)channel->block_size;
	uint64_t bytes = count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * size;
	int rc;

	if (block > UINT64_MAX / size || !bow_range_ok(block * size, bytes, io->bytes))
		return EXT2_ET_SHORT_READ;
	rc = bow_stop_asked(io->events, &io->err);
	if (!rc && !take_ahead(io, block * size, bytes, data))
		rc = bowimg_disk_read(io->disk, data, bytes, io->off + block * size, &io->err);
	return rc < 0 ? -rc : 0;
}

static errcode_t io_read_blk(io_channel channel, unsigned long block, int count, void *data)
{
	return io_read_blk64(channel, block, count, data);
}

static errcode_t io_write_blk64(io_channel channel, unsigned long long block, int count,
				const void *data)
{
	(void)channel, (void)block, (void)count, (void)data;
	return EROFS;
}

static errcode_t io_write_blk(io_channel channel, unsigned long block, int count, const void *data)
{
	return io_write_blk64(channel, block, count, data);
}

static errcode_t io_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

static const struct struct_io_manager manager_template = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "bowimg window",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_blksize,
	.read_blk = io_read_blk,
	.write_blk = io_write_blk,
	.flush = io_flush,
	.read_blk64 = io_read_blk64,
	.write_blk64 = io_write_blk64,
};

int bow_ext_io_open(struct bow_ext_io *io, bowimg_disk *disk, uint64_t off, uint64_t bytes,
		    ext2_filsys *out, struct bowimg_error *err)
{
	char name[64];
	errcode_t rc;

	if (!bow_range_ok(off, bytes, bowimg_disk_size(disk)))
		return bow_err(err, -EINVAL,
			       "%s: open a file system at byte %" PRIu64 ": the range is not "
			       "inside the image",
			       bowimg_disk_name(disk), off);
	*io = (struct bow_ext_io){
		.manager = manager_template, .disk = disk, .off = off, .bytes = bytes};
	snprintf(name, sizeof(name), NAME_PREFIX "%" PRIxPTR, (uintptr_t)io);
	/* The multi-mount block is checked elsewhere: libext2fs would look for it by file name. */
	rc = ext2fs_open2(name, NULL, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP, 0, 0, &io->manager,
			  out);
	return rc ? bow_ext_io_fail(io, rc, "open the file system", err) : 0;
}

static int errno_of(errcode_t code)
{
	switch (code) {
	case EXT2_ET_NO_MEMORY:
		return -ENOMEM;
	case EXT2_ET_BAD_MAGIC:
	case EXT2_ET_UNSUPP_FEATURE:
	case EXT2_ET_RO_UNSUPP_FEATURE:
	case EXT2_ET_REV_TOO_HIGH:
		return -EOPNOTSUPP;
	case EXT2_ET_SB_CSUM_INVALID:
	case EXT2_ET_BLOCK_BITMAP_CSUM_INVALID:
	case EXT2_ET_MMP_CSUM_INVALID:
		return -EBADMSG;
	default:
		/* libext2fs passes the system's own codes through; the rest says "malformed". */
		return code > 0 && code < 256 ? -(int)code : -EUCLEAN;
	}
}

int bow_ext_io_fail(const struct bow_ext_io *io, errcode_t code, const char *what,
		    struct bowimg_error *err)
{
	const long index = code - et_ext2_error_table.base;
	int rc = errno_of(code);

	if (io->err.code) {
		/* libext2fs replaces the source's reason by one of its own, such as "can't read".
		 */
		if (err)
			*err = io->err;
		return bow_err_wrap(err, io->err.code, "%s: %s", bowimg_disk_name(io->disk), what);
	}
	if (index >= 0 && index < et_ext2_error_table.n_msgs)
		bow_err(err, rc, "%s: %s: %s", bowimg_disk_name(io->disk), what,
			et_ext2_error_table.msgs[index]);
	else
		bow_err_errno(err, rc, "%s: %s", bowimg_disk_name(io->disk), what);
	if (rc == -EUCLEAN || rc == -EBADMSG)
		bow_err_hint(err, "check and repair the file system first: e2fsck -f %s",
			     BOW_WORD(bowimg_disk_name(io->disk)));
	return rc;
}
