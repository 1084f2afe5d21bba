/* SPDX-License-Identifier: MIT */
/* Requests go to the one of the library's kinds of handles that is there. */
#include "fronts/fuse_disk.h"

uint64_t bow_fuse_disk_size(const struct bow_fuse_disk *disk)
{
	const struct bow_fuse_source *s = &disk->source;

	if (s->volume)
		return bowimg_volume_size(s->volume);
	return s->look ? bowimg_look_size(s->look) : bowimg_size(s->img);
}

int bow_fuse_disk_read(struct bow_fuse_disk *disk, enum bowimg_side side, void *buf, size_t bytes,
		       uint64_t off, struct bowimg_error *err)
{
	const struct bow_fuse_source *s = &disk->source;

	if (s->volume)
		return bowimg_volume_read(s->volume, buf, bytes, off, err);
	if (s->look)
		return bowimg_look_read(s->look, side, buf, bytes, off, err);
	if (side == BOWIMG_BEFORE)
		return bowimg_read_before(s->img, buf, bytes, off, err);
	return bowimg_read(s->img, buf, bytes, off, err);
}

int bow_fuse_disk_write(struct bow_fuse_disk *disk, const void *buf, size_t bytes, uint64_t off,
			unsigned flags, struct bowimg_error *err)
{
	return disk->source.volume
		       ? bowimg_volume_write(disk->source.volume, buf, bytes, off, flags, err)
		       : bowimg_write(disk->source.img, buf, bytes, off, flags, err);
}

int bow_fuse_disk_zero(struct bow_fuse_disk *disk, uint64_t off, uint64_t bytes, bool punch,
		       struct bowimg_error *err)
{
	if (!disk->source.volume)
		return bowimg_zero(disk->source.img, off, bytes, 0, err);
	if (punch && atomic_load(&disk->punched_is_free))
		return bowimg_volume_discard(disk->source.volume, off, bytes, err);
	return bowimg_volume_zero(disk->source.volume, off, bytes, 0, err);
}

int bow_fuse_disk_flush(struct bow_fuse_disk *disk, struct bowimg_error *err)
{
	return disk->source.volume ? bowimg_volume_flush(disk->source.volume, err)
				   : bowimg_flush(disk->source.img, err);
}
