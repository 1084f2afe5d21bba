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

static bool add_acl(struct archive_entry *e, const struct bow_attr *attr)
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

static int add_attrs(struct bow_layer *l, const struct bow_inode *i, struct bowimg_error *err)
{
	struct bow_attrs attrs;
	int rc = l->d->ops->load_attrs(l->d, i->ino, &attrs, err);

	if (rc)
		return rc;
	for (size_t k = 0; k < attrs.n; k++)
		if (!add_acl(l->entry, &attrs.v[k]))
			archive_entry_xattr_add_entry(l->entry, attrs.v[k].name, attrs.v[k].value,
						      attrs.v[k].bytes);
	bow_attrs_free(&attrs);
	return 0;
}

/* Where the data is; only if there are holes, and in the format's own words for "all hole". */
static void add_sparse(struct bow_layer *l, const struct bow_content *c)
{
	uint64_t data = 0;

	for (size_t k = 0; k < c->n; k++)
		data += bow_min(c->v[k].bytes, c->size - c->v[k].off);
	if (data >= c->size || !l->format->is_tar)
		return;
	if (!data)
		archive_entry_sparse_add_entry(l->entry, 0, 0);
	for (size_t k = 0; k < c->n; k++)
		archive_entry_sparse_add_entry(l->entry, (int64_t)c->v[k].off,
					       (int64_t)bow_min(c->v[k].bytes,
								c->size - c->v[k].off));
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

static int put_piece(struct bow_layer *l, uint32_t ino, const struct bow_content *c,
		     const struct bow_piece *piece, struct bowimg_error *err)
{
	const uint64_t bytes = bow_min(piece->bytes, c->size - piece->off);
	uint64_t k;
	int rc = 0;

	for (uint64_t at = 0; !rc && at < bytes; at += k) {
		k = bow_min(bytes - at, BOW_LAYER_CHUNK);
		rc = l->d->ops->read_content(l->d, ino, c, piece, at, l->buf, k, err);
		if (!rc)
			rc = put_data(l, l->buf, k, err);
	}
	return rc;
}

static int put_pieces(struct bow_layer *l, uint32_t ino, const struct bow_content *c,
		      struct bowimg_error *err)
{
	uint64_t at = 0;
	int rc = 0;

	for (size_t k = 0; !rc && k < c->n; k++) {
		rc = put_zeros(l, c->v[k].off - at, err);
		if (!rc)
			rc = put_piece(l, ino, c, &c->v[k], err);
		at = bow_min(c->v[k].off + c->v[k].bytes, c->size);
	}
	return rc ? rc : put_zeros(l, c->size - at, err);
}

static int put_file(struct bow_layer *l, const struct bow_inode *i, struct bowimg_error *err)
{
	struct bow_content c;
	int rc = l->d->ops->open_content(l->d, i->ino, &c, err);

	if (!rc) {
		archive_entry_set_size(l->entry, (int64_t)c.size);
		add_sparse(l, &c);
		rc = put_head(l, err);
	}
	if (!rc)
		rc = put_pieces(l, i->ino, &c, err);
	bow_diff_close_content(&c);
	return rc;
}

static int put_link(struct bow_layer *l, const struct bow_inode *i, struct bowimg_error *err)
{
	char *target;
	int rc = l->d->ops->read_link(l->d, i->ino, &target, err);

	if (rc)
		return rc;
	archive_entry_set_symlink(l->entry, target);
	free(target);
	return put_head(l, err);
}

static void set_times(struct archive_entry *e, const struct bow_inode *i)
{
	archive_entry_set_mtime(e, i->mtime.tv_sec, i->mtime.tv_nsec);
}

static int put_inode(struct bow_layer *l, const struct bow_inode *i, struct bowimg_error *err)
{
	int rc;

	archive_entry_set_mode(l->entry, i->mode);
	archive_entry_set_uid(l->entry, i->uid);
	archive_entry_set_gid(l->entry, i->gid);
	archive_entry_set_nlink(l->entry, 1);
	archive_entry_set_size(l->entry, 0);
	set_times(l->entry, i);
	rc = add_attrs(l, i, err);
	if (rc)
		return rc;
	switch (bow_inode_type(i)) {
	case S_IFREG:
		return put_file(l, i, err);
	case S_IFLNK:
		return put_link(l, i, err);
	case S_IFCHR:
	case S_IFBLK:
		archive_entry_set_rdev(l->entry, makedev(i->major, i->minor));
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
	struct bow_inode inode;
	int rc;

	archive_entry_clear(l->entry);
	if (e->whiteout)
		return put_marker(l, e, err);
	rc = l->d->ops->inode(l->d, BOWIMG_NOW, e->ino, &inode, err);
	if (rc)
		return rc;
	archive_entry_set_pathname(l->entry, relative(e->key));
	if (!e->link)
		return put_inode(l, &inode, err);
	archive_entry_set_mode(l->entry, inode.mode);
	archive_entry_set_uid(l->entry, inode.uid);
	archive_entry_set_gid(l->entry, inode.gid);
	set_times(l->entry, &inode);
	archive_entry_set_hardlink(l->entry, relative(e->link->key));
	return put_head(l, err);
}
