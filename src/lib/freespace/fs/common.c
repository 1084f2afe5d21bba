/* SPDX-License-Identifier: MIT */
/* What the kinds of file systems share. */
#include <inttypes.h>

#include "lib/base/bytes.h"
#include "lib/disk/hint.h"
#include "lib/freespace/fs/common.h"

#define CUT_OFF "the image was cut off: get a whole copy of it"

int bow_fs_read(struct bowimg_disk *vol, void *buf, size_t bytes, uint64_t off,
		struct bowimg_error *err)
{
	if (bow_range_ok(off, bytes, vol->size))
		return bow_disk_read(vol, buf, bytes, off, err);
	bow_err(err, -EUCLEAN,
		"%s: read the free map: the file system reaches beyond the end (byte %" PRIu64
		" of %" PRIu64 ")",
		vol->name, off, vol->size);
	bow_err_hint(err, CUT_OFF);
	return -EUCLEAN;
}

int bow_fs_unclean(struct bowimg_disk *vol, const char *why, const char *tool,
		   struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the free map: %s; nothing was changed", vol->name, why);
	bow_err_hint(err, "clean the file system first: %s", tool);
	return -EUCLEAN;
}

int bow_fs_cut_off(struct bowimg_disk *vol, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the free map: the file system is larger than the image",
		vol->name);
	bow_err_hint(err, CUT_OFF);
	return -EUCLEAN;
}

int bow_fs_malformed(struct bowimg_disk *vol, const char *what, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the free map: the file system is damaged: %s", vol->name,
		what);
	bow_err_hint(err, "check and repair it with its own tools first, or use " BOW_HINT_WITHOUT);
	return -EUCLEAN;
}

int bow_fs_unsupported(struct bowimg_disk *vol, const char *what, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: read the free map: %s", vol->name, what);
	bow_err_hint(err, "sources that need to know nothing of it: " BOW_HINT_WITHOUT);
	return -EOPNOTSUPP;
}

int bow_fs_not_for_helpers(struct bowimg_disk *vol, const char *what, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "%s: read the free map: %s", vol->name, what);
	bow_err_hint(err, "for a disk that you trust, let the kernel mount it, as root: "
			  "--free-from=trim; else " BOW_HINT_WITHOUT);
	return -EOPNOTSUPP;
}

int bow_fs_no_memory(struct bowimg_disk *vol, struct bowimg_error *err)
{
	return bow_err_errno(err, -ENOMEM, "%s: read the free map", vol->name);
}

int bow_fs_mark_used(struct bow_bitmap *free, uint64_t off, uint64_t start, uint64_t bytes)
{
	const uint64_t block = BOWIMG_BLOCK_SIZE, limit = bow_bitmap_bits(free);
	uint64_t first, end;

	if (!bytes || start > INT64_MAX - off || bytes > INT64_MAX - off - start)
		return bytes ? -EUCLEAN : 0;
	first = (off + start) / block;
	end = bow_min(bow_div_up(off + start + bytes, block), limit);
	return first < end ? bow_bitmap_clear(free, first, end - first) : 0;
}
