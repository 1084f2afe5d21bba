/* SPDX-License-Identifier: MIT */
/*
 * Are FAT12/16/32 and exFAT clean? After Microsoft's "FAT: General Overview of On-Disk Format" 1.03
 * and "exFAT file system specification"; the flag in FAT's boot sector is the one that Windows and
 * Linux set while they have it mounted.
 */
#include <string.h>

#include "base/bytes.h"
#include "maps/fat.h"
#include "maps/fs.h"

#define SECTOR 512u
#define FAT_TOOL "fsck.vfat -a"
#define EXFAT_TOOL "fsck.exfat"

/* FAT[1]: set when all is well. FAT12 has no room for them. */
#define FAT16_CLEAN 0x8000u
#define FAT16_NO_ERROR 0x4000u
#define FAT32_CLEAN 0x08000000u
#define FAT32_NO_ERROR 0x04000000u
#define BOOT_DIRTY 1u  /* mounted, or not unmounted */
#define BOOT_ERRORS 2u /* a surface test is wanted */

static int check_entry(struct bow_dev *vol, const struct bow_fat *f, struct bowimg_error *err)
{
	bool wide = f->width == BOW_FAT32;
	uint32_t clean = wide ? FAT32_CLEAN : FAT16_CLEAN;
	uint32_t no_error = wide ? FAT32_NO_ERROR : FAT16_NO_ERROR, entry;
	uint8_t raw[8];
	int rc;

	if (f->width == BOW_FAT12)
		return 0;
	rc = bow_fs_read(vol, raw, sizeof(raw), f->table_off + f->active * f->table_bytes, err);
	if (rc)
		return rc;
	entry = wide ? bow_get32(raw + 4) : bow_get16(raw + 2);
	if (!(entry & clean))
		return bow_fs_unclean(vol, "the FAT was not cleanly unmounted", FAT_TOOL, err);
	if (!(entry & no_error))
		return bow_fs_unclean(vol, "the FAT has noted errors of its disk", FAT_TOOL, err);
	return 0;
}

int bow_clean_fat(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err)
{
	struct bow_fat f;
	int rc = bow_fat_open(vol, &f, err);

	(void)reader; /* there is no journal to replay */
	if (rc)
		return rc;
	if (f.flags & (BOOT_DIRTY | BOOT_ERRORS))
		return bow_fs_unclean(vol, "the FAT was not cleanly unmounted", FAT_TOOL, err);
	return check_entry(vol, &f, err);
}

int bow_clean_exfat(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err)
{
	uint8_t raw[SECTOR];
	uint64_t sectors;
	uint32_t flags;
	int rc = bow_fs_read(vol, raw, sizeof(raw), 0, err);

	(void)reader;
	if (rc)
		return rc;
	sectors = bow_get64(raw + 72);
	if (memcmp(raw + 3, "EXFAT   ", 8) != 0 || raw[108] < 9 || raw[108] > 12 || !sectors)
		return bow_fs_malformed(vol, "impossible sizes in the boot sector", err);
	if (sectors > vol->size >> raw[108])
		return bow_fs_malformed(vol, "it is larger than the image", err);
	if (raw[110] != 1)
		return bow_fs_unsupported(vol, "an exFAT with two allocation tables", err);
	flags = bow_get16(raw + 106);
	if (flags & 2)
		return bow_fs_unclean(vol, "the exFAT was not cleanly unmounted", EXFAT_TOOL, err);
	if (flags & 4)
		return bow_fs_unclean(vol, "the exFAT has noted errors of its disk", EXFAT_TOOL,
				      err);
	return 0;
}
