/* SPDX-License-Identifier: MIT */
/* The parts of rescue: scan.c finds the log, live0.c block 0's copy. */
#ifndef BOW_VERBS_RESCUE_RESCUE_H
#define BOW_VERBS_RESCUE_RESCUE_H

#include "lib/checkpoint/checkpoint.h"

/* A log segment, found where it was begun. */
struct bow_found {
	struct bow_super sb; /* as its header gives it */
	uint64_t last_seq;   /* number of its last record; 0 if it is damaged */
	bool begun;	     /* it has a record of its own */
};

struct bow_scan {
	struct bow_found *found;
	uint32_t n;
	uint64_t headers; /* headers of any checkpoint, of moved segments, too */
};

/*
 * Search the image and its tail, but no holes, for the segments of one checkpoint: the one that the
 * note names (note_uuid; NULL if there is no note), else the newest. The segment with the highest
 * record number comes first; of many older ones some are dropped. -EUCLEAN: there is none, or two
 * checkpoints are equally new. Release with free(scan->found).
 */
int bow_rescue_scan(struct bowimg_disk *dev, const uint8_t *note_uuid, struct bow_scan *scan,
		    const struct bowimg_events *events, struct bowimg_error *err);

/*
 * Set live0_blk in a superblock made from the newest segment's header. *known: block 0's live copy
 * is there. Otherwise it is a place that the log does not use.
 */
int bow_rescue_live0(struct bowimg_disk *dev, struct bow_super *sb, bool *known,
		     struct bowimg_error *err);

/*
 * -EBADMSG if the image holds, anywhere, a record or the beginning of a segment that comes after
 * record last_seq: then the log was longer than the part that was found.
 */
int bow_rescue_check_end(struct bowimg_disk *dev, const struct bow_scan *scan, uint64_t last_seq,
			 const struct bowimg_events *events, struct bowimg_error *err);

int bow_rescue_dev(struct bowimg_disk *dev, const struct bowimg_rescue_options *opts,
		   struct bowimg_rescue_report *report, struct bowimg_error *err);

#endif
