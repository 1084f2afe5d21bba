/* SPDX-License-Identifier: MIT */
/*
 * Which inodes changed. If a group's inode table is in the same place in both versions, only its
 * changed blocks are read. If it was resized or made anew, every inode counts.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "bowimg/diff/ext/ext.h"

#define CHUNK_BYTES (256u << 10)

bool bow_diff_ext_is_hidden(const struct bow_diff *d, ext2_ino_t ino)
{
	return ino < EXT2_FIRST_INO(d->ext->fs[BOW_NEW].lib->super) && ino != EXT2_ROOT_INO;
}

static bool is_same_table(const struct bow_diff *d, dgrp_t group)
{
	const struct bow_ext_fs *new = &d->ext->fs[BOW_NEW], *old = &d->ext->fs[BOW_OLD];

	return group < new->lib->group_desc_count &&group <
		       old->lib->group_desc_count &&ext2fs_inode_table_loc(new->lib, group) ==
	       ext2fs_inode_table_loc(old->lib, group);
}

static ext2_ino_t first_ino(const struct bow_diff *d, dgrp_t group)
{
	return group * d->ext->fs[BOW_NEW].lib->super->s_inodes_per_group + 1;
}

static uint32_t used(const struct bow_diff *d, dgrp_t group)
{
	return (uint32_t)bow_max(bow_ext_table_used(&d->ext->fs[BOW_NEW], group),
				 bow_ext_table_used(&d->ext->fs[BOW_OLD], group));
}

/* Compare n blocks of a table, read into both buffers, inode by inode. */
static int compare_slots(struct bow_diff *d, ext2_ino_t first, uint8_t *const buf[BOW_VERSIONS],
			 size_t bytes, ext2_ino_t end, struct bowimg_error *err)
{
	const size_t size = EXT2_INODE_SIZE(d->ext->fs[BOW_NEW].lib->super);
	int rc = 0;

	for (size_t at = 0; !rc && at + size <= bytes; at += size) {
		const ext2_ino_t ino = first + (ext2_ino_t)(at / size);

		if (ino < end && !bow_diff_ext_is_hidden(d, ino) &&
		    memcmp(buf[BOW_NEW] + at, buf[BOW_OLD] + at, size) != 0)
			rc = bow_diff_add_file(d, ino, err);
	}
	return rc;
}

static int scan_run(struct bow_diff *d, dgrp_t group, uint64_t blk, uint64_t n,
		    uint8_t *const buf[BOW_VERSIONS], struct bowimg_error *err)
{
	ext2_filsys lib = d->ext->fs[BOW_NEW].lib;
	const uint64_t table = ext2fs_inode_table_loc(lib, group);
	const uint64_t per_blk = lib->blocksize / EXT2_INODE_SIZE(lib->super);
	const ext2_ino_t first = first_ino(d, group);
	int rc = 0;

	for (uint64_t k; !rc && n; blk += k, n -= k) {
		k = bow_min(n, CHUNK_BYTES / lib->blocksize);
		for (int version = 0; version < BOW_VERSIONS && !rc; version++)
			rc = bow_ext_read_blocks(&d->ext->fs[version], blk, (unsigned)k,
						 buf[version], err);
		if (!rc)
			rc = compare_slots(d, first + (ext2_ino_t)((blk - table) * per_blk), buf,
					   k * lib->blocksize, first + used(d, group), err);
	}
	return rc;
}

static int scan_table(struct bow_diff *d, dgrp_t group, uint8_t *const buf[BOW_VERSIONS],
		      struct bowimg_error *err)
{
	ext2_filsys lib = d->ext->fs[BOW_NEW].lib;
	const uint64_t table = ext2fs_inode_table_loc(lib, group);
	const uint64_t end =
		table +
		bow_div_up((uint64_t)used(d, group) * EXT2_INODE_SIZE(lib->super), lib->blocksize);
	uint64_t blk = table, n;
	int rc = 0;

	while (!rc && (n = bow_changed_next(&d->changed, blk, end, &blk))) {
		rc = scan_run(d, group, blk, n, buf, err);
		blk += n;
	}
	return rc;
}

static int take_all(struct bow_diff *d, ext2_ino_t first, uint32_t n, struct bowimg_error *err)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < n; i++)
		if (!bow_diff_ext_is_hidden(d, first + i))
			rc = bow_diff_add_file(d, first + i, err);
	return rc;
}

static uint32_t inodes(const struct bow_diff *d, enum bow_version version)
{
	return d->ext->fs[version].lib->super->s_inodes_count;
}

static int scan_tables(struct bow_diff *d, uint8_t *const buf[BOW_VERSIONS],
		       struct bowimg_error *err)
{
	const dgrp_t groups = (dgrp_t)bow_max(d->ext->fs[BOW_NEW].lib->group_desc_count,
					      d->ext->fs[BOW_OLD].lib->group_desc_count);
	int rc = 0;

	for (dgrp_t g = 0; !rc && g < groups; g++) {
		rc = bow_diff_progress(d, "read inodes", g, groups, err);
		if (rc)
			break;
		rc = is_same_table(d, g) ? scan_table(d, g, buf, err)
					 : take_all(d, first_ino(d, g), used(d, g), err);
	}
	return rc;
}

int bow_diff_scan_inodes(struct bow_diff *d, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *new = malloc(CHUNK_BYTES);
	CLEANUP_FREE uint8_t *old = malloc(CHUNK_BYTES);
	uint8_t *const buf[BOW_VERSIONS] = {new, old};
	int rc = old && new ? 0 : bow_diff_no_memory(err);

	if (!rc && d->related)
		rc = scan_tables(d, buf, err);
	else if (!rc)
		rc = take_all(d, 1, (uint32_t)bow_max(inodes(d, BOW_NEW), inodes(d, BOW_OLD)), err);
	return rc ? rc : bow_diff_load_files(d, 0, err);
}
