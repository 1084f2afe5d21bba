/* SPDX-License-Identifier: MIT */
/* What the kinds of file systems share: reading inside the volume, and their refusals. */
#ifndef BOW_FREESPACE_FS_COMMON_H
#define BOW_FREESPACE_FS_COMMON_H

#include "lib/blocks/freemap.h"
#include "lib/disk/disk.h"
#include "lib/disk/hint.h"

/* Read inside the volume; a range beyond its end is -EUCLEAN, since the volume itself named it. */
int bow_fs_read(struct bowimg_disk *vol, void *buf, size_t bytes, uint64_t off,
		struct bowimg_error *err);

/* -EUCLEAN: `why` it cannot be believed, and the tool that cleans it, a command if it can be. */
int bow_fs_unclean(struct bowimg_disk *vol, const char *why, const char *tool,
		   struct bowimg_error *err);

/* -EUCLEAN: it says that it is larger than its place. */
int bow_fs_cut_off(struct bowimg_disk *vol, struct bowimg_error *err);

/* -EUCLEAN: it is not what it says it is. */
int bow_fs_malformed(struct bowimg_disk *vol, const char *what, struct bowimg_error *err);

/* -EOPNOTSUPP: sound, but nothing that we could vouch for. */
int bow_fs_unsupported(struct bowimg_disk *vol, const char *what, struct bowimg_error *err);

/* The same of what the kernel could read: it has to be asked for by name. */
int bow_fs_not_for_helpers(struct bowimg_disk *vol, const char *what, struct bowimg_error *err);

/* -ENOMEM. */
int bow_fs_no_memory(struct bowimg_disk *vol, struct bowimg_error *err);

/* Used: every block of the image that bytes [start, start + bytes) of the volume touch. */
int bow_fs_mark_used(struct bow_bitmap *free, uint64_t off, uint64_t start, uint64_t bytes);

#endif
