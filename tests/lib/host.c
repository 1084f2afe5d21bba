/* SPDX-License-Identifier: MIT */
/* See host.h. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/loop.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

bool host_temp_dir(char dir[HOST_PATH_BYTES])
{
	const char *base = getenv("TMPDIR");

	snprintf(dir, HOST_PATH_BYTES, "%.80s/bowimg-test-XXXXXX", base && *base ? base : "/tmp");
	return mkdtemp(dir) != NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void host_remove_tree(const char *dir)
{
	/* FTW_MOUNT: a file system that could not be unmounted is not to be emptied. */
	if (dir[0])
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

bool host_make_file(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && ftruncate(fd, (off_t)bytes) == 0;

	if (!ok)
		fprintf(stderr, "%s: create a file of %llu bytes: %s\n", path,
			(unsigned long long)bytes, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

void host_require(bool have, const char *what)
{
	const char *strict = getenv("BOWIMG_TEST_STRICT");

	if (have)
		return;
	if (strict && strcmp(strict, "1") == 0)
		fail_msg("this machine lacks %s", what);
	print_message("skipped: this machine lacks %s\n", what);
	skip();
}

bool host_has_tool(const char *name)
{
	return host_run("PATH=$PATH:/usr/sbin:/sbin command -v %s", name) == 0;
}

bool host_can_loop(void)
{
	int fd = geteuid() == 0 ? open("/dev/loop-control", O_RDWR | O_CLOEXEC) : -1;

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int free_loop_number(void)
{
	int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = ioctl(fd, LOOP_CTL_GET_FREE);
	if (rc < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* -EBUSY: somebody else was quicker to take this number. */
static int configure(const char *name, int file_fd, const struct loop_config *config)
{
	struct loop_config c = *config;
	int fd = open(name, O_RDWR | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	c.fd = (uint32_t)file_fd;
	rc = ioctl(fd, LOOP_CONFIGURE, &c) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

int host_loop_attach(const char *file, uint32_t flags, uint32_t sector_bytes,
		     char name[HOST_LOOP_BYTES])
{
	struct loop_config config = {.block_size = sector_bytes, .info = {.lo_flags = flags}};
	int rc = -EBUSY, file_fd = open(file, O_RDWR | O_CLOEXEC);

	if (file_fd < 0)
		return -errno;
	for (int i = 0; i < 100 && rc == -EBUSY; i++) {
		int number = free_loop_number();

		if (number < 0) {
			rc = number;
			break;
		}
		snprintf(name, HOST_LOOP_BYTES, "/dev/loop%d", number);
		rc = configure(name, file_fd, &config);
	}
	close(file_fd);
	if (rc)
		name[0] = '\0';
	return rc;
}

void host_loop_detach(const char *name)
{
	int fd = name[0] ? open(name, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	if (ioctl(fd, LOOP_CLR_FD, 0) < 0)
		fprintf(stderr, "%s: detach: %s\n", name, strerror(errno));
	close(fd);
}

int host_run(const char *fmt, ...)
{
	char command[1024], quiet[1100];
	va_list args;
	int status;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	snprintf(quiet, sizeof(quiet), "{ %s; } >/dev/null 2>&1", command);
	status = system(quiet);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
