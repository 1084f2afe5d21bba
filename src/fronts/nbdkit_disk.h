/* SPDX-License-Identifier: MIT */
/*
 * The plugin's image: with an open checkpoint, one that is only looked at as it was, or one whose
 * free map is being learned.
 */
#ifndef BOW_FRONTS_NBDKIT_DISK_H
#define BOW_FRONTS_NBDKIT_DISK_H

#include "bowimg.h"

enum bow_nbdkit_kind { BOW_NBDKIT_DISK, BOW_NBDKIT_BEFORE, BOW_NBDKIT_LEARN };

/* At most one of these; none: not open. */
struct bow_nbdkit_disk {
	bowimg *img;
	bowimg_look *look;
	bowimg_learner *learner;
};

int bow_nbdkit_disk_open(struct bow_nbdkit_disk *disk, const char *path, enum bow_nbdkit_kind kind,
			 const struct bowimg_open_options *opts, struct bowimg_error *err);
bool bow_nbdkit_disk_is_open(const struct bow_nbdkit_disk *disk);
uint64_t bow_nbdkit_disk_size(const struct bow_nbdkit_disk *disk);

int bow_nbdkit_disk_read(struct bow_nbdkit_disk *disk, void *buf, size_t bytes, uint64_t off,
			 struct bowimg_error *err);
/* As it was at prepare: an image with an open checkpoint. */
int bow_nbdkit_disk_read_before(struct bow_nbdkit_disk *disk, void *buf, size_t bytes, uint64_t off,
				struct bowimg_error *err);
/* What follows is not for an image that is only looked at. */
int bow_nbdkit_disk_write(struct bow_nbdkit_disk *disk, const void *buf, size_t bytes, uint64_t off,
			  unsigned flags, struct bowimg_error *err);
int bow_nbdkit_disk_zero(struct bow_nbdkit_disk *disk, uint64_t off, uint64_t bytes, unsigned flags,
			 struct bowimg_error *err);
int bow_nbdkit_disk_trim(struct bow_nbdkit_disk *disk, uint64_t off, uint64_t bytes, unsigned flags,
			 struct bowimg_error *err);
/* As bowimg_extent(); of an image whose map is being learned nothing is known. */
int bow_nbdkit_disk_extent(struct bow_nbdkit_disk *disk, uint64_t off, bool *zero, uint64_t *bytes,
			   struct bowimg_error *err);
int bow_nbdkit_disk_flush(struct bow_nbdkit_disk *disk, struct bowimg_error *err);

/* `opts`, or NULL, and `report` are for a learned map, as of bowimg_learn_close(). */
int bow_nbdkit_disk_close(struct bow_nbdkit_disk *disk, const struct bowimg_prepare_options *opts,
			  struct bowimg_prepare_report *report, struct bowimg_error *err);

#endif
