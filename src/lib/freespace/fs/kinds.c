/* SPDX-License-Identifier: MIT */
#include "lib/freespace/fs/kinds.h"

#include <string.h>

static const struct bow_fs_kind *const kinds[] = {
	&bow_fs_ext2,  &bow_fs_ext3, &bow_fs_ext4, &bow_fs_fat,	    &bow_fs_xfs,  &bow_fs_btrfs,
	&bow_fs_exfat, &bow_fs_ntfs, &bow_fs_f2fs, &bow_fs_hfsplus, &bow_fs_swap,
};

const struct bow_fs_kind *bow_fs_find(const char *type)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i]->type, type))
			return kinds[i];
	return NULL;
}
