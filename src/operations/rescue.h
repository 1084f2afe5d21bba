/* SPDX-License-Identifier: MIT */
/* The parts of rescue: rescue_scan.c finds the log, rescue_live0.c block 0's copy. */
#ifndef BOW_OPERATIONS_RESCUE_H
#define BOW_OPERATIONS_RESCUE_H

#include "operations/internal.h"

/* A log segment, found where it was begun. */
struct bow_found {
	struct bow_super sb; /* as its header gives it */
	uint64_t last_seq;   /* of its records; 0 if it is damaged */
};

struct bow_scan {
	struct bow_found *found;
	uint32_t n;
	uint64_t headers; /* of any checkpoint, moved segments included */
};

/*
 * Look through the image and its tail, holes left out, for the segments of one checkpoint: the one
 * the note names (note_uuid, or NULL where there is no note), else the newest. The segment with the
 * highest record number comes first; of older ones only so many are kept. -EUCLEAN: there is none,
 * or two are equally new. Release with free(scan->found).
 */
int bow_rescue_scan(struct bow_dev *dev, const uint8_t *note_uuid, struct bow_scan *scan,
		    const struct bowimg_events *events, struct bowimg_error *err);

/*
 * Complete a superblock made from the newest segment's header: set its live0_blk. *known: that is
 * where block 0's live copy is; else some place that the log does not use stands in for it.
 */
int bow_rescue_live0(struct bow_dev *dev, struct bow_super *sb, bool *known,
		     struct bowimg_error *err);

/*
 * -EBADMSG if anywhere in the image there is a record, or the beginning of a segment, that comes
 * after record last_seq: then the log was longer than what was found of it.
 */
int bow_rescue_check_end(struct bow_dev *dev, const struct bow_scan *scan, uint64_t last_seq,
			 const struct bowimg_events *events, struct bowimg_error *err);

int bow_rescue_dev(struct bow_dev *dev, const struct bowimg_rescue_options *opts,
		   struct bowimg_rescue_report *report, struct bowimg_error *err);

#endif
