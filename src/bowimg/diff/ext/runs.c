/* SPDX-License-Identifier: MIT */
/*
 * Where a file's blocks are: extents or indirect blocks, as runs. Extents must ascend, which also
 * bounds their number in one file. Indirect blocks can all be the same one, so each visit is
 * counted.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/grow.h"
#include "bowimg/diff/ext/fs.h"

#define EXTENT_DEPTH_MAX 5u /* the most that covers 2^32 blocks, and that Linux takes */

struct walk {
	struct bow_ext_fs *fs;
	const struct bow_ext_inode *inode;
	bow_ext_run_func *run;
	void *ctx;
	struct bow_ext_run pending; /* may grow; empty if count is 0 */
	uint64_t next;		    /* lowest logical block that is allowed */
	uint64_t runs;		    /* so far, each of a block at least */
	struct bowimg_error *err;
	int rc;
};

static int emit(struct walk *w, const struct bow_ext_run *r)
{
	int rc = bow_ext_spend(w->fs, 1, w->err);

	if (!rc)
		rc = bow_ext_check_blocks(w->fs, r->physical, r->count, w->err);
	if (!rc && ++w->runs > ext2fs_blocks_count(w->fs->lib->super))
		rc = bow_ext_bad(w->fs, w->err, "inode %u has more blocks than there are",
				 w->inode->ino);
	if (!rc && !r->meta && r->logical < w->next)
		rc = bow_ext_bad(w->fs, w->err, "the blocks of inode %u overlap", w->inode->ino);
	if (!rc && !r->meta)
		w->next = r->logical + r->count;
	return rc ? rc : w->run(w->ctx, r, w->err);
}

static int meta(struct walk *w, uint64_t blk)
{
	const struct bow_ext_run r = {.physical = blk, .count = 1, .meta = true};

	return emit(w, &r);
}

static int walk_extents(struct walk *w)
{
	struct bow_ext_fs *fs = w->fs;
	struct ext2_inode_large copy = w->inode->raw;
	int op = EXT2_EXTENT_ROOT, rc = 0;
	struct ext2fs_extent e;
	ext2_extent_handle_t handle;
	errcode_t code;

	/* Each level of depth costs a buffer. */
	if (bow_get16((const uint8_t *)copy.i_block + 6) > EXTENT_DEPTH_MAX)
		return bow_ext_bad(fs, w->err, "the extents of inode %u are nested too deeply",
				   w->inode->ino);
	code = ext2fs_extent_open2(fs->lib, w->inode->ino, (struct ext2_inode *)&copy, &handle);
	if (code)
		return bow_ext_fail(fs, code, "read extents", w->err);
	for (; !rc && !(code = ext2fs_extent_get(handle, op, &e)); op = EXT2_EXTENT_NEXT) {
		const struct bow_ext_run r = {e.e_lblk, e.e_pblk, e.e_len,
					      e.e_flags & EXT2_EXTENT_FLAGS_UNINIT, false};

		if (e.e_flags & EXT2_EXTENT_FLAGS_SECOND_VISIT)
			rc = bow_ext_spend(fs, 1, w->err);
		else
			rc = e.e_flags & EXT2_EXTENT_FLAGS_LEAF ? emit(w, &r) : meta(w, e.e_pblk);
	}
	ext2fs_extent_free(handle);
	if (!rc && code != EXT2_ET_EXTENT_NO_NEXT)
		rc = bow_ext_fail(fs, code, "read extents", w->err);
	return rc;
}

static int end_pending(struct walk *w)
{
	struct bow_ext_run r = w->pending;

	w->pending.count = 0;
	return r.count ? emit(w, &r) : 0;
}

static int add_block(struct walk *w, uint64_t logical, uint64_t physical)
{
	struct bow_ext_run *p = &w->pending;
	int rc = bow_ext_spend(w->fs, 1, w->err);

	if (p->count && logical == p->logical + p->count && physical == p->physical + p->count) {
		p->count++;
		return rc;
	}
	if (!rc)
		rc = end_pending(w);
	*p = (struct bow_ext_run){.logical = logical, .physical = physical, .count = 1};
	return rc;
}

static int on_block(ext2_filsys lib, blk64_t *blk, e2_blkcnt_t logical, blk64_t ref_blk,
		    int ref_offset, void *ctx)
{
	struct walk *w = ctx;

	(void)lib, (void)ref_blk, (void)ref_offset;
	w->rc = logical < 0 ? meta(w, *blk) : add_block(w, (uint64_t)logical, *blk);
	return w->rc ? BLOCK_ABORT : 0;
}

static int walk_indirect(struct walk *w)
{
	errcode_t code = ext2fs_block_iterate3(w->fs->lib, w->inode->ino, BLOCK_FLAG_READ_ONLY,
					       NULL, on_block, w);

	if (w->rc)
		return w->rc;
	if (code)
		return bow_ext_fail(w->fs, code, "read the blocks of a file", w->err);
	return end_pending(w);
}

bool bow_ext_is_inline(const struct bow_ext_inode *i)
{
	return i->raw.i_flags & EXT4_INLINE_DATA_FL;
}

int bow_ext_walk_runs(struct bow_ext_fs *fs, const struct bow_ext_inode *i, bow_ext_run_func *run,
		      void *ctx, struct bowimg_error *err)
{
	struct walk w = {.fs = fs, .inode = i, .run = run, .ctx = ctx, .err = err};
	struct ext2_inode_large copy = i->raw;
	const uint64_t acl = ext2fs_file_acl_block(fs->lib, (struct ext2_inode *)&copy);
	int rc = 0;

	if (bow_ext_is_inline(i) ||
	    !ext2fs_inode_has_valid_blocks2(fs->lib, (struct ext2_inode *)&copy))
		rc = 0;
	else if (i->raw.i_flags & EXT4_EXTENTS_FL)
		rc = walk_extents(&w);
	else
		rc = walk_indirect(&w);
	if (!rc && acl)
		rc = meta(&w, acl);
	return rc;
}

static int keep_run(void *ctx, const struct bow_ext_run *run, struct bowimg_error *err)
{
	struct bow_ext_runs *out = ctx;
	void *v;

	if (run->meta)
		return 0;
	v = bow_grow(out->v, out->n, &out->room, sizeof(*out->v));
	if (!v)
		return bow_err_errno(err, -ENOMEM, "keep the extents of a file");
	out->v = v;
	out->v[out->n++] = *run;
	return 0;
}

int bow_ext_load_runs(struct bow_ext_fs *fs, const struct bow_ext_inode *i,
		      struct bow_ext_runs *out, struct bowimg_error *err)
{
	int rc;

	*out = (struct bow_ext_runs){0};
	rc = bow_ext_walk_runs(fs, i, keep_run, out, err);
	if (rc)
		bow_ext_free_runs(out);
	return rc;
}

void bow_ext_free_runs(struct bow_ext_runs *runs)
{
	free(runs->v);
	*runs = (struct bow_ext_runs){0};
}

/* libext2fs takes no length; the inode and one attribute in it bound the content. */
int bow_ext_read_inline(struct bow_ext_fs *fs, const struct bow_ext_inode *i, void *buf,
			size_t room, size_t *bytes, struct bowimg_error *err)
{
	size_t size = 0;
	errcode_t code;
	void *all;

	code = ext2fs_inline_data_size(fs->lib, i->ino, &size);
	if (code)
		return bow_ext_fail(fs, code, "read data in an inode", err);
	if (size > room)
		return bow_ext_bad(fs, err, "inode %u holds more data than it has room for",
				   i->ino);
	all = calloc(1, size + EXT2_MAX_BLOCK_SIZE);
	if (!all)
		return bow_err_errno(err, -ENOMEM, "read data in an inode");
	code = ext2fs_inline_data_get(fs->lib, i->ino, NULL, all, &size);
	if (!code && size <= room) {
		memcpy(buf, all, size);
		*bytes = size;
	}
	free(all);
	return code ? bow_ext_fail(fs, code, "read data in an inode", err) : 0;
}
