/* SPDX-License-Identifier: MIT */
/*
 * As much of NTFS as it takes to read a few of its own files: records of the master file table,
 * their attributes, and where the data of those is.
 */
#ifndef BOW_FREESPACE_FS_NTFS_READ_H
#define BOW_FREESPACE_FS_NTFS_READ_H

#include "lib/disk/disk.h"

#define BOW_NTFS_RECORD_MAX 4096u

/* Records with fixed numbers. */
enum {
	BOW_NTFS_MFT = 0,
	BOW_NTFS_LOG = 2,
	BOW_NTFS_VOLUME = 3,
	BOW_NTFS_ROOT = 5,
	BOW_NTFS_BITMAP = 6
};

enum bow_ntfs_attr_type {
	BOW_NTFS_ATTRIBUTE_LIST = 0x20,
	BOW_NTFS_VOLUME_INFORMATION = 0x70,
	BOW_NTFS_DATA = 0x80,
	BOW_NTFS_INDEX_ROOT = 0x90,
	BOW_NTFS_INDEX_ALLOCATION = 0xa0,
};

struct bow_ntfs_record {
	uint8_t raw[BOW_NTFS_RECORD_MAX];
	uint32_t bytes; /* in use */
};

struct bow_ntfs {
	struct bowimg_disk *vol;
	uint32_t cluster_bytes, record_bytes;
	uint64_t clusters, table_cluster;
	struct bow_ntfs_record mft; /* for where the other records are */
};

/* An attribute inside a record, which must outlive it. */
struct bow_ntfs_attr {
	const uint8_t *value, *runs; /* the one or the other; runs: packed */
	uint32_t value_bytes, runs_bytes;
	uint64_t data_bytes;
};

int bow_ntfs_open(struct bow_ntfs *fs, struct bowimg_disk *vol, struct bowimg_error *err);

/* -EUCLEAN: it is not in use, or damaged; -EOPNOTSUPP: it cannot be found by simple means. */
int bow_ntfs_record(struct bow_ntfs *fs, uint64_t number, struct bow_ntfs_record *out,
		    struct bowimg_error *err);

/* The first attribute of this type; false if there is none, or it is malformed. */
bool bow_ntfs_find(const struct bow_ntfs_record *record, enum bow_ntfs_attr_type type,
		   struct bow_ntfs_attr *out);

struct bow_ntfs_run {
	uint64_t place, clusters; /* clusters 0: malformed */
	bool stored;		  /* else it is a hole */
};

/* The next run of a list that is packed at *at; *run is that before it, or zeros. False: its end.
 */
bool bow_ntfs_next_run(const struct bow_ntfs *fs, const uint8_t **at, const uint8_t *end,
		       struct bow_ntfs_run *run);

/* Data of a non-resident attribute; what is not stored reads as zeros. */
int bow_ntfs_read(struct bow_ntfs *fs, const struct bow_ntfs_attr *attr, void *buf, uint32_t bytes,
		  uint64_t off, struct bowimg_error *err);

/* Put back what the last two bytes of each sector hold instead of a number; false: torn. */
bool bow_ntfs_fix_up(uint8_t *block, uint32_t bytes);

#endif
