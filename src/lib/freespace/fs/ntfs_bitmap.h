/* SPDX-License-Identifier: MIT */
/* Is what the files of an NTFS have in use also in use by its bitmap? */
#ifndef BOW_FREESPACE_FS_NTFS_BITMAP_H
#define BOW_FREESPACE_FS_NTFS_BITMAP_H

#include "lib/disk/disk.h"

/* All files. -EUCLEAN; -EOPNOTSUPP: its bitmap cannot be followed by simple means. */
int bow_ntfs_check_files(struct bowimg_disk *vol, struct bowimg_error *err);

/*
 * The file system's own files, table and log and bitmap. -EUCLEAN. What cannot be followed by
 * simple means is passed over.
 */
int bow_ntfs_check_own(struct bowimg_disk *vol, struct bowimg_error *err);

#endif
