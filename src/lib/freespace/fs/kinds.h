/* SPDX-License-Identifier: MIT */
/*
 * The kinds of file systems, one file for each. Some of them bowimg reads itself. The free space of
 * the others is read by a helper program or the kernel; a kind then says what must be known before
 * they are believed: is it clean, is all of it here, and which places are in use whatever they say.
 */
#ifndef BOW_FREESPACE_FS_KINDS_H
#define BOW_FREESPACE_FS_KINDS_H

#include "lib/disk/disk.h"
#include "lib/blocks/freemap.h"

/* Who will read it. The kernel replays a journal when it mounts; a helper program cannot. */
enum bow_fs_reader { BOW_FS_HELPER, BOW_FS_KERNEL };

/* How far the word of a file system about its free blocks goes. */
struct bow_fs_limits {
	/* How many bytes of the volume are its own, from the start: what lies behind is in use. */
	uint64_t extent;
	/* Why some of what it calls free is in use, one clause: then only zeros are free. */
	const char *only_exact;
};

/*
 * One kind of file system, or swap space. `vol` is the volume as a disk of its own (a whole image
 * or a part). Everything on it may be hostile; nothing is believed before its bounds are checked.
 */
struct bow_fs_kind {
	const char *type; /* as libblkid calls it; for the most part the kernel too */
	const char *name; /* for people */

	/*
	 * Our own reader of what lies at [off, off + bytes) of dev, which comes before any other;
	 * NULL: there is none. -EUCLEAN: not clean, or damaged; -EOPNOTSUPP: it is another kind, or
	 * uses a feature that is not known.
	 */
	int (*read)(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		    struct bow_freemap_info *info, struct bowimg_error *err);

	const char *program; /* of partclone; NULL: it is not asked */
	bool forced;	     /* that program refuses small ones unless told -F */
	bool wants_write;    /* it opens the volume for writing, though it does not write */

	/*
	 * -EUCLEAN: not clean; -EOPNOTSUPP: a part of it is elsewhere, or a feature is not known.
	 * 0: *limits, which was zeroed, is filled in. NULL: nobody else reads this kind.
	 */
	int (*check)(struct bowimg_disk *vol, enum bow_fs_reader reader,
		     struct bow_fs_limits *limits, struct bowimg_error *err);

	/* Take away from *free (blocks of the image, in which the volume begins at byte `off`)
	 * what the helper program is known to forget. NULL: nothing. -EUCLEAN, -ENOMEM. */
	int (*mark_used)(struct bowimg_disk *vol, uint64_t off, struct bow_bitmap *free,
			 struct bowimg_error *err);
};

/* The kind that libblkid calls `type`, or NULL. */
const struct bow_fs_kind *bow_fs_find(const char *type);

/* Each is in the file of its name; ext.c has three. */
extern const struct bow_fs_kind bow_fs_btrfs;
extern const struct bow_fs_kind bow_fs_exfat;
extern const struct bow_fs_kind bow_fs_ext2;
extern const struct bow_fs_kind bow_fs_ext3;
extern const struct bow_fs_kind bow_fs_ext4;
extern const struct bow_fs_kind bow_fs_f2fs;
extern const struct bow_fs_kind bow_fs_fat;
extern const struct bow_fs_kind bow_fs_hfsplus;
extern const struct bow_fs_kind bow_fs_ntfs;
extern const struct bow_fs_kind bow_fs_swap;
extern const struct bow_fs_kind bow_fs_xfs;

#endif
