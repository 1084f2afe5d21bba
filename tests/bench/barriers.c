/* SPDX-License-Identifier: MIT */
/*
 * For `make bench`, to be preloaded into the programs that serve a disk: counts the barriers that
 * they pass and the bytes that they write to files, and makes each barrier take longer, as on a
 * slow disk.
 *
 *	BENCH_COUNTS=FILE	two numbers of 64 bits, added up by all processes that have it open
 *	BENCH_FLUSH_MS=N	each barrier takes so much longer (0)
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct counts {
	_Atomic uint64_t barriers, bytes;
};

static struct counts none, *counts = &none;
static struct timespec slow;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("BENCH_COUNTS"), *ms = getenv("BENCH_FLUSH_MS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	long n = ms ? strtol(ms, NULL, 10) : 0;

	slow = (struct timespec){.tv_sec = n / 1000, .tv_nsec = n % 1000 * 1000000};
	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof(none), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		counts = map;
}

static int barrier(long number, int fd)
{
	atomic_fetch_add(&counts->barriers, 1);
	if (slow.tv_sec || slow.tv_nsec)
		nanosleep(&slow, NULL);
	return (int)syscall(number, fd);
}

int fsync(int fd)
{
	return barrier(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return barrier(SYS_fdatasync, fd);
}

static ssize_t count(ssize_t n)
{
	if (n > 0)
		atomic_fetch_add(&counts->bytes, (uint64_t)n);
	return n;
}

/* As the C library calls them for programs with large files, and for others. */
ssize_t pwrite64(int fd, const void *buf, size_t bytes, off64_t off)
{
	return count(syscall(SYS_pwrite64, fd, buf, bytes, off));
}

ssize_t pwrite(int fd, const void *buf, size_t bytes, off_t off)
{
	return pwrite64(fd, buf, bytes, off);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t off)
{
	return count(syscall(SYS_pwritev, fd, iov, n, (long)off, 0L));
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return pwritev64(fd, iov, n, off);
}
