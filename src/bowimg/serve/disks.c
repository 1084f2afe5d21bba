/* SPDX-License-Identifier: MIT */
/*
 * Opening the image, at once or late.
 *
 * Who shows only the disk as it was holds the image as a reader and changes nothing. When the disk
 * is to be used beside it, the daemon closes what it reads from and opens the image for writing:
 * one process holds the locks of both. In between another process may take the image. Then the
 * daemon reads from it again as soon as that is possible. What was at prepare or at a mark is the
 * same afterwards, or is gone, and the reads fail: a checkpoint or mark that was made anew is told
 * from what was shown by its UUID and its record, whatever its name.
 */
#include "bowimg/serve/disks.h"

#include <string.h>

#include "bowimg/host/memory.h"
#include "bowimg/host/notice.h"

static int open_view(struct bow_disks *d, struct bowimg_error *err)
{
	const struct bowimg_options call = {.force = d->opts->force,
					    .events.waiting = bow_notice_event};
	int ret = bowimg_open_view(d->image, &call, &d->view, err);

	return ret ? ret : bowimg_disk_at(d->view, d->opts->mark, &d->source.before, err);
}

static int open_served(struct bow_disks *d, enum bowimg_durability durability, unsigned force,
		       struct bowimg_error *err)
{
	struct bowimg_open_options opts = {.durability = durability,
					   .force = force,
					   .writeback_bytes = d->opts->writeback_bytes,
					   .events = {.notice = bow_notice_event,
						      .waiting = bow_notice_event}};

	int ret = bowimg_open(d->image, &opts, &d->source.disk, err);
	return ret ? ret : bowimg_disk_at(d->source.disk, d->opts->mark, &d->source.before, err);
}

static void close_one(bowimg_disk **disk, struct bowimg_error *err)
{
	struct bowimg_error later = {0};

	if (bowimg_disk_close(*disk, &later) && !err->code)
		*err = later;
	*disk = NULL;
}

void bow_disks_close(struct bow_disks *d, struct bowimg_error *err)
{
	struct bowimg_error ignored = {.code = 1};

	close_one(&d->source.before, &ignored); /* only read from: nothing can be lost */
	close_one(&d->source.disk, err);
	close_one(&d->view, err);
}

/* ---- late ------------------------------------------------------------------------ */

static int check_shown(const struct bow_disks *d, struct bowimg_error *err)
{
	struct bowimg_disk_info now;
	int ret = bowimg_disk_get_info(d->source.before, &now, err);

	if (ret)
		return ret;
	if (strcmp(now.uuid, d->shown.uuid) == 0 && now.record == d->shown.record &&
	    now.size == d->shown.size)
		return 0;
	ret = bow_err(err, -ESTALE, "%s is another image now, or its checkpoint or mark is",
		      d->image);
	bow_err_hint(err, "what it was is lost; end what shows it, then begin again");
	return ret;
}

/* The command that wants the disk has written how; the image may have another name by now. */
static int read_wish(const struct bow_disks *d, struct bow_session *now, struct bowimg_error *err)
{
	if (bow_state_read(d->session->dir, now) != 1)
		return bow_err(err, -EIO, "cannot read %s/state.json", d->session->dir);
	if (now->before_only)
		return bow_err(err, -EACCES, "%s is shown only as it was", d->image);
	/* As for a disk that comes first: this process must not wait for memory then. */
	return now->disk_device ? bow_cgroup_refuse_limited(err) : 0;
}

/* Another process had the image in between, and may have left it as it was, or not. */
static void view_again(struct bow_disks *d)
{
	struct bowimg_error err = {0};
	int ret = open_view(d, &err);

	if (!ret)
		ret = check_shown(d, &err);
	if (!ret)
		return;
	bow_notice_error(&err);
	bow_disks_close(d, &err);
}

static int replace_view(struct bow_disks *d, const struct bow_session *now,
			struct bowimg_error *err)
{
	struct bowimg_error later = {0};

	bow_disks_close(d, &later);
	memcpy(d->image, now->image, sizeof(d->image));
	int ret = open_served(d, now->durability, now->force, err);
	if (!ret)
		ret = check_shown(d, err);
	if (!ret)
		return 0;
	bow_disks_close(d, &later);
	view_again(d);
	return ret;
}

static int open_disk(void *ctx, struct bow_fuse_source *source)
{
	struct bow_disks *d = ctx;
	struct bowimg_error err = {0};
	struct bow_session now;

	int ret = read_wish(d, &now, &err);
	if (!ret)
		ret = replace_view(d, &now, &err);
	/* The loop device comes next. */
	if (!ret && now.disk_device)
		bow_memory_take(d->opts->verbose);
	err.code = ret;
	if (ret && bow_session_save_result(d->session, BOW_REFUSAL, &err) != 0)
		bow_notice_error(&err);
	source->disk = d->source.disk;
	source->before = d->source.before;
	return ret;
}

int bow_disks_open(struct bow_disks *d, struct bowimg_error *err)
{
	memcpy(d->image, d->session->image, sizeof(d->image));
	if (!d->opts->before)
		return open_served(d, d->opts->durability, d->opts->force, err);
	int ret = open_view(d, err);
	if (!ret)
		ret = bowimg_disk_get_info(d->source.before, &d->shown, err);
	if (ret)
		return ret;
	d->source.of_mark = d->opts->mark;
	d->source.open_disk = open_disk;
	d->source.ctx = d;
	d->source.parts_of_disk = &d->parts;
	return bow_parts_read(d->view, &d->parts, err);
}
