/* SPDX-License-Identifier: MIT */
/*
 * The FUSE directory: names and attributes. All that it lists is fixed. Nothing here does I/O,
 * except that the first look-up of a mark opens it.
 */
#include "bowimg/fuse/private.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/bytes.h"

/* Nothing changes: size and mode are fixed, and times have no meaning. */
#define FOREVER 86400.0

const struct bow_fuse_file *bow_fuse_file(const struct bow_fuse *fuse, fuse_ino_t ino)
{
	if (ino < BOW_FUSE_INO_FIRST)
		return NULL;
	if (ino - BOW_FUSE_INO_FIRST < fuse->file_count)
		return &fuse->files[ino - BOW_FUSE_INO_FIRST];
	return bow_fuse_mark_file(fuse, ino);
}

static bool fill_stat(const struct bow_fuse *fuse, fuse_ino_t ino, struct stat *st)
{
	const struct bow_fuse_file *file = bow_fuse_file(fuse, ino);

	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_uid = geteuid();
	st->st_gid = getegid();
	st->st_atim = st->st_mtim = st->st_ctim = fuse->started;
	st->st_blksize = 4096;
	if (ino == FUSE_ROOT_ID) {
		st->st_mode = S_IFDIR | 0700;
		st->st_nlink = 2;
		return true;
	}
	if (!file)
		return false;
	st->st_mode = S_IFREG | (file->readonly ? 0400 : 0600);
	st->st_nlink = 1;
	st->st_size = (off_t)file->bytes;
	st->st_blocks = (blkcnt_t)bow_div_up(file->bytes, 512);
	return true;
}

void bow_fuse_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.attr_timeout = FOREVER, .entry_timeout = FOREVER};
	struct bow_fuse *fuse = fuse_req_userdata(req);
	unsigned i = 0;

	while (i < fuse->file_count && strcmp(name, fuse->files[i].name) != 0)
		i++;
	entry.ino = i < fuse->file_count ? BOW_FUSE_INO_FIRST + i
					 : bow_fuse_mark_lookup(fuse, name);
	if (parent != FUSE_ROOT_ID || !entry.ino) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill_stat(fuse, entry.ino, &entry.attr);
	fuse_reply_entry(req, &entry);
}

void bow_fuse_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	if (fill_stat(fuse_req_userdata(req), ino, &st))
		fuse_reply_attr(req, &st, FOREVER);
	else
		fuse_reply_err(req, ENOENT);
}

/* Setting times does nothing, so touch and cp -p work. Everything else is fixed. */
void bow_fuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		      struct fuse_file_info *fi)
{
	const struct bow_fuse_file *file = bow_fuse_file(fuse_req_userdata(req), ino);
	bool resize = (to_set & FUSE_SET_ATTR_SIZE) &&
		      (!file || (uint64_t)attr->st_size != file->bytes);

	if (resize || (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		fuse_reply_err(req, EPERM);
	else
		bow_fuse_getattr(req, ino, fi);
}

/* The i-th entry: ".", "..", then the files. */
static const char *entry_name(const struct bow_fuse *fuse, uint64_t i)
{
	return i == 0 ? "." : i == 1 ? ".." : fuse->files[i - 2].name;
}

void bow_fuse_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	const struct bow_fuse *fuse = fuse_req_userdata(req);
	struct stat st = {0};
	char buf[4096];
	size_t used = 0;

	(void)ino;
	(void)fi;
	size = bow_min(size, sizeof(buf));
	for (uint64_t i = off < 0 ? 0 : (uint64_t)off; i < 2 + (uint64_t)fuse->listed; i++) {
		st.st_mode = i < 2 ? S_IFDIR : S_IFREG;
		st.st_ino = i < 2 ? FUSE_ROOT_ID : BOW_FUSE_INO_FIRST + i - 2;
		size_t bytes = fuse_add_direntry(req, buf + used, size - used, entry_name(fuse, i),
						 &st, (off_t)i + 1);
		if (bytes > size - used)
			break;
		used += bytes;
	}
	fuse_reply_buf(req, buf, used);
}

/* 512: a loop device takes its discard granularity from here. */
void bow_fuse_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {.f_bsize = 512, .f_frsize = 512, .f_namemax = 255};
	struct bow_fuse *fuse = fuse_req_userdata(req);

	(void)ino;
	st.f_files = fuse->file_count;
	st.f_blocks = (fsblkcnt_t)bow_div_up(fuse->files[0].bytes, 512);
	fuse_reply_statfs(req, &st);
}
