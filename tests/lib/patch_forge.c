/* SPDX-License-Identifier: MIT */
/* See patch_forge.h. */
#include "patch_forge.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/bytes.h"

const struct bow_patch_head forge_head = {
	.direction = BOW_PATCH_REDO,
	.image_size = FORGE_IMAGE,
	.checkpoint = "01234567-89ab-4cde-8f01-23456789abcd",
};

int forge_file(const void *bytes, size_t n)
{
	int fd = memfd_create("patch", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	return fd;
}

static void add_filter(struct archive *a, enum bow_patch_pack pack)
{
	if (pack == BOW_PATCH_GZIP)
		archive_write_add_filter_gzip(a);
	else if (pack == BOW_PATCH_ZSTD)
		archive_write_add_filter_zstd(a);
}

static void add_member(struct archive *a, const struct forge_member *m)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, m->name);
	archive_entry_set_filetype(entry, m->type ? m->type : AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	if (m->type == AE_IFLNK)
		archive_entry_set_symlink(entry, "/etc/passwd");
	else
		archive_entry_set_size(entry, (la_int64_t)m->n);
	if (archive_write_header(a, entry) != ARCHIVE_OK ||
	    (m->n && archive_write_data(a, m->bytes, m->n) != (la_ssize_t)m->n))
		abort();
	archive_entry_free(entry);
}

int forge_archive(const struct forge_member *members, enum bow_patch_pack pack)
{
	struct archive *a = archive_write_new();
	int fd = forge_file("", 0);

	add_filter(a, pack);
	archive_write_set_format_pax_restricted(a);
	archive_write_set_bytes_in_last_block(a, 1);
	if (archive_write_open_fd(a, fd) != ARCHIVE_OK)
		abort();
	for (; members->name; members++)
		add_member(a, members);
	if (archive_write_close(a) != ARCHIVE_OK || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	archive_write_free(a);
	return fd;
}

int forge_texts(const struct forge_texts *t)
{
	struct forge_member m[5] = {{0}};
	char *head = bow_patch_head_encode(&forge_head), *end;
	struct bow_patch_totals totals = {0};
	const char *manifest = t->manifest ? t->manifest : head;
	uint64_t hash = bow_hash(manifest, strlen(manifest), 0);
	int n = 0, fd;

	hash = t->runs ? bow_hash(t->runs, strlen(t->runs), hash) : hash;
	end = bow_patch_end_encode(&totals, hash);
	m[n++] = (struct forge_member){"manifest.json", manifest, strlen(manifest), 0};
	if (t->runs)
		m[n++] = (struct forge_member){"00000000.json", t->runs, strlen(t->runs), 0};
	if (t->data)
		m[n++] = (struct forge_member){"00000000.data", t->data, t->data_bytes, 0};
	if (!t->end || t->end[0])
		m[n++] = (struct forge_member){"end.json", t->end ? t->end : end,
					       strlen(t->end ? t->end : end), 0};
	fd = forge_archive(m, BOW_PATCH_NONE);
	free(head);
	free(end);
	return fd;
}

int forge_read(int fd, void (*see)(void *ctx, const struct bow_patch_run *run, const void *after),
	       void *ctx, struct bowimg_error *err)
{
	struct bow_patch_reader *r;
	struct bow_patch_run run;
	const void *after;
	int rc;

	if (lseek(fd, 0, SEEK_SET) != 0)
		abort();
	rc = bow_patch_reader_open(fd, &r, err);
	if (rc)
		return rc;
	while ((rc = bow_patch_reader_next(r, &run, &after, err)) > 0)
		if (see)
			see(ctx, &run, after);
	bow_patch_reader_close(r);
	return rc;
}
