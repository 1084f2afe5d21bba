/* SPDX-License-Identifier: MIT */
/* The unix socket of an NBD server. It is made here, so it is there before the server is. */
#include "bowimg/nbd/nbd.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/cleanup.h"
#include "lib/base/uri.h"

static int too_long(const char *path, struct bowimg_error *err)
{
	int ret = bow_err(err, -ENAMETOOLONG, "cannot make the socket %s: its name is too long",
			  path);

	bow_err_hint(err, "the absolute path of a unix socket has at most %zu bytes",
		     BOW_NBD_SOCKET_MAX - 1);
	return ret;
}

/* The socket does not exist yet, so only its directory has a real path. */
static int set_path(struct bow_nbd *s, const char *path, struct bowimg_error *err)
{
	CLEANUP_FREE char *for_dir = strdup(path), *for_base = strdup(path);
	char dir[PATH_MAX];

	if (!for_dir || !for_base)
		return bow_err_errno(err, -ENOMEM, "cannot make the socket %s", path);
	if (!realpath(dirname(for_dir), dir))
		return bow_err_errno(err, -errno, "cannot access the directory of the socket %s",
				     path);
	int n = snprintf(s->socket, sizeof(s->socket), "%s/%s", strcmp(dir, "/") ? dir : "",
			 basename(for_base));
	return n < (int)sizeof(s->socket) ? 0 : too_long(path, err);
}

/* There is room for the whole path escaped. */
static void set_uri(struct bow_nbd *s)
{
	char *out = stpcpy(s->uri, "nbd+unix:///?socket=");

	bow_uri_escape(out, sizeof(s->uri) - (size_t)(out - s->uri), s->socket);
}

/* If no process listens on a socket, a killed server has left it. */
static int clear_stale(const struct sockaddr_un *addr, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;
	int ret;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : bow_err_errno(err, -errno, "%s", addr->sun_path);
	if (!S_ISSOCK(st.st_mode)) {
		ret = bow_err(err, -EEXIST,
			      "cannot make the socket %s: something else has this name",
			      addr->sun_path);
		bow_err_hint(err, "remove it, or choose another name");
		return ret;
	}
	if (fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
	    errno == ECONNREFUSED && unlink(addr->sun_path) == 0)
		return 0;
	ret = bow_err(err, -EBUSY, "cannot listen on the socket %s: another server listens on it",
		      addr->sun_path);
	bow_err_hint(err, "end that server, or choose another name");
	return ret;
}

static int bind_and_listen(struct bow_nbd *s, struct bowimg_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, s->socket, sizeof(addr.sun_path));
	int ret = clear_stale(&addr, err);
	if (ret)
		return ret;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0) {
		if (listen(fd, SOMAXCONN) == 0)
			return fd;
		ret = -errno;
		unlink(s->socket);
	} else {
		ret = -errno;
	}
	if (fd >= 0)
		close(fd);
	return bow_err_errno(err, ret, "cannot make the socket %s", s->socket);
}

int bow_nbd_listen(struct bow_nbd *s, const char *path, struct bowimg_error *err)
{
	char private[BOW_NBD_SOCKET_MAX + sizeof("/socket")];
	int ret = 0;

	if (!path) {
		ret = bow_nbd_make_dir(s, err);
		snprintf(private, sizeof(private), "%s/socket", s->dir);
		path = private;
	}
	if (!ret)
		ret = set_path(s, path, err);
	if (!ret)
		ret = bind_and_listen(s, err);
	if (ret < 0) {
		s->socket[0] = '\0';
		bow_nbd_unlisten(s);
		return ret;
	}
	set_uri(s);
	return ret;
}

void bow_nbd_unlisten(struct bow_nbd *s)
{
	if (s->socket[0])
		unlink(s->socket);
	s->socket[0] = '\0';
	bow_nbd_remove_dir(s);
}
