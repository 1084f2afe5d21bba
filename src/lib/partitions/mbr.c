/* SPDX-License-Identifier: MIT */
/*
 * MBR. Four entries in sector 0; one of them may be an extended partition, which holds the logical
 * ones. They are a chain of sectors that lie anywhere in the extended partition, each with its
 * partitions and where the next sector is. Other programs take a chain that is broken or goes in
 * circles for one that ends: here it is refused.
 *
 * After the kernel's block/partitions/msdos.c. Places are counted in sectors: those of partitions
 * from their link on, those of links from the start of the extended partition on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/partitions/table.h"

#define FIRST_LOGICAL 5u
#define CHAIN "the chain of logical partitions"

struct reader {
	struct bowimg_disk *dev;
	struct bow_table *out;
	struct bow_table_range extended; /* bytes 0: there is none */
	struct bow_table_ranges outer;	 /* the table, primary partitions, the extended one */
	struct bow_table_ranges inner;	 /* links and logical partitions */
	uint32_t next;			 /* number of the next logical partition */
};

static bool is_extended(const struct bow_mbr_entry *e)
{
	return e->count && (e->type == 0x05 || e->type == 0x0f || e->type == 0x85);
}

static bool is_partition(const struct bow_mbr_entry *e)
{
	return e->count && !is_extended(e);
}

static int add(struct reader *r, uint32_t number, uint64_t first, const struct bow_mbr_entry *e,
	       struct bowimg_error *err)
{
	const uint64_t unit = r->dev->sector_size;
	struct bow_part *p = bow_table_add(r->dev, r->out, err);

	if (!p)
		return -EOPNOTSUPP;
	p->number = number;
	p->off = first * unit;
	p->bytes = e->count * unit;
	snprintf(p->type, sizeof(p->type), "0x%02x", e->type);
	return bow_table_add_part(r->dev, number < FIRST_LOGICAL ? &r->outer : &r->inner, p, err);
}

static int add_extended(struct reader *r, const struct bow_mbr_entry *e, struct bowimg_error *err)
{
	const uint64_t unit = r->dev->sector_size;

	if (r->extended.bytes)
		return bow_table_refuse(r->dev, -EUCLEAN, "there are two extended partitions", err);
	r->extended = (struct bow_table_range){e->start * unit, e->count * unit,
					       "the extended partition"};
	return bow_table_add_range(r->dev, &r->outer, r->extended.off, r->extended.bytes,
				   r->extended.what, err);
}

static int read_primary(struct reader *r, const uint8_t sector[512], struct bowimg_error *err)
{
	int rc = bow_table_add_range(r->dev, &r->outer, 0, r->dev->sector_size,
				     "the partition table", err);

	for (uint32_t i = 0; i < 4 && !rc; i++) {
		const struct bow_mbr_entry e = bow_mbr_entry(sector, (int)i);

		if (is_partition(&e))
			rc = add(r, i + 1, e.start, &e, err);
		else if (is_extended(&e))
			rc = add_extended(r, &e, err);
	}
	return rc;
}

/* A link of the chain: where its sector is, and how long it says that it is. */
struct link {
	uint64_t off; /* bytes */
	uint64_t count;
};

/* The third and fourth entry of a link may hold anything: what fits is a partition. */
static bool fits(const struct reader *r, const struct link *link, const struct bow_mbr_entry *e)
{
	const uint64_t unit = r->dev->sector_size, off = link->off + e->start * unit;

	return (uint64_t)e->start + e->count <= link->count &&
	       off + e->count * unit <= r->extended.off + r->extended.bytes;
}

static int read_link(struct reader *r, const struct link *link, uint8_t sector[512],
		     struct bowimg_error *err)
{
	const uint64_t unit = r->dev->sector_size;
	int rc;

	if (!bow_range_ok(link->off, unit, r->dev->size))
		return bow_table_cut_off(r->dev, CHAIN " leaves the disk", err);
	for (uint32_t i = 0; i < r->inner.count; i++)
		if (r->inner.list[i].off == link->off && !strcmp(r->inner.list[i].what, CHAIN))
			return bow_table_refuse(r->dev, -EUCLEAN, CHAIN " does not end", err);
	rc = bow_table_add_range(r->dev, &r->inner, link->off, unit, CHAIN, err);
	if (!rc)
		rc = bow_disk_read(r->dev, sector, 512, link->off, err);
	if (!rc && !bow_mbr_signed(sector))
		rc = bow_table_refuse(r->dev, -EUCLEAN, CHAIN " is broken", err);
	return rc;
}

static int add_logical(struct reader *r, const struct link *link, const uint8_t sector[512],
		       struct bowimg_error *err)
{
	int rc = 0;

	for (int i = 0; i < 4 && !rc; i++) {
		const struct bow_mbr_entry e = bow_mbr_entry(sector, i);

		if (is_partition(&e) && (i < 2 || fits(r, link, &e)))
			rc = add(r, r->next++, link->off / r->dev->sector_size + e.start, &e, err);
	}
	return rc;
}

/* Each link is another sector of the disk, and only so many have room in `inner`: it ends. */
static int follow_chain(struct reader *r, struct bowimg_error *err)
{
	const uint64_t unit = r->dev->sector_size;
	struct link link = {r->extended.off, r->extended.bytes / unit};
	uint8_t sector[512];
	int rc = 0;

	for (bool more = r->extended.bytes != 0; more && !rc;) {
		rc = read_link(r, &link, sector, err);
		if (!rc)
			rc = add_logical(r, &link, sector, err);
		more = false;
		for (int i = 0; i < 4 && !rc && !more; i++) {
			const struct bow_mbr_entry e = bow_mbr_entry(sector, i);

			more = is_extended(&e);
			link = (struct link){r->extended.off + e.start * unit, e.count};
		}
	}
	return rc;
}

int bow_table_read_mbr(struct bowimg_disk *dev, const uint8_t sector[512], struct bow_table *out,
		       struct bowimg_error *err)
{
	CLEANUP_FREE struct reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	r->dev = dev;
	r->out = out;
	r->next = FIRST_LOGICAL;
	snprintf(out->kind, sizeof(out->kind), "dos");
	rc = read_primary(r, sector, err);
	if (!rc)
		rc = follow_chain(r, err);
	if (!rc)
		rc = bow_table_check_ranges(dev, &r->outer, 0, dev->size, "the disk", err);
	return rc ? rc
		  : bow_table_check_ranges(dev, &r->inner, r->extended.off, r->extended.bytes,
					   r->extended.what, err);
}
