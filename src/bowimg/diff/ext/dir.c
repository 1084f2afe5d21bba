/* SPDX-License-Identifier: MIT */
/* Directory entries, one block at a time; index blocks look like one big empty entry. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "bowimg/diff/ext/fs.h"

#define ENTRY_HEAD 8u /* bytes of an entry before its name */
#define INLINE_PARENT_BYTES 4u

struct walk {
	struct bow_ext_fs *fs;
	const struct bow_ext_inode *dir;
	bow_dirent_func *entry;
	void *ctx;
	uint8_t *block;
	uint32_t number; /* of this walk */
};

static int bad_entry(const struct walk *w, struct bowimg_error *err)
{
	return bow_ext_bad(w->fs, err, "directory %u has an impossible entry", w->dir->ino);
}

static bool is_dots(const char *name, size_t bytes)
{
	return bytes <= 2 && name[0] == '.' && name[bytes - 1] == '.';
}

static int copy_name(const struct walk *w, const char *name, size_t bytes, char *to)
{
	if (w->dir->raw.i_flags & EXT4_ENCRYPT_FL) {
		for (size_t i = 0; i < bytes; i++)
			sprintf(to + 2 * i, "%02x", (unsigned char)name[i]);
		return 0;
	}
	if (memchr(name, '/', bytes) || memchr(name, '\0', bytes))
		return -EUCLEAN;
	memcpy(to, name, bytes);
	to[bytes] = '\0';
	return 0;
}

static int one_entry(const struct walk *w, const struct ext2_dir_entry *d, struct bowimg_error *err)
{
	const size_t bytes = (size_t)ext2fs_dirent_name_len(d);
	const bool typed = ext2fs_has_feature_filetype(w->fs->lib->super);
	const int type = typed ? ext2fs_dirent_file_type(d) : EXT2_FT_UNKNOWN;
	char name[BOW_EXT_NAME_MAX + 1];
	const struct bow_dirent e = {d->inode, type == EXT2_FT_UNKNOWN || type == EXT2_FT_DIR,
				     typed, name};

	if (d->inode == 0 || (bytes && is_dots(d->name, bytes)))
		return 0;
	if (bytes == 0 || d->inode > w->fs->lib->super->s_inodes_count ||
	    copy_name(w, d->name, bytes, name))
		return bad_entry(w, err);
	return w->entry(w->ctx, &e, err);
}

static int walk_bytes(const struct walk *w, uint8_t *p, size_t bytes, struct bowimg_error *err)
{
	unsigned rec;
	int rc = 0;

	for (size_t at = 0; !rc && at < bytes; at += rec) {
		struct ext2_dir_entry *d = (struct ext2_dir_entry *)(p + at);

		if (bytes - at < ENTRY_HEAD || ext2fs_get_rec_len(w->fs->lib, d, &rec) ||
		    rec < ENTRY_HEAD || rec % 4 || rec > bytes - at ||
		    (d->inode && ENTRY_HEAD + (unsigned)ext2fs_dirent_name_len(d) > rec))
			return bad_entry(w, err);
		rc = one_entry(w, d, err);
	}
	return rc;
}

/* No other directory may have this block. */
static int own_block(const struct walk *w, uint64_t blk, struct bowimg_error *err)
{
	int rc = bow_ext_own(&w->fs->owners, blk, w->dir->ino, w->number);

	if (rc == -ENOMEM)
		return bow_err_errno(err, rc, "read a directory");
	return rc ? bow_ext_bad(w->fs, err,
				"block %" PRIu64 " of directory %u is part of a directory already",
				blk, w->dir->ino)
		  : 0;
}

static int walk_block(const struct walk *w, uint64_t blk, struct bowimg_error *err)
{
	errcode_t code;
	int rc = bow_ext_spend(w->fs, 1, err);

	if (!rc)
		rc = own_block(w, blk, err);
	if (rc)
		return rc;
	code = ext2fs_read_dir_block4(w->fs->lib, blk, w->block, 0, w->dir->ino);
	if (code)
		return bow_err_wrap(err, bow_ext_fail(w->fs, code, "read a directory", err),
				    "directory %u", w->dir->ino);
	return walk_bytes(w, w->block, w->fs->lib->blocksize, err);
}

static int on_run(void *ctx, const struct bow_ext_run *run, struct bowimg_error *err)
{
	const struct walk *w = ctx;
	const uint64_t size_blk = bow_div_up(bow_ext_size(w->dir), w->fs->lib->blocksize);
	int rc = 0;

	if (run->meta || run->unwritten)
		return 0;
	for (uint64_t i = 0; !rc && i < run->count && run->logical + i < size_blk; i++)
		rc = walk_block(w, run->physical + i, err);
	return rc;
}

/* In the inode: the parent's number, entries up to the end of i_block, and more in an attribute. */
static int walk_inline(const struct walk *w, struct bowimg_error *err)
{
	const size_t first = sizeof(w->dir->raw.i_block);
	size_t bytes;
	int rc = bow_ext_read_inline(w->fs, w->dir, w->block, w->fs->lib->blocksize, &bytes, err);

	if (rc)
		return rc;
	if (bytes < INLINE_PARENT_BYTES)
		return bad_entry(w, err);
	rc = walk_bytes(w, w->block + INLINE_PARENT_BYTES,
			bow_min(bytes, first) - INLINE_PARENT_BYTES, err);
	return !rc && bytes > first ? walk_bytes(w, w->block + first, bytes - first, err) : rc;
}

static int walk_with(const struct walk *w, const uint64_t *blk, struct bowimg_error *err)
{
	if (!w->block)
		return bow_err_errno(err, -ENOMEM, "read a directory");
	if (blk)
		return walk_block(w, *blk, err);
	if (bow_ext_is_inline(w->dir))
		return walk_inline(w, err);
	return bow_ext_walk_runs(w->fs, w->dir, on_run, (void *)w, err);
}

int bow_ext_walk_dir(struct bow_ext_fs *fs, const struct bow_ext_inode *dir, bow_dirent_func *entry,
		     void *ctx, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *block = malloc(fs->lib->blocksize);
	const struct walk w = {fs, dir, entry, ctx, block, ++fs->owners.walks};

	return walk_with(&w, NULL, err);
}

int bow_ext_walk_dir_block(struct bow_ext_fs *fs, const struct bow_ext_inode *dir, uint64_t blk,
			   bow_dirent_func *entry, void *ctx, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *block = malloc(fs->lib->blocksize);
	const struct walk w = {fs, dir, entry, ctx, block, ++fs->owners.walks};

	return walk_with(&w, &blk, err);
}

static int first_block(void *ctx, const struct bow_ext_run *run, struct bowimg_error *err)
{
	(void)err;
	if (run->meta || run->logical != 0)
		return 0;
	*(uint64_t *)ctx = run->physical;
	return 1; /* enough seen */
}

/* Read the second entry of the first block. The first one gives its place. */
static int dotdot(const struct walk *w, uint64_t blk, ext2_ino_t *out, struct bowimg_error *err)
{
	struct ext2_dir_entry *d = (struct ext2_dir_entry *)w->block;
	const unsigned size = w->fs->lib->blocksize;
	unsigned rec;
	errcode_t code = ext2fs_read_dir_block4(w->fs->lib, blk, w->block, 0, w->dir->ino);

	if (code)
		return bow_ext_fail(w->fs, code, "read a directory", err);
	if (ext2fs_get_rec_len(w->fs->lib, d, &rec) || rec < ENTRY_HEAD || rec % 4 ||
	    rec > size - ENTRY_HEAD - 4)
		return bad_entry(w, err);
	d = (struct ext2_dir_entry *)(w->block + rec);
	if (ext2fs_dirent_name_len(d) != 2 || memcmp(d->name, "..", 2) != 0)
		return bad_entry(w, err);
	*out = d->inode;
	return 0;
}

int bow_ext_parent(struct bow_ext_fs *fs, const struct bow_ext_inode *dir, ext2_ino_t *out,
		   struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *block = malloc(fs->lib->blocksize);
	const struct walk w = {.fs = fs, .dir = dir, .block = block};
	uint64_t blk = 0;
	int rc;

	if (!block)
		return bow_err_errno(err, -ENOMEM, "read a directory");
	if (bow_ext_is_inline(dir)) {
		*out = bow_get32(dir->raw.i_block);
		return 0;
	}
	rc = bow_ext_walk_runs(fs, dir, first_block, &blk, err);
	if (rc < 0)
		return rc;
	return blk ? dotdot(&w, blk, out, err) : bad_entry(&w, err);
}
