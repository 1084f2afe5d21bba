/* SPDX-License-Identifier: MIT */
/* Can both versions be mounted? Mounting and listing them. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "lib/base/show.h"
#include "bowimg/diff/mounted/tree.h"

#define CHANGED_BLOCK 4096u /* the unit of changes, in bytes */

/* ---- what is missing? ------------------------------------------------------------ */

static bool knows(const char *driver)
{
	CLEANUP_CLOSE int fd = fsopen(driver, FSOPEN_CLOEXEC);

	return fd >= 0 || errno != ENODEV;
}

static void missing(struct bowimg_error *why_not, const char *hint, const char *fmt,
		    const char *name)
{
	bow_err(why_not, -EOPNOTSUPP, fmt, name);
	bow_err_hint(why_not,
		     "%s; nothing was written; without --files, the changed ranges can be listed "
		     "all the same",
		     hint);
}

int bow_diff_tree_probe(const struct bow_diff_source *source, uint64_t off, uint64_t bytes,
			bool *is_known, struct bowimg_error *why_not, struct bowimg_error *err)
{
	const struct bow_tree_kind *kind = NULL;
	uint8_t id[16];
	int rc = bow_tree_probe(source, BOW_NEW, off, bytes, &kind, id, err);

	*is_known = kind != NULL;
	if (rc || !kind)
		return rc;
	if (geteuid() != 0)
		missing(why_not, "run it as root",
			"to compare files of %s, both versions are mounted, which needs root",
			kind->name);
	else if (!source->mountable || !bow_loop_usable())
		missing(why_not, "load the module loop (modprobe loop), or leave the container",
			"to compare files of %s, both versions are mounted, and there are no "
			"loop devices here",
			kind->name);
	else if (access("/dev/fuse", R_OK | W_OK) < 0)
		missing(why_not, "load the module fuse (modprobe fuse), or leave the container",
			"to compare files of %s, both versions are mounted, and there is no "
			"/dev/fuse here",
			kind->name);
	else if (!knows(kind->driver))
		missing(why_not, "use a kernel that can", "this kernel cannot mount %s",
			kind->name);
	return 0;
}

/* ---- mounting -------------------------------------------------------------------- */

static const char *const labels[] = {
	[BOW_NEW] = "as it is now", [BOW_OLD] = "as it was at prepare"};

static int needs_replay(const struct bow_diff *d, int version, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN,
		"%s: compare files: the log of the file system %s was not replayed, so that its "
		"newest changes cannot be seen yet; nothing is lost",
		d->source->name, labels[version]);
	if (version == BOW_NEW)
		bow_err_hint(err,
			     "mount and unmount it once, with undo: bowimg mount %s DIR && bowimg "
			     "umount DIR",
			     BOW_WORD(d->source->name));
	else
		bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
	return -EUCLEAN;
}

static int mount_version(struct bow_diff *d, int version, struct bowimg_error *err)
{
	struct bow_tree *t = &d->trees->tree[version];
	struct bowimg_error why = {0};
	bool has_log;
	int rc = bow_tree_has_log(d->source, (enum bow_version)version, d->opts.off, t->kind,
				  &has_log, err);

	if (rc || has_log)
		return rc ? rc : needs_replay(d, version, err);
	t->mount_fd = bow_views_mount(d->trees->views, (enum bow_version)version, t->kind->driver,
				      t->kind->option, &why);
	if (t->mount_fd >= 0)
		return 0;
	if (t->mount_fd == -EROFS)
		return needs_replay(d, version, err);
	if (err)
		*err = why;
	if (t->kind->is_alone && (t->mount_fd == -EEXIST || t->mount_fd == -EBUSY))
		bow_err_hint(err, "another one of the same UUID is mounted: unmount that first");
	return bow_err_wrap(err, t->mount_fd, "%s: compare files: the file system %s",
			    d->source->name, labels[version]);
}

static int list_version(struct bow_diff *d, int version, struct bowimg_error *err)
{
	int rc = mount_version(d, version, err);

	return rc ? rc : bow_tree_read(&d->trees->tree[version], err);
}

/* The old version comes first, so that the new one stays mounted. */
static int list_both(struct bow_diff *d, struct bowimg_error *err)
{
	int rc = list_version(d, BOW_OLD, err);

	if (!rc && d->trees->hashed) {
		bow_views_unmount(d->trees->views, BOW_OLD);
		d->trees->tree[BOW_OLD].mount_fd = -1;
	}
	return rc ? rc : list_version(d, BOW_NEW, err);
}

/* ---- both versions --------------------------------------------------------------- */

static int probe_version(struct bow_diff *d, int version, uint8_t id[16], struct bowimg_error *err)
{
	struct bow_tree *t = &d->trees->tree[version];
	int rc = bow_tree_probe(d->source, (enum bow_version)version, d->opts.off, d->opts.bytes,
				&t->kind, id, err);

	if (rc || t->kind)
		return rc;
	bow_err(err, -EOPNOTSUPP,
		"%s: compare files: there is no file system on the disk %s whose files can be "
		"compared",
		d->source->name, labels[version]);
	bow_err_hint(err, "without --files, the changed ranges can be listed all the same");
	return -EOPNOTSUPP;
}

static int probe_versions(struct bow_diff *d, struct bowimg_error *err)
{
	struct bow_tree *new = &d->trees->tree[BOW_NEW];
	struct bow_tree *old = &d->trees->tree[BOW_OLD];
	uint8_t id[BOW_VERSIONS][16];
	int rc = 0;

	for (int version = 0; version < BOW_VERSIONS && !rc; version++)
		rc = probe_version(d, version, id[version], err);
	if (rc)
		return rc;
	d->related = old->kind == new->kind &&
		     old->kind->keeps_numbers &&memcmp(id[BOW_OLD], id[BOW_NEW],
						       sizeof(id[BOW_OLD])) == 0;
	old->space = d->related ? 0 : UINT64_C(1) << 63;
	d->trees->hashed = new->kind->is_alone && old->kind->is_alone;
	return 0;
}

static void prepare_tree(struct bow_diff *d, int version, uint64_t seed)
{
	struct bow_tree *t = &d->trees->tree[version];

	t->image = d->source->name;
	t->label = labels[version];
	t->numbers = &d->trees->numbers;
	t->seed = seed;
	t->changed = &d->changed;
	t->hash_data = d->trees->hashed;
	t->events = d->opts.events;
	t->mount_fd = -1;
}

int bow_diff_tree_open(struct bow_diff *d, bool *same, struct bowimg_error *err)
{
	uint64_t seed; /* random, so that files cannot be made to have equal hashes */
	int rc;

	d->trees = calloc(1, sizeof(*d->trees));
	if (!d->trees)
		return bow_diff_no_memory(err);
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return bow_err_errno(err, -EIO, "get a random number");
	rc = bow_diff_load_changes(d, CHANGED_BLOCK, err);
	*same = d->changed.blocks == 0;
	if (rc || *same)
		return rc;
	rc = probe_versions(d, err);
	for (int version = 0; version < BOW_VERSIONS && !rc; version++)
		prepare_tree(d, version, seed);
	if (!rc)
		rc = bow_views_open(d->source, d->source->name, d->opts.off, d->opts.bytes,
				    &d->trees->views, err);
	return rc ? rc : list_both(d, err);
}

void bow_diff_tree_close(struct bow_diff *d)
{
	struct bow_diff_trees *t = d->trees;

	if (!t)
		return;
	bow_views_close(t->views);
	for (int version = 0; version < BOW_VERSIONS; version++)
		bow_tree_release(&t->tree[version]);
	bow_numbers_release(&t->numbers);
	free(t);
}
