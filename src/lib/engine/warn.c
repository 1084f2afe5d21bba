/* SPDX-License-Identifier: MIT */
/*
 * Warnings before space runs out: in the image, and on the host that holds it. The host is asked
 * without the lock, since an answer may come over a network: each time that the guest has had
 * another MiB prepared, since a sparse file takes space also for blocks that cost the image
 * nothing, and at a flush, since blocks may be prepared long before they are written.
 */
#include <inttypes.h>
#include <stdio.h>

#include "lib/base/bytes.h"
#include "lib/engine/engine.h"

#define ASK_BLK 256u	 /* prepared until the host is asked again */
#define BACK_PERCENT 10u /* so much less must be used before a mark of the host counts again */

static unsigned mark_of(unsigned used)
{
	return used >= 90 ? 90 : used >= 75 ? 75 : 0;
}

/* Returns the share of the free space, in percent, that is used and worth a warning; else 0. */
static unsigned warning_mark(const struct bow_engine *img)
{
	uint64_t total = img->sb.free_total_blk, left = img->alloc.free_blk + bow_share_taken(img);

	if (!total || img->sb.flags & BOW_SUPER_STORE_TAIL)
		return 0;
	return mark_of((unsigned)(100 - left * 100 / total));
}

void bow_warning_space_is_back(struct bow_engine *img)
{
	img->warned = (unsigned)bow_min(img->warned, warning_mark(img));
}

struct bow_warning bow_warning_due(struct bow_engine *img, uint64_t prepared_blk)
{
	struct bow_warning due = {0};
	unsigned mark = warning_mark(img);

	if (!img->opts.events.notice)
		return due;
	if (mark > img->warned)
		due.percent = img->warned = mark;
	img->unasked_blk += prepared_blk;
	due.ask_host = img->unasked_blk >= ASK_BLK;
	if (due.ask_host)
		img->unasked_blk = 0;
	return due;
}

struct bow_warning bow_warning_at_flush(struct bow_engine *img)
{
	img->unasked_blk = 0;
	return (struct bow_warning){.ask_host = img->opts.events.notice};
}

void bow_engine_budget(struct bow_engine *img, struct bowimg_budget *out)
{
	uint64_t left_blk;

	pthread_mutex_lock(&img->lock);
	left_blk = img->alloc.free_blk + bow_share_taken(img);
	pthread_mutex_unlock(&img->lock);
	bow_budget_of(img->dev, &img->sb, NULL, left_blk, out);
}

/* The mark of the host if the user should be warned now, else 0. */
static unsigned host_mark_due(struct bow_engine *img, unsigned used)
{
	unsigned mark = mark_of(used), due = 0;

	pthread_mutex_lock(&img->lock);
	if (mark > img->host_warned)
		due = img->host_warned = mark;
	else if (used + BACK_PERCENT < img->host_warned)
		img->host_warned = mark;
	pthread_mutex_unlock(&img->lock);
	return due;
}

static void warn_of_host(struct bow_engine *img)
{
	struct bowimg_budget budget;
	char text[160];
	unsigned mark;

	bow_engine_budget(img, &budget);
	mark = host_mark_due(img, budget.host_used);
	if (!mark)
		return;
	snprintf(text, sizeof(text),
		 "the host has %" PRIu64 " MiB left: %u%% of the space for backups and new data is "
		 "used; when it ends, writes fail with 'no space'",
		 budget.host_left_bytes >> 20, mark);
	img->opts.events.notice(img->opts.events.ctx, text);
}

static void warn_of_space(const struct bow_engine *img, unsigned percent)
{
	char text[160];

	snprintf(text, sizeof(text), "%u%% of the free space for backups is used; when it ends, %s",
		 percent,
		 img->sb.flags & BOW_SUPER_ON_FULL_TAIL ? "the file grows"
							: "writes fail with 'no space'");
	img->opts.events.notice(img->opts.events.ctx, text);
}

void bow_warn(struct bow_engine *img, struct bow_warning due)
{
	if (due.percent)
		warn_of_space(img, due.percent);
	if (due.ask_host)
		warn_of_host(img);
}
