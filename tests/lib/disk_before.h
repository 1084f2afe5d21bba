/* SPDX-License-Identifier: MIT */
/* One read of a disk as it was, by a disk of its own. */
#ifndef TESTS_DISK_BEFORE_H
#define TESTS_DISK_BEFORE_H

#include "bowimg.h"

static inline int disk_read_before(bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
				   struct bowimg_error *err)
{
	bowimg_disk *before;
	int rc = bowimg_disk_before(disk, &before, err);

	if (rc)
		return rc;
	rc = bowimg_disk_read(before, buf, bytes, off, err);
	bowimg_disk_close(before, NULL);
	return rc;
}

#endif
