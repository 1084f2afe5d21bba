/* SPDX-License-Identifier: MIT */
/*
 * Partition tables: GPT and MBR, logical partitions included. libblkid reads them; what it would
 * overlook is refused here, since a table that is misread calls blocks free that are not.
 */
#ifndef BOW_MAPS_TABLE_H
#define BOW_MAPS_TABLE_H

#include "device/device.h"

struct bow_part {
	uint32_t number; /* as the kernel counts: logical ones from 5 on */
	uint64_t off, bytes;
	char type[40]; /* GPT: the type's UUID; MBR: "0x83" */
	char name[112];
	char uuid[40];
	uint64_t flags;
};

struct bow_table {
	char kind[8]; /* "gpt", "dos"; "" if there is no table */
	uint32_t count;
	struct bow_part parts[BOWIMG_PARTITIONS_MAX]; /* in the order of the disk */
};

/*
 * The table of a whole disk; kind is "" and count 0 where there is none. Extended partitions are
 * left out: only what is in them counts. -EUCLEAN: damaged (a copy of a GPT, a chain of logical
 * partitions) or impossible (overlapping, beyond the end). -EOPNOTSUPP: two tables claim the disk,
 * another kind of table, too many partitions.
 */
int bow_table_read(struct bow_dev *dev, struct bow_table *out, struct bowimg_error *err);

/* ---- what the parts share -------------------------------------------------------------------- */

/* Ranges of the disk that must not overlap; what they are is for messages. */
struct bow_claim {
	uint64_t off, bytes;
	char what[40]; /* "partition 2", "the partition table" */
};

/* Room for all partitions, the links of their chain, the copies of the table. */
#define BOW_CLAIMS_MAX (2 * BOWIMG_PARTITIONS_MAX + 8)

struct bow_claims {
	uint32_t count;
	struct bow_claim list[BOW_CLAIMS_MAX];
};

/* table_claims.c */
int bow_claim(struct bow_dev *dev, struct bow_claims *c, uint64_t off, uint64_t bytes,
	      const char *what, struct bowimg_error *err);
/* All inside [off, off + bytes), which is what `where` says, and apart? Sorts them. -EUCLEAN. */
int bow_claims_check(struct bow_dev *dev, struct bow_claims *c, uint64_t off, uint64_t bytes,
		     const char *where, struct bowimg_error *err);

/*
 * table_blkid.c: what libblkid makes of the copy in fd; kind "" if it sees no table there. The
 * extended partition's range, if any, goes to *extended (may be NULL), else its bytes are 0.
 */
int bow_table_list(struct bow_dev *dev, int fd, struct bow_table *out, struct bow_claim *extended,
		   struct bowimg_error *err);

/* table_gpt.c, table_mbr.c */
int bow_table_read_gpt(struct bow_dev *dev, struct bow_table *out, struct bowimg_error *err);
int bow_table_read_mbr(struct bow_dev *dev, struct bow_table *out, struct bowimg_error *err);

/* An MBR's four entries: its type (0: unused), and where it begins and how long it is, in sectors.
 */
#define BOW_MBR_GPT 0xee
struct bow_mbr_entry {
	uint8_t type;
	uint32_t start, count;
};
struct bow_mbr_entry bow_mbr_entry(const uint8_t sector[512], int i);
bool bow_mbr_signed(const uint8_t sector[512]);
bool bow_gpt_signed(const uint8_t header[512]);

/* -EUCLEAN or -EOPNOTSUPP, with what to do about it. */
int bow_table_refuse(struct bow_dev *dev, int code, const char *why, struct bowimg_error *err);

#endif
