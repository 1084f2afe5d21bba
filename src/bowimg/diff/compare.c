/* SPDX-License-Identifier: MIT */
/* What differs between two inodes. Content is read only where it can differ. */
#include "bowimg/diff/private.h"

struct pair {
	struct bow_diff *d;
	struct bow_inode inode[BOW_VERSIONS];
	unsigned what;
};

/* Ask one of the questions in struct bow_diff_ops. */
static int ask(struct pair *p,
	       int (*differs)(struct bow_diff *d, const struct bow_inode *new,
			      const struct bow_inode *old, bool *differs, struct bowimg_error *err),
	       unsigned what, struct bowimg_error *err)
{
	bool yes = false;
	int rc = differs(p->d, &p->inode[BOW_NEW], &p->inode[BOW_OLD], &yes, err);

	if (!rc && yes)
		p->what |= what;
	return rc;
}

static int compare_content(struct pair *p, struct bowimg_error *err)
{
	if (p->inode[BOW_NEW].size == p->inode[BOW_OLD].size)
		return ask(p, p->d->ops->content_differs, BOW_DIFF_CONTENT, err);
	p->what |= BOW_DIFF_CONTENT | BOW_DIFF_SIZE;
	return 0;
}

static void compare_inodes(struct pair *p)
{
	const struct bow_inode *new = &p->inode[BOW_NEW], *old = &p->inode[BOW_OLD];

	if ((new->mode ^ old->mode) & 07777)
		p->what |= BOW_DIFF_MODE;
	if (new->uid != old->uid || new->gid != old->gid)
		p->what |= BOW_DIFF_OWNER;
	if (new->mtime.tv_sec != old->mtime.tv_sec || new->mtime.tv_nsec != old->mtime.tv_nsec)
		p->what |= BOW_DIFF_TIMES;
}

static int compare_type(struct pair *p, struct bowimg_error *err)
{
	const struct bow_inode *new = &p->inode[BOW_NEW], *old = &p->inode[BOW_OLD];

	switch (bow_inode_type(new)) {
	case S_IFREG:
		return compare_content(p, err);
	case S_IFLNK:
		return ask(p, p->d->ops->targets_differ, BOW_DIFF_TARGET, err);
	case S_IFCHR:
	case S_IFBLK:
		if (new->major != old->major || new->minor != old->minor)
			p->what |= BOW_DIFF_DEVICE;
		return 0;
	default:
		return 0; /* links.c compares the names of a directory */
	}
}

static int compare(struct pair *p, struct bowimg_error *err)
{
	int rc;

	compare_inodes(p);
	if (bow_inode_type(&p->inode[BOW_NEW]) != bow_inode_type(&p->inode[BOW_OLD])) {
		p->what |= BOW_DIFF_TYPE;
		return 0;
	}
	rc = ask(p, p->d->ops->attrs_differ, BOW_DIFF_XATTRS, err);
	return rc ? rc : compare_type(p, err);
}

int bow_diff_compare(struct bow_diff *d, uint32_t new, uint32_t old, unsigned *what,
		     struct bowimg_error *err)
{
	struct pair p = {.d = d};
	int rc = d->ops->inode(d, BOW_NEW, new, &p.inode[BOW_NEW], err);

	if (!rc)
		rc = d->ops->inode(d, BOW_OLD, old, &p.inode[BOW_OLD], err);
	if (!rc)
		rc = compare(&p, err);
	*what = p.what;
	return rc;
}
