/* SPDX-License-Identifier: MIT */
/*
 * Sector 0, and the other things that tell of a checkpoint: superblock, segment header, note. The
 * input is 8 bytes {fix the checksum?, size of the image (4)} and what is on the image's
 * start.
 */
#include <string.h>

#include "lib/base/bytes.h"
#include "fuzz/fuzz.h"
#include "mem_dev.h"

#define HEAD 8u

/* What was decoded is written as it was, but for bytes that nobody reads. */
static void check_super(const uint8_t *sector)
{
	struct bow_super sb, again;
	uint8_t out[BOW_SUPER_BYTES];

	if (bow_super_decode(sector, &sb) != BOW_DECODE_OK)
		return;
	bow_super_encode(&sb, out);
	if (bow_super_decode(out, &again) != BOW_DECODE_OK || memcmp(&sb, &again, sizeof(sb)))
		fuzz_die("a superblock is not what was decoded of it");
	if (sb.image_size < BOWIMG_MIN_SIZE || sb.seg_len_blk > BOW_SEGMENT_MAX_BLK)
		fuzz_die("a superblock is out of its limits");
}

static void check_header(const uint8_t *bytes)
{
	struct bow_segment_header h;
	uint8_t uuid[16], out[BOW_SEGMENT_HEADER_BYTES];
	struct bow_super sb;

	bow_note_uuid(bytes, uuid);
	if (!bow_segment_super_copy(bytes, &sb, &h))
		return;
	bow_segment_encode(&h, &sb, out);
	if (!bow_segment_super_copy(out, &sb, &h))
		fuzz_die("a segment header is not what was decoded of it");
}

static void fix(uint8_t *sector, uint8_t how)
{
	uint64_t seed;

	if (!(how & 1))
		return;
	seed = bow_hash(sector + (how & 2 ? 16 : 40), 16, 0x626f77696d670001ull);
	bow_put64(sector + 496, bow_hash(sector, 496, seed));
}

static void run(const uint8_t *data, size_t size)
{
	struct bow_identity id;
	struct bowimg_error err = {0};
	struct bowimg_disk *dev;
	uint64_t bytes;

	if (size < HEAD)
		return;
	bytes = bow_max(1, bow_get32(data + 1));
	dev = mem_dev_new(bow_max(bytes, BOW_BLOCK), bytes + BOW_BLOCK);
	if (!dev)
		return;
	memcpy(mem_dev_bytes(dev), data + HEAD, bow_min(size - HEAD, BOW_BLOCK));
	fix(mem_dev_bytes(dev), data[0]);
	check_super(mem_dev_bytes(dev));
	check_header(mem_dev_bytes(dev));
	fuzz_check_error(bow_identify(dev, &id, &err), &err);
	bow_disk_close(dev, NULL);
}

static bool seed(unsigned i, struct fuzz_buf *out)
{
	uint8_t head[HEAD] = {1};
	struct bowimg_disk *dev;

	if (i >= 2 * FUZZ_LIVES)
		return false;
	dev = i & 1 ? fuzz_finishing_life(i / 2, i & 2) : NULL;
	if (!dev)
		dev = fuzz_life(i / 2);
	bow_put32(head + 1, (uint32_t)dev->size);
	fuzz_put(out, head, sizeof(head));
	fuzz_put(out, mem_dev_bytes(dev), i % 3 ? 512 : 1500);
	bow_disk_close(dev, NULL);
	return true;
}

const struct fuzz_target fuzz_super = {"super", run, seed, NULL};
