/* SPDX-License-Identifier: MIT */
/* prepare --check: run the checker of each part of a disk that has one. */
#include <stdio.h>
#include <string.h>

#include "lib/freespace/contents.h"
#include "lib/freespace/helpers/checker.h"

struct disk {
	struct bowimg_disk *dev;
	const struct bowimg_events *events;
	char *by;
	unsigned checked;
};

static void pass_over(const struct disk *d, uint32_t partition, const char *content)
{
	char text[128];

	/* Nothing can be wrong in swap space. */
	if (!partition || !content[0] || !strcmp(content, "swap") || !d->events->notice)
		return;
	snprintf(text, sizeof(text), "partition %u was not checked: there is no checker for %s",
		 partition, content);
	d->events->notice(d->events->ctx, text);
}

static int check_content(struct disk *d, const struct bow_content *c, struct bowimg_error *err)
{
	const struct bow_part_of part = {d->dev, c->off, c->bytes};
	const uint32_t partition = c->part ? c->part->number : 0;
	int rc;

	if (!bow_checker_is_there(c->found.type)) {
		pass_over(d, partition, c->found.type);
		return 0;
	}
	if (d->events->progress)
		d->events->progress(d->events->ctx, "check", c->off, d->dev->size);
	d->checked++;
	rc = bow_checker_run(&part, c->found.type, d->events->helpers, d->by, err);
	return rc && partition ? bow_err_wrap(err, rc, "partition %u", partition) : rc;
}

static int nothing_to_check(struct bowimg_disk *dev, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"%s: check the file system: there is no checker for its content; nothing was "
		"changed",
		dev->name);
	bow_err_hint(err, "leave --check away");
	return -EOPNOTSUPP;
}

int bow_check_disk(struct bowimg_disk *dev, const struct bow_contents *contents,
		   const struct bowimg_events *events, char by[BOW_CHECKED_BYTES],
		   struct bowimg_error *err)
{
	struct disk d = {dev, events, by, 0};
	int rc = 0;

	by[0] = '\0';
	for (uint32_t i = 0; i < contents->count && !rc; i++)
		rc = check_content(&d, &contents->list[i], err);
	if (!rc && !d.checked)
		rc = nothing_to_check(dev, err);
	if (!rc && events->progress)
		events->progress(events->ctx, "check", dev->size, dev->size);
	return rc;
}
