/* SPDX-License-Identifier: MIT */
/*
 * The requests of the FUSE files, translated into calls of the library. No policy, no ordering, no
 * memory of its own: each handler runs to its end in the thread that read the request.
 *
 * A disk's file behaves like a disk, or a partition of it: its size is fixed, a write past the end
 * is ENOSPC. Nothing here may promise space: where a block goes, and whether there is room for its
 * backup, is known when it is written. Punching a hole is a write of zeros, not "free": a loop
 * device sends the same request for both, and for in-use blocks too. What it was before is
 * read-only.
 */
#include "fronts/fuse_private.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "fronts/notice.h"

/* A long zero request shows progress after each piece, lest it is taken for a hang. */
#define ZERO_PIECE_BYTES (64ull << 20)

/* fi->fh of a file open for writing: only then is there anything to flush. */
enum { FH_READ, FH_WRITE };

static struct bow_fuse *fuse_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* errno values with a meaning of our own would be misread by the callers of read() and write(). */
static int errno_of(int code)
{
	switch (-code) {
	case EUCLEAN:
	case EBADMSG:
	case ESTALE:
	case ENODATA:
	case EALREADY:
	case EINPROGRESS:
	case EBUSY:
		return EIO;
	default:
		return -code;
	}
}

/* Say it once, not for each of the thousand requests that follow. */
static void say_failed(struct bow_fuse *fuse, int code, const struct bowimg_error *err)
{
	if (atomic_exchange(&fuse->last_error, code) != code)
		bow_notice_error(err);
}

static void reply_done(fuse_req_t req, int code, const struct bowimg_error *err)
{
	/* A write where there may be none is for the writer to explain. */
	if (code && code != -EROFS)
		say_failed(fuse_of(req), code, err);
	fuse_reply_err(req, errno_of(code));
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct bow_fuse *fuse = userdata;

	conn->max_write = BOW_FUSE_MAX_IO;
	conn->max_read = BOW_FUSE_MAX_IO;
	/* A loop device with direct I/O sends up to 128 requests at once. */
	conn->max_background = 256;
	conn->congestion_threshold = 192;
	/* Splicing allocates pipes while serving; a writeback cache would hide what was written. */
	conn->want &=
		~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			    FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA);
	fuse->initialized = true;
}

/* What it was before is not; the kernel has refused to open it for writing, too. */
static const struct bow_fuse_file *writable_file(const struct bow_fuse *fuse, fuse_ino_t ino)
{
	const struct bow_fuse_file *file = bow_fuse_file(fuse, ino);

	return file && !file->readonly ? file : NULL;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct bow_fuse *fuse = fuse_of(req);
	const struct bow_fuse_file *file = bow_fuse_file(fuse, ino);

	if (!file) {
		fuse_reply_err(req, EISDIR);
		return;
	}
	if (file->readonly && (fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	if (fi->flags & O_TRUNC) {
		fuse_reply_err(req, EPERM);
		return;
	}
	/*
	 * A process that shows something for a while may hold its file itself. If it is killed it
	 * closes the file first and the connection later: an answer to a flush would never come.
	 */
	fi->noflush = fuse->disk.source.volume != NULL || fuse->disk.source.part_bytes;
	fi->fh = (fi->flags & O_ACCMODE) == O_RDONLY ? FH_READ : FH_WRITE;
	atomic_fetch_add(&fuse->open_count, 1);
	atomic_store(&fuse->was_open, true);
	/* The opener was interrupted: nobody will send a RELEASE. */
	if (fuse_reply_open(req, fi) == -ENOENT)
		atomic_fetch_sub(&fuse->open_count, 1);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct bow_fuse *fuse = fuse_of(req);
	const struct bow_fuse_file *file = bow_fuse_file(fuse, ino);
	struct bowimg_error err = {0};

	(void)fi;
	if (!file || off < 0 || size > BOW_FUSE_MAX_IO) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if ((uint64_t)off >= file->bytes) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	size = bow_min(size, file->bytes - (uint64_t)off);
	int ret = bow_fuse_disk_read(&fuse->disk, file->side, bow_fuse_thread_buffer(), size,
				     file->off + (uint64_t)off, &err);
	if (ret)
		reply_done(req, ret, &err);
	else
		fuse_reply_buf(req, bow_fuse_thread_buffer(), size);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct bow_fuse *fuse = fuse_of(req);
	const struct bow_fuse_file *file = writable_file(fuse, ino);
	struct bowimg_error err = {0};
	unsigned flags = fi->flags & (O_SYNC | O_DSYNC) ? BOWIMG_FUA : 0;
	int ret = 0;

	if (!file || off < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if ((uint64_t)off >= file->bytes) {
		fuse_reply_err(req, size ? ENOSPC : 0);
		return;
	}
	size = bow_min(size, file->bytes - (uint64_t)off);
	if (size)
		ret = bow_fuse_disk_write(&fuse->disk, buf, size, file->off + (uint64_t)off, flags,
					  &err);
	if (ret)
		reply_done(req, ret, &err);
	else
		fuse_reply_write(req, size);
}

static int zero_in_pieces(struct bow_fuse *fuse, uint64_t off, uint64_t bytes, bool punch,
			  struct bowimg_error *err)
{
	while (bytes) {
		/* Pieces end at multiples of their size, so that they do not cut blocks. */
		uint64_t piece = bow_min(bytes, ZERO_PIECE_BYTES - off % ZERO_PIECE_BYTES);
		int ret = bow_fuse_disk_zero(&fuse->disk, off, piece, punch, err);
		if (ret)
			return ret;
		off += piece;
		bytes -= piece;
		bow_watchdog_progress(fuse->dog);
	}
	return 0;
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t bytes,
			 struct fuse_file_info *fi)
{
	struct bow_fuse *fuse = fuse_of(req);
	const struct bow_fuse_file *file = writable_file(fuse, ino);
	struct bowimg_error err = {0};
	bool keep_size = mode & FALLOC_FL_KEEP_SIZE;
	int what = mode & ~FALLOC_FL_KEEP_SIZE;

	(void)fi;
	/*
	 * On a device there is no space to win by a hole, and as a promise of zeros it would have
	 * to be written by a commit. This answer ends the discards of a loop device; zeros it
	 * writes.
	 */
	if (fuse->no_holes && what == FALLOC_FL_PUNCH_HOLE) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	/* Plain allocation would be a promise of space for backups, which nobody can give. */
	if (what != FALLOC_FL_PUNCH_HOLE && what != FALLOC_FL_ZERO_RANGE) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	if (!file || off < 0 || bytes <= 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	uint64_t start = bow_min((uint64_t)off, file->bytes);
	uint64_t inside = bow_min((uint64_t)bytes, file->bytes - start);
	if (!keep_size && inside != (uint64_t)bytes) {
		fuse_reply_err(req, EFBIG);
		return;
	}
	bool punch = what == FALLOC_FL_PUNCH_HOLE;
	reply_done(req, zero_in_pieces(fuse, file->off + start, inside, punch, &err), &err);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct bowimg_error err = {0};

	(void)datasync; /* there is no metadata */
	(void)fi;
	if (writable_file(fuse_of(req), ino))
		reply_done(req, bow_fuse_disk_flush(&fuse_of(req)->disk, &err), &err);
	else
		fuse_reply_err(req, 0); /* of what it was before nothing is ever written */
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (fi->fh == FH_WRITE)
		op_fsync(req, ino, 1, fi);
	else
		fuse_reply_err(req, 0);
}

static void keep_error(struct bow_fuse *fuse, int code, const struct bowimg_error *err)
{
	say_failed(fuse, code, err);
	pthread_mutex_lock(&fuse->lost_lock);
	if (!fuse->lost_flush.code) {
		fuse->lost_flush = *err;
		fuse->lost_flush.code = code;
	}
	pthread_mutex_unlock(&fuse->lost_lock);
}

/* `losetup -d` sends no flush, only this, whose answer nobody reads: an error is kept for the end.
 */
static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct bow_fuse *fuse = fuse_of(req);
	struct bowimg_error err = {0};
	uint64_t one = 1;

	(void)ino;
	int ret = fi->fh == FH_WRITE ? bow_fuse_disk_flush(&fuse->disk, &err) : 0;
	if (ret)
		keep_error(fuse, ret, &err);
	fuse_reply_err(req, 0);
	if (atomic_fetch_sub(&fuse->open_count, 1) == 1 &&
	    write(fuse->closed_fd, &one, sizeof(one)) < 0)
		bow_notice("the last user has closed the disk, but that could not be told on");
}

const struct fuse_lowlevel_ops bow_fuse_ops = {
	.init = op_init,
	.lookup = bow_fuse_lookup,
	.getattr = bow_fuse_getattr,
	.setattr = bow_fuse_setattr,
	.readdir = bow_fuse_readdir,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.fallocate = op_fallocate,
	.fsync = op_fsync,
	.flush = op_flush,
	.release = op_release,
	.statfs = bow_fuse_statfs,
};
