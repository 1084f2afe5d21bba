/* SPDX-License-Identifier: MIT */
/*
 * What bowimg is measured against: a FUSE directory with one file, "disk", that is the given image
 * and nothing more. As many threads and as large requests as bowimg's, every request one system
 * call on the image.
 *
 *	passthrough IMAGE DIR		serves until DIR is unmounted
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_NAME "disk"
#define MAX_IO (1u << 20)

enum { THREADS = 16, INO_DISK = FUSE_ROOT_ID + 1 };

struct disk {
	int fd;
	off_t bytes;
};

static struct disk *disk_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void fill_stat(const struct disk *disk, fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_mode = ino == INO_DISK ? S_IFREG | 0600 : S_IFDIR | 0700;
	st->st_nlink = ino == INO_DISK ? 1 : 2;
	st->st_size = ino == INO_DISK ? disk->bytes : 0;
	st->st_blocks = st->st_size / 512;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->max_write = MAX_IO;
	conn->max_read = MAX_IO;
	conn->max_background = 256;
	conn->congestion_threshold = 192;
	conn->want &=
		~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			    FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {
		.ino = INO_DISK, .attr_timeout = 1e5, .entry_timeout = 1e5};

	if (parent != FUSE_ROOT_ID || strcmp(name, DISK_NAME) != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill_stat(disk_of(req), INO_DISK, &entry.attr);
	fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	fill_stat(disk_of(req), ino, &st);
	fuse_reply_attr(req, &st, 1e5);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	static _Thread_local char buf[MAX_IO] __attribute__((aligned(4096)));

	(void)ino;
	(void)fi;
	ssize_t n = pread(disk_of(req)->fd, buf, size < MAX_IO ? size : MAX_IO, off);
	if (n < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	ssize_t n = pwrite(disk_of(req)->fd, buf, size, off);
	if (n < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_write(req, (size_t)n);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t bytes,
			 struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, fallocate(disk_of(req)->fd, mode, off, bytes) < 0 ? errno : 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	fuse_reply_err(req, fdatasync(disk_of(req)->fd) < 0 ? errno : 0);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {.f_bsize = 512, .f_frsize = 512};

	(void)ino;
	fuse_reply_statfs(req, &st);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.read = op_read,
	.write = op_write,
	.fallocate = op_fallocate,
	.fsync = op_fsync,
	.statfs = op_statfs,
};

static int serve(struct fuse_session *session, const char *dir)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	if (!config || fuse_session_mount(session, dir) != 0)
		return 1;
	fuse_loop_cfg_set_max_threads(config, THREADS);
	fuse_loop_cfg_set_idle_threads(config, THREADS);
	int ret = fuse_session_loop_mt(session, config);
	fuse_session_unmount(session);
	fuse_loop_cfg_destroy(config);
	return ret != 0;
}

int main(int argc, char **argv)
{
	char *args_of_session[] = {argv[0], "-o", "fsname=passthrough,max_read=1048576", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, args_of_session);
	struct disk disk;
	struct stat st;

	if (argc != 3) {
		fprintf(stderr, "usage: passthrough IMAGE DIR\n");
		return 2;
	}
	disk.fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (disk.fd < 0 || fstat(disk.fd, &st) < 0) {
		perror(argv[1]);
		return 1;
	}
	disk.bytes = st.st_size;
	struct fuse_session *session = fuse_session_new(&args, &ops, sizeof(ops), &disk);
	if (!session)
		return 1;
	int ret = serve(session, argv[2]);
	fuse_session_destroy(session);
	if (close(disk.fd) < 0) {
		perror(argv[1]);
		return 1;
	}
	return ret;
}
