/* SPDX-License-Identifier: MIT */
/*
 * Happy path: a file without a name (O_TMPFILE); written; fsync; linked to its name; fsync of the
 * directory. If the name is taken, it is linked to a temporary name first, which is renamed.
 *
 * Failure modes: killed before the end, it leaves no file and no name. Killed between that link and
 * the renaming (signals are blocked there), it leaves a complete file with a temporary name.
 * Without O_TMPFILE, or without /proc to link from, the temporary name is there from the start; it
 * is removed on every path but SIGKILL, a crash, and a signal that is not caught.
 */
#include "bowimg/host/outfile.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/cleanup.h"

/* The umask limits this. */
enum { FILE_MODE = 0666, NAME_TRIES = 100 };

/* ---- names ----------------------------------------------------------------------- */

static void make_name(struct bow_outfile *out)
{
	unsigned long long number = 0;

	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	snprintf(out->temporary, sizeof(out->temporary), ".bowimg-%016llx", number);
}

static void remove_name(struct bow_outfile *out)
{
	if (out->temporary[0])
		unlinkat(out->dir_fd, out->temporary, 0);
	out->temporary[0] = '\0';
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Is there a path to link a file without a name from? */
static bool set_link_path(int fd, char path[32])
{
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return access(path, F_OK) == 0;
}

/* ---- opening --------------------------------------------------------------------- */

static int open_named(struct bow_outfile *out)
{
	for (int i = 0; i < NAME_TRIES; i++) {
		make_name(out);
		out->fd = openat(out->dir_fd, out->temporary,
				 O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
		if (out->fd >= 0)
			return 0;
		out->temporary[0] = '\0';
		if (errno != EEXIST)
			break;
	}
	return -errno;
}

/* A file system that cannot do it returns one of these; which one depends on its age. */
static bool lacks_tmpfile(int code)
{
	return code == EOPNOTSUPP || code == EISDIR || code == EINVAL || code == ENOENT;
}

static int open_new(struct bow_outfile *out)
{
	char path[32];

	out->fd = openat(out->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);
	if (out->fd < 0)
		return lacks_tmpfile(errno) ? open_named(out) : -errno;
	if (set_link_path(out->fd, path))
		return 0;
	close(out->fd);
	return open_named(out);
}

/* A directory may be writable but not readable; then it is not synced. */
static int open_directory(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == EACCES)
		fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_in_directory(const char *path, struct bow_outfile *out)
{
	CLEANUP_FREE char *copy = NULL;

	out->final = realpath(path, NULL);
	if (!out->final)
		out->final = strdup(path);
	copy = out->final ? strdup(out->final) : NULL;
	if (!copy)
		return -ENOMEM;
	out->dir_fd = open_directory(dirname(copy));
	return out->dir_fd < 0 ? out->dir_fd : open_new(out);
}

static int open_directly(const char *path, struct bow_outfile *out)
{
	out->fd = strcmp(path, "-") == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
					 : open(path, O_WRONLY | O_CLOEXEC);
	return out->fd < 0 ? -errno : 0;
}

/* The new file must not take the place of the image. */
static int check_place(const char *path, const struct stat *st, const char *image,
		       struct bowimg_error *err)
{
	struct stat of_image;

	if (image && stat(image, &of_image) == 0 && of_image.st_dev == st->st_dev &&
	    of_image.st_ino == st->st_ino)
		return bow_err(err, -EINVAL, "%s is the image itself", path);
	if (S_ISBLK(st->st_mode) || S_ISDIR(st->st_mode))
		return bow_err(err, -EINVAL, "%s is a %s, not a file that can be replaced", path,
			       S_ISDIR(st->st_mode) ? "directory" : "block device");
	return 0;
}

int bow_outfile_open(const char *path, const char *image, struct bow_outfile *out,
		     struct bowimg_error *err)
{
	bool is_stdout = strcmp(path, "-") == 0, exists;
	struct stat st;
	int rc = 0;

	*out = (struct bow_outfile){.fd = -1, .dir_fd = -1};
	exists = (is_stdout ? fstat(STDOUT_FILENO, &st) : stat(path, &st)) == 0;
	if (exists && (rc = check_place(path, &st, image, err)))
		return rc;
	rc = is_stdout || (exists && !S_ISREG(st.st_mode)) ? open_directly(path, out)
							   : open_in_directory(path, out);
	if (rc) {
		rc = bow_outfile_failed(rc, path, err);
		bow_outfile_discard(out);
	}
	return rc;
}

int bow_outfile_nameless(const char *dir)
{
	struct bow_outfile out = {.fd = -1, .dir_fd = -1};
	int rc;

	out.dir_fd = open_directory(dir);
	rc = out.dir_fd < 0 ? out.dir_fd : open_new(&out);
	remove_name(&out);
	if (out.dir_fd >= 0)
		close(out.dir_fd);
	return rc ? rc : out.fd;
}

/* ---- the end --------------------------------------------------------------------- */

/* A file without a name gets its final one, or, if that is taken, a temporary one. */
static int give_name(struct bow_outfile *out)
{
	const char *name = last_part(out->final);
	char path[32];

	if (!set_link_path(out->fd, path))
		return -ENOENT;
	if (linkat(AT_FDCWD, path, out->dir_fd, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	for (int i = 0; errno == EEXIST && i < NAME_TRIES; i++) {
		make_name(out);
		if (linkat(AT_FDCWD, path, out->dir_fd, out->temporary, AT_SYMLINK_FOLLOW) == 0)
			return 0;
		out->temporary[0] = '\0';
	}
	return -errno;
}

static int take_place(struct bow_outfile *out)
{
	int rc = out->temporary[0] ? 0 : give_name(out);

	if (rc || !out->temporary[0])
		return rc;
	if (renameat(out->dir_fd, out->temporary, out->dir_fd, last_part(out->final)) < 0)
		return -errno;
	out->temporary[0] = '\0';
	return 0;
}

/* With all signals blocked: there may be a temporary name for a moment. */
static int take_place_undisturbed(struct bow_outfile *out)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = take_place(out);
	if (rc)
		remove_name(out);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static int close_file(struct bow_outfile *out)
{
	int fd = out->fd;

	out->fd = -1;
	return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

/*
 * After a power cut the file under the name must be whole, unless it is brief. A full disk may be
 * an error only here, or at the close.
 */
static int publish(struct bow_outfile *out)
{
	int rc;

	if (out->dir_fd < 0)
		return close_file(out);
	if (!out->brief && fsync(out->fd) < 0)
		return -errno;
	rc = take_place_undisturbed(out);
	/* Not every file system can do that, and not every directory can be opened. */
	if (!rc && !out->brief && fsync(out->dir_fd) < 0 && errno != EINVAL && errno != EBADF)
		rc = -errno;
	return rc ? rc : close_file(out);
}

int bow_outfile_finish(struct bow_outfile *out, struct bowimg_error *err)
{
	int rc = publish(out);

	if (rc)
		rc = bow_outfile_failed(rc, out->final ? out->final : "the output", err);
	bow_outfile_discard(out);
	return rc;
}

void bow_outfile_discard(struct bow_outfile *out)
{
	if (out->fd >= 0)
		close(out->fd);
	remove_name(out);
	if (out->dir_fd >= 0)
		close(out->dir_fd);
	free(out->final);
	*out = (struct bow_outfile){.fd = -1, .dir_fd = -1};
}

int bow_outfile_failed(int code, const char *name, struct bowimg_error *err)
{
	bow_err_errno(err, code, "cannot write %s", name);
	if (code == -EFBIG)
		bow_err_hint(err,
			     "raise the limit on the size of files (ulimit -f), or write to a "
			     "file system that allows larger ones; no part of a file was left");
	if (code == -ENOSPC || code == -EDQUOT)
		bow_err_hint(err, "make room there, then run the command again; no part of a file "
				  "was left");
	if (code != -EFBIG && code != -EDQUOT)
		return code;
	if (err)
		err->code = -ENOSPC;
	return -ENOSPC;
}
