/* SPDX-License-Identifier: MIT */
/* Files that patches are read from and written to: pipes that are read twice, names that appear
 * late.
 */
#include "fronts/patch.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 64 << 10, FILE_MODE = 0666 };

/* ---- input ----------------------------------------------------------------------------------- */

static int temporary_file(const char *dir, struct bowimg_error *err)
{
	char path[PATH_MAX];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd >= 0 ? fd : bow_err_errno(err, -errno, "making a file in %s", dir);
	if ((size_t)snprintf(path, sizeof(path), "%s/bowimg-XXXXXX", dir) >= sizeof(path))
		return bow_err_errno(err, -ENAMETOOLONG, "making a file in %s", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return bow_err_errno(err, -errno, "making a file in %s", dir);
	unlink(path);
	return fd;
}

static int write_all(int fd, const uint8_t *buf, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, buf, bytes);

		if (n < 0 && errno != EINTR)
			return -errno;
		buf += n < 0 ? 0 : n;
		bytes -= n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

static int no_room(int code, const char *dir, struct bowimg_error *err)
{
	bool full = code == -ENOSPC || code == -EDQUOT || code == -EFBIG;

	bow_err_errno(err, full ? -ENOSPC : code, "keeping the patch in %s while it is checked",
		      dir);
	bow_err_hint(err,
		     "nothing was changed; make room in %s, or set TMPDIR to another directory",
		     dir);
	return full ? -ENOSPC : code;
}

static int copy_all(int from, int to, const char *dir, struct bowimg_error *err)
{
	uint8_t buf[COPY_BYTES];
	ssize_t n;
	int rc = 0;

	do {
		n = read(from, buf, sizeof(buf));
		if (n > 0)
			rc = write_all(to, buf, (size_t)n);
	} while (!rc && (n > 0 || (n < 0 && errno == EINTR)));
	if (rc)
		return no_room(rc, dir, err);
	return n < 0 ? bow_err_errno(err, -errno, "reading the patch") : 0;
}

/* A pipe is not kept in memory: a patch may be large. It takes the place of *fd. */
static int spool(int *fd, struct bowimg_error *err)
{
	const char *dir = getenv("TMPDIR");
	int file, rc;

	if (!dir || !dir[0])
		dir = "/var/tmp";
	file = temporary_file(dir, err);
	if (file < 0)
		return file;
	rc = copy_all(*fd, file, dir, err);
	if (!rc && lseek(file, 0, SEEK_SET) < 0)
		rc = bow_err_errno(err, -errno, "reading the patch");
	if (rc) {
		close(file);
		return rc;
	}
	close(*fd);
	*fd = file;
	return 0;
}

static int open_input(const char *path)
{
	return strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
				      : open(path, O_RDONLY | O_CLOEXEC);
}

int bow_patch_input_open(const char *path, int *out, struct bowimg_error *err)
{
	int fd = open_input(path), rc = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		rc = bow_err_errno(err, -errno, "opening the patch %s", path);
	else if (S_ISDIR(st.st_mode))
		rc = bow_err_errno(err, -EISDIR, "opening the patch %s", path);
	else if (!S_ISREG(st.st_mode) || lseek(fd, 0, SEEK_CUR) != 0)
		rc = spool(&fd, err);
	if (!rc)
		*out = fd;
	else if (fd >= 0)
		close(fd);
	return rc;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Never the image: renaming would put the patch in its place. */
static int check_place(const char *path, const struct stat *st, const char *image,
		       struct bowimg_error *err)
{
	struct stat of_image;

	if (stat(image, &of_image) == 0 && of_image.st_dev == st->st_dev &&
	    of_image.st_ino == st->st_ino)
		return bow_err(err, -EINVAL, "%s is the image itself", path);
	if (S_ISBLK(st->st_mode) || S_ISDIR(st->st_mode))
		return bow_err(err, -EINVAL, "%s is no file that a patch can be written to", path);
	return 0;
}

static int open_directly(const char *path, struct bow_patch_output *out, struct bowimg_error *err)
{
	out->fd = strcmp(path, "-") == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
					 : open(path, O_WRONLY | O_CLOEXEC);
	return out->fd < 0 ? bow_err_errno(err, -errno, "opening %s", path) : 0;
}

static int open_temporary(const char *path, struct bow_patch_output *out, struct bowimg_error *err)
{
	mode_t mask = umask(0);

	umask(mask);
	/* A symbolic link stays one: what it names is replaced. */
	out->final = realpath(path, NULL);
	if (!out->final)
		out->final = strdup(path);
	if (!out->final || asprintf(&out->temporary, "%s.XXXXXX", out->final) < 0) {
		out->temporary = NULL;
		return bow_err_errno(err, -ENOMEM, "opening %s", path);
	}
	out->fd = mkostemp(out->temporary, O_CLOEXEC);
	if (out->fd >= 0 && fchmod(out->fd, FILE_MODE & ~mask) == 0)
		return 0;
	return bow_err_errno(err, -errno, "making a file beside %s", path);
}

int bow_patch_output_open(const char *path, const char *image, struct bow_patch_output *out,
			  struct bowimg_error *err)
{
	bool is_stdout = strcmp(path, "-") == 0, exists;
	struct stat st;
	int rc = 0;

	*out = (struct bow_patch_output){.fd = -1};
	exists = (is_stdout ? fstat(STDOUT_FILENO, &st) : stat(path, &st)) == 0;
	if (exists)
		rc = check_place(path, &st, image, err);
	if (!rc)
		rc = is_stdout || (exists && !S_ISREG(st.st_mode)) ? open_directly(path, out, err)
								   : open_temporary(path, out, err);
	if (rc)
		bow_patch_output_discard(out);
	return rc;
}

static int sync_directory(const char *path)
{
	char copy[PATH_MAX];
	int fd, rc = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

static int close_output(struct bow_patch_output *out)
{
	int fd = out->fd;

	out->fd = -1;
	return close(fd) < 0 ? -errno : 0;
}

/* A full disk may show itself only here. */
static int publish(struct bow_patch_output *out)
{
	int rc = 0;

	if (out->temporary && fsync(out->fd) < 0)
		rc = -errno;
	int rc_close = close_output(out);
	if (!rc)
		rc = rc_close;
	if (rc || !out->temporary)
		return rc;
	if (rename(out->temporary, out->final) < 0)
		return -errno;
	free(out->temporary);
	out->temporary = NULL;
	return sync_directory(out->final);
}

int bow_patch_output_finish(struct bow_patch_output *out, struct bowimg_error *err)
{
	int rc = publish(out);

	if (rc == -EDQUOT)
		rc = -ENOSPC;
	if (rc)
		bow_err_errno(err, rc, "finishing %s", out->final ? out->final : "the output");
	if (rc == -ENOSPC)
		bow_err_hint(err,
			     "make room where the patch is written, then run the command again");
	bow_patch_output_discard(out);
	return rc;
}

void bow_patch_output_discard(struct bow_patch_output *out)
{
	if (out->fd >= 0)
		close(out->fd);
	if (out->temporary)
		unlink(out->temporary);
	free(out->temporary);
	free(out->final);
	*out = (struct bow_patch_output){.fd = -1};
}
