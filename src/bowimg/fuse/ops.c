/* SPDX-License-Identifier: MIT */
/*
 * The requests of the FUSE files, translated into calls of the library. No policy, no ordering, no
 * memory of its own: each handler runs to its end in the thread that read the request.
 *
 * A disk's file behaves like a disk, or a partition of it: its size is fixed, a write past the end
 * is ENOSPC. Nothing here may promise space: only when a block is written it is known whether there
 * is room for its backup. Punching a hole is a write of zeros, not "free": a loop device sends the
 * same request for both, and for in-use blocks too. The disk as it was is read-only.
 */
#include "bowimg/fuse/private.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "bowimg/host/notice.h"

/* A long zero request shows progress after each piece, so the watchdog sees no hang. */
#define ZERO_PIECE_BYTES (64ull << 20)

/* fi->fh of a file open for writing: only such a file is flushed. */
enum { FH_READ, FH_WRITE };

static struct bow_fuse *fuse_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* Callers of read() and write() would misread errno values that have a meaning of our own. */
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

/* Give notice once, not for each of the thousand requests that follow. */
static void log_failure(struct bow_fuse *fuse, int code, const struct bowimg_error *err)
{
	if (atomic_exchange(&fuse->last_error, code) != code)
		bow_notice_error(err);
}

static void reply_done(fuse_req_t req, int code, const struct bowimg_error *err)
{
	/* No notice of a write that is not allowed: the writer gets the error. */
	if (code && code != -EROFS)
		log_failure(fuse_of(req), code, err);
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
	/*
	 * Splicing allocates pipes while serving. With a writeback cache a write past the end would
	 * make the file longer, as the kernel sees it, and `dd if=/dev/zero` would never end.
	 */
	conn->want &=
		~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			    FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA);
	fuse->initialized = true;
}

/* The disk as it was is not; the kernel has refused to open it for writing, too. */
static const struct bow_fuse_file *writable_file(const struct bow_fuse *fuse, fuse_ino_t ino)
{
	const struct bow_fuse_file *file = bow_fuse_file(fuse, ino);

	return file && !file->readonly ? file : NULL;
}

/* The last close is signalled, however it was done. */
static void count_closed(struct bow_fuse *fuse)
{
	uint64_t one = 1;

	if (atomic_fetch_sub(&fuse->open_count, 1) == 1 &&
	    write(fuse->closed_fd, &one, sizeof(one)) < 0)
		bow_notice("cannot signal that the disk was closed: %s", strerror(errno));
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
	int ret = bow_fuse_need_disk(fuse, file, (fi->flags & O_ACCMODE) != O_RDONLY);
	if (ret) {
		fuse_reply_err(req, errno_of(ret));
		return;
	}
	/*
	 * A process that exposes a disk for a while may have the file open itself. If it is killed,
	 * the kernel closes the file first and the connection later: an answer to a flush would
	 * never come.
	 */
	fi->noflush = fuse->disk.source.brief;
	fi->fh = (fi->flags & O_ACCMODE) == O_RDONLY ? FH_READ : FH_WRITE;
	atomic_fetch_add(&fuse->open_count, 1);
	atomic_store(&fuse->was_open, true);
	/* The opener was interrupted: no RELEASE will come. */
	if (fuse_reply_open(req, fi) == -ENOENT)
		count_closed(fuse);
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
	if (!file->disk) {
		fuse_reply_err(req, EIO);
		return;
	}
	size = bow_min(size, file->bytes - (uint64_t)off);
	int ret = bowimg_disk_read(file->disk, bow_fuse_thread_buffer(), size,
				   file->off + (uint64_t)off, &err);
	if (ret)
		reply_done(req, ret, &err);
	else
		fuse_reply_buf(req, bow_fuse_thread_buffer(), size);
}

/* Whom this error concerns may not ask any more: it is kept for the end. */
static void keep_error(struct bow_fuse *fuse, int code, const struct bowimg_error *err)
{
	log_failure(fuse, code, err);
	pthread_mutex_lock(&fuse->lost_lock);
	if (!fuse->lost.code) {
		fuse->lost = *err;
		fuse->lost.code = code;
	}
	pthread_mutex_unlock(&fuse->lost_lock);
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
		ret = bowimg_disk_write(file->disk, buf, size, file->off + (uint64_t)off, flags,
					&err);
	/* It came from a mapping of the file: its writer may be gone, and many do not ask. */
	if (ret && fi->writepage)
		keep_error(fuse, bow_err_wrap(&err, ret, "write what was mapped"), &err);
	if (ret)
		reply_done(req, ret, &err);
	else
		fuse_reply_write(req, size);
}

static int zero_in_pieces(struct bow_fuse *fuse, uint64_t off, uint64_t bytes, bool punch,
			  struct bowimg_error *err)
{
	while (bytes) {
		/* Pieces end at multiples of their size, so they do not cut blocks. */
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
	 * On a device a hole frees no space, and a commit would have to write the pending zero.
	 * After this answer a loop device sends no more discards, and writes zeros itself.
	 */
	if (fuse->no_holes && what == FALLOC_FL_PUNCH_HOLE) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	/* Plain allocation would promise space for backups, which cannot be done. */
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
		reply_done(req, bowimg_disk_flush(fuse_of(req)->disk.source.disk, &err), &err);
	else
		fuse_reply_err(req, 0); /* the disk as it was is never written */
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (fi->fh == FH_WRITE)
		op_fsync(req, ino, 1, fi);
	else
		fuse_reply_err(req, 0);
}

/* `losetup -d` sends no flush, only this, and ignores the answer: an error is kept for the end. */
static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct bow_fuse *fuse = fuse_of(req);
	struct bowimg_error err = {0};

	(void)ino;
	int ret = fi->fh == FH_WRITE ? bowimg_disk_flush(fuse->disk.source.disk, &err) : 0;
	if (ret)
		keep_error(fuse, bow_err_wrap(&err, ret, "flush after the last close"), &err);
	fuse_reply_err(req, 0);
	count_closed(fuse);
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
