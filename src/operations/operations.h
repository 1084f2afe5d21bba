/* SPDX-License-Identifier: MIT */
/*
 * The operations on an open device: what include/bowimg.h offers for paths, minus finding and
 * locking the file. Tests run these on devices of their own.
 */
#ifndef BOW_OPERATIONS_H
#define BOW_OPERATIONS_H

#include "device/device.h"
#include "maps/bitmap.h"
#include "maps/freemap.h"

/* ---- prepare.c ----------------------------------------------------------------------------- */

/*
 * Open a checkpoint on dev with this free map (one bit per started block; block 0 and a partial
 * last block must be clear). `exact` and `on_full` are already decided by the caller. `report` gets
 * free_total/free_left_bytes. Writes nothing with dry_run.
 */
struct bow_prepare_plan {
	const struct bow_bitmap *free;
	const char *free_source; /* at most 15 characters, kept in the superblock */
	bool exact;
	enum bowimg_store store;
	enum bowimg_on_full on_full; /* STOP or TAIL */
	bool dry_run;
	/* A fresh random UUID if zero; tests give their own, to be repeatable. */
	uint8_t uuid[16];
};
int bow_prepare_dev(struct bow_dev *dev, const struct bow_prepare_plan *plan,
		    struct bowimg_prepare_report *report, struct bowimg_error *err);

/* ---- engine.c ------------------------------------------------------------------------------- */

/* As bowimg_open(). dev belongs to *out on success only. */
int bow_engine_open(struct bow_dev *dev, const struct bowimg_open_options *opts, bowimg **out,
		    struct bowimg_error *err);

/* Release everything but the device, writing nothing: what a killed process leaves behind. */
void bow_engine_free(bowimg *img);

/* The device under a handle: for its name and sectors, not to be read. */
struct bow_dev *bow_engine_device(const bowimg *img);

/* ---- look.c --------------------------------------------------------------------------------- */

/* As bowimg_look_open(). dev belongs to *out on success only. */
int bow_look_open_dev(struct bow_dev *dev, unsigned force, bowimg_look **out,
		      struct bowimg_error *err);

/* As bow_engine_device(). */
struct bow_dev *bow_look_device(const bowimg_look *look);

/* ---- rollback.c, commit.c, verify.c, status.c: as the calls of the public header ------------ */

int bow_rollback_dev(struct bow_dev *dev, const struct bowimg_end_options *opts,
		     struct bowimg_end_report *report, struct bowimg_error *err);
int bow_commit_dev(struct bow_dev *dev, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err);
int bow_verify_dev(struct bow_dev *dev, const struct bowimg_end_options *opts,
		   struct bowimg_end_report *report, struct bowimg_error *err);
int bow_status_dev(struct bow_dev *dev, unsigned force, struct bowimg_status *out,
		   struct bowimg_error *err);

#endif
