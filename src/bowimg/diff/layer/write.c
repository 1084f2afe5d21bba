/* SPDX-License-Identifier: MIT */
/* The archive as a file: compressed as its suffix says. */
#include <stdlib.h>
#include <string.h>

#include "bowimg/diff/layer/private.h"
#include "bowimg/host/outfile.h"

typedef int add_filter(struct archive *a);

static const struct {
	const char *suffix;
	add_filter *filter;
} formats[] = {
	{".tar", archive_write_add_filter_none},     {".tar.gz", archive_write_add_filter_gzip},
	{".tgz", archive_write_add_filter_gzip},     {".tar.xz", archive_write_add_filter_xz},
	{".tar.zst", archive_write_add_filter_zstd},
};

/* NULL: unknown suffix. */
static add_filter *find_filter(const char *file)
{
	const size_t bytes = strlen(file);

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		const size_t n = strlen(formats[i].suffix);

		if (bytes > n && strcmp(file + bytes - n, formats[i].suffix) == 0)
			return formats[i].filter;
	}
	return NULL;
}

bool bow_layer_knows(const char *file)
{
	return find_filter(file) != NULL;
}

static int put_all(struct bow_layer *l, const struct bow_layer_plan *plan,
		   struct bow_layer_report *report, struct bowimg_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < plan->n; i++) {
		rc = bow_diff_progress(l->d, "write archive", i, plan->n, err);
		if (!rc)
			rc = bow_layer_put(l, &plan->v[i], err);
		report->whiteouts += plan->v[i].whiteout != NULL;
		report->entries += plan->v[i].whiteout == NULL;
	}
	return rc;
}

/* For libarchive the tar archive is one file of any bytes, which it compresses. */
static int set_up(struct bow_layer *l, int fd)
{
	struct archive *a = l->archive;

	if (archive_write_set_format_raw(a) != ARCHIVE_OK ||
	    find_filter(l->file)(a) != ARCHIVE_OK || archive_write_open_fd(a, fd) != ARCHIVE_OK)
		return -1;
	return bow_layer_pax_begin(l);
}

static int write_archive(struct bow_layer *l, int fd, const struct bow_layer_plan *plan,
			 struct bow_layer_report *report, struct bowimg_error *err)
{
	int rc;

	if (set_up(l, fd))
		return bow_layer_fail(l, err);
	rc = put_all(l, plan, report, err);
	if (!rc)
		rc = bow_layer_pax_end(l, err);
	if (!rc && archive_write_close(l->archive) != ARCHIVE_OK)
		rc = bow_layer_fail(l, err);
	else if (rc)
		archive_write_fail(l->archive);
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
		rc = write_archive(l, fd, plan, report, err);
	else
		bow_diff_no_memory(err);
	bow_layer_acl_release(&l->acls);
	archive_entry_free(l->entry);
	archive_write_free(l->archive);
	free(l->buf);
	return rc;
}

static int write_file(struct bow_layer *l, const struct bow_layer_plan *plan,
		      struct bow_layer_report *report, struct bowimg_error *err)
{
	struct bow_outfile out;
	int rc = bow_outfile_open(l->file, l->d->source->name, &out, err);

	if (rc)
		return rc;
	rc = write_fd(l, out.fd, plan, report, err);
	if (!rc)
		return bow_outfile_finish(&out, err);
	bow_outfile_discard(&out);
	return rc;
}

int bow_layer_write(struct bow_diff *d, const char *file, struct bow_layer_report *report,
		    struct bowimg_error *err)
{
	struct bow_layer l = {.d = d, .file = file};
	struct bow_layer_plan plan = {0};
	int rc;

	*report = (struct bow_layer_report){0};
	if (!bow_layer_knows(file))
		return bow_err(err, -EOPNOTSUPP, "write %s: the suffix is none of %s", file,
			       BOW_LAYER_SUFFIXES);
	rc = bow_layer_make_plan(d, &plan, err);
	if (!rc)
		rc = write_file(&l, &plan, report, err);
	report->left_out = plan.left_out + l.left_out;
	free(plan.v);
	return rc;
}
