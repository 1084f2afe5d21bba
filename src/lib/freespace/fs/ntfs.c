/* SPDX-License-Identifier: MIT */
/*
 * Is an NTFS clean? Its volume record must not ask for a check, its log must be closed or empty,
 * and no Windows may sleep on it: there its memory says what is on the disk.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/kinds.h"
#include "lib/freespace/fs/ntfs_bitmap.h"
#include "lib/freespace/fs/ntfs_read.h"

#define PAGE 4096u
#define NO_CLIENT 0xffffu
#define LOG_CLEAN 0x2u	      /* in the restart area's flags */
#define VOLUME_DIRTY 0x1u     /* in the volume's */
#define INDEX_MAX (64u << 20) /* a root directory larger than this is not searched */
/*
 * Where Windows notes that it keeps older states of files (restore points, shadow copies). What
 * they have of deleted files stays where it was, in clusters that are free now. After the format's
 * description by the libvshadow project.
 */
#define SHADOW_OFF 0x1e00u
#define SHADOW_ID "\x6b\x87\x08\x38\x76\xc1\x48\x4e\xb7\xae\x04\x04\x6e\x6c\xc7\x52"
#define SHADOW_CATALOG 48u /* a place, or 0: there are none */
#define CHKDSK "chkdsk /f in Windows, or, without one: ntfsfix -d " BOW_HINT_DEVICE
#define SHUT_DOWN "start Windows and shut it down fully: shutdown /s /f /t 0"

static int check_volume(struct bow_ntfs *fs, struct bow_ntfs_record *r, struct bowimg_error *err)
{
	struct bow_ntfs_attr info;
	int rc = bow_ntfs_record(fs, BOW_NTFS_VOLUME, r, err);

	if (rc)
		return rc;
	if (!bow_ntfs_find(r, BOW_NTFS_VOLUME_INFORMATION, &info) || !info.value ||
	    info.value_bytes < 12)
		return bow_fs_malformed(fs->vol, "no volume information", err);
	if (bow_get16(info.value + 10) & VOLUME_DIRTY)
		return bow_fs_unclean(fs->vol, "the NTFS is marked as to be checked", CHKDSK, err);
	return 0;
}

/* Of a restart page: its number (0: none), and whether the log was closed. */
static uint64_t look_at_restart(uint8_t page[PAGE], bool *closed)
{
	uint32_t area = bow_get16(page + 24);

	if (memcmp(page, "RSTR", 4) != 0 || !bow_ntfs_fix_up(page, PAGE) || area > PAGE - 16)
		return 0;
	*closed = bow_get16(page + area + 12) == NO_CLIENT ||
		  bow_get16(page + area + 14) & LOG_CLEAN;
	return bow_get64(page + area) + 1;
}

static bool all_ones(const uint8_t *p, size_t bytes)
{
	while (bytes && *p == 0xff)
		p++, bytes--;
	return !bytes;
}

/* Two restart pages, of which the one with the higher number counts. All ones: emptied. */
static int check_log(struct bow_ntfs *fs, struct bow_ntfs_record *r, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *page = malloc(PAGE);
	uint64_t newest = 0, number;
	struct bow_ntfs_attr data;
	bool closed = false, this_closed = false;
	int rc;

	if (!page)
		return bow_fs_no_memory(fs->vol, err);
	rc = bow_ntfs_record(fs, BOW_NTFS_LOG, r, err);
	if (rc)
		return rc;
	if (!bow_ntfs_find(r, BOW_NTFS_DATA, &data) || !data.runs || data.data_bytes < 2 * PAGE)
		return bow_fs_malformed(fs->vol, "it has no log", err);
	for (uint64_t i = 0; i < 2; i++) {
		rc = bow_ntfs_read(fs, &data, page, PAGE, i * PAGE, err);
		if (rc)
			return rc;
		if (i == 0 && all_ones(page, PAGE))
			return 0;
		number = look_at_restart(page, &this_closed);
		if (number > newest) {
			newest = number;
			closed = this_closed;
		}
	}
	if (closed)
		return 0;
	return bow_fs_unclean(fs->vol, "the NTFS was not cleanly unmounted", SHUT_DOWN, err);
}

/* Is this directory entry's name that of the file that Windows sleeps in? */
static bool is_hiberfil(const uint8_t *entry, uint32_t bytes)
{
	static const char name[] = "hiberfil.sys";
	const uint32_t n = sizeof(name) - 1;

	if (bytes < 16 + 66 + n * 2 || entry[16 + 64] != n)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t c = bow_get16(entry + 16 + 66 + (size_t)i * 2);

		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (c != (uint32_t)name[i])
			return false;
	}
	return true;
}

/* Search the entries after an index header of `room` bytes; the record's number, or 0. */
static uint64_t search(const uint8_t *header, uint32_t room)
{
	uint32_t at, end, bytes;

	if (room < 16)
		return 0;
	at = bow_get32(header);
	end = (uint32_t)bow_min(bow_get32(header + 4), room);
	for (; at < end && end - at >= 16; at += bytes) {
		bytes = bow_get16(header + at + 8);
		if (bytes < 16 || bytes > end - at || bow_get16(header + at + 12) & 2)
			break;
		if (is_hiberfil(header + at, bytes))
			return bow_get64(header + at) & 0xffffffffffffull;
	}
	return 0;
}

static int search_blocks(struct bow_ntfs *fs, const struct bow_ntfs_attr *blocks, uint32_t size,
			 uint64_t *number, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *block = malloc(size);
	int rc = 0;

	if (!block)
		return bow_fs_no_memory(fs->vol, err);
	if (blocks->data_bytes > INDEX_MAX)
		return bow_fs_unsupported(fs->vol, "an NTFS with a huge root directory", err);
	for (uint64_t at = 0; at + size <= blocks->data_bytes && !rc && !*number; at += size) {
		rc = bow_ntfs_read(fs, blocks, block, size, at, err);
		/* One that is not in use may hold anything. */
		if (!rc && !memcmp(block, "INDX", 4) && bow_ntfs_fix_up(block, size))
			*number = search(block + 24, size - 24);
	}
	return rc;
}

/* The record of hiberfil.sys in the root directory, or 0. */
static int find_hiberfil(struct bow_ntfs *fs, struct bow_ntfs_record *r, uint64_t *number,
			 struct bowimg_error *err)
{
	struct bow_ntfs_attr root, blocks;
	uint32_t size;
	int rc = bow_ntfs_record(fs, BOW_NTFS_ROOT, r, err);

	*number = 0;
	if (rc)
		return rc;
	if (bow_ntfs_find(r, BOW_NTFS_ATTRIBUTE_LIST, &root))
		return bow_fs_unsupported(fs->vol, "an NTFS with a scattered root directory", err);
	if (!bow_ntfs_find(r, BOW_NTFS_INDEX_ROOT, &root) || !root.value || root.value_bytes < 32)
		return bow_fs_malformed(fs->vol, "no root directory", err);
	size = bow_get32(root.value + 8);
	if (size < 512 || size > 65536 || size % 512)
		return bow_fs_malformed(fs->vol, "impossible sizes in the root directory", err);
	*number = search(root.value + 16, root.value_bytes - 16);
	if (*number || !bow_ntfs_find(r, BOW_NTFS_INDEX_ALLOCATION, &blocks) || !blocks.runs)
		return 0;
	return search_blocks(fs, &blocks, size, number, err);
}

static int check_hibernation(struct bow_ntfs *fs, struct bow_ntfs_record *r,
			     struct bowimg_error *err)
{
	struct bow_ntfs_attr data;
	uint8_t head[4] = {0};
	uint64_t number;
	int rc = find_hiberfil(fs, r, &number, err);

	if (!rc && number)
		rc = bow_ntfs_record(fs, number, r, err);
	if (rc || !number)
		return rc;
	if (!bow_ntfs_find(r, BOW_NTFS_DATA, &data) || data.data_bytes < sizeof(head))
		return 0;
	if (data.value)
		memcpy(head, data.value, sizeof(head));
	else
		rc = bow_ntfs_read(fs, &data, head, sizeof(head), 0, err);
	if (!rc && (!memcmp(head, "hibr", 4) || !memcmp(head, "HIBR", 4)))
		rc = bow_fs_unclean(fs->vol, "a Windows is hibernated on this NTFS", SHUT_DOWN,
				    err);
	return rc;
}

static int look_for_shadows(struct bow_ntfs *fs, struct bow_fs_limits *limits,
			    struct bowimg_error *err)
{
	uint8_t head[SHADOW_CATALOG + 8];
	int rc = bow_fs_read(fs->vol, head, sizeof(head), SHADOW_OFF, err);

	if (!rc && !memcmp(head, SHADOW_ID, 16) && bow_get64(head + SHADOW_CATALOG))
		limits->only_exact = "an NTFS has shadow copies in blocks that it calls free";
	return rc;
}

static int check(struct bowimg_disk *vol, enum bow_fs_reader reader, struct bow_fs_limits *limits,
		 struct bowimg_error *err)
{
	CLEANUP_FREE struct bow_ntfs *fs = malloc(sizeof(*fs));
	CLEANUP_FREE struct bow_ntfs_record *r = calloc(1, sizeof(*r));
	int rc;

	(void)reader; /* no driver replays Windows' log as Windows would */
	if (!fs || !r)
		return bow_fs_no_memory(vol, err);
	rc = bow_ntfs_open(fs, vol, err);
	limits->extent = rc ? 0 : fs->clusters * fs->cluster_bytes;
	if (!rc)
		rc = check_volume(fs, r, err);
	if (!rc)
		rc = check_log(fs, r, err);
	if (!rc)
		rc = check_hibernation(fs, r, err);
	if (!rc)
		rc = bow_ntfs_check_own(vol, err);
	if (!rc)
		rc = look_for_shadows(fs, limits, err);
	if (rc == -EUCLEAN)
		bow_err_hint(err, "clean the file system first: " CHKDSK);
	return rc;
}

const struct bow_fs_kind bow_fs_ntfs = {
	.type = "ntfs",
	.name = "NTFS",
	.program = "partclone.ntfs",
	.check = check,
};
