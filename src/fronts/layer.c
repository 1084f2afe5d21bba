/* SPDX-License-Identifier: MIT */
/*
 * The archive as a file: format by suffix, a temporary name beside the final one until it is
 * complete and on disk.
 */
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fronts/layer_private.h"

static int no_filter(struct archive *a)
{
	return archive_write_add_filter_none(a);
}

static const struct bow_layer_format formats[] = {
	{".tar", archive_write_set_format_pax, no_filter, true},
	{".tar.gz", archive_write_set_format_pax, archive_write_add_filter_gzip, true},
	{".tgz", archive_write_set_format_pax, archive_write_add_filter_gzip, true},
	{".tar.xz", archive_write_set_format_pax, archive_write_add_filter_xz, true},
	{".tar.zst", archive_write_set_format_pax, archive_write_add_filter_zstd, true},
	{".cpio", archive_write_set_format_cpio_newc, no_filter, false},
	{".zip", archive_write_set_format_zip, no_filter, false},
};

static const struct bow_layer_format *find_format(const char *file)
{
	const size_t bytes = strlen(file);

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		const size_t n = strlen(formats[i].suffix);

		if (bytes > n && strcmp(file + bytes - n, formats[i].suffix) == 0)
			return &formats[i];
	}
	return NULL;
}

bool bow_layer_knows(const char *file)
{
	return find_format(file) != NULL;
}

int bow_layer_fail(const struct bow_layer *l, const char *path, struct bowimg_error *err)
{
	const int code = archive_errno(l->archive);
	const char *text = archive_error_string(l->archive);

	/* libarchive has codes of its own for what its formats cannot hold. */
	if (code == ENOSPC || code == EDQUOT || code == EFBIG) {
		bow_err_errno(err, code == EFBIG ? -EFBIG : -ENOSPC, "write %s", l->file);
		bow_err_hint(err, "make room there; no half of an archive was left");
		return code == EFBIG ? -EFBIG : -ENOSPC;
	}
	if (code == EIO || code == ENOMEM || code == EPIPE)
		return bow_err_errno(err, -code, "write %s", l->file);
	bow_err(err, -EOPNOTSUPP, "write %s: %.150s: %s", l->file, path ? path : "",
		text ? text : "refused by libarchive");
	bow_err_hint(err, "a .tar archive holds everything");
	return -EOPNOTSUPP;
}

static int put_all(struct bow_layer *l, const struct bow_layer_plan *plan,
		   struct bow_layer_report *report, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < plan->n; i++) {
		bow_diff_progress(l->d, "write archive", i, plan->n);
		rc = bow_layer_put(l, &plan->v[i], err);
		report->whiteouts += plan->v[i].whiteout != NULL;
		report->entries += plan->v[i].whiteout == NULL;
	}
	return rc;
}

static int set_up(struct bow_layer *l, int fd)
{
	struct archive *a = l->archive;

	if (l->format->format(a) != ARCHIVE_OK || l->format->filter(a) != ARCHIVE_OK)
		return -1;
	/* Not twice; this is the form that everybody reads. */
	if (l->format->is_tar &&
	    archive_write_set_format_option(a, "pax", "xattrheader", "SCHILY") != ARCHIVE_OK)
		return -1;
	return archive_write_open_fd(a, fd) == ARCHIVE_OK ? 0 : -1;
}

static int write_archive(struct bow_layer *l, int fd, const struct bow_layer_plan *plan,
			 struct bow_layer_report *report, struct bowimg_error *err)
{
	int rc;

	if (set_up(l, fd))
		return bow_layer_fail(l, NULL, err);
	rc = put_all(l, plan, report, err);
	if (!rc && archive_write_close(l->archive) != ARCHIVE_OK)
		rc = bow_layer_fail(l, NULL, err);
	else if (rc)
		archive_write_fail(l->archive);
	return rc;
}

/* libarchive takes names for text of the locale; UTF-8 is what they are, if they are text. */
static int write_with_locale(struct bow_layer *l, int fd, const struct bow_layer_plan *plan,
			     struct bow_layer_report *report, struct bowimg_error *err)
{
	const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	const locale_t old = utf8 ? uselocale(utf8) : (locale_t)0;
	int rc = write_archive(l, fd, plan, report, err);

	if (utf8) {
		uselocale(old);
		freelocale(utf8);
	}
	return rc;
}

static int write_fd(struct bow_layer *l, int fd, const struct bow_layer_plan *plan,
		    struct bow_layer_report *report, struct bowimg_error *err)
{
	int rc = -ENOMEM;

	l->archive = archive_write_new();
	l->entry = archive_entry_new();
	l->buf = malloc(BOW_LAYER_CHUNK);
	if (l->archive && l->entry && l->buf)
		rc = write_with_locale(l, fd, plan, report, err);
	else
		bow_diff_no_memory(err);
	archive_entry_free(l->entry);
	archive_write_free(l->archive);
	free(l->buf);
	return rc;
}

static int failed(const char *file, struct bowimg_error *err)
{
	const int code = errno == EDQUOT ? -ENOSPC : -errno;

	return bow_err_errno(err, code, "write %s", file);
}

/* As open() would have made it; mkostemp() lets nobody else read. */
static int open_temporary(char *name, const char *file, struct bowimg_error *err)
{
	const mode_t mask = umask(0);
	int fd;

	umask(mask);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return failed(file, err);
	if (fchmod(fd, 0666 & ~mask) < 0) {
		failed(file, err);
		close(fd);
		unlink(name);
		return err ? err->code : -EIO;
	}
	return fd;
}

/* A name that appears after a power cut must not have half an archive behind it. */
static int finish(int fd, const char *name, const char *file, int rc, struct bowimg_error *err)
{
	if (!rc && fsync(fd) < 0)
		rc = failed(file, err);
	if (close(fd) < 0 && !rc)
		rc = failed(file, err);
	if (!rc && rename(name, file) < 0)
		rc = failed(file, err);
	if (rc)
		unlink(name);
	return rc;
}

int bow_layer_write(struct bow_diff *d, const char *file, struct bow_layer_report *report,
		    struct bowimg_error *err)
{
	struct bow_layer l = {.d = d, .file = file, .format = find_format(file)};
	CLEANUP_FREE char *name = malloc(strlen(file) + 8);
	struct bow_layer_plan plan = {0};
	int rc, fd;

	*report = (struct bow_layer_report){0};
	if (!l.format)
		return bow_err(err, -EOPNOTSUPP, "write %s: the suffix is none of %s", file,
			       BOW_LAYER_SUFFIXES);
	if (!name)
		return bow_diff_no_memory(err);
	rc = bow_layer_make_plan(d, l.format, &plan, err);
	if (!rc) {
		stpcpy(stpcpy(name, file), ".XXXXXX");
		rc = fd = open_temporary(name, file, err);
		if (fd >= 0)
			rc = finish(fd, name, file, write_fd(&l, fd, &plan, report, err), err);
	}
	report->left_out = plan.left_out;
	free(plan.v);
	return rc;
}
