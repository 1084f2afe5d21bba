/* SPDX-License-Identifier: MIT */
/* libext2fs on a part of a disk: a read-only io_manager, and its error codes as ours. */
#ifndef BOW_EXT_IO_H
#define BOW_EXT_IO_H

#include <ext2fs/ext2fs.h>

#include "lib/base/err.h"

/* What was read before libext2fs asks for it: pieces of the window in ascending order. */
struct bow_ext_piece {
	uint64_t off;
	uint32_t bytes;
	bool known; /* false: it could not be read; libext2fs meets that error if it asks */
	size_t at;  /* in `data` */
};

struct bow_ext_ahead {
	const struct bow_ext_piece *v;
	size_t n;
	const uint8_t *data;
};

/*
 * One file system's window on the disk. It must stay where it is and outlive the ext2_filsys that
 * was opened on it: libext2fs keeps pointers into it. No state is shared between two of these.
 */
struct bow_ext_io {
	struct struct_io_manager manager;
	bowimg_disk *disk;
	uint64_t off, bytes; /* the part of the disk that libext2fs can see */
	const struct bowimg_events
		*events;		   /* asked before each read whether to stop; may be NULL */
	const struct bow_ext_ahead *ahead; /* may be NULL */
	struct bowimg_error err;	   /* the disk's last error, which libext2fs cannot carry */
};

/* Open the file system at [off, off + bytes) for reading; the caller ends it with ext2fs_free(). */
int bow_ext_io_open(struct bow_ext_io *io, bowimg_disk *disk, uint64_t off, uint64_t bytes,
		    ext2_filsys *out, struct bowimg_error *err);

/* Turn libext2fs' `code` into a negative errno and a message that says `what` was attempted. */
int bow_ext_io_fail(const struct bow_ext_io *io, errcode_t code, const char *what,
		    struct bowimg_error *err);

#endif
