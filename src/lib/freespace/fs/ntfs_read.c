/* SPDX-License-Identifier: MIT */
/* Reading NTFS. After the documentation of the Linux-NTFS project; all numbers little-endian. */
#include "lib/freespace/fs/ntfs_read.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/freespace/fs/common.h"

#define SECTOR 512u

/* "2 to the power of minus it" where it is negative, else clusters. 0: impossible. */
static uint32_t size_of(int8_t coded, uint32_t cluster_bytes)
{
	if (coded < 0)
		return coded > -31 ? 1u << -coded : 0;
	return (uint32_t)coded * cluster_bytes;
}

bool bow_ntfs_fix_up(uint8_t *block, uint32_t bytes)
{
	const uint32_t array = bow_get16(block + 4), count = bow_get16(block + 6);

	if (count != bytes / SECTOR + 1 || array + count * 2 > bytes || array % 2)
		return false;
	for (uint32_t i = 1; i < count; i++) {
		uint8_t *end = block + (size_t)i * SECTOR - 2;

		if (memcmp(end, block + array, 2) != 0)
			return false;
		memcpy(end, block + array + (size_t)i * 2, 2);
	}
	return true;
}

static int take_record(struct bow_ntfs *fs, struct bow_ntfs_record *r, struct bowimg_error *err)
{
	if (memcmp(r->raw, "FILE", 4) != 0 || !bow_ntfs_fix_up(r->raw, fs->record_bytes))
		return bow_fs_malformed(fs->vol, "a record of the master file table is torn", err);
	r->bytes = bow_get32(r->raw + 24);
	if (!(bow_get16(r->raw + 22) & 1) || r->bytes > fs->record_bytes)
		return bow_fs_malformed(fs->vol, "a record of the master file table is not in use",
					err);
	return 0;
}

int bow_ntfs_open(struct bow_ntfs *fs, struct bowimg_disk *vol, struct bowimg_error *err)
{
	uint8_t boot[SECTOR];
	uint32_t sector, per_cluster;
	int rc = bow_fs_read(vol, boot, sizeof(boot), 0, err);

	if (rc)
		return rc;
	*fs = (struct bow_ntfs){.vol = vol};
	sector = bow_get16(boot + 11);
	per_cluster = boot[13] > 0x80 ? 1u << ((256 - boot[13]) & 31) : boot[13];
	if (memcmp(boot + 3, "NTFS    ", 8) != 0 || sector < SECTOR || sector > 4096 ||
	    sector & (sector - 1) || !per_cluster || per_cluster > 4096 ||
	    per_cluster & (per_cluster - 1))
		return bow_fs_malformed(vol, "impossible sizes in the boot sector", err);
	fs->cluster_bytes = sector * per_cluster;
	fs->record_bytes = size_of((int8_t)boot[64], fs->cluster_bytes);
	fs->clusters = bow_get64(boot + 40) / per_cluster;
	fs->table_cluster = bow_get64(boot + 48);
	if (fs->record_bytes < SECTOR * 2 || fs->record_bytes > BOW_NTFS_RECORD_MAX ||
	    fs->record_bytes % SECTOR || fs->table_cluster >= fs->clusters)
		return bow_fs_malformed(vol, "impossible sizes in the boot sector", err);
	if (fs->clusters > vol->size / fs->cluster_bytes)
		return bow_fs_cut_off(vol, err);
	rc = bow_fs_read(vol, fs->mft.raw, fs->record_bytes, fs->table_cluster * fs->cluster_bytes,
			 err);
	return rc ? rc : take_record(fs, &fs->mft, err);
}

int bow_ntfs_record(struct bow_ntfs *fs, uint64_t number, struct bow_ntfs_record *out,
		    struct bowimg_error *err)
{
	struct bow_ntfs_attr data;
	int rc;

	if (!bow_ntfs_find(&fs->mft, BOW_NTFS_DATA, &data) || !data.runs)
		return bow_fs_malformed(fs->vol, "the master file table has no data", err);
	if (number >= data.data_bytes / fs->record_bytes)
		return bow_fs_malformed(fs->vol, "a record is not in the master file table", err);
	rc = bow_ntfs_read(fs, &data, out->raw, fs->record_bytes, number * fs->record_bytes, err);
	return rc ? rc : take_record(fs, out, err);
}

static bool take_attr(const uint8_t *attr, uint32_t bytes, struct bow_ntfs_attr *out)
{
	*out = (struct bow_ntfs_attr){0};
	if (!attr[8]) {
		uint32_t at = bow_get16(attr + 20);

		out->value_bytes = bow_get32(attr + 16);
		out->value = attr + at;
		out->data_bytes = out->value_bytes;
		return at <= bytes && out->value_bytes <= bytes - at;
	}
	if (bytes < 64 || bow_get16(attr + 32) > bytes)
		return false;
	out->runs = attr + bow_get16(attr + 32);
	out->runs_bytes = bytes - bow_get16(attr + 32);
	out->data_bytes = bow_get64(attr + 48);
	return bow_get64(attr + 16) == 0; /* a continuation has no beginning */
}

bool bow_ntfs_find(const struct bow_ntfs_record *record, enum bow_ntfs_attr_type type,
		   struct bow_ntfs_attr *out)
{
	uint32_t at = bow_get16(record->raw + 20), bytes;

	for (; at + 24 <= record->bytes; at += bytes) {
		bytes = bow_get32(record->raw + at + 4);
		if (bytes < 24 || bytes > record->bytes - at)
			return false;
		if (bow_get32(record->raw + at) == (uint32_t)type)
			return take_attr(record->raw + at, bytes, out);
	}
	return false;
}

/* A number of `bytes` bytes, little-endian; the first place of a run is signed. */
static int64_t packed(const uint8_t *p, uint32_t bytes, bool is_signed)
{
	uint64_t v = is_signed && bytes && p[bytes - 1] & 0x80 ? UINT64_MAX : 0;

	for (uint32_t i = bytes; i-- > 0;)
		v = v << 8 | p[i];
	return (int64_t)v;
}

bool bow_ntfs_next_run(const struct bow_ntfs *fs, const uint8_t **at, const uint8_t *end,
		       struct bow_ntfs_run *run)
{
	const uint8_t *p = *at;

	if (p >= end || !*p)
		return false;
	uint32_t n = *p & 15, m = *p >> 4;
	run->clusters = 0;
	if (!n || n > 8 || m > 8 || n + m >= (uint64_t)(end - p))
		return true;
	uint64_t clusters = (uint64_t)packed(p + 1, n, false);
	run->place += (uint64_t)packed(p + 1 + n, m, true);
	run->stored = m != 0;
	*at = p + 1 + n + m;
	if (clusters && clusters <= fs->clusters &&
	    (!m || bow_range_ok(run->place, clusters, fs->clusters)))
		run->clusters = clusters;
	return true;
}

/*
 * The run that `cluster` of the attribute is in: where that is on the volume (UINT64_MAX: not
 * stored), and how many follow. False: there is none.
 */
static bool find_run(const struct bow_ntfs *fs, const struct bow_ntfs_attr *attr, uint64_t cluster,
		     uint64_t *place, uint64_t *count)
{
	const uint8_t *p = attr->runs, *end = attr->runs + attr->runs_bytes;
	struct bow_ntfs_run run = {0};

	for (uint64_t first = 0; bow_ntfs_next_run(fs, &p, end, &run); first += run.clusters) {
		if (!run.clusters)
			return false;
		if (cluster - first < run.clusters) {
			*place = run.stored ? run.place + (cluster - first) : UINT64_MAX;
			*count = run.clusters - (cluster - first);
			return true;
		}
	}
	return false;
}

int bow_ntfs_read(struct bow_ntfs *fs, const struct bow_ntfs_attr *attr, void *buf, uint32_t bytes,
		  uint64_t off, struct bowimg_error *err)
{
	uint8_t *p = buf;
	int rc = 0;

	while (bytes && !rc) {
		uint64_t place, count, in = off % fs->cluster_bytes, piece;

		if (!attr->runs || !find_run(fs, attr, off / fs->cluster_bytes, &place, &count)) {
			bow_err(err, -EOPNOTSUPP,
				"%s: read the free map: an NTFS file of the system cannot be "
				"followed",
				fs->vol->name);
			bow_err_hint(err, "check it with chkdsk; or use " BOW_HINT_WITHOUT);
			return -EOPNOTSUPP;
		}
		piece = bow_min(bytes, count * fs->cluster_bytes - in);
		if (place == UINT64_MAX)
			memset(p, 0, piece);
		else
			rc = bow_fs_read(fs->vol, p, piece, place * fs->cluster_bytes + in, err);
		p += piece;
		off += piece;
		bytes -= (uint32_t)piece;
	}
	return rc;
}
