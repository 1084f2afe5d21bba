/* SPDX-License-Identifier: MIT */
/* The geometry of a FAT12, FAT16 or FAT32. */
#ifndef BOW_MAPS_FAT_H
#define BOW_MAPS_FAT_H

#include "device/device.h"

enum bow_fat_width { BOW_FAT12 = 12, BOW_FAT16 = 16, BOW_FAT32 = 32 };

struct bow_fat {
	enum bow_fat_width width;
	uint32_t sector_bytes, cluster_bytes, clusters; /* clusters are numbered from 2 */
	uint32_t copies, active; /* of the table; `active`: the one that counts, if not all do */
	bool mirrored;
	uint64_t table_off, table_bytes, data_off; /* bytes in the volume */
	uint8_t flags;				   /* the boot sector's, of the last mount */
};

/* -EUCLEAN: no such file system, or one that does not fit the volume. */
int bow_fat_open(struct bow_dev *vol, struct bow_fat *fat, struct bowimg_error *err);

#endif
