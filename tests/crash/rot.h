/* SPDX-License-Identifier: MIT */
/* Small checkpoints in several states, to flip bits in. */
#ifndef TESTS_CRASH_ROT_H
#define TESTS_CRASH_ROT_H

#include "lab/lab.h"

#define ROT_MAX_BLOCKS 96u /* of the image and its tail */

struct rot_image {
	struct lab *lab;
	const char *name;
	bool commit;			 /* the end that was begun, or is tried */
	bool killed;			 /* the last record cannot be told from a torn one */
	bool written[ROT_MAX_BLOCKS];	 /* by bowimg, for itself */
	uint64_t record_off, record_end; /* of the last record */
};

#define ROT_IMAGES 8u

/* Make the n-th; false and img->lab->why if it could not be made. */
bool rot_make(struct rot_image *img, struct lab *lab, uint32_t n);

#endif
