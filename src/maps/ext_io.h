/* SPDX-License-Identifier: MIT */
/* libext2fs on a part of a device: a read-only io_manager, and its error codes as ours. */
#ifndef BOW_MAPS_EXT_IO_H
#define BOW_MAPS_EXT_IO_H

#include <ext2fs/ext2fs.h>

#include "device/device.h"

/*
 * One file system's window on the device. It must stay where it is and outlive the ext2_filsys that
 * was opened on it: libext2fs keeps pointers into it. No state is shared between two of these.
 */
struct bow_ext_io {
	struct struct_io_manager manager;
	struct bow_dev *dev;
	uint64_t off, bytes;	 /* the part of dev that libext2fs can see */
	struct bowimg_error err; /* the device's last error, which libext2fs cannot carry */
};

/* Open the file system at [off, off + bytes) for reading; the caller ends it with ext2fs_free(). */
int bow_ext_io_open(struct bow_ext_io *io, struct bow_dev *dev, uint64_t off, uint64_t bytes,
		    ext2_filsys *out, struct bowimg_error *err);

/* Turn libext2fs' `code` into a negative errno and a message that says `what` was attempted. */
int bow_ext_io_fail(const struct bow_ext_io *io, errcode_t code, const char *what,
		    struct bowimg_error *err);

#endif
