/* SPDX-License-Identifier: MIT */
/*
 * Opening the image, at once or late.
 *
 * A mount of the disk as it was holds the image as a reader and changes nothing. When the disk is
 * to be mounted beside it, the daemon closes what it reads from and opens the image for writing:
 * one process holds the locks of both. In between another process may take the image. Then the
 * daemon reads from it again as soon as that is possible: what was at prepare is the same
 * afterwards, or the checkpoint is over, and the reads fail.
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
	return ret ? ret : bowimg_disk_at(d->source.disk, NULL, &d->source.before, err);
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

/* The disk is larger or smaller only if it is another one. */
static int open_same(struct bow_disks *d, uint64_t bytes, struct bowimg_error *err)
{
	struct bow_session now;

	/* The command that mounts has written how; the image may have another name by now. */
	if (bow_state_read(d->session->dir, &now) != 1)
		return bow_err(err, -EIO, "cannot read %s/state.json", d->session->dir);
	memcpy(d->image, now.image, sizeof(d->image));
	int ret = open_served(d, now.durability, now.force, err);
	if (!ret && bowimg_disk_size(d->source.disk) != bytes)
		ret = bow_err(err, -ESTALE, "%s is another image now", d->image);
	return ret;
}

static int replace_view(struct bow_disks *d, struct bowimg_error *err)
{
	struct bowimg_error later = {0};
	uint64_t bytes = bowimg_disk_size(d->view);

	bow_disks_close(d, &later);
	int ret = open_same(d, bytes, err);
	if (!ret)
		return 0;
	bow_disks_close(d, &later);
	bow_err_clear(&later);
	if (open_view(d, &later) != 0)
		bow_notice_error(&later);
	return ret;
}

static int open_disk(void *ctx, struct bow_fuse_source *now)
{
	struct bow_disks *d = ctx;
	struct bowimg_error err = {0};

	/* As for a mount that comes first: this process will write, and must not wait for memory.
	 */
	int ret = bow_cgroup_refuse_limited(&err);
	if (!ret)
		ret = replace_view(d, &err);
	/* The loop device comes next. */
	if (!ret)
		bow_memory_take(d->opts->verbose);
	err.code = ret;
	if (ret && bow_session_save_result(d->session, BOW_REFUSAL, &err) != 0)
		bow_notice_error(&err);
	now->disk = d->source.disk;
	now->before = d->source.before;
	return ret;
}

int bow_disks_open(struct bow_disks *d, struct bowimg_error *err)
{
	memcpy(d->image, d->session->image, sizeof(d->image));
	if (!d->opts->before)
		return open_served(d, d->opts->durability, d->opts->force, err);
	int ret = open_view(d, err);
	if (ret || d->opts->mark || !d->session->mount_dir[0])
		return ret;
	d->source.open_disk = open_disk;
	d->source.ctx = d;
	d->source.parts_of_disk = &d->parts;
	return bow_parts_read(d->view, &d->parts, err);
}
