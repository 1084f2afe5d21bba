/* SPDX-License-Identifier: MIT */
/*
 * Reading a mounted tree: each directory once, the nearest to the root first, and each file with
 * several names once. Nothing recurses. The file system may be hostile, so that a directory with
 * two names ends the walk, and so do too many files.
 */
#include "bowimg/diff/mounted/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/stop.h"

/* The inode numbers of the root of a subvolume on btrfs, and of the empty directories that a
 * snapshot has in place of subvolumes: all of these have the same number. */
#define BTRFS_SUBVOLUME_INO 256u
#define BTRFS_NOWHERE_INO 2u
#define BTRFS_TOP 5u

/* ---- files and entries ----------------------------------------------------------- */

static int no_memory(struct bowimg_error *err)
{
	return bow_err_errno(err, -ENOMEM, "list the files of a mounted file system");
}

static int set_index(struct bow_tree *t, uint32_t number, struct bowimg_error *err)
{
	if (number >= t->room_index) {
		const size_t room = bow_max(2 * t->room_index, (size_t)number + 4096);
		uint32_t *index = realloc(t->index, room * sizeof(*index));

		if (!index)
			return no_memory(err);
		memset(index + t->room_index, 0, (room - t->room_index) * sizeof(*index));
		t->index = index;
		t->room_index = room;
	}
	t->index[number] = (uint32_t)t->n_files;
	return 0;
}

static struct timespec time_of(const struct statx_timestamp *t)
{
	return (struct timespec){.tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec};
}

static void describe(const struct statx *st, uint32_t number, struct bow_inode *out)
{
	*out = (struct bow_inode){
		.ino = number,
		.in_use = true,
		.mode = st->stx_mode,
		.links = st->stx_nlink,
		.uid = st->stx_uid,
		.gid = st->stx_gid,
		.major = st->stx_rdev_major,
		.minor = st->stx_rdev_minor,
		.size = st->stx_size,
		.mtime = time_of(&st->stx_mtime),
		.is_encrypted = st->stx_attributes & STATX_ATTR_ENCRYPTED,
		.has_birth = st->stx_mask & STATX_BTIME,
	};
	if (out->has_birth)
		out->birth = time_of(&st->stx_btime);
}

static int add_file(struct bow_tree *t, const struct bow_tree_file *f, struct bowimg_error *err)
{
	struct bow_tree_file *v = bow_grow(t->files, t->n_files, &t->room_files, sizeof(*v));
	int rc;

	if (!v)
		return no_memory(err);
	t->files = v;
	v += t->n_files++;
	*v = *f;
	t->n_dirs += S_ISDIR(f->inode.mode);
	rc = set_index(t, f->inode.ino, err);
	return rc ? rc : bow_tree_examine(t, v, err);
}

static int add_entry(struct bow_tree *t, uint32_t number, const char *name,
		     struct bowimg_error *err)
{
	struct bow_tree_entry *v = bow_grow(t->entries, t->n_entries, &t->room_entries, sizeof(*v));

	if (!v)
		return no_memory(err);
	t->entries = v;
	v[t->n_entries++] = (struct bow_tree_entry){number, name};
	if (t->n_entries < UINT32_MAX)
		return 0;
	return bow_err(err, -E2BIG, "%s: compare files: there are too many %s", t->image, t->label);
}

/* ---- reading directories --------------------------------------------------------- */

struct reading {
	struct bow_tree *t;
	size_t dir; /* place in t->files */
	int fd;
};

/* Each mount has other device numbers for subvolumes. */
static int find_subvolume(const struct reading *r, const char *name, uint64_t *out)
{
	struct btrfs_ioctl_ino_lookup_args args = {.objectid = BTRFS_SUBVOLUME_INO};
	int fd = openat(r->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int rc = 0;

	if (fd < 0 || ioctl(fd, BTRFS_IOC_INO_LOOKUP, &args) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	*out = args.treeid;
	return rc;
}

static bool is_btrfs(const struct bow_tree *t)
{
	return t->kind->is_alone;
}

static uint32_t number_of(const struct reading *r, const struct statx *st, const char *name,
			  uint64_t subvolume)
{
	struct bow_tree *t = r->t;
	const uint32_t parent = t->files[r->dir].inode.ino;

	if (!t->kind->keeps_numbers)
		return bow_numbers_fresh(t->numbers);
	if (is_btrfs(t) && st->stx_ino == BTRFS_NOWHERE_INO)
		return bow_numbers_get(t->numbers, ~t->space - parent,
				       bow_hash(name, strlen(name), 0));
	return bow_numbers_get(t->numbers, t->space + subvolume, st->stx_ino);
}

static int met_twice(const struct bow_tree *t, const struct bow_tree_file *f,
		     struct bowimg_error *err)
{
	return bow_tree_fail(t, f, -EUCLEAN, "two names mean the same directory", err);
}

/* One more name; the file as well if it is its first. */
static int on_entry(const struct reading *r, const char *name, const struct statx *st,
		    struct bowimg_error *err)
{
	struct bow_tree *t = r->t;
	struct bow_tree_file f = {.subvolume = t->files[r->dir].subvolume,
				  .parent = t->files[r->dir].inode.ino,
				  .name = bow_arena_text(&t->names, name)};
	int rc = 0;

	if (!f.name)
		return no_memory(err);
	if (is_btrfs(t) && S_ISDIR(st->stx_mode) && st->stx_ino == BTRFS_SUBVOLUME_INO)
		rc = find_subvolume(r, name, &f.subvolume);
	if (rc)
		return bow_tree_fail(t, &f, rc, "ask for its subvolume", err);
	const uint32_t number = number_of(r, st, name, f.subvolume);
	if (!number)
		return bow_err(err, -E2BIG, "%s: compare files: there are too many files",
			       t->image);
	const struct bow_tree_file *known = bow_tree_find(t, number);
	if (known && S_ISDIR(st->stx_mode))
		return met_twice(t, known, err);
	describe(st, number, &f.inode);
	if (!known)
		rc = add_file(t, &f, err);
	return rc ? rc : add_entry(t, number, f.name, err);
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int read_entries(const struct reading *r, DIR *dir, struct bowimg_error *err)
{
	const struct bow_tree_file *self = &r->t->files[r->dir];
	struct dirent *e;
	struct statx st;
	int rc = 0;

	while (!rc && (errno = 0, e = readdir(dir))) {
		if (is_dots(e->d_name))
			continue;
		if (statx(r->fd, e->d_name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
			  STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
			return bow_tree_fail(r->t, self, -errno, "stat a file in it", err);
		rc = on_entry(r, e->d_name, &st, err);
		self = &r->t->files[r->dir];
	}
	return !rc && errno ? bow_tree_fail(r->t, self, -errno, "read it", err) : rc;
}

static int read_dir(struct bow_tree *t, size_t at, struct bowimg_error *err)
{
	struct reading r = {.t = t, .dir = at};
	const uint32_t entries = (uint32_t)t->n_entries;
	DIR *dir;
	int rc;

	r.fd = bow_tree_open(t, &t->files[at], O_RDONLY | O_DIRECTORY, err);
	if (r.fd < 0)
		return r.fd;
	dir = fdopendir(r.fd);
	if (!dir) {
		close(r.fd);
		return no_memory(err);
	}
	rc = read_entries(&r, dir, err);
	closedir(dir);
	t->files[at].entries = entries;
	t->files[at].n_entries = (uint32_t)t->n_entries - entries;
	return rc;
}

static int add_root(struct bow_tree *t, struct bowimg_error *err)
{
	struct bow_tree_file root = {.parent = BOW_ROOT_INO, .name = ""};
	struct statx st;

	if (statx(t->mount_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
		return bow_tree_fail(t, &root, -errno, "stat it", err);
	if (is_btrfs(t))
		root.subvolume = BTRFS_TOP;
	describe(&st, BOW_ROOT_INO, &root.inode);
	return add_file(t, &root, err);
}

int bow_tree_read(struct bow_tree *t, struct bowimg_error *err)
{
	int rc = add_root(t, err);
	uint64_t done = 0;

	for (size_t i = 0; !rc && i < t->n_files; i++) {
		if (!S_ISDIR(t->files[i].inode.mode))
			continue;
		if (t->events.progress)
			t->events.progress(t->events.ctx, "read directories", done, t->n_dirs);
		rc = bow_stop_asked(&t->events, err);
		if (!rc)
			rc = read_dir(t, i, err);
		done++;
	}
	return rc;
}

void bow_tree_release(struct bow_tree *t)
{
	free(t->files);
	free(t->index);
	free(t->entries);
	bow_arena_release(&t->names);
}
