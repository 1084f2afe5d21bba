/* SPDX-License-Identifier: MIT */
/*
 * Locks as listening unix sockets in a directory. A socket gets its name only when it listens, so a
 * visible one that does not answer is a leftover. Names are random: no process can take one first,
 * and none need remove another's to get in.
 *
 * Why not file locks: a user who may read such a file can lock it; a user who may not read it
 * cannot see whether it is locked. A socket names its listener, on the kernel's word, also across
 * network namespaces.
 */
#include "lib/disk/nbd/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Processes that ask connect, and no one accepts: so many get an answer. */
#define ASKERS 4096

/* By name, by place, drawn. */
#define NAME_FORMAT ".bowimg-nbd-%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64

static int open_dir(const char *dir)
{
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* By the descriptor, however long the directory's path is. */
static void set_address(struct sockaddr_un *addr, int dir, const char *name)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/%.80s", dir, name);
}

static int bind_new(struct bow_nbd_place *p, const char *name)
{
	struct sockaddr_un addr;
	char path[sizeof(addr.sun_path)];

	set_address(&addr, p->dir, name);
	memcpy(path, addr.sun_path, sizeof(path));
	if (bind(p->socket, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	/* Every user may ask. */
	if (chmod(path, 0666) < 0 || listen(p->socket, ASKERS) < 0 ||
	    renameat(p->dir, name, p->dir, p->name) < 0) {
		int rc = -errno;

		unlinkat(p->dir, name, 0);
		return rc;
	}
	return 0;
}

static void set_name(char name[64], const struct bow_nbd_export *e, uint64_t number)
{
	snprintf(name, 64, NAME_FORMAT, e->by_name, e->by_place, number);
}

int bow_nbd_place_take(struct bow_nbd_place *p, const char *dir, const struct bow_nbd_export *e)
{
	char name[40];
	int rc;

	*p = (struct bow_nbd_place){.dir = open_dir(dir), .socket = -1, .pid = getpid()};
	if (p->dir < 0)
		return -errno;
	p->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->socket < 0 || getrandom(&p->number, sizeof(p->number), 0) != sizeof(p->number)) {
		rc = -errno;
	} else {
		snprintf(name, sizeof(name), ".bowimg-new-%016" PRIx64, p->number);
		set_name(p->name, e, p->number);
		rc = bind_new(p, name);
	}
	if (rc) {
		p->name[0] = '\0';
		bow_nbd_place_give(p);
	}
	return rc;
}

int bow_nbd_place_rename(struct bow_nbd_place *p, const struct bow_nbd_export *e)
{
	char name[sizeof(p->name)];

	if (!p->name[0])
		return 0;
	set_name(name, e, p->number);
	if (renameat(p->dir, p->name, p->dir, name) < 0)
		return -errno;
	memcpy(p->name, name, sizeof(name));
	return 0;
}

/* The name goes while it still answers: a name that does not answer is a leftover. */
void bow_nbd_place_give(struct bow_nbd_place *p)
{
	if (p->name[0] && p->pid == getpid())
		unlinkat(p->dir, p->name, 0);
	if (p->socket >= 0)
		close(p->socket);
	if (p->dir >= 0)
		close(p->dir);
	*p = (struct bow_nbd_place){.dir = -1, .socket = -1};
}

/* Returns 1 if a process listens, with *holder as far as it is known; 0: a leftover; -errno. */
static int ask(int dir, const char *name, struct bow_nbd_holder *holder)
{
	struct sockaddr_un addr;
	struct ucred who = {0};
	socklen_t bytes = sizeof(who);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

	if (fd < 0)
		return -errno;
	set_address(&addr, dir, name);
	rc = connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 ? 1 : -errno;
	if (rc == 1 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0)
		holder->pid = who.pid;
	close(fd);
	if (rc == -ECONNREFUSED)
		return 0;
	return rc == -EAGAIN ? 1 : rc;
}

static int look_at(int dir, const char *name, const struct bow_nbd_export *e,
		   struct bow_nbd_holder *holder)
{
	struct stat st;
	int rc;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(st.st_mode) ||
	    !bow_nbd_may_use(st.st_uid, e))
		return 0;
	*holder = (struct bow_nbd_holder){.uid = st.st_uid};
	rc = ask(dir, name, holder);
	if (rc == 0 && st.st_uid == geteuid())
		unlinkat(dir, name, 0);
	return rc == 1;
}

static bool is_lock_on(const char *name, const struct bow_nbd_export *e)
{
	uint64_t by_name, by_place, number;
	char again[64];

	if (sscanf(name, ".bowimg-nbd-%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64, &by_name, &by_place,
		   &number) != 3)
		return false;
	snprintf(again, sizeof(again), NAME_FORMAT, by_name, by_place, number);
	return strcmp(name, again) == 0 && (by_name == e->by_name || by_place == e->by_place);
}

int bow_nbd_place_look(const char *dir, const struct bow_nbd_export *e, const char *mine,
		       const char *mine_too, struct bow_nbd_holder *holder)
{
	struct dirent *entry;
	int fd = open_dir(dir), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (!rc && (entry = readdir(d))) {
		const char *name = entry->d_name;

		if (is_lock_on(name, e) && strcmp(name, mine) != 0 && strcmp(name, mine_too) != 0)
			rc = look_at(dirfd(d), name, e, holder);
	}
	closedir(d);
	return rc;
}
