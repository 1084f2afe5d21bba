/* SPDX-License-Identifier: MIT */
/*
 * Hints with a command for the file system's own tools, or with an option that depends on the
 * image. The code that finds the damage looks at a volume, and knows neither how a tool reaches it
 * nor whether the image can have a tail. It writes a mark, which bow_hint_finish() replaces.
 */
#ifndef BOW_DISK_HINT_H
#define BOW_DISK_HINT_H

#include "lib/disk/disk.h"

/* Control characters, so that no foreign name is taken for a mark. At most one of each. */
#define BOW_HINT_DEVICE "\1"  /* the volume, for a command that follows the last ": " before it */
#define BOW_HINT_WITHOUT "\2" /* the sources that need no file system */

/*
 * Finish the hint of *err: the volume is [off, off + bytes) of the image. A command that ends with
 * the image's name counts as one with a mark.
 */
void bow_hint_finish(struct bowimg_error *err, const struct bowimg_disk *image, uint64_t off,
		     uint64_t bytes);

#endif
