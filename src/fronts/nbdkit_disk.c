/* SPDX-License-Identifier: MIT */
/* Requests go to the one of the library's three kinds of handles that is open. */
#include "fronts/nbdkit_disk.h"

int bow_nbdkit_disk_open(struct bow_nbdkit_disk *disk, const char *path, enum bow_nbdkit_kind kind,
			 const struct bowimg_open_options *opts, struct bowimg_error *err)
{
	switch (kind) {
	case BOW_NBDKIT_BEFORE:
		return bowimg_look_open(path, opts->force, &disk->look, err);
	case BOW_NBDKIT_LEARN:
		return bowimg_learn_open(path, &disk->learner, err);
	default:
		return bowimg_open(path, opts, &disk->img, err);
	}
}

bool bow_nbdkit_disk_is_open(const struct bow_nbdkit_disk *disk)
{
	return disk->img || disk->look || disk->learner;
}

uint64_t bow_nbdkit_disk_size(const struct bow_nbdkit_disk *disk)
{
	if (disk->look)
		return bowimg_look_size(disk->look);
	return disk->learner ? bowimg_learn_size(disk->learner) : bowimg_size(disk->img);
}

int bow_nbdkit_disk_read(struct bow_nbdkit_disk *disk, void *buf, size_t bytes, uint64_t off,
			 struct bowimg_error *err)
{
	return disk->learner ? bowimg_learn_read(disk->learner, buf, bytes, off, err)
			     : bowimg_read(disk->img, buf, bytes, off, err);
}

int bow_nbdkit_disk_read_before(struct bow_nbdkit_disk *disk, void *buf, size_t bytes, uint64_t off,
				struct bowimg_error *err)
{
	return disk->look ? bowimg_look_read(disk->look, BOWIMG_BEFORE, buf, bytes, off, err)
			  : bowimg_read_before(disk->img, buf, bytes, off, err);
}

int bow_nbdkit_disk_write(struct bow_nbdkit_disk *disk, const void *buf, size_t bytes, uint64_t off,
			  unsigned flags, struct bowimg_error *err)
{
	return disk->learner ? bowimg_learn_write(disk->learner, buf, bytes, off, flags, err)
			     : bowimg_write(disk->img, buf, bytes, off, flags, err);
}

int bow_nbdkit_disk_zero(struct bow_nbdkit_disk *disk, uint64_t off, uint64_t bytes, unsigned flags,
			 struct bowimg_error *err)
{
	return disk->learner ? bowimg_learn_zero(disk->learner, off, bytes, flags, err)
			     : bowimg_zero(disk->img, off, bytes, flags, err);
}

int bow_nbdkit_disk_trim(struct bow_nbdkit_disk *disk, uint64_t off, uint64_t bytes, unsigned flags,
			 struct bowimg_error *err)
{
	int ret = disk->learner ? bowimg_learn_discard(disk->learner, off, bytes, err)
				: bowimg_discard(disk->img, off, bytes, err);

	return !ret && flags & BOWIMG_FUA ? bow_nbdkit_disk_flush(disk, err) : ret;
}

int bow_nbdkit_disk_extent(struct bow_nbdkit_disk *disk, uint64_t off, bool *zero, uint64_t *bytes,
			   struct bowimg_error *err)
{
	if (disk->img)
		return bowimg_extent(disk->img, off, zero, bytes, err);
	*zero = false;
	*bytes = bowimg_learn_size(disk->learner) - off;
	return 0;
}

int bow_nbdkit_disk_flush(struct bow_nbdkit_disk *disk, struct bowimg_error *err)
{
	return disk->learner ? bowimg_learn_flush(disk->learner, err)
			     : bowimg_flush(disk->img, err);
}

int bow_nbdkit_disk_close(struct bow_nbdkit_disk *disk, const struct bowimg_prepare_options *opts,
			  struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	int ret = disk->learner ? bowimg_learn_close(disk->learner, opts, report, err)
		  : disk->look	? bowimg_look_close(disk->look, err)
				: bowimg_close(disk->img, err);

	*disk = (struct bow_nbdkit_disk){0};
	return ret;
}
