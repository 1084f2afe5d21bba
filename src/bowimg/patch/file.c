/* SPDX-License-Identifier: MIT */
/* Where patches are read from. A pipe is kept in a file, since a patch is read twice. */
#include "bowimg/patch/patch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/show.h"
#include "bowimg/host/outfile.h"

enum { COPY_BYTES = 64 << 10 };

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

	bow_err_errno(err, code, "keeping the patch in %s while it is checked", dir);
	if (full && err)
		err->code = -ENOSPC;
	if (code == -EFBIG)
		bow_err_hint(err, "nothing was changed; raise the limit on the size of files "
				  "(ulimit -f), or give the patch as a file instead of a pipe");
	bow_err_hint(err,
		     "nothing was changed; make room in %s, or set TMPDIR to another directory",
		     BOW_WORD(dir));
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
	file = bow_outfile_nameless(dir);
	if (file < 0) {
		rc = bow_err_errno(err, file, "making a file in %s", dir);
		bow_err_hint(err, "nothing was changed; set TMPDIR to a directory that can be "
				  "written to");
		return rc;
	}
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
