/* SPDX-License-Identifier: MIT */
/* The inside of this room: what the calls for paths share. */
#ifndef BOW_API_API_H
#define BOW_API_API_H

#include "lib/disk/disk.h"
#include "lib/freespace/freemap.h"

/* What the image's events are, of any structure of options that may be NULL. */
#define bow_events_of(opts) ((opts) ? &(opts)->events : NULL)

/* ---- paths.c -------------------------------------------------------------------- */

/* Close the image. If rc is an error, wrap it with the path, and ignore one from closing. */
int bow_public_done(struct bowimg_disk *dev, const char *path, int rc, struct bowimg_error *err);

/* ---- again.c --------------------------------------------------------------------- */

typedef int bow_question(struct bowimg_disk *dev, unsigned force, void *ctx,
			 struct bowimg_error *err);
/*
 * Ask it; if the image is in use and the answer is what a change meanwhile looks like (-EUCLEAN,
 * -EBADMSG, -ESTALE), ask again a few times. An image in use changes, so that is no error then.
 */
int bow_ask_again(struct bowimg_disk *dev, bool in_use, unsigned force, bow_question *question,
		  void *ctx, struct bowimg_error *err);

/* ---- next.c: for status, what is possible next ------------------------------------- */

/* Another process serves its checkpoint. */
void bow_next_of_used(struct bowimg_disk *dev, struct bowimg_status *out);
/* It has no checkpoint: would prepare take it? */
void bow_next_of_plain(struct bowimg_disk *dev, bool in_use, struct bowimg_status *out);

/* ---- prepare.c ------------------------------------------------------------------- */

/* Prepare with this free map; exact mode takes out the blocks that are not zero. */
int bow_prepare_with_map(struct bowimg_disk *dev, const struct bowimg_prepare_options *opts,
			 struct bow_bitmap *free, const struct bow_freemap_info *info,
			 struct bowimg_prepare_report *report, struct bowimg_error *err);

#endif
