/* SPDX-License-Identifier: MIT */
/* The FUSE directory as such: names and attributes. All of it is fixed; nothing here does I/O. */
#include "fronts/fuse_private.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

/* Nothing ever changes: size and mode are fixed, and times mean nothing on a disk. */
#define FOREVER 86400.0

static bool fill_stat(const struct bow_fuse *fuse, fuse_ino_t ino, struct stat *st)
{
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
	st->st_mode = S_IFREG | 0600;
	st->st_nlink = 1;
	st->st_size = (off_t)fuse->disk_bytes;
	st->st_blocks = (blkcnt_t)bow_div_up(fuse->disk_bytes, 512);
	return ino == BOW_FUSE_INO_DISK;
}

void bow_fuse_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {
		.ino = BOW_FUSE_INO_DISK, .attr_timeout = FOREVER, .entry_timeout = FOREVER};

	if (parent != FUSE_ROOT_ID || strcmp(name, BOW_FUSE_FILE) != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill_stat(fuse_req_userdata(req), BOW_FUSE_INO_DISK, &entry.attr);
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

/* Times may be set and are forgotten, so that touch and cp -p work; all else is fixed. */
void bow_fuse_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		      struct fuse_file_info *fi)
{
	struct bow_fuse *fuse = fuse_req_userdata(req);
	bool resize = (to_set & FUSE_SET_ATTR_SIZE) &&
		      (ino != BOW_FUSE_INO_DISK || (uint64_t)attr->st_size != fuse->disk_bytes);

	if (resize || (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		fuse_reply_err(req, EPERM);
	else
		bow_fuse_getattr(req, ino, fi);
}

void bow_fuse_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	static const char *const names[] = {".", "..", BOW_FUSE_FILE};
	char buf[512];
	size_t used = 0;
	struct stat st = {.st_mode = S_IFDIR, .st_ino = FUSE_ROOT_ID};

	(void)ino;
	(void)fi;
	for (off_t i = off < 0 ? 0 : off; i < 3; i++) {
		if (i == 2)
			st = (struct stat){.st_mode = S_IFREG, .st_ino = BOW_FUSE_INO_DISK};
		size_t bytes = fuse_add_direntry(req, buf + used, sizeof(buf) - used, names[i], &st,
						 i + 1);
		if (used + bytes > bow_min(size, sizeof(buf)))
			break;
		used += bytes;
	}
	fuse_reply_buf(req, buf, used);
}

/* 512, because a loop device takes its discard granularity from here. */
void bow_fuse_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {.f_bsize = 512, .f_frsize = 512, .f_files = 1, .f_namemax = 255};
	struct bow_fuse *fuse = fuse_req_userdata(req);

	(void)ino;
	st.f_blocks = (fsblkcnt_t)bow_div_up(fuse->disk_bytes, 512);
	fuse_reply_statfs(req, &st);
}
