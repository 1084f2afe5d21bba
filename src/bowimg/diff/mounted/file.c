/* SPDX-License-Identifier: MIT */
/* One file of a mounted tree: opened by its path; what stat() does not return. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "bowimg/diff/mounted/data.h"

#define PATH_BYTES_MAX (64u << 10)
#define STEP_BYTES 3072u /* of a path that is opened at once: the kernel takes 4 KiB */

/* ---- messages and paths ---------------------------------------------------------- */

/* Written from its end, upwards; false: it is too long. */
static bool write_path(const struct bow_tree *t, const struct bow_tree_file *f, char *buf,
		       char **path)
{
	char *at = buf + PATH_BYTES_MAX;

	*--at = '\0';
	for (; f && f->inode.ino != BOW_ROOT_INO; f = bow_tree_find(t, f->parent)) {
		const size_t n = strlen(f->name);

		if ((size_t)(at - buf) < n + 1)
			return false;
		at = memcpy(at - n, f->name, n);
		*--at = '/';
	}
	*path = at;
	return true;
}

int bow_tree_fail(const struct bow_tree *t, const struct bow_tree_file *f, int code,
		  const char *what, struct bowimg_error *err)
{
	CLEANUP_FREE char *buf = malloc(PATH_BYTES_MAX);
	char *path = NULL;

	if (!buf || !write_path(t, f, buf, &path))
		path = NULL;
	bow_err_errno(err, code, "%s: compare files: %.150s, %s: %s", t->image,
		      !path	? "a file"
		      : path[0] ? path
				: "/",
		      t->label, what);
	bow_err_hint(err, "check the file system with its own tools; nothing was written");
	return code;
}

static int open_below(int dir, const char *path, int flags)
{
	/* O_PATH allows few other flags. */
	const int wait = flags & O_PATH ? 0 : O_NONBLOCK;
	const struct open_how how = {
		.flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC | wait),
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
	};

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* Open a path below `dir`, which is closed unless it is the root. */
static int step(int root, int dir, const char *path, int flags)
{
	const int fd = open_below(dir, path, flags);
	const int code = fd < 0 ? -errno : fd;

	if (dir != root)
		close(dir);
	return code;
}

/* Open a path of any length, in steps that the kernel takes. The path is cut up. */
static int open_path(int root, char *path, int flags)
{
	int dir = root;

	path += *path == '/';
	while (dir >= 0 && strlen(path) > STEP_BYTES) {
		char *end = memrchr(path, '/', STEP_BYTES);

		if (!end)
			return step(root, dir, path, flags); /* a name that no kernel takes */
		*end = '\0';
		dir = step(root, dir, path, O_PATH | O_DIRECTORY);
		path = end + 1;
	}
	return dir < 0 ? dir : step(root, dir, *path ? path : ".", flags);
}

int bow_tree_open(const struct bow_tree *t, const struct bow_tree_file *f, int flags,
		  struct bowimg_error *err)
{
	CLEANUP_FREE char *buf = malloc(PATH_BYTES_MAX);
	char *path;
	int fd;

	if (!buf)
		return bow_err_errno(err, -ENOMEM, "open a file");
	if (!write_path(t, f, buf, &path))
		return bow_tree_fail(t, f, -EUCLEAN, "directories are nested too deeply", err);
	fd = open_path(t->mount_fd, path, flags);
	return fd < 0 ? bow_tree_fail(t, f, fd, "open it", err) : fd;
}

/* ---- attributes and link targets ------------------------------------------------- */

/* A second copy of the ACLs of system.*, which XFS shows to root. */
static bool is_shadow(const char *name)
{
	return strncmp(name, "trusted.SGI_ACL_", 16) == 0;
}

static int add_attr(const char *path, const char *name, struct bow_attrs *out)
{
	CLEANUP_FREE char *value = malloc(XATTR_SIZE_MAX);
	ssize_t n = value ? getxattr(path, name, value, XATTR_SIZE_MAX) : -1;

	if (!value)
		return -ENOMEM;
	return n < 0 ? -errno : bow_attrs_add(out, name, value, (size_t)n);
}

/* By the name of a descriptor in /proc, since links and devices can only be opened with O_PATH. */
static int read_attrs(const char *path, struct bow_attrs *out)
{
	CLEANUP_FREE char *names = malloc(XATTR_LIST_MAX);
	ssize_t n = names ? listxattr(path, names, XATTR_LIST_MAX) : -1;
	int rc = 0;

	if (!names)
		return -ENOMEM;
	if (n < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	for (const char *name = names; !rc && name < names + n; name += strlen(name) + 1)
		rc = is_shadow(name) ? 0 : add_attr(path, name, out);
	bow_attrs_sort(out);
	return rc;
}

static int load_attrs(const struct bow_tree *t, const struct bow_tree_file *f, int fd,
		      struct bow_attrs *out, struct bowimg_error *err)
{
	char path[64];
	int rc;

	*out = (struct bow_attrs){0};
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = read_attrs(path, out);
	if (!rc)
		return 0;
	bow_attrs_free(out);
	return bow_tree_fail(t, f, rc, "read its attributes", err);
}

int bow_tree_attrs(const struct bow_tree *t, const struct bow_tree_file *f, struct bow_attrs *out,
		   struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = bow_tree_open(t, f, O_PATH, err);

	return fd < 0 ? fd : load_attrs(t, f, fd, out, err);
}

static int load_target(const struct bow_tree *t, const struct bow_tree_file *f, int fd, char **out,
		       struct bowimg_error *err)
{
	char *target = malloc(PATH_BYTES_MAX);
	ssize_t n = target ? readlinkat(fd, "", target, PATH_BYTES_MAX - 1) : -1;
	int rc = target ? -errno : -ENOMEM;

	if (!target || n < 0) {
		bow_tree_fail(t, f, rc, "read the link", err);
		free(target);
		return rc < 0 ? rc : -EIO;
	}
	target[n] = '\0';
	*out = target;
	return 0;
}

int bow_tree_target(const struct bow_tree *t, const struct bow_tree_file *f, char **out,
		    struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = bow_tree_open(t, f, O_PATH, err);

	return fd < 0 ? fd : load_target(t, f, fd, out, err);
}

/* ---- what stat() does not return ------------------------------------------------- */

static struct bow_tree_hash digest(XXH3_state_t *h)
{
	const XXH128_hash_t d = XXH3_128bits_digest(h);

	return (struct bow_tree_hash){d.low64, d.high64};
}

static bool has_data(const struct bow_tree *t, const struct bow_tree_file *f)
{
	return S_ISREG(f->inode.mode) && f->inode.size > 0 && !f->inode.is_encrypted &&
	       (t->hash_data || t->kind->has_places);
}

static int examine_data(const struct bow_tree *t, struct bow_tree_file *f, int fd, XXH3_state_t *h,
			struct bowimg_error *err)
{
	int rc = t->hash_data ? bow_tree_hash_data(fd, f->inode.size, h)
			      : bow_tree_hash_places(fd, t->changed, h, &f->is_placed);

	return rc ? bow_tree_fail(t, f, rc, "read it", err) : 0;
}

static int examine_target(const struct bow_tree *t, const struct bow_tree_file *f, int fd,
			  XXH3_state_t *h, struct bowimg_error *err)
{
	char *target;
	int rc = load_target(t, f, fd, &target, err);

	if (rc < 0)
		return rc;
	XXH3_128bits_update(h, target, strlen(target));
	free(target);
	return 0;
}

static int examine_attrs(const struct bow_tree *t, const struct bow_tree_file *f, int fd,
			 XXH3_state_t *h, struct bowimg_error *err)
{
	struct bow_attrs attrs;
	int rc = load_attrs(t, f, fd, &attrs, err);

	if (rc)
		return rc;
	for (size_t k = 0; k < attrs.n; k++) {
		const uint64_t bytes = attrs.v[k].bytes;

		XXH3_128bits_update(h, attrs.v[k].name, strlen(attrs.v[k].name) + 1);
		XXH3_128bits_update(h, &bytes, sizeof(bytes));
		XXH3_128bits_update(h, attrs.v[k].value, attrs.v[k].bytes);
	}
	bow_attrs_free(&attrs);
	return 0;
}

static int examine(const struct bow_tree *t, struct bow_tree_file *f, XXH3_state_t *h,
		   struct bowimg_error *err)
{
	const bool reads = has_data(t, f);
	CLEANUP_CLOSE int fd = bow_tree_open(t, f, reads ? O_RDONLY | O_NOATIME : O_PATH, err);
	int rc;

	if (fd < 0)
		return fd;
	XXH3_128bits_reset_withSeed(h, t->seed);
	rc = examine_attrs(t, f, fd, h, err);
	f->attrs = digest(h);
	XXH3_128bits_reset_withSeed(h, t->seed);
	if (!rc && S_ISLNK(f->inode.mode))
		rc = examine_target(t, f, fd, h, err);
	if (!rc && reads)
		rc = examine_data(t, f, fd, h, err);
	f->data = digest(h);
	return rc;
}

int bow_tree_examine(const struct bow_tree *t, struct bow_tree_file *f, struct bowimg_error *err)
{
	XXH3_state_t *h = XXH3_createState();
	int rc = h ? examine(t, f, h, err) : bow_err_errno(err, -ENOMEM, "examine a file");

	XXH3_freeState(h);
	return rc;
}
