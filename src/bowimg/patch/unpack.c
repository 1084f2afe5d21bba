/* SPDX-License-Identifier: MIT */
/*
 * Decompression as a stream below the reader of the archive, so that its output can be bounded, and
 * nothing can hide behind the end.
 *
 * The first bytes say which compression it is, and a compression inside another is refused: a few
 * KiB of nested gzip can keep a machine busy for a day. libarchive unpacks gzip and Zstandard with
 * windows that are bounded. An xz file could make it allocate 4 GiB, so xz is refused.
 */
#include "bowimg/patch/patch.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/bytes.h"

enum { BLOCK_BYTES = 64 << 10, MAGIC_BYTES = 6 };

struct bow_patch_unpack {
	int fd;
	struct archive *raw; /* NULL: not compressed */
	bool ended;
	int read_errno;
	uint64_t unpacked, limit;
	uint64_t zero_from; /* all bytes from here to `unpacked` are zeros */
	uint8_t in[BLOCK_BYTES], out[BLOCK_BYTES];
};

static bool begins(const uint8_t *bytes, ssize_t n, const char *magic, size_t magic_bytes)
{
	return n >= (ssize_t)magic_bytes && memcmp(bytes, magic, magic_bytes) == 0;
}

static int find_pack(const uint8_t *bytes, ssize_t n, enum bow_patch_pack *pack,
		     struct bowimg_error *err)
{
	*pack = BOW_PATCH_NONE;
	if (begins(bytes, n, "\x1f\x8b", 2))
		*pack = BOW_PATCH_GZIP;
	else if (begins(bytes, n, "\x28\xb5\x2f\xfd", 4))
		*pack = BOW_PATCH_ZSTD;
	if (!begins(bytes, n, "\xfd\x37zXZ\0", 6))
		return 0;
	bow_err(err, -EOPNOTSUPP, "it is compressed by xz, which a patch cannot be");
	bow_err_hint(err, "nothing was changed; decompress it with 'xz -d', and apply the result");
	return -EOPNOTSUPP;
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

static int open_raw(struct bow_patch_unpack *u, enum bow_patch_pack pack, struct bowimg_error *err)
{
	const int filter = pack == BOW_PATCH_GZIP ? ARCHIVE_FILTER_GZIP : ARCHIVE_FILTER_ZSTD;
	struct archive_entry *entry;

	u->raw = archive_read_new();
	if (!u->raw)
		return bow_err_errno(err, -ENOMEM, "reading the patch");
	if (archive_read_support_format_raw(u->raw) != ARCHIVE_OK ||
	    archive_read_append_filter(u->raw, filter) != ARCHIVE_OK ||
	    archive_read_open(u->raw, u, NULL, from_fd, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(u->raw, &entry) != ARCHIVE_OK)
		return damaged(u, "it cannot be decompressed", err);
	return 0;
}

static int open_pack(struct bow_patch_unpack *u, const uint8_t *magic, ssize_t n,
		     struct bowimg_error *err)
{
	enum bow_patch_pack pack;
	int rc = find_pack(magic, n, &pack, err);

	return rc || pack == BOW_PATCH_NONE ? rc : open_raw(u, pack, err);
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
	rc = open_pack(u, magic, n, err);
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

/* ---- the next bytes -------------------------------------------------------------- */

static int64_t next_plain(struct bow_patch_unpack *u, const void **block, struct bowimg_error *err)
{
	int64_t n = fill(u);

	*block = u->in;
	return n < 0 ? bow_err_errno(err, -u->read_errno, "reading the patch") : n;
}

/* No bytes may follow the compressed stream. */
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
	int64_t n;

	if (u->ended)
		return 0;
	n = u->raw ? next_raw(u, block, err) : next_plain(u, block, err);
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
	free(u);
}
