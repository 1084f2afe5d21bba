/* SPDX-License-Identifier: MIT */
/* libblkid's list of partitions, in our words. */
#include <blkid/blkid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maps/table.h"

#define UNIT 512u /* libblkid counts in these, whatever the sectors are */

static void copy_text(char *to, size_t room, const char *text)
{
	snprintf(to, room, "%s", text ? text : "");
}

static int add(struct bow_dev *dev, struct bow_table *out, blkid_partition par,
	       struct bowimg_error *err)
{
	uint64_t start = (uint64_t)blkid_partition_get_start(par);
	uint64_t count = (uint64_t)blkid_partition_get_size(par);
	struct bow_part *p = &out->parts[out->count];

	if (start > INT64_MAX / UNIT || count > INT64_MAX / UNIT || !count)
		return bow_table_refuse(dev, -EUCLEAN, "a partition has an impossible size", err);
	if (out->count == BOWIMG_PARTITIONS_MAX)
		return bow_table_refuse(dev, -EOPNOTSUPP, "it has too many partitions", err);
	*p = (struct bow_part){
		.number = (uint32_t)blkid_partition_get_partno(par),
		.off = start * UNIT,
		.bytes = count * UNIT,
		.flags = blkid_partition_get_flags(par),
	};
	if (blkid_partition_get_type_string(par))
		copy_text(p->type, sizeof(p->type), blkid_partition_get_type_string(par));
	else
		snprintf(p->type, sizeof(p->type), "0x%02x",
			 (unsigned)blkid_partition_get_type(par));
	copy_text(p->name, sizeof(p->name), blkid_partition_get_name(par));
	copy_text(p->uuid, sizeof(p->uuid), blkid_partition_get_uuid(par));
	out->count++;
	return 0;
}

static int add_all(struct bow_dev *dev, blkid_partlist list, struct bow_table *out,
		   struct bow_claim *extended, struct bowimg_error *err)
{
	int count = blkid_partlist_numof_partitions(list);
	int rc = 0;

	for (int i = 0; i < count && !rc; i++) {
		blkid_partition par = blkid_partlist_get_partition(list, i);

		/* A table inside a partition (BSD) is that partition's own business. */
		if (blkid_parttable_get_parent(blkid_partition_get_table(par)))
			continue;
		rc = add(dev, out, par, err);
		if (rc || !blkid_partition_is_extended(par))
			continue;
		if (extended && extended->bytes)
			return bow_table_refuse(dev, -EUCLEAN, "there are two extended partitions",
						err);
		out->count--;
		if (extended)
			*extended = (struct bow_claim){out->parts[out->count].off,
						       out->parts[out->count].bytes,
						       "the extended partition"};
	}
	return rc;
}

static int by_offset(const void *a, const void *b)
{
	const struct bow_part *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static int look(struct bow_dev *dev, blkid_probe pr, int fd, struct bow_table *out,
		struct bow_claim *extended, struct bowimg_error *err)
{
	blkid_partlist list;
	const char *kind;
	int rc;

	if (blkid_probe_set_device(pr, fd, 0, 0) < 0 ||
	    blkid_probe_set_sectorsize(pr, dev->sector_size) < 0)
		return bow_err(err, -EIO, "%s: read the partition table: libblkid cannot be set up",
			       dev->name);
	list = blkid_probe_get_partitions(pr);
	kind = list && blkid_partlist_get_table(list)
		       ? blkid_parttable_get_type(blkid_partlist_get_table(list))
		       : NULL;
	if (!kind)
		return 0;
	copy_text(out->kind, sizeof(out->kind), kind);
	rc = add_all(dev, list, out, extended, err);
	qsort(out->parts, out->count, sizeof(out->parts[0]), by_offset);
	return rc;
}

int bow_table_list(struct bow_dev *dev, int fd, struct bow_table *out, struct bow_claim *extended,
		   struct bowimg_error *err)
{
	blkid_probe pr = blkid_new_probe();
	int rc;

	memset(out, 0, sizeof(*out));
	if (extended)
		extended->bytes = 0;
	if (!pr)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	rc = look(dev, pr, fd, out, extended, err);
	blkid_free_probe(pr);
	return rc;
}
