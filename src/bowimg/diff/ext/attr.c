/* SPDX-License-Identifier: MIT */
/* Link targets and extended attributes. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "bowimg/diff/ext/fs.h"

#define INLINE_DATA_NAME "system.data" /* holds file content, which is compared as such */

static int read_slow_link(struct bow_ext_fs *fs, const struct bow_ext_inode *i, char *to,
			  size_t bytes, struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *block = malloc(fs->lib->blocksize);
	struct bow_ext_runs runs;
	int rc;

	if (!block)
		return bow_err_errno(err, -ENOMEM, "read a link");
	rc = bow_ext_load_runs(fs, i, &runs, err);
	if (rc)
		return rc;
	if (runs.n == 0 || runs.v[0].logical != 0)
		rc = bow_ext_bad(fs, err, "link %u has no target", i->ino);
	else
		rc = bow_ext_read_blocks(fs, runs.v[0].physical, 1, block, err);
	if (!rc)
		memcpy(to, block, bytes);
	bow_ext_free_runs(&runs);
	return rc;
}

static int read_target(struct bow_ext_fs *fs, const struct bow_ext_inode *i, char *to, size_t bytes,
		       struct bowimg_error *err)
{
	struct ext2_inode_large copy = i->raw;
	size_t got = 0;

	if (bow_ext_is_inline(i))
		return bow_ext_read_inline(fs, i, to, bytes, &got, err);
	if (!ext2fs_is_fast_symlink((struct ext2_inode *)&copy))
		return read_slow_link(fs, i, to, bytes, err);
	memcpy(to, copy.i_block, bow_min(bytes, sizeof(copy.i_block)));
	return 0;
}

int bow_ext_read_link(struct bow_ext_fs *fs, const struct bow_ext_inode *i, char **out,
		      struct bowimg_error *err)
{
	const uint64_t bytes = bow_ext_size(i);
	char *target;
	int rc;

	if (bytes == 0 || bytes > fs->lib->blocksize)
		return bow_ext_bad(fs, err, "link %u has an impossible length", i->ino);
	target = calloc(1, bytes + 1);
	if (!target)
		return bow_err_errno(err, -ENOMEM, "read a link");
	rc = read_target(fs, i, target, bytes, err);
	if (rc)
		free(target);
	else
		*out = target;
	return rc;
}

struct collect {
	struct bow_attrs *out;
	bool no_memory;
};

static int keep_attr(char *name, char *value, size_t bytes, void *ctx)
{
	struct collect *c = ctx;

	if (strcmp(name, INLINE_DATA_NAME) == 0)
		return 0;
	c->no_memory = bow_attrs_add(c->out, name, value, bytes) != 0;
	return c->no_memory ? XATTR_ABORT : 0;
}

/* Only the getter converts ACLs to Linux' form. */
static int convert_acls(struct ext2_xattr_handle *handle, struct bow_attrs *attrs)
{
	size_t bytes;
	void *value;

	for (size_t k = 0; k < attrs->n; k++) {
		if (strncmp(attrs->v[k].name, "system.posix_acl_", 17) != 0)
			continue;
		if (ext2fs_xattr_get(handle, attrs->v[k].name, &value, &bytes))
			return -EUCLEAN;
		free(attrs->v[k].value);
		attrs->v[k].value = value;
		attrs->v[k].bytes = bytes;
	}
	return 0;
}

static int load(struct bow_ext_fs *fs, const struct bow_ext_inode *i,
		struct ext2_xattr_handle *handle, struct bow_attrs *out, struct bowimg_error *err)
{
	struct collect c = {out, false};
	errcode_t code = ext2fs_xattrs_read(handle);

	if (!code)
		code = ext2fs_xattrs_iterate(handle, keep_attr, &c);
	if (code)
		return bow_err_wrap(err, bow_ext_fail(fs, code, "read attributes", err), "inode %u",
				    i->ino);
	if (c.no_memory)
		return bow_err_errno(err, -ENOMEM, "read attributes");
	if (convert_acls(handle, out))
		return bow_ext_bad(fs, err, "inode %u has an impossible ACL", i->ino);
	bow_attrs_sort(out);
	return 0;
}

int bow_ext_load_attrs(struct bow_ext_fs *fs, const struct bow_ext_inode *i, struct bow_attrs *out,
		       struct bowimg_error *err)
{
	struct ext2_xattr_handle *handle;
	errcode_t code;
	int rc;

	*out = (struct bow_attrs){0};
	if (!ext2fs_has_feature_xattr(fs->lib->super) &&
	    !ext2fs_has_feature_inline_data(fs->lib->super))
		return 0;
	code = ext2fs_xattrs_open(fs->lib, i->ino, &handle);
	if (code)
		return bow_ext_fail(fs, code, "read attributes", err);
	rc = load(fs, i, handle, out, err);
	ext2fs_xattrs_close(&handle);
	if (rc)
		bow_attrs_free(out);
	return rc;
}
