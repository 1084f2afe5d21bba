/* SPDX-License-Identifier: MIT */
/*
 * Writing a patch. A piece is gathered in memory and written as two members, its runs and then
 * their data; so the image is read once, and the output may be a pipe.
 */
#include "bowimg/patch/patch.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "bowimg/host/outfile.h"

enum { BLOCK_BYTES = 64 << 10, MEMBER_MODE = 0644 };

struct bow_patch_writer {
	int fd;
	struct archive *a;
	uint64_t hash; /* of the JSON members so far, each one's the seed of the next */
	uint64_t pieces;
	struct bow_patch_totals totals;
	struct bow_patch_run runs[BOW_PATCH_PIECE_RUNS];
	unsigned n;
	size_t data_bytes;
	uint8_t *data;
};

static la_ssize_t to_fd(struct archive *a, void *ctx, const void *buf, size_t bytes)
{
	struct bow_patch_writer *w = ctx;
	ssize_t n;

	do
		n = write(w->fd, buf, bytes);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		archive_set_error(a, errno, "%s", strerror(errno));
	return n;
}

static int failed(struct bow_patch_writer *w, struct bowimg_error *err)
{
	int code = archive_errno(w->a);
	const char *text = archive_error_string(w->a);

	if (code == ENOSPC || code == EDQUOT || code == EFBIG)
		return bow_outfile_failed(-code, "the patch", err);
	/* libarchive has codes of its own, which are negative. */
	return bow_err(err, code > 0 ? -code : -EIO, "writing the patch: %s", text ? text : "?");
}

static int add_filter(struct archive *a, enum bow_patch_pack pack)
{
	switch (pack) {
	case BOW_PATCH_GZIP:
		/* Without the time: equal patches are equal files. */
		return archive_write_add_filter_gzip(a) != ARCHIVE_OK
			       ? ARCHIVE_FATAL
			       : archive_write_set_filter_option(a, "gzip", "timestamp", NULL);
	case BOW_PATCH_ZSTD:
		return archive_write_add_filter_zstd(a);
	case BOW_PATCH_NONE:
		break;
	}
	return archive_write_add_filter_none(a);
}

static int begin(struct bow_patch_writer *w, enum bow_patch_pack pack, struct bowimg_error *err)
{
	if (add_filter(w->a, pack) != ARCHIVE_OK ||
	    archive_write_set_format_pax_restricted(w->a) != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(w->a, BLOCK_BYTES) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(w->a, 1) != ARCHIVE_OK ||
	    archive_write_open(w->a, w, NULL, to_fd, NULL) != ARCHIVE_OK)
		return failed(w, err);
	return 0;
}

static int put_member(struct bow_patch_writer *w, const char *name, const void *bytes, size_t n,
		      struct bowimg_error *err)
{
	struct archive_entry *entry = archive_entry_new();
	int rc = 0;

	if (!entry)
		return bow_err_errno(err, -ENOMEM, "writing the patch");
	archive_entry_set_pathname(entry, name);
	archive_entry_set_size(entry, (la_int64_t)n);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, MEMBER_MODE);
	archive_entry_set_mtime(entry, 0, 0);
	if (archive_write_header(w->a, entry) != ARCHIVE_OK ||
	    archive_write_data(w->a, bytes, n) != (la_ssize_t)n ||
	    archive_write_finish_entry(w->a) != ARCHIVE_OK)
		rc = failed(w, err);
	archive_entry_free(entry);
	return rc;
}

/* A member of JSON; takes the text. */
static int put_text(struct bow_patch_writer *w, const char *name, char *text,
		    struct bowimg_error *err)
{
	int rc;

	if (!text)
		return bow_err_errno(err, -ENOMEM, "writing the patch");
	rc = put_member(w, name, text, strlen(text), err);
	w->hash = bow_hash(text, strlen(text), w->hash);
	free(text);
	return rc;
}

int bow_patch_writer_open(int fd, enum bow_patch_pack pack, const struct bow_patch_head *head,
			  struct bow_patch_writer **out, struct bowimg_error *err)
{
	struct bow_patch_writer *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return bow_err_errno(err, -ENOMEM, "writing the patch");
	w->fd = fd;
	w->a = archive_write_new();
	w->data = malloc(BOW_PATCH_PIECE_BYTES);
	if (!w->a || !w->data)
		rc = bow_err_errno(err, -ENOMEM, "writing the patch");
	else if (!(rc = begin(w, pack, err)))
		rc = put_text(w, "manifest.json", bow_patch_head_encode(head), err);
	if (rc)
		bow_patch_writer_free(w);
	else
		*out = w;
	return rc;
}

static int put_piece(struct bow_patch_writer *w, struct bowimg_error *err)
{
	char name[32];
	int rc;

	if (!w->n)
		return 0;
	snprintf(name, sizeof(name), "%08" PRIu64 ".json", w->pieces);
	rc = put_text(w, name, bow_patch_piece_encode(w->runs, w->n), err);
	snprintf(name, sizeof(name), "%08" PRIu64 ".data", w->pieces);
	if (!rc && w->data_bytes)
		rc = put_member(w, name, w->data, w->data_bytes, err);
	w->pieces++;
	w->n = 0;
	w->data_bytes = 0;
	return rc;
}

int bow_patch_writer_add(struct bow_patch_writer *w, const struct bow_patch_run *run,
			 const void *after, struct bowimg_error *err)
{
	size_t data_bytes = run->zero ? 0 : run->bytes;
	int rc = 0;

	if (w->n == BOW_PATCH_PIECE_RUNS || data_bytes > BOW_PATCH_PIECE_BYTES - w->data_bytes)
		rc = put_piece(w, err);
	if (rc)
		return rc;
	w->runs[w->n] = *run;
	w->runs[w->n++].after = bow_hash(after, run->bytes, 0);
	if (data_bytes)
		memcpy(w->data + w->data_bytes, after, data_bytes);
	w->data_bytes += data_bytes;
	w->totals.runs++;
	w->totals.run_bytes += run->bytes;
	w->totals.data_bytes += data_bytes;
	return 0;
}

int bow_patch_writer_finish(struct bow_patch_writer *w, struct bow_patch_totals *totals,
			    struct bowimg_error *err)
{
	int rc = put_piece(w, err);

	if (!rc)
		rc = put_text(w, "end.json", bow_patch_end_encode(&w->totals, w->hash), err);
	if (!rc && archive_write_close(w->a) != ARCHIVE_OK)
		rc = failed(w, err);
	if (!rc)
		*totals = w->totals;
	return rc;
}

void bow_patch_writer_free(struct bow_patch_writer *w)
{
	if (!w)
		return;
	if (w->a) {
		archive_write_fail(w->a); /* an unfinished archive is not completed */
		archive_write_free(w->a);
	}
	free(w->data);
	free(w);
}
