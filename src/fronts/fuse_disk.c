/* SPDX-License-Identifier: MIT */
/* Requests go to the one of the library's two kinds of handles that is there. */
#include "fronts/fuse_disk.h"

uint64_t bow_fuse_disk_size(const struct bow_fuse_disk *disk)
{
	return disk->volume ? bowimg_volume_size(disk->volume) : bowimg_size(disk->img);
}

int bow_fuse_disk_read(struct bow_fuse_disk *disk, void *buf, size_t bytes, uint64_t off,
		       struct bowimg_error *err)
{
	return disk->volume ? bowimg_volume_read(disk->volume, buf, bytes, off, err)
			    : bowimg_read(disk->img, buf, bytes, off, err);
}

int bow_fuse_disk_write(struct bow_fuse_disk *disk, const void *buf, size_t bytes, uint64_t off,
			unsigned flags, struct bowimg_error *err)
{
	return disk->volume ? bowimg_volume_write(disk->volume, buf, bytes, off, flags, err)
			    : bowimg_write(disk->img, buf, bytes, off, flags, err);
}

int bow_fuse_disk_zero(struct bow_fuse_disk *disk, uint64_t off, uint64_t bytes, bool punch,
		       struct bowimg_error *err)
{
	if (!disk->volume)
		return bowimg_zero(disk->img, off, bytes, 0, err);
	if (punch && atomic_load(&disk->punched_is_free))
		return bowimg_volume_discard(disk->volume, off, bytes, err);
	return bowimg_volume_zero(disk->volume, off, bytes, 0, err);
}

int bow_fuse_disk_flush(struct bow_fuse_disk *disk, struct bowimg_error *err)
{
	return disk->volume ? bowimg_volume_flush(disk->volume, err) : bowimg_flush(disk->img, err);
}
