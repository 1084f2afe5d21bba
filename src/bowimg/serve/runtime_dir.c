/* SPDX-License-Identifier: MIT */
/* The place of the runtime directory, a check of its owner, and a search in it. */
#include "bowimg/serve/runtime_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/cleanup.h"

static void choose(char *out, size_t bytes)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	uid_t uid = geteuid();

	if (uid == 0)
		snprintf(out, bytes, "/run/bowimg");
	else if (xdg && xdg[0] == '/')
		snprintf(out, bytes, "%.*s/bowimg", PATH_MAX / 2, xdg);
	else
		snprintf(out, bytes, "/tmp/bowimg-%u", (unsigned)uid);
}

/* In /tmp another user could have made that name first. */
static int check_owner(const char *path, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return bow_err_errno(err, -errno, "cannot open the runtime directory %s", path);
	if (st.st_uid == geteuid() && (st.st_mode & 022) == 0)
		return 0;
	int ret = bow_err(err, -EPERM,
			  "the runtime directory %s belongs to another user, or others may write "
			  "in it",
			  path);
	bow_err_hint(err, "remove it, or set XDG_RUNTIME_DIR to a directory of your own");
	return ret;
}

int bow_runtime_base(char *out, size_t bytes, struct bowimg_error *err)
{
	choose(out, bytes);
	if (mkdir(out, 0700) < 0 && errno != EEXIST)
		return bow_err_errno(err, -errno, "cannot make the runtime directory %s", out);
	return check_owner(out, err);
}

int bow_runtime_each(int (*one)(void *ctx, const char *path), void *ctx, struct bowimg_error *err)
{
	char base[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
	struct stat st;

	choose(base, sizeof(base));
	if (lstat(base, &st) < 0 && errno == ENOENT)
		return 0;
	int ret = check_owner(base, err);
	DIR *dir = ret ? NULL : opendir(base);
	if (!dir)
		return ret ? ret : bow_err_errno(err, -errno, "cannot read %s", base);
	struct dirent *d;
	while (!ret && (d = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", base, d->d_name);
		if (d->d_name[0] != '.' && strlen(path) < PATH_MAX)
			ret = one(ctx, path);
	}
	closedir(dir);
	return ret;
}

struct search {
	bool (*matches)(const struct bow_session *e, const char *what);
	const char *what;
	struct bow_session *out;
};

static int try_one(void *ctx, const char *path)
{
	const struct search *s = ctx;

	memset(s->out, 0, sizeof(*s->out));
	s->out->lock_fd = -1;
	memccpy(s->out->dir, path, '\0', sizeof(s->out->dir));
	return bow_state_read(path, s->out) == 1 && s->matches(s->out, s->what);
}

int bow_runtime_search(bool (*matches)(const struct bow_session *e, const char *what),
		       const char *what, struct bow_session *out, struct bowimg_error *err)
{
	struct search search = {matches, what, out};

	return bow_runtime_each(try_one, &search, err);
}
