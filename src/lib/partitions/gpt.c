/* SPDX-License-Identifier: MIT */
/*
 * GPT. There are two copies of it, each with a checksum of its header and one of its entries. Both
 * must be whole and say the same: other programs take the first that is whole, and a disk whose
 * copies differ has two answers.
 *
 * A disk that was made larger has its backup where the end was, as its first header says; both
 * copies are read as those of the disk that they were made for.
 *
 * After the UEFI Specification, "GUID Partition Table (GPT) Disk Layout". All numbers are
 * little-endian, and all places are counted in sectors.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/partitions/table.h"

/* Where the fields of a header are. */
enum {
	HEADER_BYTES = 12,
	HEADER_CRC = 16,
	HEADER_SELF = 24,
	HEADER_OTHER = 32,
	HEADER_FIRST_USABLE = 40,
	HEADER_LAST_USABLE = 48,
	HEADER_ENTRIES = 72,
	HEADER_ENTRY_COUNT = 80,
	HEADER_ENTRY_BYTES = 84,
	HEADER_ENTRIES_CRC = 88,
	HEADER_END = 92
};

/* And those of an entry. */
enum { ENTRY_TYPE = 0, ENTRY_FIRST = 32, ENTRY_LAST = 40, ENTRY_NAME = 56, ENTRY_BYTES = 128 };

/* 128 entries are usual; nothing sensible comes near this. */
#define ENTRIES_MAX 8192u
#define SECTOR_BYTES_MAX 4096u

/* The other copy of a disk that was cut is beyond its end; this keeps sums far from overflow. */
#define DISK_BYTES_MAX ((uint64_t)INT64_MAX / 2)

struct copy {
	const char *what;
	uint64_t header, other, entries; /* sectors */
	uint64_t first_usable, last_usable;
	uint32_t count;
	uint8_t *raw; /* the entries */
};

static int damaged(struct bowimg_disk *dev, const struct copy *c, const char *how,
		   struct bowimg_error *err)
{
	char why[192];

	snprintf(why, sizeof(why), "the %s of the GPT %s", c->what, how);
	bow_table_refuse(dev, -EUCLEAN, why, err);
	return -EUCLEAN;
}

static uint32_t crc_of(const uint8_t *p, size_t bytes)
{
	return (uint32_t)crc32_z(0, p, bytes);
}

/* The checksum of a header covers the header with zeros in place of the checksum. */
static bool header_crc_ok(const uint8_t *h, uint32_t sector_bytes)
{
	const uint32_t bytes = bow_get32(h + HEADER_BYTES);
	uint8_t copy[SECTOR_BYTES_MAX];

	if (bytes < HEADER_END || bytes > sector_bytes || sector_bytes > sizeof(copy))
		return false;
	memcpy(copy, h, bytes);
	bow_put32(copy + HEADER_CRC, 0);
	return crc_of(copy, bytes) == bow_get32(h + HEADER_CRC);
}

static void decode(const uint8_t *h, struct copy *c)
{
	c->other = bow_get64(h + HEADER_OTHER);
	c->first_usable = bow_get64(h + HEADER_FIRST_USABLE);
	c->last_usable = bow_get64(h + HEADER_LAST_USABLE);
	c->entries = bow_get64(h + HEADER_ENTRIES);
	c->count = bow_get32(h + HEADER_ENTRY_COUNT);
}

/* `last`: the last sector of the disk for which the table was made. */
static bool places_ok(const struct copy *c, uint64_t last, uint64_t sectors, uint32_t sector_bytes)
{
	return c->count > 0 && c->count <= ENTRIES_MAX &&
	       c->other <= DISK_BYTES_MAX / sector_bytes && c->first_usable <= c->last_usable &&
	       c->last_usable <= last &&
	       !(c->first_usable < c->header && c->header < c->last_usable) &&
	       bow_range_ok(c->entries, bow_div_up((uint64_t)c->count * ENTRY_BYTES, sector_bytes),
			    bow_min(sectors, last + 1));
}

static int beyond_end(struct bowimg_disk *dev, const struct copy *c, struct bowimg_error *err)
{
	char why[128];

	snprintf(why, sizeof(why), "the %s of the GPT is beyond the end of the disk: was it cut?",
		 c->what);
	bow_table_cut_off(dev, why, err);
	return -EUCLEAN;
}

/* `last`: as above; 0: this copy says it, being the first. */
static int read_header(struct bowimg_disk *dev, struct copy *c, uint64_t last,
		       uint32_t *entries_crc, struct bowimg_error *err)
{
	const uint32_t unit = dev->sector_size;
	const uint64_t sectors = dev->size / unit;
	uint8_t h[SECTOR_BYTES_MAX];
	int rc;

	if (c->header >= sectors)
		return beyond_end(dev, c, err);
	rc = bow_disk_read(dev, h, bow_min(unit, sizeof(h)), c->header * unit, err);
	if (rc)
		return rc;
	decode(h, c);
	*entries_crc = bow_get32(h + HEADER_ENTRIES_CRC);
	if (!bow_gpt_signed(h) || !header_crc_ok(h, unit) ||
	    bow_get64(h + HEADER_SELF) != c->header ||
	    bow_get32(h + HEADER_ENTRY_BYTES) != ENTRY_BYTES ||
	    !places_ok(c, last ? last : c->other, sectors, unit))
		return damaged(dev, c, "is damaged", err);
	return 0;
}

static int read_copy(struct bowimg_disk *dev, struct copy *c, uint64_t last,
		     struct bowimg_error *err)
{
	uint32_t crc;
	size_t bytes;
	int rc = read_header(dev, c, last, &crc, err);

	if (rc)
		return rc;
	bytes = (size_t)c->count * ENTRY_BYTES;
	c->raw = malloc(bytes);
	if (!c->raw)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	rc = bow_disk_read(dev, c->raw, bytes, c->entries * dev->sector_size, err);
	if (!rc && crc_of(c->raw, bytes) != crc)
		rc = damaged(dev, c, "is damaged", err);
	return rc;
}

static bool in_use(const uint8_t *entry)
{
	return !bow_is_zero(entry + ENTRY_TYPE, 16);
}

/* What entries that are not in use hold besides does not matter. */
static bool same(const struct copy *a, const struct copy *b)
{
	bool equal = a->count == b->count;

	for (uint32_t i = 0; i < a->count && equal; i++) {
		const uint8_t *x = a->raw + (size_t)i * ENTRY_BYTES;
		const uint8_t *y = b->raw + (size_t)i * ENTRY_BYTES;

		equal = (!in_use(x) && !in_use(y)) || !memcmp(x, y, ENTRY_BYTES);
	}
	return equal;
}

/* The first three of its five numbers are little-endian. */
static void type_text(const uint8_t *t, char *out, size_t room)
{
	snprintf(out, room, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", bow_get32(t),
		 bow_get16(t + 4), bow_get16(t + 6), t[8], t[9], t[10], t[11], t[12], t[13], t[14],
		 t[15]);
}

static int add_entry(struct bowimg_disk *dev, const struct copy *c, uint32_t i,
		     struct bow_table *out, struct bowimg_error *err)
{
	const uint8_t *entry = c->raw + (size_t)i * ENTRY_BYTES;
	const uint64_t first = bow_get64(entry + ENTRY_FIRST);
	const uint64_t last = bow_get64(entry + ENTRY_LAST);
	struct bow_part *p;

	if (first < c->first_usable || last > c->last_usable)
		return damaged(dev, c, "has partitions beyond the usable part of the disk", err);
	if (last < first)
		return bow_table_refuse(dev, -EUCLEAN, "a partition has an impossible size", err);
	p = bow_table_add(dev, out, err);
	if (!p)
		return -EOPNOTSUPP;
	p->number = i + 1;
	p->off = first * dev->sector_size;
	p->bytes = (last - first + 1) * dev->sector_size;
	type_text(entry + ENTRY_TYPE, p->type, sizeof(p->type));
	bow_table_name(entry + ENTRY_NAME, p->name);
	return 0;
}

static int list(struct bowimg_disk *dev, const struct copy *c, struct bow_table *out,
		struct bowimg_error *err)
{
	int rc = 0;

	snprintf(out->kind, sizeof(out->kind), "gpt");
	for (uint32_t i = 0; i < c->count && !rc; i++)
		if (in_use(c->raw + (size_t)i * ENTRY_BYTES))
			rc = add_entry(dev, c, i, out, err);
	return rc;
}

static int check_copy(struct bowimg_disk *dev, const struct copy *c,
		      struct bow_table_ranges *ranges, struct bowimg_error *err)
{
	const uint64_t unit = dev->sector_size;
	int rc = bow_table_add_range(dev, ranges, c->header * unit, unit, c->what, err);

	return rc ? rc
		  : bow_table_add_range(dev, ranges, c->entries * unit,
					(uint64_t)c->count * ENTRY_BYTES, c->what, err);
}

/* The partitions, both copies and the protective MBR keep apart. */
static int check(struct bowimg_disk *dev, const struct copy copies[2],
		 const struct bow_table *table, struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_table_ranges *ranges = calloc(1, sizeof(*ranges));
	int rc;

	if (!ranges)
		return bow_err_errno(err, -ENOMEM, "%s: read the partition table", dev->name);
	rc = bow_table_add_range(dev, ranges, 0, dev->sector_size, "the protective MBR", err);
	for (int i = 0; i < 2 && !rc; i++)
		rc = check_copy(dev, &copies[i], ranges, err);
	for (uint32_t i = 0; i < table->count && !rc; i++)
		rc = bow_table_add_part(dev, ranges, &table->parts[i], err);
	return rc ? rc : bow_table_check_ranges(dev, ranges, 0, dev->size, "the disk", err);
}

int bow_table_read_gpt(struct bowimg_disk *dev, struct bow_table *out, struct bowimg_error *err)
{
	struct copy copies[2] = {{.what = "first copy", .header = 1}, {.what = "backup"}};
	int rc = read_copy(dev, &copies[0], 0, err);

	if (rc)
		goto out;
	copies[1].header = copies[0].other;
	rc = read_copy(dev, &copies[1], copies[0].other, err);
	if (!rc && !same(&copies[0], &copies[1]))
		rc = bow_table_refuse(dev, -EUCLEAN, "the two copies of the GPT differ", err);
	if (!rc)
		rc = list(dev, &copies[0], out, err);
	if (!rc)
		rc = check(dev, copies, out, err);
out:
	free(copies[0].raw);
	free(copies[1].raw);
	return rc;
}
