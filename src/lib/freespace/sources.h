/* SPDX-License-Identifier: MIT */
/* The sources of a free map, as --free-from names them. */
#ifndef BOW_FREESPACE_SOURCES_H
#define BOW_FREESPACE_SOURCES_H

#include "lib/base/err.h"

enum bow_source_id {
	BOW_SOURCE_AUTO,
	BOW_SOURCE_EXT,
	BOW_SOURCE_FAT,
	BOW_SOURCE_PARTCLONE,
	BOW_SOURCE_TRIM,
	BOW_SOURCE_MAP,
	BOW_SOURCE_NONE,
};

/* One that was asked for. */
struct bow_source {
	enum bow_source_id id;
	const char *name; /* as in the table, without what follows */
	const char *
		type; /* the one kind of file system that it reads, as libblkid calls it; or NULL */
	const char *reads; /* that kind, for people */
	const char *file;  /* of "map:FILE"; points into the text */
};

/* NULL is "auto". -EOPNOTSUPP: there is no such source; the hint lists them all. */
int bow_source_parse(const char *text, struct bow_source *out, struct bowimg_error *err);

/* Must what is on the disk be known, or does the source speak of the image as a whole? */
bool bow_source_needs_contents(const struct bow_source *source);

#endif
