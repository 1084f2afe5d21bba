/* SPDX-License-Identifier: MIT */
/*
 * File systems whose free space others read for us, a helper program or the kernel. Here is what
 * we want to know ourselves before we believe them: is it clean, is all of it here, and which
 * places are in use whatever anybody says.
 */
#ifndef BOW_MAPS_FS_H
#define BOW_MAPS_FS_H

#include "device/device.h"
#include "maps/freemap.h"

/* Who will read it. The kernel replays a journal when it mounts; a helper program cannot. */
enum bow_fs_reader { BOW_FS_HELPER, BOW_FS_KERNEL };

/*
 * One kind of file system. `vol` is the volume as a device of its own (a whole image or a slice).
 * Everything on it may be hostile; nothing is believed before its bounds are checked.
 */
struct bow_fs_kind {
	const char *type;    /* as libblkid calls it; for the most part the kernel too */
	const char *name;    /* for people */
	const char *program; /* of partclone; NULL: it is not asked */
	/* Our own reader, which comes first; NULL: there is none. */
	int (*read)(struct bow_dev *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		    struct bow_freemap_info *info, struct bowimg_error *err);
	bool forced;	  /* that program refuses small ones unless told -F */
	bool wants_write; /* it opens the volume for writing, though it does not write */

	/* -EUCLEAN: not clean; -EOPNOTSUPP: a part of it is elsewhere, or a feature is not known.
	 */
	int (*check)(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err);

	/* Take away from *free (blocks of the image, in which the volume begins at byte `off`)
	 * what the helper program is known to forget. NULL: nothing. -EUCLEAN, -ENOMEM. */
	int (*claim)(struct bow_dev *vol, uint64_t off, struct bow_bitmap *free,
		     struct bowimg_error *err);
};

/* The kind that libblkid calls `type`, or NULL. */
const struct bow_fs_kind *bow_fs_find(const char *type);

/* ---- for the kinds ----------------------------------------------------------------------------
 */

/* Read inside the volume; a range beyond its end is -EUCLEAN, since the volume itself named it. */
int bow_fs_read(struct bow_dev *vol, void *buf, size_t bytes, uint64_t off,
		struct bowimg_error *err);

/* -EUCLEAN: `why` it cannot be believed, and the tool that cleans it. */
int bow_fs_unclean(struct bow_dev *vol, const char *why, const char *tool,
		   struct bowimg_error *err);

/* -EUCLEAN: it is not what it says it is. */
int bow_fs_malformed(struct bow_dev *vol, const char *what, struct bowimg_error *err);

/* -EOPNOTSUPP: sound, but nothing that we could vouch for. */
int bow_fs_unsupported(struct bow_dev *vol, const char *what, struct bowimg_error *err);

/* Used: every block of the image that bytes [start, start + bytes) of the volume touch. */
int bow_fs_claim(struct bow_bitmap *free, uint64_t off, uint64_t start, uint64_t bytes);

int bow_clean_ext(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err);
int bow_clean_xfs(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err);
int bow_clean_btrfs(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err);
int bow_clean_fat(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err);
int bow_clean_exfat(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err);
int bow_clean_ntfs(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err);
int bow_clean_f2fs(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err);
int bow_clean_hfsplus(struct bow_dev *vol, enum bow_fs_reader reader, struct bowimg_error *err);

int bow_claim_fat(struct bow_dev *vol, uint64_t off, struct bow_bitmap *free,
		  struct bowimg_error *err);
int bow_claim_xfs(struct bow_dev *vol, uint64_t off, struct bow_bitmap *free,
		  struct bowimg_error *err);
int bow_claim_btrfs(struct bow_dev *vol, uint64_t off, struct bow_bitmap *free,
		    struct bowimg_error *err);

#endif
