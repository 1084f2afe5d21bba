/* SPDX-License-Identifier: MIT */
#include "bowimg/fuse/disk.h"

uint64_t bow_fuse_disk_size(const struct bow_fuse_disk *disk)
{
	const struct bow_fuse_source *s = &disk->source;

	return bowimg_disk_size(s->disk ? s->disk : s->before);
}

int bow_fuse_disk_zero(struct bow_fuse_disk *disk, uint64_t off, uint64_t bytes, bool punch,
		       struct bowimg_error *err)
{
	if (punch && atomic_load(&disk->punched_is_free))
		return bowimg_disk_discard(disk->source.disk, off, bytes, err);
	return bowimg_disk_zero(disk->source.disk, off, bytes, 0, err);
}
