/* SPDX-License-Identifier: MIT */
/*
 * Making a loop device.
 *
 * Direct I/O is not an optimisation here: without it every block is in the page cache twice, and
 * writing back the upper copy needs memory for the lower one, which is how such stacks deadlock.
 */
#include "bowimg/host/loop.h"
#include "bowimg/host/notice.h"

#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "lib/base/uri.h"

enum { TRIES = 64, PAUSE_MS = 20 };

static void pause_ms(long ms)
{
	struct timespec t = {.tv_nsec = ms * 1000000L};

	nanosleep(&t, NULL);
}

bool bow_loop_usable(void)
{
	CLEANUP_CLOSE int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	return fd >= 0;
}

/* udev may make the node of a new device a moment later. */
static int open_device(const char *path)
{
	for (int i = 0; i < TRIES; i++) {
		int fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 || (errno != ENOENT && errno != ENXIO))
			return fd < 0 ? -errno : fd;
		pause_ms(PAUSE_MS);
	}
	return -ENOENT;
}

int bow_loop_ask(const char *image, struct bow_loop_options *out, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = -1;
	int sector = 512;
	struct stat st;

	out->sector_bytes = 512;
	if (bow_uri_is_nbd(image))
		return 0;
	fd = open(image, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return bow_err_errno(err, -errno, "cannot open %s", image);
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKSSZGET, &sector) < 0)
		return bow_err_errno(err, -errno, "cannot ask %s for its sectors", image);
	out->sector_bytes = (uint32_t)sector;
	return 0;
}

static int configure(int loop_fd, int file_fd, const char *file,
		     const struct bow_loop_options *opts)
{
	struct loop_config config = {.fd = (unsigned)file_fd, .block_size = opts->sector_bytes};

	config.info.lo_flags = LO_FLAGS_DIRECT_IO | LO_FLAGS_AUTOCLEAR;
	if (opts->partitions)
		config.info.lo_flags |= LO_FLAGS_PARTSCAN;
	snprintf((char *)config.info.lo_file_name, sizeof(config.info.lo_file_name), "%s", file);
	return ioctl(loop_fd, LOOP_CONFIGURE, &config) < 0 ? -errno : 0;
}

/* Ask for a free number, open it, take it. -EBUSY: another process was faster. */
static int try_attach(int control_fd, int file_fd, const char *file,
		      const struct bow_loop_options *opts, struct bow_loop *out)
{
	int number = ioctl(control_fd, LOOP_CTL_GET_FREE);

	if (number < 0)
		return -errno;
	snprintf(out->path, sizeof(out->path), "/dev/loop%d", number);
	int fd = open_device(out->path);
	if (fd < 0)
		return fd;
	int ret = configure(fd, file_fd, file, opts);
	if (ret)
		close(fd);
	else
		out->fd = fd;
	return ret;
}

static int require_direct_io(const struct bow_loop *loop, struct bowimg_error *err)
{
	char dio[8];

	if (bow_loop_sysfs(loop->path, "dio", dio, sizeof(dio)) && dio[0] == '1')
		return 0;
	if (ioctl(loop->fd, LOOP_SET_DIRECT_IO, 1UL) == 0)
		return 0;
	int ret = bow_err_errno(err, -errno, "cannot switch on direct I/O for %s", loop->path);
	bow_err_hint(err, "without it the mount could hang when memory is short; use bowimg attach "
			  "--fuse DIR");
	return ret;
}

static int attach_failed(int code, struct bowimg_error *err)
{
	int ret = bow_err_errno(err, code, "cannot make a loop device");

	bow_err_hint(err, "loop devices need root and the loop module (Linux 5.8 or newer); "
			  "bowimg attach --fuse DIR works without");
	return ret;
}

/* The kernel makes the device read-only if the file is. */
int bow_loop_attach(const char *file, const struct bow_loop_options *opts, struct bow_loop *out,
		    struct bowimg_error *err)
{
	CLEANUP_CLOSE int control_fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control_fd < 0)
		return attach_failed(-errno, err);
	CLEANUP_CLOSE int file_fd = open(file, (opts->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (file_fd < 0)
		return bow_err_errno(err, -errno, "cannot make a loop device: open %s", file);
	struct bow_loop loop = {.fd = -1};
	int ret = -EBUSY;
	for (int i = 0; i < TRIES && ret == -EBUSY; i++)
		ret = try_attach(control_fd, file_fd, file, opts, &loop);
	if (ret)
		return attach_failed(ret, err);
	ret = require_direct_io(&loop, err);
	if (ret) {
		close(loop.fd); /* the kernel takes the device away */
		return ret;
	}
	*out = loop;
	return 0;
}

/* If the kernel has found the partition by itself, adding it again fails: that is fine. */
static int add_partition(void *ctx, const struct bowimg_partition *p)
{
	const struct bow_loop *loop = ctx;
	struct blkpg_partition part = {
		.start = (long long)p->off, .length = (long long)p->bytes, .pno = (int)p->number};
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof(part), .data = &part};

	return ioctl(loop->fd, BLKPG, &arg) < 0 && errno != EBUSY ? -errno : 0;
}

void bow_loop_add_partitions(const struct bow_loop *loop)
{
	struct bowimg_error why = {0};
	int ret = bowimg_partitions(loop->path, NULL, add_partition, (void *)loop, &why);

	/* The daemon has already given notice that the table cannot be read. */
	if (!ret || ret == -EUCLEAN || ret == -EOPNOTSUPP)
		return;
	bow_err_errno(&why, ret, "cannot make the partitions of %s", loop->path);
	bow_notice_error(&why);
}

static int set_autoclear(int fd, bool on)
{
	struct loop_info64 info;

	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return -errno;
	if (on)
		info.lo_flags |= LO_FLAGS_AUTOCLEAR;
	else
		info.lo_flags &= ~(uint32_t)LO_FLAGS_AUTOCLEAR;
	return ioctl(fd, LOOP_SET_STATUS64, &info) < 0 ? -errno : 0;
}

int bow_loop_keep(const struct bow_loop *loop, struct bowimg_error *err)
{
	int ret = set_autoclear(loop->fd, false);

	return ret ? bow_err_errno(err, ret, "cannot keep %s", loop->path) : 0;
}
