/* SPDX-License-Identifier: MIT */
/*
 * Linux swap space of a machine that is off: nothing needs what was swapped out, and only the
 * header in the first page matters. The header says how long the swap space is, which may be less
 * than its partition, and which pages are bad: nothing may be put there. Swap space that holds a
 * hibernated machine has another name in libblkid, and does not come here.
 *
 * After mkswap(8) and the header in the kernel's include/linux/swap.h. Numbers have the byte order
 * of the machine that made it.
 */
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/disk/part.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/kinds.h"

#define PAGE_MIN_BYTES 4096u
#define PAGE_MAX_BYTES (64u << 10)
#define MAGIC_BYTES 10u /* at the very end of the first page, which tells how large pages are */

#define VERSION_OFF 1024u
#define LAST_PAGE_OFF 1028u /* the number of the last page, not of pages */
#define BAD_COUNT_OFF 1032u
#define BAD_PAGES_OFF 1536u

struct swap {
	uint8_t *head; /* PAGE_MAX_BYTES of it, or all there is */
	uint32_t page_bytes, bad_count;
	uint64_t pages;
	bool swapped; /* the other byte order than little-endian */
};

static uint32_t number(const struct swap *s, uint32_t at)
{
	uint32_t v = bow_get32(s->head + at);

	return s->swapped ? __builtin_bswap32(v) : v;
}

/* The smallest that fits: what a header of larger pages left behind then counts as used. */
static bool find_page_size(struct swap *s, uint64_t head_bytes)
{
	for (s->page_bytes = PAGE_MIN_BYTES; s->page_bytes <= head_bytes; s->page_bytes *= 2)
		if (!memcmp(s->head + s->page_bytes - MAGIC_BYTES, "SWAPSPACE2", MAGIC_BYTES))
			return true;
	return false;
}

static int decode(struct bowimg_disk *vol, struct swap *s, struct bowimg_error *err)
{
	const uint64_t head_bytes = bow_min(vol->size, PAGE_MAX_BYTES);
	int rc = bow_fs_read(vol, s->head, head_bytes, 0, err);

	if (rc)
		return rc;
	if (!find_page_size(s, head_bytes))
		return bow_fs_unsupported(vol, "swap space of an old or unknown version", err);
	s->swapped = bow_get32(s->head + VERSION_OFF) != 1;
	if (number(s, VERSION_OFF) != 1)
		return bow_fs_unsupported(vol, "swap space of an unknown version", err);
	s->pages = (uint64_t)number(s, LAST_PAGE_OFF) + 1;
	s->bad_count = number(s, BAD_COUNT_OFF);
	if (s->bad_count > (s->page_bytes - MAGIC_BYTES - BAD_PAGES_OFF) / sizeof(uint32_t))
		return bow_fs_malformed(vol, "the swap space has too many bad pages", err);
	if (s->pages > vol->size / s->page_bytes)
		return bow_fs_malformed(vol, "the swap space is larger than its place", err);
	return 0;
}

static int mark_bad_used(struct bowimg_disk *vol, const struct swap *s, uint64_t off,
			 struct bow_bitmap *out, struct bowimg_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < s->bad_count && !rc; i++) {
		uint64_t page = number(s, BAD_PAGES_OFF + i * (uint32_t)sizeof(uint32_t));

		if (page >= s->pages)
			return bow_fs_malformed(vol, "a bad page is not in the swap space", err);
		rc = bow_fs_mark_used(out, off, page * s->page_bytes, s->page_bytes);
	}
	return rc ? bow_fs_no_memory(vol, err) : 0;
}

static int read_swap(struct bowimg_disk *vol, uint64_t off, uint64_t image_size,
		     struct bow_bitmap *out, struct bow_freemap_info *info,
		     struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *head = calloc(1, PAGE_MAX_BYTES);
	struct swap s = {.head = head};
	uint64_t kept;
	int rc = head ? decode(vol, &s, err) : -ENOMEM;

	if (!head)
		return bow_fs_no_memory(vol, err);
	if (rc)
		return rc;
	*info = (struct bow_freemap_info){.source = "swap", .what = "Linux swap space"};
	info->extent_bytes = s.pages * s.page_bytes;
	kept = bow_min(info->extent_bytes, PAGE_MAX_BYTES);
	info->fs_free_bytes = info->extent_bytes - kept;
	if (bow_freemap_mark(out, image_size, off + kept, info->fs_free_bytes) < 0)
		return bow_fs_no_memory(vol, err);
	return mark_bad_used(vol, &s, off, out, err);
}

static int read_free(struct bowimg_disk *dev, uint64_t off, uint64_t bytes, struct bow_bitmap *out,
		     struct bow_freemap_info *info, struct bowimg_error *err)
{
	struct bowimg_disk *vol;
	int rc = bow_disk_part(dev, off, bytes, &vol, err);

	if (rc)
		return rc;
	rc = read_swap(vol, off, dev->size, out, info, err);
	bow_disk_close(vol, NULL);
	return rc;
}

const struct bow_fs_kind bow_fs_swap = {
	.type = "swap",
	.name = "swap space",
	.read = read_free,
};
