/* SPDX-License-Identifier: MIT */
/* Which partition table is this? Where two answers are possible, none is given. */
#include "lib/partitions/table.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/grow.h"
#include "lib/base/uri.h"
#include "lib/probe/probe.h"
#include "lib/disk/hint.h"

/* How many of the MBR's entries say "there is a GPT", and how many something else. */
static void count_entries(const uint8_t mbr[512], int *gpt, int *other)
{
	*gpt = *other = 0;
	for (int i = 0; i < 4 && bow_mbr_signed(mbr); i++) {
		struct bow_mbr_entry e = bow_mbr_entry(mbr, i);

		if (e.type == BOW_MBR_GPT)
			++*gpt;
		else if (e.type && e.count)
			++*other;
	}
}

/* Is a GPT's signature in the second sector, by the size of our sectors or by the other one? */
static int find_gpt(struct bowimg_disk *dev, bool *here, bool *elsewhere, struct bowimg_error *err)
{
	uint8_t at512[512] = {0}, at4096[512] = {0};
	bool is_4k = dev->sector_size == 4096;
	int rc = 0;

	if (dev->size >= 1024)
		rc = bow_disk_read(dev, at512, sizeof(at512), 512, err);
	if (!rc && dev->size >= 4096 + 512)
		rc = bow_disk_read(dev, at4096, sizeof(at4096), 4096, err);
	*here = bow_gpt_signed(is_4k ? at4096 : at512);
	*elsewhere = bow_gpt_signed(is_4k ? at512 : at4096);
	return rc;
}

/* The table is intact, but the image has sectors of another size now. */
static int refuse_sectors(struct bowimg_disk *dev, struct bowimg_error *err)
{
	const unsigned had = dev->sector_size == 4096 ? 512 : 4096;

	bow_err(err, -EOPNOTSUPP,
		"%s: read the partition table: it was made for sectors of another size: %u bytes, "
		"not %u",
		dev->name, had, dev->sector_size);
	if (bow_uri_is_nbd(dev->name))
		bow_err_hint(err, "serve it with sectors of %u bytes", had);
	else
		bow_err_hint(err,
			     "then use the loop device that this prints: losetup -f --show "
			     "--sector-size %u " BOW_HINT_DEVICE,
			     had);
	return -EOPNOTSUPP;
}

/* The MBR says GPT: then it is one, or it is broken. */
static int read_gpt(struct bowimg_disk *dev, int others, bool here, bool elsewhere,
		    struct bow_table *out, struct bowimg_error *err)
{
	if (others)
		return bow_table_refuse(dev, -EOPNOTSUPP,
					"it is a hybrid of MBR and GPT, which may contradict each "
					"other",
					err);
	if (!here && elsewhere) {
		return refuse_sectors(dev, err);
	}
	return bow_table_read_gpt(dev, out, err);
}

static int read_known(struct bowimg_disk *dev, const struct bow_probe *found,
		      const uint8_t mbr[512], struct bow_table *out, struct bowimg_error *err)
{
	bool here, elsewhere, is_gpt = !strcmp(found->pttype, "gpt");
	int gpts, others;
	int rc = find_gpt(dev, &here, &elsewhere, err);

	if (rc)
		return rc;
	count_entries(mbr, &gpts, &others);
	if (is_gpt || gpts)
		return read_gpt(dev, others, here, elsewhere, out, err);
	if (here)
		return bow_table_refuse(dev, found->pttype[0] ? -EOPNOTSUPP : -EUCLEAN,
					found->pttype[0]
						? "there is an MBR and a GPT besides, and they "
						  "know nothing of each other"
						: "there is a GPT, but no MBR that protects it",
					err);
	if (!found->pttype[0])
		return 0;
	if (strcmp(found->pttype, "dos") != 0)
		return bow_table_refuse(dev, -EOPNOTSUPP, "it is neither a GPT nor an MBR", err);
	return bow_table_read_mbr(dev, mbr, out, err);
}

static int by_offset(const void *a, const void *b)
{
	const struct bow_part *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

int bow_table_read(struct bowimg_disk *dev, const struct bow_probe *found, struct bow_table *out,
		   struct bowimg_error *err)
{
	uint8_t mbr[512] = {0};
	int rc = bow_disk_read(dev, mbr, bow_min(sizeof(mbr), dev->size), 0, err);

	memset(out, 0, sizeof(*out));
	if (!rc)
		rc = bow_probe_refuse_both(dev, found, err);
	/* The boot sector of a file system can look like an MBR without sensible entries. */
	if (rc || found->type[0])
		return rc;
	rc = read_known(dev, found, mbr, out, err);
	bow_sort(out->parts, out->count, sizeof(out->parts[0]), by_offset);
	return rc;
}
