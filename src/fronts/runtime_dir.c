/* SPDX-License-Identifier: MIT */
/* Where the runtime directory is, whether it can be trusted, and what is in it. */
#include "fronts/runtime_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

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

/* In /tmp anybody could have made that name first. */
static int check_owner(const char *path, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return bow_err_errno(err, -errno, "opening the runtime directory %s", path);
	if (st.st_uid == geteuid() && (st.st_mode & 022) == 0)
		return 0;
	int ret = bow_err(err, -EPERM,
			  "the runtime directory %s belongs to somebody else, or others may write "
			  "in it",
			  path);
	bow_err_hint(err, "remove it, or set XDG_RUNTIME_DIR to a directory of your own");
	return ret;
}

int bow_runtime_base(char *out, size_t bytes, struct bowimg_error *err)
{
	choose(out, bytes);
	if (mkdir(out, 0700) < 0 && errno != EEXIST)
		return bow_err_errno(err, -errno, "making the runtime directory %s", out);
	return check_owner(out, err);
}

int bow_runtime_search(bool (*matches)(const struct bow_entry *e, const char *what),
		       const char *what, struct bow_entry *out, struct bowimg_error *err)
{
	char base[PATH_MAX];
	int ret = bow_runtime_base(base, sizeof(base), err);

	if (ret)
		return ret;
	DIR *dir = opendir(base);
	if (!dir)
		return bow_err_errno(err, -errno, "reading %s", base);
	struct dirent *d;
	bool found = false;
	while (!found && (d = readdir(dir))) {
		memset(out, 0, sizeof(*out));
		out->lock_fd = -1;
		if (d->d_name[0] == '.' || snprintf(out->dir, sizeof(out->dir), "%s/%s", base,
						    d->d_name) >= (int)sizeof(out->dir))
			continue;
		found = bow_state_read(out->dir, out) == 1 && matches(out, what);
	}
	closedir(dir);
	return found;
}
