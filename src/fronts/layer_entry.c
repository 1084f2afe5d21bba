/* SPDX-License-Identifier: MIT */
/* One entry of the archive: its head, and a file's content, holes left out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/bytes.h"
#include "fronts/layer_private.h"

/* A POSIX ACL as Linux shows it: a version, then entries of tag, permissions and number. */
#define ACL_VERSION 2u
#define ACL_HEAD_BYTES 4u
#define ACL_ENTRY_BYTES 8u

static int acl_tag(unsigned tag)
{
	switch (tag) {
	case 0x01:
		return ARCHIVE_ENTRY_ACL_USER_OBJ;
	case 0x02:
		return ARCHIVE_ENTRY_ACL_USER;
	case 0x04:
		return ARCHIVE_ENTRY_ACL_GROUP_OBJ;
	case 0x08:
		return ARCHIVE_ENTRY_ACL_GROUP;
	case 0x10:
		return ARCHIVE_ENTRY_ACL_MASK;
	default:
		return ARCHIVE_ENTRY_ACL_OTHER;
	}
}

static bool add_acl(struct archive_entry *e, const struct bow_ext_attr *attr)
{
	const uint8_t *p = attr->value;
	int type;

	if (strcmp(attr->name, "system.posix_acl_access") == 0)
		type = ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
	else if (strcmp(attr->name, "system.posix_acl_default") == 0)
		type = ARCHIVE_ENTRY_ACL_TYPE_DEFAULT;
	else
		return false;
	if (attr->bytes < ACL_HEAD_BYTES || bow_get32(p) != ACL_VERSION)
		return true;
	for (size_t at = ACL_HEAD_BYTES; at + ACL_ENTRY_BYTES <= attr->bytes; at += ACL_ENTRY_BYTES)
		archive_entry_acl_add_entry(e, type, bow_get16(p + at + 2) & 7,
					    acl_tag(bow_get16(p + at)), (int)bow_get32(p + at + 4),
					    NULL);
	return true;
}

static int add_attrs(struct bow_layer *l, const struct bow_ext_inode *i, struct bowimg_error *err)
{
	struct bow_ext_attrs attrs;
	int rc = bow_ext_load_attrs(&l->d->side[BOWIMG_NOW], i, &attrs, err);

	if (rc)
		return rc;
	for (size_t k = 0; k < attrs.n; k++)
		if (!add_acl(l->entry, &attrs.v[k]))
			archive_entry_xattr_add_entry(l->entry, attrs.v[k].name, attrs.v[k].value,
						      attrs.v[k].bytes);
	bow_ext_free_attrs(&attrs);
	return 0;
}

/* Where the data is; only if there are holes, and in the format's own words for "all hole". */
static void add_sparse(struct bow_layer *l, const struct bow_ext_runs *runs, uint64_t size)
{
	const uint64_t blk = l->d->side[BOWIMG_NOW].fs->blocksize;
	uint64_t data = 0;

	for (size_t k = 0; k < runs->n; k++)
		if (!runs->v[k].unwritten && runs->v[k].logical * blk < size)
			data += bow_min(runs->v[k].count * blk, size - runs->v[k].logical * blk);
	if (data >= size || !l->format->is_tar)
		return;
	if (!data)
		archive_entry_sparse_add_entry(l->entry, 0, 0);
	for (size_t k = 0; k < runs->n; k++) {
		const uint64_t off = runs->v[k].logical * blk;

		if (!runs->v[k].unwritten && off < size)
			archive_entry_sparse_add_entry(l->entry, (int64_t)off,
						       (int64_t)bow_min(runs->v[k].count * blk,
									size - off));
	}
}

static int put_head(struct bow_layer *l, struct bowimg_error *err)
{
	const int rc = archive_write_header(l->archive, l->entry);

	/* A warning is about a name that is no text: it is stored as it is. */
	if (rc == ARCHIVE_OK || rc == ARCHIVE_WARN)
		return 0;
	return bow_layer_fail(l, archive_entry_pathname(l->entry), err);
}

static int put_data(struct bow_layer *l, const void *data, size_t bytes, struct bowimg_error *err)
{
	const uint8_t *p = data;

	while (bytes) {
		const la_ssize_t n = archive_write_data(l->archive, p, bytes);

		if (n <= 0)
			return bow_layer_fail(l, archive_entry_pathname(l->entry), err);
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int put_zeros(struct bow_layer *l, uint64_t bytes, struct bowimg_error *err)
{
	uint64_t k;
	int rc = 0;

	memset(l->buf, 0, bow_min(bytes, BOW_LAYER_CHUNK));
	for (; !rc && bytes; bytes -= k) {
		k = bow_min(bytes, BOW_LAYER_CHUNK);
		rc = put_data(l, l->buf, k, err);
	}
	return rc;
}

static int put_run(struct bow_layer *l, const struct bow_ext_run *r, uint64_t bytes,
		   struct bowimg_error *err)
{
	struct bow_ext_side *s = &l->d->side[BOWIMG_NOW];
	uint64_t k, blk = r->physical;
	int rc = 0;

	for (; !rc && bytes; bytes -= k, blk += k / s->fs->blocksize) {
		k = bow_min(bytes, BOW_LAYER_CHUNK);
		rc = bow_ext_read_blocks(s, blk, (unsigned)bow_div_up(k, s->fs->blocksize), l->buf,
					 err);
		if (!rc)
			rc = put_data(l, l->buf, k, err);
	}
	return rc;
}

static int put_runs(struct bow_layer *l, const struct bow_ext_runs *runs, uint64_t size,
		    struct bowimg_error *err)
{
	const uint64_t blk = l->d->side[BOWIMG_NOW].fs->blocksize;
	uint64_t at = 0;
	int rc = 0;

	for (size_t k = 0; !rc && k < runs->n && runs->v[k].logical * blk < size; k++) {
		const struct bow_ext_run *r = &runs->v[k];
		const uint64_t end = bow_min((r->logical + r->count) * blk, size);

		if (r->unwritten)
			continue;
		rc = put_zeros(l, r->logical * blk - at, err);
		if (!rc)
			rc = put_run(l, r, end - r->logical * blk, err);
		at = end;
	}
	return rc ? rc : put_zeros(l, size - at, err);
}

static int put_file(struct bow_layer *l, const struct bow_ext_inode *i, struct bowimg_error *err)
{
	struct bow_ext_side *s = &l->d->side[BOWIMG_NOW];
	const uint64_t size = bow_ext_size(i);
	struct bow_ext_runs runs = {0};
	size_t bytes = 0;
	int rc;

	if (size > (UINT64_C(1) << 32) * s->fs->blocksize)
		return bow_ext_bad(s, err, "inode %u has an impossible size", i->ino);
	archive_entry_set_size(l->entry, (int64_t)size);
	if (bow_ext_is_inline(i)) {
		memset(l->buf, 0, BOW_LAYER_CHUNK);
		rc = bow_ext_read_inline(s, i, l->buf, BOW_LAYER_CHUNK, &bytes, err);
		if (!rc)
			rc = put_head(l, err);
		return rc ? rc : put_data(l, l->buf, bow_min(size, BOW_LAYER_CHUNK), err);
	}
	rc = bow_ext_load_runs(s, i, &runs, err);
	if (rc)
		return rc;
	add_sparse(l, &runs, size);
	rc = put_head(l, err);
	if (!rc)
		rc = put_runs(l, &runs, size, err);
	bow_ext_free_runs(&runs);
	return rc;
}

static int put_link(struct bow_layer *l, const struct bow_ext_inode *i, struct bowimg_error *err)
{
	char *target;
	int rc = bow_ext_read_link(&l->d->side[BOWIMG_NOW], i, &target, err);

	if (rc)
		return rc;
	archive_entry_set_symlink(l->entry, target);
	free(target);
	return put_head(l, err);
}

static void set_times(struct archive_entry *e, const struct bow_ext_inode *i)
{
	const struct timespec t = bow_ext_mtime(i);

	archive_entry_set_mtime(e, t.tv_sec, t.tv_nsec);
}

static int put_inode(struct bow_layer *l, const struct bow_ext_inode *i, struct bowimg_error *err)
{
	unsigned major, minor;
	int rc;

	archive_entry_set_mode(l->entry, i->raw.i_mode);
	archive_entry_set_uid(l->entry, bow_ext_uid(i));
	archive_entry_set_gid(l->entry, bow_ext_gid(i));
	archive_entry_set_nlink(l->entry, 1);
	archive_entry_set_size(l->entry, 0);
	set_times(l->entry, i);
	rc = add_attrs(l, i, err);
	if (rc)
		return rc;
	switch (bow_ext_type(i)) {
	case LINUX_S_IFREG:
		return put_file(l, i, err);
	case LINUX_S_IFLNK:
		return put_link(l, i, err);
	case LINUX_S_IFCHR:
	case LINUX_S_IFBLK:
		bow_ext_device(i, &major, &minor);
		archive_entry_set_rdev(l->entry, makedev(major, minor));
		return put_head(l, err);
	default:
		return put_head(l, err);
	}
}

/* Paths in archives are relative. */
static const char *relative(const char *path)
{
	return path[0] == '\0' ? "." : path + 1;
}

static int put_marker(struct bow_layer *l, const struct bow_layer_entry *e,
		      struct bowimg_error *err)
{
	char *path = malloc(strlen(e->key) + strlen(e->whiteout) + 1);
	int rc;

	if (!path)
		return bow_diff_no_memory(err);
	stpcpy(stpcpy(path, e->key + 1), e->whiteout);
	archive_entry_set_pathname(l->entry, path);
	archive_entry_set_mode(l->entry, S_IFREG | 0600);
	archive_entry_set_size(l->entry, 0);
	archive_entry_set_mtime(l->entry, 0, 0);
	rc = put_head(l, err);
	free(path);
	return rc;
}

int bow_layer_put(struct bow_layer *l, const struct bow_layer_entry *e, struct bowimg_error *err)
{
	struct bow_ext_inode inode;
	int rc;

	archive_entry_clear(l->entry);
	if (e->whiteout)
		return put_marker(l, e, err);
	rc = bow_diff_inode(l->d, BOWIMG_NOW, e->ino, &inode, err);
	if (rc)
		return rc;
	archive_entry_set_pathname(l->entry, relative(e->key));
	if (!e->link)
		return put_inode(l, &inode, err);
	archive_entry_set_mode(l->entry, inode.raw.i_mode);
	archive_entry_set_uid(l->entry, bow_ext_uid(&inode));
	archive_entry_set_gid(l->entry, bow_ext_gid(&inode));
	set_times(l->entry, &inode);
	archive_entry_set_hardlink(l->entry, relative(e->link->key));
	return put_head(l, err);
}
