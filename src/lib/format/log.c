/* SPDX-License-Identifier: MIT */
/* The records of the log, and their entries. */
#include "lib/format/format.h"

#include <string.h>

#include "lib/base/bytes.h"

#define RECORD_MAGIC 0x43524f42u /* "BORC" */

enum record_offset { AT_REC_MAGIC = 0, AT_REC_COUNT = 4, AT_REC_SEQ = 8, AT_REC_CHECKSUM = 16 };

enum entry_offset {
	AT_TYPE = 0,
	AT_ENTRY_FLAGS = 1,
	AT_COUNT = 4,
	AT_SOURCE = 8,
	AT_DEST = 16,
	AT_HASH = 24,
};

size_t bow_record_bytes(uint32_t n)
{
	return BOW_RECORD_HEADER_BYTES + (size_t)n * BOW_ENTRY_BYTES;
}

size_t bow_record_end(size_t at, uint32_t n, uint32_t sector_size)
{
	return (size_t)bow_div_up(at + bow_record_bytes(n), sector_size) * sector_size;
}

uint32_t bow_record_fit(size_t bytes)
{
	if (bytes < bow_record_bytes(1))
		return 0;
	return (uint32_t)bow_min((bytes - BOW_RECORD_HEADER_BYTES) / BOW_ENTRY_BYTES,
				 BOW_RECORD_MAX_ENTRIES);
}

static void put_entry(uint8_t *p, const struct bow_entry *e)
{
	p[AT_TYPE] = e->type;
	p[AT_ENTRY_FLAGS] = e->flags;
	bow_put32(p + AT_COUNT, e->count_blk);
	bow_put64(p + AT_SOURCE, e->source_blk);
	bow_put64(p + AT_DEST, e->dest_blk);
	bow_put64(p + AT_HASH, e->hash);
}

/*
 * The checksum of a record: its entries, hashed with the hash of the header (checksum field zero)
 * as their seed. So both are covered without joining them in one buffer.
 */
static uint64_t record_hash(const uint8_t *record, uint32_t n, uint64_t seed)
{
	uint8_t header[BOW_RECORD_HEADER_BYTES];

	memcpy(header, record, sizeof(header));
	bow_put64(header + AT_REC_CHECKSUM, 0);
	return bow_hash(record + sizeof(header), (size_t)n * BOW_ENTRY_BYTES,
			bow_hash(header, sizeof(header), seed));
}

void bow_record_encode(uint8_t *out, uint64_t seq, const struct bow_entry *e, uint32_t n,
		       uint64_t seed)
{
	memset(out, 0, bow_record_bytes(n));
	bow_put32(out + AT_REC_MAGIC, RECORD_MAGIC);
	bow_put32(out + AT_REC_COUNT, n);
	bow_put64(out + AT_REC_SEQ, seq);
	for (uint32_t i = 0; i < n; i++)
		put_entry(out + bow_record_bytes(i), &e[i]);
	bow_put64(out + AT_REC_CHECKSUM, record_hash(out, n, seed));
}

bool bow_record_begins(const uint8_t *in)
{
	return bow_get32(in + AT_REC_MAGIC) == RECORD_MAGIC;
}

bool bow_record_decode(const uint8_t *in, size_t bytes, uint64_t seed, uint64_t *seq, uint32_t *n)
{
	uint32_t count;

	if (bytes < bow_record_bytes(1) || bow_get32(in + AT_REC_MAGIC) != RECORD_MAGIC)
		return false;
	count = bow_get32(in + AT_REC_COUNT);
	if (count < 1 || count > BOW_RECORD_MAX_ENTRIES || bow_record_bytes(count) > bytes)
		return false;
	if (record_hash(in, count, seed) != bow_get64(in + AT_REC_CHECKSUM))
		return false;
	*seq = bow_get64(in + AT_REC_SEQ);
	*n = count;
	return true;
}

uint32_t bow_record_count(const uint8_t *record)
{
	return bow_get32(record + AT_REC_COUNT);
}

void bow_record_entry(const uint8_t *record, uint32_t i, struct bow_entry *e)
{
	const uint8_t *p = record + bow_record_bytes(i);

	e->type = p[AT_TYPE];
	e->flags = p[AT_ENTRY_FLAGS];
	e->count_blk = bow_get32(p + AT_COUNT);
	e->source_blk = bow_get64(p + AT_SOURCE);
	e->dest_blk = bow_get64(p + AT_DEST);
	e->hash = bow_get64(p + AT_HASH);
}

bool bow_parking_ok(const struct bow_super *sb, uint64_t blk, uint64_t count, uint64_t end_blk)
{
	if (blk == 0 || !bow_range_ok(blk, count, end_blk))
		return false;
	return blk >= bow_super_image_blk(sb) || blk + count <= sb->image_size / BOW_BLOCK;
}

static unsigned known_flags(uint8_t type)
{
	if (type == BOW_ENTRY_COPY)
		return BOW_ENTRY_MOVE;
	return type == BOW_ENTRY_ZERO ? BOW_ENTRY_HOLE : 0;
}

static bool copy_ok(const struct bow_entry *e, const struct bow_super *sb, uint64_t end_blk,
		    const char **why)
{
	if (e->count_blk > BOW_COPY_MAX_BLK)
		*why = "too many blocks in one copy";
	else if (!bow_parking_ok(sb, e->dest_blk, e->count_blk, end_blk))
		*why = "destination outside the image";
	else
		return true;
	return false;
}

/* Behind the name there are zeros. */
static bool name_ok(const struct bow_entry *e)
{
	char name[BOWIMG_MARK_NAME_MAX + 1];
	struct bow_entry again;

	bow_mark_name(e, name);
	again = bow_mark_entry(name, e->count_blk);
	return bowimg_mark_name_ok(name) && again.source_blk == e->source_blk &&
	       again.dest_blk == e->dest_blk && again.hash == e->hash;
}

/* The four entries of marks; only PLACE names blocks. */
static bool mark_ok(const struct bow_entry *e, const struct bow_super *sb, uint64_t end_blk,
		    const char **why)
{
	*why = "a mark in an image without marks";
	if (!(sb->incompat & BOW_INCOMPAT_MARKS))
		return false;
	*why = "a mark with a wrong name";
	if (e->type == BOW_ENTRY_MARK)
		return name_ok(e);
	*why = "a place outside the image";
	if (e->type == BOW_ENTRY_PLACE)
		return bow_parking_ok(sb, e->source_blk, e->count_blk, end_blk) &&
		       bow_parking_ok(sb, e->dest_blk, e->count_blk, end_blk);
	*why = "a mark that cannot be";
	return e->source_blk > 0;
}

static bool map_ok(const struct bow_entry *e, const struct bow_super *sb, uint64_t end_blk,
		   const char **why)
{
	uint64_t image_blk = bow_super_image_blk(sb);

	if (e->type == BOW_ENTRY_MAP_RUN) {
		*why = "free range outside the image";
		return bow_range_ok(e->source_blk, e->dest_blk, image_blk);
	}
	*why = "piece of the free map outside the image";
	return e->source_blk < image_blk && e->source_blk % BOW_MAP_LEAF_BLK == 0 &&
	       bow_parking_ok(sb, e->dest_blk, 1, end_blk);
}

bool bow_entry_ok(const struct bow_entry *e, const struct bow_super *sb, uint64_t end_blk,
		  const char **why)
{
	if (e->flags & ~known_flags(e->type)) {
		*why = "unknown flag";
		return false;
	}
	switch (e->type) {
	case BOW_ENTRY_MAP_RUN:
	case BOW_ENTRY_MAP_BITS:
		return map_ok(e, sb, end_blk, why);
	case BOW_ENTRY_MARK:
	case BOW_ENTRY_UNMARK:
	case BOW_ENTRY_REVERT:
	case BOW_ENTRY_PLACE:
		return mark_ok(e, sb, end_blk, why);
	case BOW_ENTRY_COPY:
	case BOW_ENTRY_ZERO:
	case BOW_ENTRY_TAKE:
	case BOW_ENTRY_ZERO_PENDING:
	case BOW_ENTRY_ZERO_DONE:
		break;
	case BOW_ENTRY_GIVE:
		*why = "gives blocks back, which the superblock does not announce";
		if (!(sb->incompat & BOW_INCOMPAT_GIVE))
			return false;
		break;
	default:
		*why = "unknown entry type";
		return false;
	}
	*why = "source outside the image";
	if (!bow_range_ok(e->source_blk, e->count_blk, bow_super_image_blk(sb)))
		return false;
	return e->type != BOW_ENTRY_COPY || copy_ok(e, sb, end_blk, why);
}

const char *bow_entry_name(const struct bow_entry *e)
{
	switch (e->type) {
	case BOW_ENTRY_COPY:
		return e->flags & BOW_ENTRY_MOVE ? "move" : "copy";
	case BOW_ENTRY_ZERO:
		return "zero";
	case BOW_ENTRY_TAKE:
		return "take";
	case BOW_ENTRY_ZERO_PENDING:
		return "promise";
	case BOW_ENTRY_ZERO_DONE:
		return "lift";
	case BOW_ENTRY_MAP_RUN:
		return "map-run";
	case BOW_ENTRY_MAP_BITS:
		return "map-bits";
	case BOW_ENTRY_GIVE:
		return "give";
	case BOW_ENTRY_MARK:
		return "mark";
	case BOW_ENTRY_UNMARK:
		return "unmark";
	case BOW_ENTRY_REVERT:
		return "revert";
	case BOW_ENTRY_PLACE:
		return "place";
	}
	return "unknown";
}

/* ---- names of marks -------------------------------------------------------------- */

struct bow_entry bow_mark_entry(const char *name, uint32_t made_at)
{
	uint8_t field[BOWIMG_MARK_NAME_MAX] = {0};

	memcpy(field, name, strnlen(name, sizeof(field)));
	return (struct bow_entry){
		.type = BOW_ENTRY_MARK,
		.count_blk = made_at,
		.source_blk = bow_get64(field),
		.dest_blk = bow_get64(field + 8),
		.hash = bow_get64(field + 16),
	};
}

void bow_mark_name(const struct bow_entry *e, char name[BOWIMG_MARK_NAME_MAX + 1])
{
	uint8_t field[BOWIMG_MARK_NAME_MAX];

	bow_put64(field, e->source_blk);
	bow_put64(field + 8, e->dest_blk);
	bow_put64(field + 16, e->hash);
	memcpy(name, field, sizeof(field));
	name[sizeof(field)] = '\0';
}

bool bowimg_mark_name_ok(const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-";
	size_t n = strspn(name, letters);

	return n > 0 && n <= BOWIMG_MARK_NAME_MAX && !name[n] && !strchr("._-", name[0]) &&
	       strcmp(name, "prepare") != 0;
}
