/* SPDX-License-Identifier: MIT */
/*
 * Files that get their name when they are complete and on disk: patches, archives. state.json need
 * not be on disk: it names processes, mounts and devices.
 * Until then a killed process leaves no name behind. Only on a file system that cannot make files
 * without a name there is a temporary one, beside the final one.
 */
#ifndef BOW_HOST_OUTFILE_H
#define BOW_HOST_OUTFILE_H

#include "lib/base/err.h"

struct bow_outfile {
	int fd;		    /* to be written; -1: not open */
	int dir_fd;	    /* the directory of `final`; -1: written directly */
	char *final;	    /* its path; if it is a symbolic link, its target is replaced */
	char temporary[32]; /* a name in that directory; "": it has none */
	bool brief;	    /* says what only lives until the machine stops: not made durable */
};

/*
 * "-" is standard output; a pipe or a character device is written as it is. `image`, if not NULL,
 * must not be the same file: -EINVAL, as for a block device or a directory.
 */
int bow_outfile_open(const char *path, const char *image, struct bow_outfile *out,
		     struct bowimg_error *err);

/* Make it durable, unless it is brief, and give it its name in one step. Closes it, also after an
 * error. */
int bow_outfile_finish(struct bow_outfile *out, struct bowimg_error *err);

/* Close it and leave nothing; an older file under the final name stays. */
void bow_outfile_discard(struct bow_outfile *out);

/* A file that never gets a name, to be read and written. -errno. */
int bow_outfile_nameless(const char *dir);

/*
 * Fill err after a failed write (`code`: negative errno), with a hint if there is no room. Returns
 * -ENOSPC for a full disk, a quota, or a limit on the size of files; else `code`.
 */
int bow_outfile_failed(int code, const char *name, struct bowimg_error *err);

#endif
