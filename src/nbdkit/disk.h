/* SPDX-License-Identifier: MIT */
/*
 * The plugin's image: with an open checkpoint, one that only shows the disk as it was, or one
 * without a checkpoint whose discards are tracked.
 */
#ifndef BOW_NBDKIT_DISK_H
#define BOW_NBDKIT_DISK_H

#include "bowimg.h"

enum bow_nbdkit_kind { BOW_NBDKIT_DISK, BOW_NBDKIT_BEFORE, BOW_NBDKIT_TRACKER };

/* NULL: not opened, or not for this kind. Both are NULL when nothing is open. */
struct bow_nbdkit_disk {
	bowimg_disk *disk;   /* as it is, to be written */
	bowimg_disk *before; /* as it was */
	bowimg_disk *view;   /* the image's, with `before` on it, if the disk is not served */
	struct bow_nbdkit_mark *marks; /* those that were asked for beside the disk */
};

/* The disk as it was at a mark. It stays where it is until the process ends, for connections. */
struct bow_nbdkit_mark {
	struct bow_nbdkit_mark *next;
	char name[BOWIMG_MARK_NAME_MAX + 1];
	bowimg_disk *disk; /* NULL: closed */
};

/* What to open: of an image with a checkpoint as it was, as of which mark (NULL: prepare). */
struct bow_nbdkit_what {
	enum bow_nbdkit_kind kind;
	const char *mark;
};

int bow_nbdkit_disk_open(struct bow_nbdkit_disk *d, const char *path,
			 const struct bow_nbdkit_what *what, const struct bowimg_open_options *opts,
			 struct bowimg_error *err);

/* Beside the disk as it is: find or open it as of a mark. One caller at a time. */
int bow_nbdkit_disk_at(struct bow_nbdkit_disk *d, const char *mark, struct bow_nbdkit_mark **out,
		       struct bowimg_error *err);
bool bow_nbdkit_disk_is_open(const struct bow_nbdkit_disk *d);
uint64_t bow_nbdkit_disk_size(const struct bow_nbdkit_disk *d);

/* At the end, when there are no connections any more. */
void bow_nbdkit_marks_free(struct bow_nbdkit_disk *d);

/* Did this process take over what a killed one had not logged yet? */
bool bow_nbdkit_disk_carried(const struct bow_nbdkit_disk *d);

/* `opts`, or NULL, and `report` are for tracked discards, as of bowimg_disk_prepare(). */
int bow_nbdkit_disk_close(struct bow_nbdkit_disk *d, const struct bowimg_prepare_options *opts,
			  struct bowimg_prepare_report *report, struct bowimg_error *err);

#endif
