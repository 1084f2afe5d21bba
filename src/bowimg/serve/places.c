/* SPDX-License-Identifier: MIT */
#include "bowimg/serve/places.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/base/show.h"

static int refuse_directory(int code, const char *dir, struct bowimg_error *err)
{
	bow_err_errno(err, code, "cannot use the directory %s", dir);
	if (code == -ENOENT)
		bow_err_hint(err, "make it first: mkdir -p %s", BOW_WORD(dir));
	else
		bow_err_hint(err, "give an empty directory of yours");
	return code;
}

int bow_place_directory(const char *dir, char *out, struct bowimg_error *err)
{
	struct stat st;

	if (!realpath(dir, out) || stat(out, &st) < 0)
		return refuse_directory(-errno, dir, err);
	return S_ISDIR(st.st_mode) ? 0 : refuse_directory(-ENOTDIR, dir, err);
}

int bow_place_empty(const char *dir, char *out, struct bowimg_error *err)
{
	int ret = bow_place_directory(dir, out, err), names = 0;
	DIR *list = ret ? NULL : opendir(out);

	if (ret)
		return ret;
	if (!list)
		return refuse_directory(-errno, dir, err);
	while (names <= 2 && readdir(list))
		names++;
	closedir(list);
	return names <= 2 ? 0 : refuse_directory(-ENOTEMPTY, dir, err);
}
