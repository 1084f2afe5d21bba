/* SPDX-License-Identifier: MIT */
/*
 * Reading a patch, which may be hostile. The members have a fixed order and fixed names, so each
 * one is either the next or refused. Runs ascend and lie in the image, so that the size in the
 * first member bounds the work; the caller refuses a wrong size before it reads a run. Memory: one
 * member of JSON and one run.
 */
#include "bowimg/patch/patch.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"

/* Of a member of JSON. A run takes at most 130 bytes of it. */
#define TEXT_MAX (512u << 10)

/* What is unpacked before the size of the image is known. */
#define HEAD_ROOM (1u << 20)

struct bow_patch_reader {
	struct bow_patch_unpack *in;
	struct archive *a;
	struct bowimg_error in_err; /* why `in` ended, if its code is set */
	struct bow_patch_head head;
	uint64_t hash;	 /* of the JSON members so far */
	uint64_t pieces; /* begun */
	uint64_t end;	 /* of the last run, in the image */
	struct bow_patch_totals totals;
	struct bow_patch_run runs[BOW_PATCH_PIECE_RUNS];
	unsigned n, next;
	bool ended;
	char *text;
	uint8_t *after; /* of one run */
};

static la_ssize_t from_unpack(struct archive *a, void *ctx, const void **block)
{
	struct bow_patch_reader *r = ctx;
	int64_t n = bow_patch_unpack_next(r->in, block, &r->in_err);

	if (n < 0)
		archive_set_error(a, EIO, "%s", r->in_err.message);
	return n < 0 ? -1 : (la_ssize_t)n;
}

static int bad_archive(struct bow_patch_reader *r, struct bowimg_error *err)
{
	const char *text = archive_error_string(r->a);

	if (r->in_err.code) {
		if (err)
			*err = r->in_err;
		return r->in_err.code;
	}
	return bow_err(err, -EUCLEAN, "the archive is damaged: %s", text ? text : "?");
}

/* ---- members --------------------------------------------------------------------- */

static int next_member(struct bow_patch_reader *r, struct archive_entry **entry,
		       struct bowimg_error *err)
{
	int rc = archive_read_next_header(r->a, entry);

	if (rc == ARCHIVE_OK)
		return 0;
	if (rc == ARCHIVE_EOF && !r->in_err.code)
		return bow_err(err, -EUCLEAN, "it is cut off: a member is missing");
	return bad_archive(r, err);
}

static bool has_name(struct archive_entry *entry, const char *name)
{
	const char *found = archive_entry_pathname(entry);

	return found && strcmp(found, name) == 0;
}

static int check_member(struct archive_entry *entry, const char *name, uint64_t max,
			struct bowimg_error *err)
{
	const char *found = archive_entry_pathname(entry);

	if (!has_name(entry, name))
		return bow_err(err, -EUCLEAN, "there is a member '%.80s' in place of '%s'",
			       found ? found : "?", name);
	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) ||
	    archive_entry_sparse_count(entry) > 0)
		return bow_err(err, -EUCLEAN, "member '%s' is no plain file", name);
	if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 1 ||
	    (uint64_t)archive_entry_size(entry) > max)
		return bow_err(err, -EUCLEAN, "member '%s' has an impossible size", name);
	return 0;
}

static int read_exactly(struct bow_patch_reader *r, void *buf, size_t bytes,
			struct bowimg_error *err)
{
	la_ssize_t n = archive_read_data(r->a, buf, bytes);

	if (n < 0)
		return bad_archive(r, err);
	return (size_t)n == bytes ? 0 : bow_err(err, -EUCLEAN, "it is cut off within a member");
}

static int read_text(struct bow_patch_reader *r, struct archive_entry *entry, const char *name,
		     size_t *bytes, struct bowimg_error *err)
{
	int rc = check_member(entry, name, TEXT_MAX, err);

	if (rc)
		return rc;
	*bytes = (size_t)archive_entry_size(entry);
	return read_exactly(r, r->text, *bytes, err);
}

/* ---- the head -------------------------------------------------------------------- */

/* A full piece covers 7 MiB of the image at least; its JSON and heads take less than an eighth. */
static uint64_t unpacked_max(uint64_t image_size)
{
	return image_size + image_size / 8 + HEAD_ROOM;
}

static int read_head(struct bow_patch_reader *r, struct bowimg_error *err)
{
	struct archive_entry *entry;
	size_t bytes;
	int rc = archive_read_next_header(r->a, &entry);

	if (r->in_err.code)
		return bad_archive(r, err);
	if (rc != ARCHIVE_OK || !has_name(entry, "manifest.json"))
		return bow_err(err, -EOPNOTSUPP, "this is no patch of bowimg");
	rc = read_text(r, entry, "manifest.json", &bytes, err);
	if (!rc && (rc = bow_patch_head_decode(r->text, bytes, &r->head, err)))
		bow_err_wrap(err, rc, "manifest.json");
	if (rc)
		return rc;
	r->hash = bow_hash(r->text, bytes, 0);
	bow_patch_unpack_limit(r->in, unpacked_max(r->head.image_size));
	return 0;
}

static int open_archive(struct bow_patch_reader *r, int fd, struct bowimg_error *err)
{
	int rc = bow_patch_unpack_open(fd, &r->in, err);

	if (rc)
		return rc;
	bow_patch_unpack_limit(r->in, HEAD_ROOM);
	r->a = archive_read_new();
	r->text = malloc(TEXT_MAX);
	r->after = malloc(BOW_PATCH_RUN_MAX);
	if (!r->a || !r->text || !r->after)
		return bow_err_errno(err, -ENOMEM, "reading the patch");
	if (archive_read_support_format_tar(r->a) != ARCHIVE_OK ||
	    archive_read_append_filter(r->a, ARCHIVE_FILTER_NONE) != ARCHIVE_OK)
		return bad_archive(r, err);
	if (archive_read_open(r->a, r, NULL, from_unpack, NULL) == ARCHIVE_OK || r->in_err.code)
		return r->in_err.code ? bad_archive(r, err) : 0;
	return bow_err(err, -EOPNOTSUPP, "this is no patch of bowimg");
}

int bow_patch_reader_open(int fd, struct bow_patch_reader **out, struct bowimg_error *err)
{
	struct bow_patch_reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return bow_err_errno(err, -ENOMEM, "reading the patch");
	rc = open_archive(r, fd, err);
	if (!rc)
		rc = read_head(r, err);
	if (rc)
		bow_patch_reader_close(r);
	else
		*out = r;
	return rc;
}

const struct bow_patch_head *bow_patch_reader_head(const struct bow_patch_reader *r)
{
	return &r->head;
}

/* ---- runs ------------------------------------------------------------------------ */

/* A run has whole blocks or ends with the image. It lies in the image, behind the run before. */
static int check_run(struct bow_patch_reader *r, const struct bow_patch_run *run,
		     struct bowimg_error *err)
{
	uint64_t size = r->head.image_size;

	if (!bow_range_ok(run->off, run->bytes, size))
		return bow_err(err, -EUCLEAN, "the run at byte %" PRIu64 " lies beyond the image",
			       run->off);
	if (run->off < r->end)
		return bow_err(err, -EUCLEAN,
			       "the run at byte %" PRIu64 " begins before the end of another",
			       run->off);
	if (run->off % BOWIMG_BLOCK_SIZE ||
	    (run->bytes % BOWIMG_BLOCK_SIZE && run->off + run->bytes != size))
		return bow_err(err, -EUCLEAN,
			       "the run at byte %" PRIu64 " does not have whole blocks", run->off);
	r->end = run->off + run->bytes;
	return 0;
}

static int check_piece(struct bow_patch_reader *r, uint64_t *data_bytes, struct bowimg_error *err)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < r->n; i++) {
		rc = check_run(r, &r->runs[i], err);
		if (!r->runs[i].zero)
			*data_bytes += r->runs[i].bytes;
	}
	if (!rc && *data_bytes > BOW_PATCH_PIECE_BYTES)
		rc = bow_err(err, -EUCLEAN, "it has more data than a piece can have");
	return rc;
}

static int read_piece(struct bow_patch_reader *r, struct archive_entry *entry, const char *name,
		      uint64_t *data_bytes, struct bowimg_error *err)
{
	size_t bytes;
	int rc = read_text(r, entry, name, &bytes, err);

	if (rc)
		return rc;
	r->hash = bow_hash(r->text, bytes, r->hash);
	r->next = 0;
	rc = bow_patch_piece_decode(r->text, bytes, r->runs, &r->n, err);
	if (!rc)
		rc = check_piece(r, data_bytes, err);
	return rc ? bow_err_wrap(err, rc, "%s", name) : 0;
}

/* Enter the member with the data of this piece, which is read run by run. */
static int enter_data(struct bow_patch_reader *r, uint64_t data_bytes, struct bowimg_error *err)
{
	struct archive_entry *entry;
	char name[32];
	int rc = next_member(r, &entry, err);

	if (rc)
		return rc;
	snprintf(name, sizeof(name), "%08" PRIu64 ".data", r->pieces);
	rc = check_member(entry, name, data_bytes, err);
	if (!rc && (uint64_t)archive_entry_size(entry) != data_bytes)
		rc = bow_err(err, -EUCLEAN, "member '%s' has an impossible size", name);
	return rc;
}

static int check_end(struct bow_patch_reader *r, size_t bytes, struct bowimg_error *err)
{
	struct bow_patch_totals totals;
	uint64_t hash;
	int rc = bow_patch_end_decode(r->text, bytes, &totals, &hash, err);

	if (rc)
		return bow_err_wrap(err, rc, "end.json");
	if (hash != r->hash || totals.runs != r->totals.runs ||
	    totals.run_bytes != r->totals.run_bytes || totals.data_bytes != r->totals.data_bytes)
		return bow_err(err, -EBADMSG, "the checksum of the whole does not match");
	return 0;
}

/* Only zeros may follow the last member, as tar pads with them. */
static int check_behind(struct bow_patch_reader *r, struct bowimg_error *err)
{
	struct archive_entry *entry;
	const void *block;
	int64_t n = 1;
	int rc = archive_read_next_header(r->a, &entry);

	if (rc == ARCHIVE_OK)
		return bow_err(err, -EUCLEAN, "there is a member behind end.json");
	if (rc != ARCHIVE_EOF || r->in_err.code)
		return bad_archive(r, err);
	uint64_t end = (uint64_t)archive_filter_bytes(r->a, -1);
	while (n > 0)
		n = bow_patch_unpack_next(r->in, &block, err);
	if (n < 0)
		return (int)n;
	if (!bow_patch_unpack_zero_from(r->in, end))
		return bow_err(err, -EUCLEAN, "there is something behind its end");
	return 0;
}

static int finish(struct bow_patch_reader *r, struct archive_entry *entry, struct bowimg_error *err)
{
	size_t bytes;
	int rc = read_text(r, entry, "end.json", &bytes, err);

	if (!rc)
		rc = check_end(r, bytes, err);
	if (!rc)
		rc = check_behind(r, err);
	r->ended = true;
	return rc;
}

/* Returns 1 with the next piece, 0 at the end. */
static int turn(struct bow_patch_reader *r, struct bowimg_error *err)
{
	struct archive_entry *entry;
	uint64_t data_bytes = 0;
	char name[32];
	int rc = next_member(r, &entry, err);

	if (rc)
		return rc;
	if (has_name(entry, "end.json"))
		return finish(r, entry, err);
	snprintf(name, sizeof(name), "%08" PRIu64 ".json", r->pieces);
	rc = read_piece(r, entry, name, &data_bytes, err);
	if (!rc && data_bytes)
		rc = enter_data(r, data_bytes, err);
	r->pieces++;
	return rc ? rc : 1;
}

static int read_run(struct bow_patch_reader *r, const struct bow_patch_run *run,
		    struct bowimg_error *err)
{
	int rc = 0;

	if (run->zero)
		memset(r->after, 0, run->bytes);
	else
		rc = read_exactly(r, r->after, run->bytes, err);
	if (!rc && bow_hash(r->after, run->bytes, 0) != run->after)
		rc = bow_err(err, -EBADMSG,
			     "the data for byte %" PRIu64
			     " of the image does not match its checksum",
			     run->off);
	return rc;
}

int bow_patch_reader_next(struct bow_patch_reader *r, struct bow_patch_run *run, const void **after,
			  struct bowimg_error *err)
{
	int rc;

	if (r->ended)
		return 0;
	if (r->next == r->n && (rc = turn(r, err)) != 1)
		return rc;
	*run = r->runs[r->next++];
	rc = read_run(r, run, err);
	if (rc)
		return rc;
	r->totals.runs++;
	r->totals.run_bytes += run->bytes;
	r->totals.data_bytes += run->zero ? 0 : run->bytes;
	*after = r->after;
	return 1;
}

void bow_patch_reader_totals(const struct bow_patch_reader *r, struct bow_patch_totals *out)
{
	*out = r->totals;
}

void bow_patch_reader_close(struct bow_patch_reader *r)
{
	if (!r)
		return;
	if (r->a)
		archive_read_free(r->a);
	bow_patch_unpack_close(r->in);
	free(r->text);
	free(r->after);
	free(r);
}
