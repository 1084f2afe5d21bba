/* SPDX-License-Identifier: MIT */
/* One entry of the archive: its head, and a file's content, holes left out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "lib/base/bytes.h"
#include "lib/base/stop.h"
#include "bowimg/diff/layer/private.h"

static bool can_hold(struct bow_layer *l, const char *attr)
{
	const struct bowimg_events *events = &l->d->opts.events;
	char text[640];

	if (bow_layer_pax_holds_attr(attr))
		return true;
	l->left_out++;
	snprintf(text, sizeof(text),
		 "left out of the archive: the attribute %.200s of %.200s: tar programs do not "
		 "agree on a name with '=', %%3D or %%25",
		 attr, archive_entry_pathname(l->entry));
	if (events->notice)
		events->notice(events->ctx, text);
	return false;
}

static int add_attrs(struct bow_layer *l, const struct bow_inode *i, struct bowimg_error *err)
{
	struct bow_attrs attrs;
	int rc = l->d->ops->load_attrs(l->d, i->ino, &attrs, err);

	if (rc)
		return rc;
	for (size_t k = 0; k < attrs.n; k++)
		if (!bow_layer_acl_take(&l->acls, &attrs.v[k]) && can_hold(l, attrs.v[k].name))
			archive_entry_xattr_add_entry(l->entry, attrs.v[k].name, attrs.v[k].value,
						      attrs.v[k].bytes);
	bow_attrs_free(&attrs);
	return 0;
}

/* How much of a piece lies inside the file. */
static uint64_t piece_bytes(const struct bow_content *c, const struct bow_piece *piece)
{
	return bow_min(piece->bytes, c->size - piece->off);
}

/* A file with holes lists its pieces; libarchive takes one empty piece for "all hole". */
static void add_sparse(struct bow_layer *l, const struct bow_content *c)
{
	uint64_t data = 0;

	for (size_t k = 0; k < c->n; k++)
		data += piece_bytes(c, &c->v[k]);
	if (data >= c->size)
		return;
	if (!data)
		archive_entry_sparse_add_entry(l->entry, 0, 0);
	for (size_t k = 0; k < c->n; k++)
		archive_entry_sparse_add_entry(l->entry, (int64_t)c->v[k].off,
					       (int64_t)piece_bytes(c, &c->v[k]));
}

static int put_piece(struct bow_layer *l, uint32_t ino, const struct bow_content *c,
		     const struct bow_piece *piece, struct bowimg_error *err)
{
	const uint64_t bytes = piece_bytes(c, piece);
	uint64_t k;
	int rc = 0;

	for (uint64_t at = 0; !rc && at < bytes; at += k) {
		k = bow_min(bytes - at, BOW_LAYER_CHUNK);
		rc = bow_stop_asked(&l->d->opts.events, err);
		if (!rc)
			rc = l->d->ops->read_content(l->d, ino, c, piece, at, l->buf, k, err);
		if (!rc)
			rc = bow_layer_put_data(l, l->buf, k, err);
	}
	return rc;
}

/* The pieces alone: the head of a file with holes lists them. */
static int put_pieces(struct bow_layer *l, uint32_t ino, const struct bow_content *c,
		      struct bowimg_error *err)
{
	uint64_t bytes = 0;
	int rc = 0;

	for (size_t k = 0; !rc && k < c->n; k++) {
		rc = put_piece(l, ino, c, &c->v[k], err);
		bytes += piece_bytes(c, &c->v[k]);
	}
	return rc ? rc : bow_layer_pax_pad(l, bytes, err);
}

static int put_file(struct bow_layer *l, const struct bow_inode *i, struct bowimg_error *err)
{
	struct bow_content c;
	int rc = l->d->ops->open_content(l->d, i->ino, &c, err);

	if (!rc) {
		archive_entry_set_size(l->entry, (int64_t)c.size);
		add_sparse(l, &c);
		rc = bow_layer_pax_head(l, err);
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
	return bow_layer_pax_head(l, err);
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
		return bow_layer_pax_head(l, err);
	default:
		return bow_layer_pax_head(l, err);
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
	rc = bow_layer_pax_head(l, err);
	free(path);
	return rc;
}

int bow_layer_put(struct bow_layer *l, const struct bow_layer_entry *e, struct bowimg_error *err)
{
	struct bow_inode inode;
	int rc;

	archive_entry_clear(l->entry);
	bow_layer_acl_release(&l->acls);
	if (e->whiteout)
		return put_marker(l, e, err);
	rc = l->d->ops->inode(l->d, BOW_NEW, e->ino, &inode, err);
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
	return bow_layer_pax_head(l, err);
}
