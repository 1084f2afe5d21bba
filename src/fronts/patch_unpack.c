/* SPDX-License-Identifier: MIT */
/*
 * Decompression as a stream of its own under the reader of the archive, so that how much comes out
 * can be bounded, and nothing can hide behind the end.
 *
 * One compression, told by the first bytes, and not one inside another: a few KiB of nested gzip
 * can keep a machine busy for a day. gzip and Zstandard go through libarchive, whose windows are
 * bounded; xz through liblzma itself, since libarchive lets a file ask for 4 GiB of memory.
 */
#include "fronts/patch.h"

#include <archive.h>
#include <archive_entry.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

enum { BLOCK_BYTES = 64 << 10, MAGIC_BYTES = 6 };

/* What `xz -9` needs is 65 MiB. */
#define XZ_MEMORY (128u << 20)

struct bow_patch_unpack {
	int fd;
	enum bow_patch_pack pack;
	struct archive *raw; /* gzip, Zstandard */
	lzma_stream xz;
	bool xz_input_ended, ended;
	int read_errno;
	uint64_t unpacked, limit;
	uint64_t zero_from; /* from here to `unpacked` there are zeros */
	uint8_t in[BLOCK_BYTES], out[BLOCK_BYTES];
};

static enum bow_patch_pack find_pack(const uint8_t *magic, ssize_t n)
{
	static const struct {
		enum bow_patch_pack pack;
		uint8_t bytes[MAGIC_BYTES];
		ssize_t n;
	} packs[] = {
		{BOW_PATCH_GZIP, {0x1f, 0x8b}, 2},
		{BOW_PATCH_XZ, {0xfd, '7', 'z', 'X', 'Z', 0}, 6},
		{BOW_PATCH_ZSTD, {0x28, 0xb5, 0x2f, 0xfd}, 4},
	};

	for (size_t i = 0; i < sizeof(packs) / sizeof(packs[0]); i++)
		if (n >= packs[i].n && memcmp(magic, packs[i].bytes, (size_t)packs[i].n) == 0)
			return packs[i].pack;
	return BOW_PATCH_NONE;
}

static int64_t fill(struct bow_patch_unpack *u)
{
	ssize_t n;

	do
		n = read(u->fd, u->in, sizeof(u->in));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		u->read_errno = errno;
	return n;
}

static la_ssize_t from_fd(struct archive *a, void *ctx, const void **block)
{
	struct bow_patch_unpack *u = ctx;

	(void)a;
	*block = u->in;
	return fill(u);
}

static int damaged(const struct bow_patch_unpack *u, const char *why, struct bowimg_error *err)
{
	if (u->read_errno)
		return bow_err_errno(err, -u->read_errno, "reading the patch");
	return bow_err(err, -EUCLEAN, "its compression is damaged: %s", why ? why : "?");
}

static int open_raw(struct bow_patch_unpack *u, struct bowimg_error *err)
{
	struct archive_entry *entry;

	u->raw = archive_read_new();
	if (!u->raw)
		return bow_err_errno(err, -ENOMEM, "reading the patch");
	if (archive_read_support_format_raw(u->raw) != ARCHIVE_OK ||
	    archive_read_append_filter(u->raw, u->pack == BOW_PATCH_GZIP
						       ? ARCHIVE_FILTER_GZIP
						       : ARCHIVE_FILTER_ZSTD) != ARCHIVE_OK ||
	    archive_read_open(u->raw, u, NULL, from_fd, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(u->raw, &entry) != ARCHIVE_OK)
		return damaged(u, "it cannot be unpacked", err);
	return 0;
}

static int open_pack(struct bow_patch_unpack *u, struct bowimg_error *err)
{
	if (u->pack == BOW_PATCH_NONE)
		return 0;
	if (u->pack != BOW_PATCH_XZ)
		return open_raw(u, err);
	return lzma_stream_decoder(&u->xz, XZ_MEMORY, 0) == LZMA_OK
		       ? 0
		       : bow_err_errno(err, -ENOMEM, "reading the patch");
}

int bow_patch_unpack_open(int fd, struct bow_patch_unpack **out, struct bowimg_error *err)
{
	struct bow_patch_unpack *u = calloc(1, sizeof(*u));
	uint8_t magic[MAGIC_BYTES];
	off_t at = lseek(fd, 0, SEEK_CUR);
	ssize_t n = at < 0 ? -1 : pread(fd, magic, sizeof(magic), at);
	int rc;

	if (!u || n < 0) {
		rc = bow_err_errno(err, u ? -errno : -ENOMEM, "reading the patch");
		free(u);
		return rc;
	}
	u->fd = fd;
	u->limit = UINT64_MAX;
	u->pack = find_pack(magic, n);
	rc = open_pack(u, err);
	if (rc)
		bow_patch_unpack_close(u);
	else
		*out = u;
	return rc;
}

void bow_patch_unpack_limit(struct bow_patch_unpack *u, uint64_t bytes)
{
	u->limit = bytes;
}

/* ---- the next bytes -------------------------------------------------------------------------- */

static int64_t next_plain(struct bow_patch_unpack *u, const void **block, struct bowimg_error *err)
{
	int64_t n = fill(u);

	*block = u->in;
	return n < 0 ? bow_err_errno(err, -u->read_errno, "reading the patch") : n;
}

/* Bytes behind the end of what is compressed are no part of a patch. */
static int check_raw_end(struct bow_patch_unpack *u, struct bowimg_error *err)
{
	off_t read_to = lseek(u->fd, 0, SEEK_CUR);

	if (fill(u) == 0 && archive_filter_bytes(u->raw, -1) == read_to)
		return 0;
	return damaged(u, "there is something behind its end", err);
}

static int64_t next_raw(struct bow_patch_unpack *u, const void **block, struct bowimg_error *err)
{
	la_ssize_t n = archive_read_data(u->raw, u->out, sizeof(u->out));

	*block = u->out;
	if (n < 0)
		return damaged(u, archive_error_string(u->raw), err);
	return n ? n : check_raw_end(u, err);
}

static const char *xz_reason(lzma_ret rc)
{
	switch (rc) {
	case LZMA_MEMLIMIT_ERROR:
		return "it asks for more than 128 MiB of memory";
	case LZMA_BUF_ERROR:
		return "it is cut off";
	case LZMA_MEM_ERROR:
		return "out of memory";
	default:
		return "xz data is malformed";
	}
}

static int end_xz(struct bow_patch_unpack *u, struct bowimg_error *err)
{
	if (u->xz.avail_in == 0 && fill(u) == 0)
		return 0;
	return damaged(u, "there is something behind its end", err);
}

static int64_t next_xz(struct bow_patch_unpack *u, const void **block, struct bowimg_error *err)
{
	lzma_ret rc = LZMA_OK;

	*block = u->xz.next_out = u->out;
	u->xz.avail_out = sizeof(u->out);
	while (rc == LZMA_OK && u->xz.avail_out) {
		if (!u->xz.avail_in && !u->xz_input_ended) {
			int64_t n = fill(u);

			if (n < 0)
				return damaged(u, NULL, err);
			u->xz_input_ended = n == 0;
			u->xz.next_in = u->in;
			u->xz.avail_in = (size_t)n;
		}
		rc = lzma_code(&u->xz, u->xz_input_ended ? LZMA_FINISH : LZMA_RUN);
	}
	if (rc != LZMA_OK && rc != LZMA_STREAM_END)
		return damaged(u, xz_reason(rc), err);
	if (u->xz.avail_out < sizeof(u->out))
		return (int64_t)(sizeof(u->out) - u->xz.avail_out);
	return end_xz(u, err);
}

static void note_zeros(struct bow_patch_unpack *u, const uint8_t *block, uint64_t n)
{
	uint64_t last = n;

	if (bow_is_zero(block, n)) {
		u->unpacked += n;
		return;
	}
	while (!block[last - 1])
		last--;
	u->zero_from = u->unpacked + last;
	u->unpacked += n;
}

int64_t bow_patch_unpack_next(struct bow_patch_unpack *u, const void **block,
			      struct bowimg_error *err)
{
	int64_t n = 0;

	if (u->ended)
		return 0;
	if (u->pack == BOW_PATCH_NONE)
		n = next_plain(u, block, err);
	else
		n = u->pack == BOW_PATCH_XZ ? next_xz(u, block, err) : next_raw(u, block, err);
	u->ended = n <= 0;
	if (n <= 0)
		return n;
	if ((uint64_t)n > u->limit || u->unpacked > u->limit - (uint64_t)n) {
		u->ended = true;
		return bow_err(err, -EUCLEAN,
			       "it has more data than a patch for an image of this size can have");
	}
	note_zeros(u, *block, (uint64_t)n);
	return n;
}

bool bow_patch_unpack_zero_from(const struct bow_patch_unpack *u, uint64_t off)
{
	return u->zero_from <= off;
}

void bow_patch_unpack_close(struct bow_patch_unpack *u)
{
	if (!u)
		return;
	if (u->raw)
		archive_read_free(u->raw);
	lzma_end(&u->xz); /* of zeros: nothing to do */
	free(u);
}
