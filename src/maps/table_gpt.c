/* SPDX-License-Identifier: MIT */
/*
 * GPT. There are two copies of it, and libblkid takes the first that is whole. Here it gets each of
 * them alone, and must find the same partitions in both. It also leaves out entries that reach
 * beyond the usable part of the disk: so those in use are counted, and the counts must agree.
 *
 * A disk that was made larger has its backup where the end was, as its first header says; both are
 * read as those of the disk that they were made for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/sparse.h"
#include "maps/table.h"

/* 128 entries of 128 bytes are usual; nothing sensible comes near this. */
#define ENTRIES_BYTES_MAX (1u << 20)

/* The other copy of a disk that was cut is beyond its end; this keeps sums far from overflow. */
#define DISK_BYTES_MAX ((uint64_t)INT64_MAX / 2)

struct copy {
	const char *what;
	uint64_t disk_bytes; /* up to the end of the disk for which it was made */
	uint64_t header;     /* all in bytes */
	uint64_t other;
	uint64_t entries, entries_bytes;
	uint32_t entry_bytes;
};

static int damaged(struct bow_dev *dev, const struct copy *c, const char *how,
		   struct bowimg_error *err)
{
	char why[192];

	snprintf(why, sizeof(why), "the %s of the GPT %s", c->what, how);
	return bow_table_refuse(dev, -EUCLEAN, why, err);
}

static int read_header(struct bow_dev *dev, struct copy *c, struct bowimg_error *err)
{
	const uint64_t unit = dev->sector_size;
	uint8_t h[512];
	uint64_t count;
	int rc;

	if (!bow_range_ok(c->header, unit, dev->size))
		return damaged(dev, c, "is beyond the end of the disk: was it cut?", err);
	rc = bow_dev_read(dev, h, sizeof(h), c->header, err);
	if (rc)
		return rc;
	count = bow_get32(h + 80);
	c->entry_bytes = bow_get32(h + 84);
	if (!bow_gpt_signed(h) || c->entry_bytes < 128 || !count ||
	    count > ENTRIES_BYTES_MAX / c->entry_bytes ||
	    bow_get64(h + 32) > DISK_BYTES_MAX / unit || bow_get64(h + 72) > dev->size / unit)
		return damaged(dev, c, "is damaged", err);
	c->other = bow_get64(h + 32) * unit;
	c->entries = bow_get64(h + 72) * unit;
	c->entries_bytes = count * c->entry_bytes;
	return bow_range_ok(c->entries, c->entries_bytes, dev->size)
		       ? 0
		       : damaged(dev, c, "is damaged", err);
}

/* Entries that say they are in use, whatever else they say. */
static int count_used(struct bow_dev *dev, const struct copy *c, uint32_t *used,
		      struct bowimg_error *err)
{
	uint8_t type[16];
	int rc = 0;

	*used = 0;
	for (uint64_t at = 0; at < c->entries_bytes && !rc; at += c->entry_bytes) {
		rc = bow_dev_read(dev, type, sizeof(type), c->entries + at, err);
		*used += !rc && !bow_is_zero(type, sizeof(type));
	}
	return rc;
}

static int list(struct bow_dev *dev, const struct copy *c, struct bow_table *out,
		struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = bow_sparse_new(dev, c->disk_bytes, err);
	uint32_t used = 0;
	int rc = fd < 0 ? fd : bow_sparse_copy(dev, fd, 0, 512, err);

	if (!rc)
		rc = bow_sparse_copy(dev, fd, c->header, dev->sector_size, err);
	if (!rc)
		rc = bow_sparse_copy(dev, fd, c->entries, c->entries_bytes, err);
	if (!rc)
		rc = bow_table_list(dev, fd, out, NULL, err);
	if (!rc && strcmp(out->kind, "gpt") != 0)
		return damaged(dev, c, "is damaged", err);
	if (!rc)
		rc = count_used(dev, c, &used, err);
	if (!rc && used != out->count)
		return damaged(dev, c, "has partitions beyond the usable part of the disk", err);
	return rc;
}

static int check(struct bow_dev *dev, const struct copy copies[2], const struct bow_table *table,
		 struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_claims *claims = calloc(1, sizeof(*claims));
	char what[40];
	int rc;

	if (!claims)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	rc = bow_claim(dev, claims, 0, dev->sector_size, "the protective MBR", err);
	for (int i = 0; i < 2 && !rc; i++) {
		rc = bow_claim(dev, claims, copies[i].header, dev->sector_size, copies[i].what,
			       err);
		if (!rc)
			rc = bow_claim(dev, claims, copies[i].entries, copies[i].entries_bytes,
				       copies[i].what, err);
	}
	for (uint32_t i = 0; i < table->count && !rc; i++) {
		snprintf(what, sizeof(what), "partition %u", table->parts[i].number);
		rc = bow_claim(dev, claims, table->parts[i].off, table->parts[i].bytes, what, err);
	}
	return rc ? rc : bow_claims_check(dev, claims, 0, dev->size, "the disk", err);
}

static bool same(const struct bow_table *a, const struct bow_table *b)
{
	bool equal = a->count == b->count;

	for (uint32_t i = 0; i < a->count && equal; i++) {
		const struct bow_part *p = &a->parts[i], *q = &b->parts[i];

		equal = p->number == q->number && p->off == q->off && p->bytes == q->bytes &&
			p->flags == q->flags && !strcmp(p->type, q->type) &&
			!strcmp(p->uuid, q->uuid) && !strcmp(p->name, q->name);
	}
	return equal;
}

static int read_both(struct bow_dev *dev, struct copy copies[2], struct bow_table *out,
		     struct bow_table *backup, struct bowimg_error *err)
{
	int rc = read_header(dev, &copies[0], err);

	copies[1].header = copies[0].other;
	copies[0].disk_bytes = copies[1].disk_bytes = copies[0].other + dev->sector_size;
	if (!rc)
		rc = list(dev, &copies[0], out, err);
	if (rc)
		return rc;
	rc = read_header(dev, &copies[1], err);
	if (!rc)
		rc = list(dev, &copies[1], backup, err);
	if (!rc && !same(out, backup))
		return bow_table_refuse(dev, -EUCLEAN, "the two copies of the GPT differ", err);
	return rc;
}

int bow_table_read_gpt(struct bow_dev *dev, struct bow_table *out, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_table *backup = malloc(sizeof(*backup));
	struct copy copies[2] = {
		{.what = "first copy", .header = dev->sector_size},
		{.what = "backup"},
	};
	int rc;

	if (!backup)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	rc = read_both(dev, copies, out, backup, err);
	return rc ? rc : check(dev, copies, out, err);
}
