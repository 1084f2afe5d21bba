/* SPDX-License-Identifier: MIT */
/* What differs between two inodes; content is read only where it can differ. */
#include "fronts/diff_private.h"

struct pair {
	struct bow_diff *d;
	struct bow_inode inode[BOW_SIDES];
	unsigned what;
};

/* Ask one of the questions of diff_private.h. */
static int ask(struct pair *p,
	       int (*differs)(struct bow_diff *d, const struct bow_inode *now,
			      const struct bow_inode *before, bool *differs,
			      struct bowimg_error *err),
	       unsigned what, struct bowimg_error *err)
{
	bool yes = false;
	int rc = differs(p->d, &p->inode[BOWIMG_NOW], &p->inode[BOWIMG_BEFORE], &yes, err);

	if (!rc && yes)
		p->what |= what;
	return rc;
}

static int compare_content(struct pair *p, struct bowimg_error *err)
{
	if (p->inode[BOWIMG_NOW].size == p->inode[BOWIMG_BEFORE].size)
		return ask(p, p->d->ops->content_differs, BOW_DIFF_CONTENT, err);
	p->what |= BOW_DIFF_CONTENT | BOW_DIFF_SIZE;
	return 0;
}

static void compare_inodes(struct pair *p)
{
	const struct bow_inode *now = &p->inode[BOWIMG_NOW], *before = &p->inode[BOWIMG_BEFORE];

	if ((now->mode ^ before->mode) & 07777)
		p->what |= BOW_DIFF_MODE;
	if (now->uid != before->uid || now->gid != before->gid)
		p->what |= BOW_DIFF_OWNER;
	if (now->mtime.tv_sec != before->mtime.tv_sec ||
	    now->mtime.tv_nsec != before->mtime.tv_nsec)
		p->what |= BOW_DIFF_TIMES;
}

static int compare_type(struct pair *p, struct bowimg_error *err)
{
	const struct bow_inode *now = &p->inode[BOWIMG_NOW], *before = &p->inode[BOWIMG_BEFORE];

	switch (bow_inode_type(now)) {
	case S_IFREG:
		return compare_content(p, err);
	case S_IFLNK:
		return ask(p, p->d->ops->targets_differ, BOW_DIFF_TARGET, err);
	case S_IFCHR:
	case S_IFBLK:
		if (now->major != before->major || now->minor != before->minor)
			p->what |= BOW_DIFF_DEVICE;
		return 0;
	default:
		return 0; /* of a directory the names are compared elsewhere */
	}
}

static int compare(struct pair *p, struct bowimg_error *err)
{
	int rc;

	compare_inodes(p);
	if (bow_inode_type(&p->inode[BOWIMG_NOW]) != bow_inode_type(&p->inode[BOWIMG_BEFORE])) {
		p->what |= BOW_DIFF_TYPE;
		return 0;
	}
	rc = ask(p, p->d->ops->attrs_differ, BOW_DIFF_XATTRS, err);
	return rc ? rc : compare_type(p, err);
}

int bow_diff_compare(struct bow_diff *d, uint32_t now, uint32_t before, unsigned *what,
		     struct bowimg_error *err)
{
	struct pair p = {.d = d};
	int rc = d->ops->inode(d, BOWIMG_NOW, now, &p.inode[BOWIMG_NOW], err);

	if (!rc)
		rc = d->ops->inode(d, BOWIMG_BEFORE, before, &p.inode[BOWIMG_BEFORE], err);
	if (!rc)
		rc = compare(&p, err);
	*what = p.what;
	return rc;
}
