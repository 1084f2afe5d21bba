/* SPDX-License-Identifier: MIT */
/*
 * What an image holds: its partition table, and what is in each partition; or, without a table,
 * what the image holds as a whole. All of it is looked at once, before anything is done with it.
 */
#ifndef BOW_FREESPACE_CONTENTS_H
#define BOW_FREESPACE_CONTENTS_H

#include "lib/partitions/table.h"
#include "lib/probe/probe.h"

struct bow_content {
	const struct bow_part *part; /* NULL: the whole image */
	uint64_t off, bytes;
	struct bow_probe found;
	char claimed[192]; /* why nothing was found: several claim it; one clause, or "" */
};

struct bow_contents {
	struct bow_table table; /* kind "": there is none */
	uint32_t count;		/* of the partitions, in the order of the disk; or 1 */
	struct bow_content list[];
};

/*
 * The caller frees *out. -EUCLEAN, -EOPNOTSUPP: the table is refused, or several claim the whole
 * image. `events` may be NULL.
 */
int bow_contents_read(struct bowimg_disk *dev, const struct bowimg_events *events,
		      struct bow_contents **out, struct bowimg_error *err);

/* What lies at [off, off + bytes), whatever the table says. */
int bow_content_probe(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		      struct bow_content *out, struct bowimg_error *err);

#endif
