/* SPDX-License-Identifier: MIT */
/* The unix socket of an NBD server: made here, so that it is there before the server is. */
#include "fronts/nbd.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/uri.h"

static int too_long(const char *path, struct bowimg_error *err)
{
	int ret = bow_err(err, -ENAMETOOLONG, "the socket %s: its name is too long", path);

	bow_err_hint(err, "the absolute path of a unix socket has at most %zu bytes",
		     BOW_NBD_SOCKET_MAX - 1);
	return ret;
}

/* What is not there yet has no real path, but its directory has. */
static int set_path(struct bow_nbd *s, const char *path, struct bowimg_error *err)
{
	CLEANUP_FREE char *for_dir = strdup(path), *for_base = strdup(path);
	char dir[PATH_MAX];

	if (!for_dir || !for_base)
		return bow_err_errno(err, -ENOMEM, "the socket %s", path);
	if (!realpath(dirname(for_dir), dir))
		return bow_err_errno(err, -errno, "looking at the directory of the socket %s",
				     path);
	int n = snprintf(s->socket, sizeof(s->socket), "%s/%s", strcmp(dir, "/") ? dir : "",
			 basename(for_base));
	return n < (int)sizeof(s->socket) ? 0 : too_long(path, err);
}

/* A path may hold what means something in a URI; there is room for all of it escaped. */
static void set_uri(struct bow_nbd *s)
{
	char *out = stpcpy(s->uri, "nbd+unix:///?socket=");

	bow_uri_escape(out, sizeof(s->uri) - (size_t)(out - s->uri), s->socket);
}

static int make_private(struct bow_nbd *s, char *path, size_t bytes, struct bowimg_error *err)
{
	const char *tmp = getenv("TMPDIR");
	int n = snprintf(s->dir, sizeof(s->dir), "%s/bowimg-nbd.XXXXXX",
			 tmp && *tmp ? tmp : "/tmp");

	/* Room for the socket in it, or else where names are short. */
	if (n + sizeof("/socket") > sizeof(s->dir))
		strcpy(s->dir, "/tmp/bowimg-nbd.XXXXXX");
	if (!mkdtemp(s->dir)) {
		int ret =
			bow_err_errno(err, -errno, "making a directory %s for the socket", s->dir);
		s->dir[0] = '\0';
		return ret;
	}
	snprintf(path, bytes, "%s/socket", s->dir);
	return 0;
}

/* A socket nobody listens on is what a killed server left. */
static int clear_stale(const struct sockaddr_un *addr, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;
	int ret;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : bow_err_errno(err, -errno, "%s", addr->sun_path);
	if (!S_ISSOCK(st.st_mode)) {
		ret = bow_err(err, -EEXIST, "the socket %s: something else has this name",
			      addr->sun_path);
		bow_err_hint(err, "remove it, or choose another name");
		return ret;
	}
	if (fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
	    errno == ECONNREFUSED && unlink(addr->sun_path) == 0)
		return 0;
	ret = bow_err(err, -EBUSY, "the socket %s: another server listens on it", addr->sun_path);
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
	return bow_err_errno(err, ret, "making the socket %s", s->socket);
}

int bow_nbd_listen(struct bow_nbd *s, const char *path, struct bowimg_error *err)
{
	char private[BOW_NBD_SOCKET_MAX + sizeof("/socket")];
	int ret = 0;

	if (!path) {
		ret = make_private(s, private, sizeof(private), err);
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
	if (s->dir[0])
		rmdir(s->dir);
	s->socket[0] = s->dir[0] = '\0';
}
