/* SPDX-License-Identifier: MIT */
/*
 * Whose lock counts? Root's, and the lock of a user who may write to the export: such a user could
 * spoil it for everyone, and gains nothing by a lock that keeps others away. Any other user's lock
 * is a file of a certain name, and no more.
 */
#include "lib/disk/nbd/lock.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define GROUPS 256

static bool is_in_group(uid_t uid, gid_t gid)
{
	struct passwd entry, *user = NULL;
	gid_t groups[GROUPS];
	int n = GROUPS;
	char text[4096];

	if (getpwuid_r(uid, &entry, text, sizeof(text), &user) || !user)
		return false;
	if (getgrouplist(user->pw_name, user->pw_gid, groups, &n) < 0)
		n = n < GROUPS ? n : GROUPS;
	for (int i = 0; i < n; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/* `bit` is one of the permissions of others, as in S_IWOTH. */
static bool allows(const struct stat *st, uid_t uid, mode_t bit)
{
	if (st->st_uid == uid)
		return st->st_mode & (bit << 6);
	if ((st->st_mode & bit) != ((st->st_mode >> 3) & bit) && is_in_group(uid, st->st_gid))
		return st->st_mode & (bit << 3);
	return st->st_mode & bit;
}

/* The directories on an absolute path must let the user pass. */
static bool may_reach(uid_t uid, const char *path)
{
	char dir[PATH_MAX];
	struct stat st;

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		int bytes = slash == path ? 1 : (int)(slash - path);

		snprintf(dir, sizeof(dir), "%.*s", bytes, path);
		if (stat(dir, &st) < 0 || !allows(&st, uid, S_IXOTH))
			return false;
	}
	return true;
}

bool bow_nbd_may_use(uid_t uid, const struct bow_nbd_export *e)
{
	struct stat st;

	if (uid == 0)
		return true;
	/* It is not known whether the user has a key. */
	if (e->tls)
		return false;
	/* Every user of a machine may connect wherever the machine may. */
	if (!e->socket[0])
		return true;
	return stat(e->socket, &st) == 0 && allows(&st, uid, S_IWOTH) && may_reach(uid, e->socket);
}
