/* SPDX-License-Identifier: MIT */
/*
 * Partition tables: GPT and MBR, logical partitions included. A table that is misread calls blocks
 * free that are not: what is damaged, contradicts itself or could be read in two ways is refused.
 */
#ifndef BOW_PARTITIONS_TABLE_H
#define BOW_PARTITIONS_TABLE_H

#include "lib/disk/disk.h"
#include "lib/probe/probe.h"
#include "lib/probe/sector.h"

#define BOW_PART_NAME_BYTES 112u

struct bow_part {
	uint32_t number; /* as the kernel counts: logical ones from 5 on */
	uint64_t off, bytes;
	char type[40]; /* GPT: the type's UUID; MBR: "0x83" */
	char name[BOW_PART_NAME_BYTES];
};

struct bow_table {
	char kind[8]; /* "gpt", "dos"; "" if there is no table */
	uint32_t count;
	struct bow_part parts[BOWIMG_PARTITIONS_MAX]; /* in the order of the disk */
};

/*
 * The table of a whole disk, on which libblkid found *found; kind is "" and count 0 where there is
 * none. Extended partitions are left out: only what is in them counts. -EUCLEAN: damaged (a copy of
 * a GPT, a chain of logical partitions) or impossible (overlapping, beyond the end). -EOPNOTSUPP:
 * two tables claim the disk, another kind of table, too many partitions.
 */
int bow_table_read(struct bowimg_disk *dev, const struct bow_probe *found, struct bow_table *out,
		   struct bowimg_error *err);

/* ---- what the parts share -------------------------------------------------------- */

/* Ranges of the disk that must not overlap; what they are is for messages. */
struct bow_table_range {
	uint64_t off, bytes;
	char what[40]; /* "partition 2", "the partition table" */
};

/* Room for all partitions, the links of their chain, the copies of the table. */
#define BOW_TABLE_RANGES_MAX (2 * BOWIMG_PARTITIONS_MAX + 8)

struct bow_table_ranges {
	uint32_t count;
	struct bow_table_range list[BOW_TABLE_RANGES_MAX];
};

/* overlaps.c */
int bow_table_add_range(struct bowimg_disk *dev, struct bow_table_ranges *c, uint64_t off,
			uint64_t bytes, const char *what, struct bowimg_error *err);
int bow_table_add_part(struct bowimg_disk *dev, struct bow_table_ranges *c,
		       const struct bow_part *part, struct bowimg_error *err);
/* All inside [off, off + bytes), which is what `where` says, and apart? Sorts them. -EUCLEAN. */
int bow_table_check_ranges(struct bowimg_disk *dev, struct bow_table_ranges *c, uint64_t off,
			   uint64_t bytes, const char *where, struct bowimg_error *err);

/* gpt.c, mbr.c: they fill in *out, which was zeroed, in any order. `sector` is the disk's first. */
int bow_table_read_gpt(struct bowimg_disk *dev, struct bow_table *out, struct bowimg_error *err);
int bow_table_read_mbr(struct bowimg_disk *dev, const uint8_t sector[512], struct bow_table *out,
		       struct bowimg_error *err);

/* name.c: the name in a GPT's entry as UTF-8, without white space at its end. */
void bow_table_name(const uint8_t utf16[72], char out[BOW_PART_NAME_BYTES]);

/* common.c: room for one more partition, zeroed. NULL: there are too many; that is -EOPNOTSUPP. */
struct bow_part *bow_table_add(struct bowimg_disk *dev, struct bow_table *out,
			       struct bowimg_error *err);

/* -EUCLEAN or -EOPNOTSUPP, with what to do about it. */
int bow_table_refuse(struct bowimg_disk *dev, int code, const char *why, struct bowimg_error *err);

/* -EUCLEAN: something is where the disk is not, or no more. */
int bow_table_cut_off(struct bowimg_disk *dev, const char *why, struct bowimg_error *err);

#endif
