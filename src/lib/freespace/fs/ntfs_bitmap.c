/* SPDX-License-Identifier: MIT */
/*
 * Is what the files of an NTFS have in use also in use by its bitmap? ntfsfix, the only checker of
 * NTFS outside of Windows that takes a file without a name, does not compare them.
 *
 * Every record of the master file table that is in use is looked at, those that continue another
 * one included, and every run in it must be marked; all runs together cannot be more than there is,
 * which also bounds the work. Nothing is kept in memory.
 */
#include "lib/freespace/fs/ntfs_bitmap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/ntfs_read.h"

#define OWN_RECORDS 16u	  /* the first ones are the file system's own, and in one piece */
#define PIECE_BYTES 4096u /* of the bitmap, at a time */

struct walk {
	struct bow_ntfs fs;
	struct bow_ntfs_record bitmap_record, record;
	struct bow_ntfs_attr bitmap, table;
	uint64_t number;  /* of the record */
	uint64_t claimed; /* clusters */
	uint8_t piece[PIECE_BYTES];
};

static int damaged(const struct walk *w, const char *how, struct bowimg_error *err)
{
	return bow_err(err, -EUCLEAN,
		       "%s: check the file system: record %" PRIu64 " of its table %s",
		       w->fs.vol->name, w->number, how);
}

static int is_marked(struct walk *w, uint64_t place, uint64_t clusters, struct bowimg_error *err)
{
	int rc = 0;

	for (uint64_t end = place + clusters, n; place < end && !rc; place += n) {
		const uint64_t first = place / 8, bit = place % 8;

		n = bow_min(end - place, (uint64_t)PIECE_BYTES * 8 - bit);
		rc = bow_ntfs_read(&w->fs, &w->bitmap, w->piece, (uint32_t)bow_div_up(bit + n, 8),
				   first, err);
		for (uint64_t i = bit; i < bit + n && !rc; i++)
			if (!(w->piece[i / 8] >> i % 8 & 1))
				rc = damaged(w, "uses clusters that its bitmap calls free", err);
	}
	return rc;
}

static int check_runs(struct walk *w, const uint8_t *at, const uint8_t *end,
		      struct bowimg_error *err)
{
	struct bow_ntfs_run run = {0};
	int rc = 0;

	while (!rc && bow_ntfs_next_run(&w->fs, &at, end, &run)) {
		if (!run.clusters)
			return damaged(w, "has a malformed list of clusters", err);
		if (!run.stored)
			continue;
		if (run.clusters > w->fs.clusters - w->claimed)
			return damaged(w, "and others use the same clusters", err);
		w->claimed += run.clusters;
		rc = is_marked(w, run.place, run.clusters, err);
	}
	return rc;
}

static int check_attributes(struct walk *w, struct bowimg_error *err)
{
	const uint8_t *raw = w->record.raw;
	const uint32_t used = bow_get32(raw + 24);
	uint32_t at = bow_get16(raw + 20), bytes;
	int rc = 0;

	if (used > w->fs.record_bytes)
		return damaged(w, "is malformed", err);
	for (; at + 8 <= used && bow_get32(raw + at) != UINT32_MAX && !rc; at += bytes) {
		bytes = bow_get32(raw + at + 4);
		if (bytes < 24 || bytes > used - at)
			return damaged(w, "is malformed", err);
		if (!raw[at + 8])
			continue; /* its content is in the record */
		if (bytes < 64 || bow_get16(raw + at + 32) > bytes)
			return damaged(w, "is malformed", err);
		rc = check_runs(w, raw + at + bow_get16(raw + at + 32), raw + at + bytes, err);
	}
	return rc;
}

/* A record that is not in use, or never was, may hold anything. */
static int check_record(struct walk *w, struct bowimg_error *err)
{
	uint8_t *raw = w->record.raw;
	int rc = bow_ntfs_read(&w->fs, &w->table, raw, w->fs.record_bytes,
			       w->number * w->fs.record_bytes, err);

	if (rc || memcmp(raw, "FILE", 4) != 0 || !(bow_get16(raw + 22) & 1))
		return rc;
	if (!bow_ntfs_fix_up(raw, w->fs.record_bytes))
		return damaged(w, "is torn", err);
	return check_attributes(w, err);
}

static int open_bitmap(struct walk *w, struct bowimg_error *err)
{
	int rc = bow_ntfs_record(&w->fs, BOW_NTFS_BITMAP, &w->bitmap_record, err);

	if (rc)
		return rc;
	if (bow_ntfs_find(&w->bitmap_record, BOW_NTFS_ATTRIBUTE_LIST, &w->bitmap))
		return bow_fs_unsupported(w->fs.vol, "an NTFS with a scattered bitmap", err);
	if (!bow_ntfs_find(&w->bitmap_record, BOW_NTFS_DATA, &w->bitmap) || !w->bitmap.runs ||
	    w->bitmap.data_bytes < bow_div_up(w->fs.clusters, 8))
		return bow_fs_malformed(w->fs.vol, "no bitmap", err);
	if (!bow_ntfs_find(&w->fs.mft, BOW_NTFS_DATA, &w->table) || !w->table.runs)
		return bow_fs_malformed(w->fs.vol, "the master file table has no data", err);
	return 0;
}

static int check(struct bowimg_disk *vol, uint64_t most_records, struct bowimg_error *err)
{
	CLEANUP_FREE struct walk *w = calloc(1, sizeof(*w));
	int rc = w ? bow_ntfs_open(&w->fs, vol, err) : -ENOMEM;

	if (!w)
		return bow_err_errno(err, rc, "%s: check the file system", vol->name);
	if (!rc)
		rc = open_bitmap(w, err);
	if (rc)
		return rc;
	most_records = bow_min(most_records, w->table.data_bytes / w->fs.record_bytes);
	for (; !rc && w->number < most_records; w->number++)
		rc = check_record(w, err);
	return rc;
}

int bow_ntfs_check_files(struct bowimg_disk *vol, struct bowimg_error *err)
{
	return check(vol, UINT64_MAX, err);
}

int bow_ntfs_check_own(struct bowimg_disk *vol, struct bowimg_error *err)
{
	int rc = check(vol, OWN_RECORDS, err);

	if (rc != -EOPNOTSUPP)
		return rc;
	bow_err_clear(err);
	return 0;
}
