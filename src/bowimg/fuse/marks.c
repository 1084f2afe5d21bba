/* SPDX-License-Identifier: MIT */
/*
 * The disk as it was at a mark, beside the disk as it is: "before@NAME", and "before1@NAME" of a
 * partition. Marks are made while nothing is served, so there are no more and no fewer of them as
 * long as this session lasts. A disk is opened when it is first looked for, because reading the log
 * takes time and memory, and stays. Where "before" is as of a mark, prepare is one of them.
 */
#include "bowimg/fuse/private.h"

#include <stdlib.h>
#include <string.h>

#include "bowimg/host/notice.h"

enum { INO_MARKS = BOW_FUSE_INO_FIRST + BOW_FUSE_FILES_MAX };

const struct bow_fuse_file *bow_fuse_mark_file(const struct bow_fuse *fuse, fuse_ino_t ino)
{
	uint64_t mark = (ino - INO_MARKS) / BOW_FUSE_FILES_MAX;
	uint64_t file = (ino - INO_MARKS) % BOW_FUSE_FILES_MAX;
	const struct bow_fuse_mark *m;

	if (ino < INO_MARKS || mark >= BOW_FUSE_MOMENTS_MAX || file >= fuse->file_count)
		return NULL;
	m = atomic_load(&fuse->marks[mark]);
	return m ? &m->files[file] : NULL;
}

static bool is_prepare(const char *name)
{
	return strcmp(name, BOW_FUSE_AT_PREPARE) == 0;
}

static struct bow_fuse_mark *open_mark(struct bow_fuse *fuse, const char *name)
{
	struct bow_fuse_mark *m = calloc(1, sizeof(*m) + fuse->file_count * sizeof(m->files[0]));
	struct bowimg_error err = {0};
	int ret;

	if (!m)
		return NULL;
	ret = bowimg_disk_at(fuse->disk.source.disk, is_prepare(name) ? NULL : name, &m->disk,
			     &err);
	if (ret) {
		/* A name that nobody gave is the caller's mistake alone. */
		if (ret != -ENODATA)
			bow_notice_error(&err);
		free(m);
		return NULL;
	}
	strncpy(m->name, name, sizeof(m->name) - 1);
	memcpy(m->files, fuse->files, fuse->file_count * sizeof(m->files[0]));
	for (unsigned i = 0; i < fuse->file_count; i++)
		m->files[i].disk = m->disk;
	return m;
}

/* Returns its index, or -1. */
static int find_or_open(struct bow_fuse *fuse, const char *name)
{
	struct bow_fuse_mark *m = NULL;
	int i = 0;

	pthread_mutex_lock(&fuse->marks_lock);
	while (i < (int)BOW_FUSE_MOMENTS_MAX && (m = atomic_load(&fuse->marks[i])) &&
	       strcmp(m->name, name) != 0)
		i++;
	if (!m && i < (int)BOW_FUSE_MOMENTS_MAX && (m = open_mark(fuse, name)))
		atomic_store(&fuse->marks[i], m);
	pthread_mutex_unlock(&fuse->marks_lock);
	return m && i < (int)BOW_FUSE_MOMENTS_MAX ? i : -1;
}

/* Which of the files of the disk as it was has this name, whose end is not its end? Or -1. */
static int find_file(const struct bow_fuse *fuse, const char *name, size_t bytes)
{
	for (unsigned i = 0; i < fuse->file_count; i++)
		if (fuse->files[i].disk == fuse->disk.source.before &&
		    strlen(fuse->files[i].name) == bytes &&
		    memcmp(fuse->files[i].name, name, bytes) == 0)
			return (int)i;
	return -1;
}

static fuse_ino_t lookup(struct bow_fuse *fuse, const char *name, const char *at)
{
	const struct bow_fuse_source *source = &fuse->disk.source;
	int file, mark;

	if (!source->disk || source->brief)
		return 0;
	if (!bowimg_mark_name_ok(at + 1) && !(source->of_mark && is_prepare(at + 1)))
		return 0;
	file = find_file(fuse, name, (size_t)(at - name));
	if (file < 0)
		return 0;
	mark = find_or_open(fuse, at + 1);
	if (mark < 0)
		return 0;
	return INO_MARKS + (fuse_ino_t)mark * BOW_FUSE_FILES_MAX + (fuse_ino_t)file;
}

fuse_ino_t bow_fuse_mark_lookup(struct bow_fuse *fuse, const char *name)
{
	const char *at = strchr(name, BOW_FUSE_AT);
	fuse_ino_t ino = 0;

	if (!at)
		return 0;
	bow_fuse_use_disks(fuse);
	ino = lookup(fuse, name, at);
	bow_fuse_leave_disks(fuse);
	return ino;
}

void bow_fuse_marks_close(struct bow_fuse *fuse)
{
	struct bow_fuse_mark *m;

	for (unsigned i = 0; i < BOW_FUSE_MOMENTS_MAX && (m = atomic_load(&fuse->marks[i])); i++) {
		bowimg_disk_close(m->disk, NULL); /* only read from: nothing can be lost */
		free(m);
	}
}
