/* SPDX-License-Identifier: MIT */
/*
 * NBD knows no locks. Locks in directories (lock_place.c) at least keep the bowimgs of one machine
 * apart. Each bowimg takes two, then looks for those of others:
 *
 * - its own: root's in /run/bowimg/lock, where only root writes; a user's in
 *   $XDG_RUNTIME_DIR/bowimg/lock or /tmp/bowimg-UID/lock;
 * - one beside the server's socket, where everyone who can see the socket can see it, from any
 *   container; otherwise, and for TCP, in /tmp. If it cannot be made, bowimg does without.
 *
 * lock_access.c decides whose locks count, so that no user can shut root out of another's export.
 */
#include "lib/disk/nbd/lock.h"

#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/uri.h"
#include "lib/inuse/guard.h"

#define ROOT_BASE "/run/bowimg"
#define ROOT_DIR ROOT_BASE "/lock"
#define TRIES 5

/* A loopback address means something else in each network namespace. */
static uint64_t network(void)
{
	struct stat st;

	return stat("/proc/self/ns/net", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

void bow_nbd_export_set(struct bow_nbd_export *e, const char *uri)
{
	char place[64];
	struct stat st;

	*e = (struct bow_nbd_export){.by_name = bow_uri_key(uri), .tls = bow_uri_is_tls(uri)};
	if (!bow_uri_socket(uri, e->socket)) {
		e->socket[0] = '\0';
		if (bow_uri_is_loopback(uri))
			e->by_name ^= network();
		e->by_place = e->by_name;
		return;
	}
	e->by_place = e->by_name;
	if (stat(e->socket, &st) < 0)
		return;
	snprintf(place, sizeof(place), "%" PRIx64 ":%" PRIx64, (uint64_t)st.st_dev,
		 (uint64_t)st.st_ino);
	e->by_place = bow_uri_key_at(uri, place);
}

/* The same address by another name, or written in another way. */
void bow_nbd_export_connected(struct bow_nbd_export *e, const char *uri, int fd)
{
	char host[INET6_ADDRSTRLEN], port[8], place[sizeof(host) + sizeof(port) + 24];
	struct sockaddr_storage addr;
	socklen_t bytes = sizeof(addr);

	if (e->socket[0] || getpeername(fd, (struct sockaddr *)&addr, &bytes) < 0 ||
	    getnameinfo((struct sockaddr *)&addr, bytes, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	snprintf(place, sizeof(place), "%s|%s|%" PRIx64, host, port,
		 strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ? network() : 0);
	e->by_place = bow_uri_key_at(uri, place);
}

/* ---- directories ----------------------------------------------------------------- */

/* Other users may pass, to see root's lock; only the owner writes. */
static int make_dir(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return -errno;
	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 022)
		return -EPERM;
	/* The umask or an older bowimg may have made it narrower. */
	return (st.st_mode & 0777) != mode && chmod(path, mode) < 0 ? -errno : 0;
}

static void own_base(char out[PATH_MAX])
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	uid_t uid = geteuid();

	if (uid == 0)
		snprintf(out, PATH_MAX, ROOT_BASE);
	else if (xdg && xdg[0] == '/')
		snprintf(out, PATH_MAX, "%.*s/bowimg", PATH_MAX / 2, xdg);
	else
		snprintf(out, PATH_MAX, "/tmp/bowimg-%u", (unsigned)uid);
}

static void own_dir(char out[PATH_MAX])
{
	size_t used;

	own_base(out);
	used = strlen(out);
	snprintf(out + used, PATH_MAX - used, "/lock");
}

static int make_own_dir(char out[PATH_MAX])
{
	bool root = geteuid() == 0;
	int rc;

	own_base(out);
	rc = make_dir(out, root ? 0711 : 0700);
	own_dir(out);
	return rc ? rc : make_dir(out, root ? 0755 : 0700);
}

/* Finds the directory of the server's socket; false for TCP. */
static bool socket_dir(const struct bow_nbd_export *e, char out[PATH_MAX])
{
	const char *slash = strrchr(e->socket, '/');

	if (!slash)
		return false;
	snprintf(out, PATH_MAX, "%.*s", slash == e->socket ? 1 : (int)(slash - e->socket),
		 e->socket);
	return true;
}

/* ---- taking and looking ---------------------------------------------------------- */

static int take_own(struct bow_nbd_lock *lock, const struct bow_nbd_export *e)
{
	char dir[PATH_MAX];
	int rc = make_own_dir(dir);

	return rc ? rc : bow_nbd_place_take(&lock->own, dir, e);
}

static int take_shared(struct bow_nbd_lock *lock, const struct bow_nbd_export *e)
{
	char dir[PATH_MAX];

	if (socket_dir(e, dir) && bow_nbd_place_take(&lock->shared, dir, e) == 0)
		return 0;
	return bow_nbd_place_take(&lock->shared, "/tmp", e);
}

static int take_both(struct bow_nbd_lock *lock, const struct bow_nbd_export *e)
{
	int rc = take_own(lock, e);

	return take_shared(lock, e) ? rc : 0; /* one of the two is enough */
}

static void give_both(struct bow_nbd_lock *lock)
{
	bow_nbd_place_give(&lock->shared);
	bow_nbd_place_give(&lock->own);
}

static int look(const struct bow_nbd_lock *lock, const struct bow_nbd_export *e,
		struct bow_nbd_holder *holder)
{
	const char *own = lock->own.name, *shared = lock->shared.name;
	char dir[PATH_MAX];
	int rc = bow_nbd_place_look(ROOT_DIR, e, own, shared, holder);

	own_dir(dir);
	if (!rc && geteuid() != 0)
		rc = bow_nbd_place_look(dir, e, own, shared, holder);
	if (!rc && socket_dir(e, dir))
		rc = bow_nbd_place_look(dir, e, own, shared, holder);
	return rc ? rc : bow_nbd_place_look("/tmp", e, own, shared, holder);
}

static void name_holder(const struct bow_nbd_holder *holder, struct bow_guard_user *user)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)holder->pid);
	if (holder->pid) {
		bow_guard_name_process(pid, user);
		return;
	}
	*user = (struct bow_guard_user){.who = "in another container",
					.hint = "wait for that bowimg to end, or end it there with "
						"bowimg umount or detach"};
}

static int refuse(const char *uri, const struct bow_nbd_holder *holder, struct bowimg_error *err)
{
	struct bow_guard_user user = {0};
	char who[32] = "root";

	if (holder->uid)
		snprintf(who, sizeof(who), "user number %u", (unsigned)holder->uid);
	name_holder(holder, &user);
	bow_err(err, -EBUSY, "%s: in use: another bowimg of %s has it open: %s", uri, who,
		user.who);
	bow_err_hint(err, "%s", user.hint);
	return -EBUSY;
}

/* Two that start at once see each other; both step back, for different times. */
static void step_back(struct bow_nbd_lock *lock, int try)
{
	struct timespec pause = {.tv_nsec = (1 + (getpid() + try * 7) % 16) * 4000000L};

	give_both(lock);
	nanosleep(&pause, NULL);
}

static int acquire(struct bow_nbd_lock *lock, const struct bow_nbd_export *e, const char *uri,
		   struct bowimg_error *err)
{
	struct bow_nbd_holder holder = {0};
	int rc;

	for (int try = 0; try < TRIES; try++) {
		rc = take_both(lock, e);
		if (rc) {
			bow_err_errno(err, rc, "%s: lock", uri);
			bow_err_hint(err,
				     "/run must be writable for root; a user needs a directory "
				     "of its own as XDG_RUNTIME_DIR");
			return rc;
		}
		if (!look(lock, e, &holder))
			return 0;
		step_back(lock, try);
	}
	return refuse(uri, &holder, err);
}

int bow_nbd_lock(const struct bow_nbd_export *e, const char *uri, struct bow_nbd_lock **out,
		 struct bowimg_error *err)
{
	struct bow_nbd_lock *lock = calloc(1, sizeof(*lock));
	int rc;

	if (!lock)
		return bow_err_errno(err, -ENOMEM, "%s: lock", uri);
	lock->own = lock->shared = (struct bow_nbd_place){.dir = -1, .socket = -1};
	rc = acquire(lock, e, uri, err);
	if (rc)
		free(lock);
	else
		*out = lock;
	return rc;
}

static bool is_held(struct bow_nbd_place *p, const struct bow_nbd_export *e)
{
	return p->name[0] && bow_nbd_place_rename(p, e) == 0;
}

/*
 * Its name may be gone since: the directory of a socket may be made anew with it, and old files in
 * /tmp be removed. Then it is taken again, and who came in between is seen.
 */
int bow_nbd_lock_connected(struct bow_nbd_lock *lock, const struct bow_nbd_export *e,
			   const char *uri, struct bowimg_error *err)
{
	bool own = is_held(&lock->own, e), shared = is_held(&lock->shared, e);
	struct bow_nbd_holder holder;
	int rc = 0;

	if (!own) {
		bow_nbd_place_give(&lock->own);
		rc = take_own(lock, e);
	}
	if (!shared) {
		bow_nbd_place_give(&lock->shared);
		shared = take_shared(lock, e) == 0;
	}
	if (rc && !shared)
		return bow_err_errno(err, rc, "%s: lock", uri);
	return look(lock, e, &holder) ? refuse(uri, &holder, err) : 0;
}

void bow_nbd_unlock(struct bow_nbd_lock *lock)
{
	if (!lock)
		return;
	give_both(lock);
	free(lock);
}

static const struct bow_nbd_lock none = {{.dir = -1, .socket = -1}, {.dir = -1, .socket = -1}};

bool bow_nbd_is_locked(const struct bow_nbd_export *e, struct bow_guard_user *user)
{
	struct bow_nbd_holder holder;

	if (!look(&none, e, &holder))
		return false;
	if (user)
		name_holder(&holder, user);
	return true;
}

bool bow_nbd_is_locked_elsewhere(const struct bow_nbd_export *e)
{
	struct bow_nbd_holder holder;

	return look(&none, e, &holder) && holder.pid != getpid();
}
