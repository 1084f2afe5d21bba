/* SPDX-License-Identifier: MIT */
/*
 * MBR. The logical partitions are a chain of sectors that lie anywhere in the extended partition,
 * each with one partition and where the next sector is. It is followed here for two reasons: so
 * that libblkid finds the links in its copy, and since it takes a chain that is broken or goes in
 * circles for one that ends.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/sparse.h"
#include "maps/table.h"

#define UNIT 512u

static bool is_extended(uint8_t type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

/* The entry that says where the chain goes on, or begins; false if there is none. */
static bool find_link(const uint8_t sector[512], struct bow_mbr_entry *link)
{
	for (int i = 0; i < 4; i++) {
		*link = bow_mbr_entry(sector, i);
		if (is_extended(link->type) && link->count)
			return true;
	}
	return false;
}

/* One link: claim its sector and copy it. Links that meet again overlap, which is found later. */
static int take_link(struct bow_dev *dev, int fd, uint64_t off, uint8_t sector[512],
		     struct bow_claims *claims, struct bowimg_error *err)
{
	int rc;

	if (!bow_range_ok(off, dev->sector_size, dev->size))
		return bow_table_refuse(dev, -EUCLEAN,
					"the chain of logical partitions leaves the disk", err);
	rc = bow_claim(dev, claims, off, dev->sector_size, "the chain of logical partitions", err);
	if (!rc)
		rc = bow_dev_read(dev, sector, 512, off, err);
	if (!rc && !bow_mbr_signed(sector))
		return bow_table_refuse(dev, -EUCLEAN, "the chain of logical partitions is broken",
					err);
	return rc ? rc : bow_sparse_copy(dev, fd, off, 512, err);
}

static int follow_chain(struct bow_dev *dev, int fd, struct bow_claims *claims,
			struct bowimg_error *err)
{
	const uint64_t unit = dev->sector_size;
	struct bow_mbr_entry link;
	uint8_t sector[512];
	uint64_t base;
	int rc = bow_dev_read(dev, sector, sizeof(sector), 0, err);

	if (rc || !find_link(sector, &link))
		return rc;
	base = link.start * unit;
	rc = take_link(dev, fd, base, sector, claims, err);
	for (unsigned n = 1; !rc && find_link(sector, &link); n++) {
		if (n == BOWIMG_PARTITIONS_MAX)
			return bow_table_refuse(
				dev, -EUCLEAN, "the chain of logical partitions does not end", err);
		rc = take_link(dev, fd, base + link.start * unit, sector, claims, err);
	}
	return rc;
}

/* The logical partitions and the chain inside the extended one; the rest, and that one, outside. */
static int check(struct bow_dev *dev, const struct bow_table *table,
		 const struct bow_claim *extended, struct bow_claims *inner,
		 struct bow_claims *outer, struct bowimg_error *err)
{
	char what[40];
	int rc = bow_claim(dev, outer, 0, dev->sector_size, "the partition table", err);

	if (!rc && extended->bytes)
		rc = bow_claim(dev, outer, extended->off, extended->bytes, extended->what, err);
	for (uint32_t i = 0; i < table->count && !rc; i++) {
		const struct bow_part *p = &table->parts[i];

		snprintf(what, sizeof(what), "partition %u", p->number);
		rc = bow_claim(dev, p->number > 4 ? inner : outer, p->off, p->bytes, what, err);
	}
	if (!rc)
		rc = bow_claims_check(dev, outer, 0, dev->size, "the disk", err);
	return rc ? rc
		  : bow_claims_check(dev, inner, extended->off, extended->bytes, extended->what,
				     err);
}

int bow_table_read_mbr(struct bow_dev *dev, struct bow_table *out, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = bow_sparse_new(dev, dev->size, err);
	CLEANUP_FREE struct bow_claims *claims = calloc(2, sizeof(*claims));
	struct bow_claim extended;
	int rc;

	if (fd < 0)
		return fd;
	if (!claims)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	rc = bow_sparse_copy(dev, fd, 0, UNIT, err);
	if (!rc)
		rc = follow_chain(dev, fd, &claims[0], err);
	if (!rc)
		rc = bow_table_list(dev, fd, out, &extended, err);
	return rc ? rc : check(dev, out, &extended, &claims[0], &claims[1], err);
}
