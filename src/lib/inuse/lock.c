/* SPDX-License-Identifier: MIT */
/*
 * Locks on an image that is open for writing (for readers, see the end), in this order:
 *
 * 1. flock: of several bowimgs that start at once it lets exactly one through. The losers close the
 *    file at once, and step 2 of the winner waits for that.
 * 2. A write lease, given back at once: the kernel grants it only while no other descriptor of the
 *    file is open, so it finds users that lock nothing. It comes before 3 only because a failure
 *    leaves nothing to undo.
 * 3. QEMU's byte ranges. A lock on byte 100 + p says "I use permission p", one on 200 + p "I do not
 *    share p". All of them are shared (read) locks, taken first and tested for conflicts after, so
 *    that of two programs that start at once at least one sees the other.
 *
 * Byte 200 stays unlocked: a program may read a disk that is being changed.
 */
#include "lib/inuse/guard.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "lib/inuse/inuse.h"

/* How long to wait for a passing user (a loser of 1, a disk scanner, udev). */
#define TRIES 100
#define PAUSE_NS 10000000

/* Permissions in QEMU's numbering. */
enum { CONSISTENT_READ = 0, WRITE = 1, RESIZE = 3, PERMISSIONS };
#define USED_BYTE 100
#define UNSHARED_BYTE 200

/* What bowimg does with an image, and what no other program may do meanwhile. */
static const off_t held_bytes[] = {
	USED_BYTE + CONSISTENT_READ, USED_BYTE + WRITE,	     USED_BYTE + RESIZE,
	UNSHARED_BYTE + WRITE,	     UNSHARED_BYTE + RESIZE,
};

/* Locks of others that contradict the above. */
static const off_t conflicting_bytes[] = {
	UNSHARED_BYTE + CONSISTENT_READ,
	UNSHARED_BYTE + WRITE,
	UNSHARED_BYTE + RESIZE,
	USED_BYTE + WRITE,
	USED_BYTE + RESIZE,
};

/* The same for a reader that needs the image to stay as it is. */
static const off_t held_by_reader[] = {
	USED_BYTE + CONSISTENT_READ,
	UNSHARED_BYTE + WRITE,
	UNSHARED_BYTE + RESIZE,
};
static const off_t conflicting_with_reader[] = {
	UNSHARED_BYTE + CONSISTENT_READ,
	USED_BYTE + WRITE,
	USED_BYTE + RESIZE,
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What an opener of the image takes, and tests for. */
struct lock_mode {
	int flock;
	int lease; /* granted while no other process has the file open (for writing) */
	const off_t *held, *conflicting;
	size_t n_held, n_conflicting;
};

static const struct lock_mode writer = {
	.flock = LOCK_EX,
	.lease = F_WRLCK,
	.held = held_bytes,
	.n_held = COUNT(held_bytes),
	.conflicting = conflicting_bytes,
	.n_conflicting = COUNT(conflicting_bytes),
};

static const struct lock_mode reader = {
	.flock = LOCK_SH,
	.lease = F_RDLCK,
	.held = held_by_reader,
	.n_held = COUNT(held_by_reader),
	.conflicting = conflicting_with_reader,
	.n_conflicting = COUNT(conflicting_with_reader),
};

static void pause_briefly(void)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	nanosleep(&pause, NULL);
}

static int refuse(int fd, const char *path, const char *how, struct bowimg_error *err)
{
	struct bow_guard_user user = {0};

	bow_guard_name_opener(fd, &user);
	bow_err(err, -EBUSY, "%s: in use: %s %s", path, user.who, how);
	bow_err_hint(err, "%s", user.hint);
	return -EBUSY;
}

static int fail_lock(int code, const char *path, const char *what, struct bowimg_error *err)
{
	bow_err_errno(err, code, "%s: %s", path, what);
	bow_err_hint(err, "without working locks the image cannot be protected; copy it to a local "
			  "file system");
	return code;
}

/* udev locks block devices for a moment while it scans them; for files see step 1 above. */
static int take_flock(int fd, int how, bool patient, const char *path, struct bowimg_error *err)
{
	int rc = flock(fd, how | LOCK_NB);

	for (int i = 0; rc < 0 && errno == EWOULDBLOCK && patient && i < TRIES; i++) {
		pause_briefly();
		rc = flock(fd, how | LOCK_NB);
	}
	if (rc == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return refuse(fd, path, "has locked it", err);
	return fail_lock(-errno, path, "lock the whole image", err);
}

/* On these file systems a refused lease tells about the server, not about other openers. */
static bool leases_mean_nothing(int fd)
{
	const unsigned cifs_magic = 0xff534d42, smb2_magic = 0xfe534d42;
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return true;
	return (unsigned)fs.f_type == NFS_SUPER_MAGIC || (unsigned)fs.f_type == cifs_magic ||
	       (unsigned)fs.f_type == smb2_magic;
}

/*
 * True if no other process has the file open, or if that cannot be known. A process that opens it
 * while the lease is held makes the kernel send a signal. SIGIO, the default one, would end this
 * process; SIGURG is ignored by a process that does not expect it.
 */
static bool alone(int fd, int lease)
{
	bool yes;

	if (fcntl(fd, F_SETSIG, SIGURG) < 0)
		return true;
	yes = fcntl(fd, F_SETLEASE, lease) == 0 || errno != EAGAIN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	fcntl(fd, F_SETSIG, 0);
	return yes;
}

static int probe_lease(int fd, int lease, const char *path, struct bowimg_error *err)
{
	if (leases_mean_nothing(fd))
		return 0;
	for (int i = 0; i < TRIES; i++) {
		if (alone(fd, lease))
			return 0;
		pause_briefly();
	}
	return refuse(fd, path, "has it open", err);
}

static int set_bytes(int fd, const struct lock_mode *mode, short type)
{
	for (size_t i = 0; i < mode->n_held; i++) {
		struct flock lock = {
			.l_type = type, .l_whence = SEEK_SET, .l_start = mode->held[i], .l_len = 1};

		if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
			return errno == EACCES ? -EAGAIN : -errno;
	}
	return 0;
}

/* Would a write lock on this byte meet another process's lock? Our own never count. */
static int test_byte(int fd, off_t byte)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	return lock.l_type != F_UNLCK;
}

/* 1: another process holds a conflicting lock, 0: none does, or -errno. */
static int test_bytes(int fd, const struct lock_mode *mode)
{
	int rc = 0;

	for (size_t i = 0; i < mode->n_conflicting && rc == 0; i++)
		rc = test_byte(fd, mode->conflicting[i]);
	return rc;
}

static int take_bytes(int fd, const struct lock_mode *mode, const char *path,
		      struct bowimg_error *err)
{
	int rc = set_bytes(fd, mode, F_RDLCK);

	if (rc == 0)
		rc = test_bytes(fd, mode);
	if (rc == 0)
		return 0;
	set_bytes(fd, mode, F_UNLCK); /* closing does it as well, should this fail */
	if (rc > 0 || rc == -EAGAIN)
		return refuse(fd, path, "holds locks on it as QEMU does", err);
	return fail_lock(rc, path, "lock byte ranges of the image", err);
}

static int take_locks(int fd, const struct lock_mode *mode, const char *path,
		      struct bowimg_error *err)
{
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return bow_err_errno(err, -errno, "%s: look at the open file", path);
	rc = take_flock(fd, mode->flock, S_ISBLK(st.st_mode), path, err);
	if (rc)
		return rc;
	if (S_ISREG(st.st_mode))
		rc = probe_lease(fd, mode->lease, path, err);
	if (rc == 0)
		rc = take_bytes(fd, mode, path, err);
	if (rc)
		flock(fd, LOCK_UN);
	return rc;
}

int bow_guard_lock(int fd, const char *path, struct bowimg_error *err)
{
	return take_locks(fd, &writer, path, err);
}

/*
 * A reader takes the shared halves of 1 and 3, and a read lease, which the kernel grants while no
 * process has the file open for writing.
 */
int bow_guard_lock_shared(int fd, const char *path, struct bowimg_error *err)
{
	return take_locks(fd, &reader, path, err);
}

bool bow_guard_bytes_matter(int64_t first, int64_t last)
{
	for (size_t i = 0; i < writer.n_conflicting; i++)
		if (first <= writer.conflicting[i] && writer.conflicting[i] <= last)
			return true;
	return false;
}

bool bow_guard_locked_by_other(int fd)
{
	return test_bytes(fd, &writer) > 0;
}
