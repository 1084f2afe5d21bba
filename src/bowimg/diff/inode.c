/* SPDX-License-Identifier: MIT */
/* Files, whatever reads them: which two are the same one, attributes, places of data. */
#include "bowimg/diff/inode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/grow.h"

bool bow_inode_is_unique(const struct bow_inode *i)
{
	return i->generation != 0 || (i->has_birth && (i->birth.tv_sec || i->birth.tv_nsec));
}

bool bow_inode_same(const struct bow_inode *a, const struct bow_inode *b)
{
	if (!a->in_use || !b->in_use || bow_inode_type(a) != bow_inode_type(b) ||
	    a->generation != b->generation)
		return false;
	return !a->has_birth || !b->has_birth ||
	       (a->birth.tv_sec == b->birth.tv_sec && a->birth.tv_nsec == b->birth.tv_nsec);
}

int bow_attrs_add(struct bow_attrs *attrs, const char *name, const void *value, size_t bytes)
{
	struct bow_attr *v = bow_grow(attrs->v, attrs->n, &attrs->room, sizeof(*v));

	if (!v)
		return -ENOMEM;
	attrs->v = v;
	v += attrs->n++;
	*v = (struct bow_attr){strdup(name), malloc(bytes + 1), bytes};
	if (!v->name || !v->value)
		return -ENOMEM;
	if (bytes)
		memcpy(v->value, value, bytes);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct bow_attr *)a)->name, ((const struct bow_attr *)b)->name);
}

void bow_attrs_sort(struct bow_attrs *attrs)
{
	bow_sort(attrs->v, attrs->n, sizeof(*attrs->v), by_name);
}

void bow_attrs_free(struct bow_attrs *attrs)
{
	for (size_t k = 0; k < attrs->n; k++) {
		free(attrs->v[k].name);
		free(attrs->v[k].value);
	}
	free(attrs->v);
	*attrs = (struct bow_attrs){0};
}

bool bow_attrs_same(const struct bow_attrs *a, const struct bow_attrs *b)
{
	if (a->n != b->n)
		return false;
	for (size_t k = 0; k < a->n; k++)
		if (strcmp(a->v[k].name, b->v[k].name) != 0 || a->v[k].bytes != b->v[k].bytes ||
		    memcmp(a->v[k].value, b->v[k].value, a->v[k].bytes) != 0)
			return false;
	return true;
}

int bow_content_add(struct bow_content *c, const struct bow_piece *piece)
{
	struct bow_piece *v = bow_grow(c->v, c->n, &c->room, sizeof(*v));

	if (!v)
		return -ENOMEM;
	c->v = v;
	v[c->n++] = *piece;
	return 0;
}
