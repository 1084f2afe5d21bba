/* SPDX-License-Identifier: MIT */
/*
 * Partition tables as libblkid sees them: what bowimg reads from a table is what libblkid lists,
 * number by number and name by name. Tables of all shapes are made at random; some are then
 * changed, half of those with right checksums. bowimg may refuse what libblkid takes, but only if
 * something was changed. SEED and ROUNDS in the environment choose the tables and how many (printed
 * when a test fails).
 */
#include <blkid/blkid.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/bytes.h"
#include "lib/partitions/table.h"
#include "mem_dev.h"
#include "rng.h"
#include "table_image.h"

#define SIZE ((uint64_t)2 << 20)

static struct bow_table ours, theirs;
static char now[64]; /* the table that is looked at; "" when all were */

struct bench {
	struct rng rng;
	struct bowimg_disk *dev;
	uint8_t *disk;
	uint32_t unit;
	uint64_t sectors;
	int fd; /* the same disk, for libblkid */
};

/* ---- what libblkid says ------------------------------------------------------------ */

static void add(blkid_partition par)
{
	struct bow_part *p = &theirs.parts[theirs.count];
	const char *type = blkid_partition_get_type_string(par);
	const char *name = blkid_partition_get_name(par);

	assert_true(theirs.count < BOWIMG_PARTITIONS_MAX);
	*p = (struct bow_part){
		.number = (uint32_t)blkid_partition_get_partno(par),
		.off = (uint64_t)blkid_partition_get_start(par) * 512,
		.bytes = (uint64_t)blkid_partition_get_size(par) * 512,
	};
	if (type)
		snprintf(p->type, sizeof(p->type), "%s", type);
	else
		snprintf(p->type, sizeof(p->type), "0x%02x",
			 (unsigned)blkid_partition_get_type(par));
	snprintf(p->name, sizeof(p->name), "%s", name ? name : "");
	theirs.count++;
}

static int by_offset(const void *a, const void *b)
{
	const struct bow_part *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static void ask_blkid(const struct bench *b)
{
	blkid_probe pr = blkid_new_probe();
	blkid_partlist list;
	blkid_parttable table;

	theirs = (struct bow_table){0};
	assert_non_null(pr);
	assert_int_equal(pwrite(b->fd, b->disk, SIZE, 0), SIZE);
	assert_int_equal(blkid_probe_set_device(pr, b->fd, 0, 0), 0);
	assert_int_equal(blkid_probe_set_sectorsize(pr, b->unit), 0);
	list = blkid_probe_get_partitions(pr);
	table = list ? blkid_partlist_get_table(list) : NULL;
	if (table)
		snprintf(theirs.kind, sizeof(theirs.kind), "%s", blkid_parttable_get_type(table));
	for (int i = 0; table && i < blkid_partlist_numof_partitions(list); i++) {
		blkid_partition par = blkid_partlist_get_partition(list, i);

		/* A table inside a partition is that partition's own business. */
		if (!blkid_parttable_get_parent(blkid_partition_get_table(par)) &&
		    !blkid_partition_is_extended(par))
			add(par);
	}
	qsort(theirs.parts, theirs.count, sizeof(theirs.parts[0]), by_offset);
	blkid_free_probe(pr);
}

/* ---- tables ------------------------------------------------------------------------ */

/* Up to `most` ranges in [first, last], apart from each other, in no order. */
static unsigned make_ranges(struct bench *b, uint64_t first, uint64_t last, unsigned most,
			    struct table_part *out)
{
	unsigned n = 0;

	while (n < most && first + 2 < last) {
		uint64_t start = first + rng_below(&b->rng, 8);
		uint64_t count = 1 + rng_below(&b->rng, (uint32_t)bow_min(last - first, 64));

		if (start > last || count > last - start + 1)
			break;
		out[n++] = (struct table_part){start, count, 1};
		first = start + count;
	}
	for (unsigned i = n; i > 1; i--) {
		unsigned k = rng_below(&b->rng, i);
		struct table_part swap = out[i - 1];

		out[i - 1] = out[k];
		out[k] = swap;
	}
	return n;
}

static void make_name(struct bench *b, uint8_t *name)
{
	static const uint16_t units[] = {'a',	 ' ',	 '\t',	 '/',	 0x7f,	 0xe9,	 0x7ff,
					 0x20ac, 0xffff, 0xd83d, 0xde00, 0xdbff, 0xdfff, 1};
	unsigned n = rng_below(&b->rng, 37);

	memset(name, 0, 72);
	for (unsigned i = 0; i < n; i++)
		bow_put16(name + (size_t)i * 2,
			  units[rng_below(&b->rng, sizeof(units) / sizeof(units[0]))]);
}

static void make_gpt(struct bench *b)
{
	const uint64_t room = 128 * 128 / b->unit, last = b->sectors - 1;
	struct table_part parts[BOWIMG_PARTITIONS_MAX];
	unsigned n = make_ranges(b, 2 + room, last - room - 1,
				 rng_below(&b->rng, BOWIMG_PARTITIONS_MAX + 1), parts);

	for (unsigned i = 0; i < n; i++)
		parts[i].type = (uint8_t)rng_chance(&b->rng, 80);
	table_make_gpt(b->disk, SIZE, b->unit, parts, n);
	for (unsigned i = 0; i < n; i++) {
		uint8_t *e = table_gpt_entry(b->disk, b->unit, 1, i);

		make_name(b, e + 56);
		if (parts[i].type)
			rng_fill(e, 16, rng_next(&b->rng));
		memcpy(table_gpt_entry(b->disk, b->unit, last, i), e, 128);
	}
	table_seal_gpt(b->disk, SIZE, b->unit, 1);
	table_seal_gpt(b->disk, SIZE, b->unit, last);
}

/* A link at this sector: a logical partition behind it or none, and what is to be passed over. */
static void make_link(struct bench *b, uint64_t at, uint64_t count)
{
	uint8_t *sector = b->disk + at * b->unit;

	table_mbr_entry(sector, 3, 0, 0, 0);
	if (rng_chance(&b->rng, 90))
		table_mbr_entry(sector, (int)rng_below(&b->rng, 3),
				(uint8_t)(0x80 + rng_below(&b->rng, 5)), 1, (uint32_t)count - 1);
	if (rng_chance(&b->rng, 20))
		table_mbr_entry(sector, 3, 0x83, 1, (uint32_t)count);
	else if (rng_chance(&b->rng, 20))
		table_mbr_entry(sector, 3, 0x05, 0, 0);
}

/* The link to the next takes the place of whatever is there. */
static void make_chain(struct bench *b, const struct table_part *extended)
{
	struct table_part links[40];
	unsigned n = make_ranges(b, extended->start + 1, extended->start + extended->count - 1, 40,
				 links);
	uint64_t at = extended->start;

	table_mbr_entry(b->disk + at * b->unit, 3, 0, 0, 0);
	for (unsigned i = 0; i < n; i++) {
		if (links[i].count < 2)
			continue;
		table_mbr_entry(b->disk + at * b->unit, (int)rng_below(&b->rng, 3),
				rng_chance(&b->rng, 50) ? 0x05 : 0x0f,
				(uint32_t)(links[i].start - extended->start),
				(uint32_t)links[i].count);
		at = links[i].start;
		make_link(b, at, links[i].count);
	}
}

static void make_mbr(struct bench *b)
{
	struct table_part parts[4];
	unsigned n = make_ranges(b, 1, b->sectors - 1, 4, parts);
	unsigned extended = rng_below(&b->rng, 5);

	table_mbr_entry(b->disk, 0, 0, 0, 0);
	for (unsigned i = 0; i < n; i++) {
		if (i == extended) {
			parts[i].count = bow_min(400, b->sectors - parts[i].start);
			for (unsigned k = 0; k < n; k++)
				if (k != i && parts[k].start > parts[i].start)
					parts[k].count = 0;
			make_chain(b, &parts[i]);
		}
	}
	for (unsigned i = 0; i < n; i++)
		if (parts[i].count)
			table_mbr_entry(b->disk, (int)i, i == extended ? 0x05 : 0x83,
					(uint32_t)parts[i].start, (uint32_t)parts[i].count);
}

/* Where tables have their numbers: any of them may say anything. */
static void change(struct bench *b, bool gpt)
{
	const uint64_t last = b->sectors - 1, links = rng_below(&b->rng, (uint32_t)b->sectors);
	const uint64_t places[] = {446, gpt ? b->unit : links * b->unit + 446, 2ull * b->unit,
				   last * b->unit, (last - 128 * 128 / b->unit) * b->unit};

	for (uint32_t n = rng_between(&b->rng, 1, 4); n > 0; n--)
		b->disk[places[rng_below(&b->rng, 5)] + rng_below(&b->rng, 66)] =
			(uint8_t)rng_below(&b->rng, 256);
	if (gpt && rng_chance(&b->rng, 50)) {
		table_seal_gpt(b->disk, SIZE, b->unit, 1);
		table_seal_gpt(b->disk, SIZE, b->unit, last);
	}
}

/* ---- the comparison ---------------------------------------------------------------- */

/* The entry of this sector that is extended; NULL: there is none. */
static const uint8_t *extended_in(const uint8_t *sector)
{
	for (const uint8_t *e = sector + 446; e < sector + 510; e += 16)
		if (bow_get32(e + 12) && (e[4] == 0x05 || e[4] == 0x0f || e[4] == 0x85))
			return e;
	return NULL;
}

/*
 * As of a 2.41 libblkid follows no link that does not lead on, or out of the extended partition.
 * The kernel does, and what it shows as partitions is in use.
 */
static bool has_link_that_is_left_out(const struct bench *b)
{
	const uint8_t *first = extended_in(b->disk), *e = first;
	uint64_t start = first ? bow_get32(first + 8) : 0, at = start, next;

	for (unsigned i = 0; e && i < BOWIMG_PARTITIONS_MAX * 2; i++, at = next) {
		e = extended_in(b->disk + at * b->unit);
		next = e ? start + bow_get32(e + 8) : at;
		if (e && (next <= at || next + bow_get32(e + 12) > start + bow_get32(first + 12)))
			return true;
	}
	return false;
}

/* Leave out of ours what libblkid does not reach: logical partitions, from some number on. */
static void leave_out(const struct bench *b)
{
	uint32_t last = 4, n = 0;

	if (blkid_get_library_version(NULL, NULL) < 2400 || strcmp(ours.kind, "dos") != 0 ||
	    !has_link_that_is_left_out(b))
		return;
	for (uint32_t i = 0; i < theirs.count; i++)
		last = bow_max(last, theirs.parts[i].number);
	for (uint32_t i = 0; i < ours.count; i++)
		if (ours.parts[i].number <= last)
			ours.parts[n++] = ours.parts[i];
	ours.count = n;
}

static void compare(const struct bench *b)
{
	leave_out(b);
	if (strcmp(ours.kind, theirs.kind) != 0 || ours.count != theirs.count)
		fail_msg("%u of \"%s\", but libblkid: %u of \"%s\"", ours.count, ours.kind,
			 theirs.count, theirs.kind);
	for (uint32_t i = 0; i < ours.count; i++) {
		const struct bow_part *x = &ours.parts[i], *y = &theirs.parts[i];

		assert_int_equal(x->number, y->number);
		assert_int_equal(x->off, y->off);
		assert_int_equal(x->bytes, y->bytes);
		assert_string_equal(x->type, y->type);
		assert_string_equal(x->name, y->name);
	}
}

static int read_table(struct bowimg_disk *dev, struct bowimg_error *err)
{
	struct bow_probe found;
	int rc = bow_probe_device(dev, &found, err);

	return rc ? rc : bow_table_read(dev, &found, &ours, err);
}

/* Returns the number of partitions, or -1 if it was refused. */
static int one_table(struct bench *b, bool gpt, bool changed)
{
	struct bowimg_error err = {0};
	int rc, count;

	b->dev = mem_dev_new(SIZE, 0);
	assert_non_null(b->dev);
	b->disk = mem_dev_bytes(b->dev);
	b->unit = b->dev->sector_size = rng_chance(&b->rng, 30) ? 4096 : 512;
	b->sectors = SIZE / b->unit;
	if (gpt)
		make_gpt(b);
	else
		make_mbr(b);
	if (changed)
		change(b, gpt);
	rc = read_table(b->dev, &err);
	count = rc ? -1 : (int)ours.count;
	if (rc && !changed)
		fail_msg("a sound table was refused: %s", err.message);
	if (!rc && ours.kind[0]) {
		ask_blkid(b);
		compare(b);
	}
	bow_disk_close(b->dev, NULL);
	return count;
}

static uint64_t number_of(const char *name, uint64_t usual)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : usual;
}

static void what_is_read_is_what_libblkid_lists(void **state)
{
	const uint64_t seed = number_of("SEED", 1), rounds = number_of("ROUNDS", 1000);
	struct bench b = {.fd = memfd_create("disk", MFD_CLOEXEC)};
	unsigned whole = 0, read = 0, refused = 0;

	(void)state;
	assert_true(b.fd >= 0);
	for (uint64_t i = 0; i < rounds; i++) {
		bool changed = i % 4 >= 2;
		int count;

		b.rng.state = rng_mix(seed, i);
		snprintf(now, sizeof(now), "table %llu of SEED=%llu", (unsigned long long)i,
			 (unsigned long long)seed);
		count = one_table(&b, i % 2, changed);
		whole += count > 0 && !changed;
		read += count > 0 && changed;
		refused += count < 0;
	}
	now[0] = '\0';
	print_message("%u whole ones and %u changed ones read, %u refused\n", whole, read, refused);
	close(b.fd);
	assert_true(whole >= rounds / 3);
	assert_true(rounds < 100 || (read > rounds / 20 && refused > rounds / 20));
}

static int tell_where(void **state)
{
	(void)state;
	if (now[0])
		print_message("at %s\n", now);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_is_read_is_what_libblkid_lists, tell_where),
	};

	return cmocka_run_group_tests_name("table_blkid", tests, NULL, NULL);
}
