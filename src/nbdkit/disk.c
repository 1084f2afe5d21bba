/* SPDX-License-Identifier: MIT */
/* Opens and closes the disks that one process of nbdkit serves. */
#include "nbdkit/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int open_before(struct bow_nbdkit_disk *d, bowimg_disk *of, const char *mark,
		       struct bowimg_error *err)
{
	int ret = bowimg_disk_at(of, mark, &d->before, err);

	if (ret)
		bow_nbdkit_disk_close(d, NULL, NULL, NULL);
	return ret;
}

int bow_nbdkit_disk_open(struct bow_nbdkit_disk *d, const char *path,
			 const struct bow_nbdkit_what *what, const struct bowimg_open_options *opts,
			 struct bowimg_error *err)
{
	const struct bowimg_options call = {opts->force, opts->events};
	int ret;

	if (what->kind == BOW_NBDKIT_TRACKER)
		return bowimg_open_tracker(path, &call, &d->disk, err);
	if (what->kind == BOW_NBDKIT_BEFORE) {
		ret = bowimg_open_view(path, &call, &d->view, err);
		return ret ? ret : open_before(d, d->view, what->mark, err);
	}
	ret = bowimg_open(path, opts, &d->disk, err);
	return ret ? ret : open_before(d, d->disk, NULL, err);
}

static int open_mark(struct bow_nbdkit_disk *d, const char *name, struct bow_nbdkit_mark **out,
		     struct bowimg_error *err)
{
	struct bow_nbdkit_mark *m = calloc(1, sizeof(*m));

	int ret = m ? bowimg_disk_at(d->disk, name, &m->disk, err) : -ENOMEM;

	if (!m)
		snprintf(err->message, sizeof(err->message), "out of memory");
	if (ret) {
		free(m);
		return ret;
	}
	strncpy(m->name, name, sizeof(m->name) - 1);
	m->next = d->marks;
	d->marks = *out = m;
	return 0;
}

int bow_nbdkit_disk_at(struct bow_nbdkit_disk *d, const char *mark, struct bow_nbdkit_mark **out,
		       struct bowimg_error *err)
{
	for (struct bow_nbdkit_mark *m = d->marks; m; m = m->next) {
		if (strcmp(m->name, mark) != 0)
			continue;
		*out = m;
		return 0;
	}
	return open_mark(d, mark, out, err);
}

/* They are only read from: nothing can be lost. */
static void close_marks(struct bow_nbdkit_mark *m)
{
	for (; m; m = m->next) {
		bowimg_disk_close(m->disk, NULL);
		m->disk = NULL;
	}
}

void bow_nbdkit_marks_free(struct bow_nbdkit_disk *d)
{
	for (struct bow_nbdkit_mark *m = d->marks, *next; m; m = next) {
		next = m->next;
		free(m);
	}
	d->marks = NULL;
}

bool bow_nbdkit_disk_is_open(const struct bow_nbdkit_disk *d)
{
	return d->disk || d->before;
}

uint64_t bow_nbdkit_disk_size(const struct bow_nbdkit_disk *d)
{
	return bowimg_disk_size(d->disk ? d->disk : d->before);
}

bool bow_nbdkit_disk_carried(const struct bow_nbdkit_disk *d)
{
	struct bowimg_counters counters = {0};

	if (d->disk)
		bowimg_disk_get_counters(d->disk, &counters);
	return counters.carried;
}

int bow_nbdkit_disk_close(struct bow_nbdkit_disk *d, const struct bowimg_prepare_options *opts,
			  struct bowimg_prepare_report *report, struct bowimg_error *err)
{
	struct bow_nbdkit_disk was = *d;
	int ret;

	*d = (struct bow_nbdkit_disk){.marks = was.marks};
	close_marks(was.marks);
	/* It is only read from: nothing can be lost. */
	bowimg_disk_close(was.before, NULL);
	if (was.view)
		return bowimg_disk_close(was.view, err);
	ret = opts ? bowimg_disk_prepare(was.disk, opts, report, err)
		   : bowimg_disk_close(was.disk, err);
	return ret;
}
