/* SPDX-License-Identifier: MIT */
#include "lib/freespace/contents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/cleanup.h"
#include "lib/base/stop.h"
#include "lib/disk/hint.h"
#include "lib/disk/part.h"

static int probe(struct bowimg_disk *part, struct bow_probe *found, struct bowimg_error *err)
{
	int rc = bow_probe_device(part, found, err);

	return rc ? rc : bow_probe_refuse_both(part, found, err);
}

int bow_content_probe(struct bowimg_disk *dev, uint64_t off, uint64_t bytes,
		      struct bow_content *out, struct bowimg_error *err)
{
	struct bowimg_disk *part;
	int rc = bow_disk_part(dev, off, bytes, &part, err);

	*out = (struct bow_content){.off = off, .bytes = bytes};
	if (rc)
		return rc;
	rc = probe(part, &out->found, err);
	bow_disk_close(part, NULL);
	return rc;
}

/* The message without the name of the part that it begins with. */
static const char *without_name(const char *message, const char *name)
{
	const size_t n = strlen(name);

	return !strncmp(message, name, n) && !strncmp(message + n, ": ", 2) ? message + n + 2
									    : message;
}

/* If several claim a partition, all of it is in use: that is no error. */
static int probe_part(struct bowimg_disk *part, struct bow_content *out, struct bowimg_error *err)
{
	struct bowimg_error why = {0};
	int rc = probe(part, &out->found, &why);

	if (rc == -EOPNOTSUPP) {
		out->found = (struct bow_probe){0};
		snprintf(out->claimed, sizeof(out->claimed), "%.191s",
			 without_name(why.message, part->name));
		return 0;
	}
	if (rc && err)
		*err = why;
	return rc;
}

static int add_part(struct bowimg_disk *dev, const struct bow_part *p, struct bow_content *out,
		    struct bowimg_error *err)
{
	struct bowimg_disk *part;
	int rc = bow_disk_part(dev, p->off, p->bytes, &part, err);

	*out = (struct bow_content){.part = p, .off = p->off, .bytes = p->bytes};
	if (!rc) {
		rc = probe_part(part, out, err);
		bow_disk_close(part, NULL);
	}
	return rc ? bow_err_wrap(err, rc, "partition %u", p->number) : 0;
}

/* A table, or the whole image as the only content. */
static int read_table(struct bowimg_disk *dev, struct bow_contents *c, struct bowimg_error *err)
{
	struct bow_probe found;
	int rc = bow_probe_device(dev, &found, err);

	if (!rc)
		rc = bow_table_read(dev, &found, &c->table, err);
	if (rc) {
		bow_hint_finish(err, dev, 0, dev->size);
		return rc;
	}
	c->count = c->table.kind[0] ? c->table.count : 1;
	c->list[0] = (struct bow_content){.bytes = dev->size, .found = found};
	return 0;
}

int bow_contents_read(struct bowimg_disk *dev, const struct bowimg_events *events,
		      struct bow_contents **out, struct bowimg_error *err)
{
	const size_t most = BOWIMG_PARTITIONS_MAX;
	struct bow_contents *c = calloc(1, sizeof(*c) + most * sizeof(c->list[0]));
	int rc;

	if (!c)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	rc = read_table(dev, c, err);
	for (uint32_t i = 0; i < c->table.count && !rc; i++) {
		rc = bow_stop_asked(events, err);
		if (!rc)
			rc = add_part(dev, &c->table.parts[i], &c->list[i], err);
	}
	if (rc)
		free(c);
	else
		*out = c;
	return rc;
}
