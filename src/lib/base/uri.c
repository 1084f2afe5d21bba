/* SPDX-License-Identifier: MIT */
/*
 * NBD URIs, as far as bowimg has to understand them; connecting is libnbd's business:
 *
 *	nbd[s]://[USER@]HOST[:PORT]/EXPORT[?...]
 *	nbd[s]+unix:///EXPORT?socket=PATH[&...]
 */
#include "lib/base/uri.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/base/bytes.h"

#define DEFAULT_PORT "10809"

/* A piece of a URI, not terminated. */
struct piece {
	const char *at;
	size_t bytes;
};

static struct piece up_to(const char *at, const char *any_of)
{
	return (struct piece){at, strcspn(at, any_of)};
}

static bool is(struct piece p, const char *text)
{
	return p.bytes == strlen(text) && memcmp(p.at, text, p.bytes) == 0;
}

bool bow_uri_is_nbd(const char *image)
{
	struct piece scheme = up_to(image, ":/?#");

	return strncmp(image, "nbd", 3) == 0 && strncmp(image + scheme.bytes, "://", 3) == 0;
}

static bool is_unix(const char *uri)
{
	return memcmp(uri + up_to(uri, ":").bytes - 1, "x", 1) == 0;
}

static int unescape(char *out, size_t bytes, struct piece in)
{
	size_t n = 0;

	for (size_t i = 0; i < in.bytes; i++) {
		char c = in.at[i];

		if (c == '%') {
			char digits[3] = {0};

			if (in.bytes - i < 3 || !isxdigit((unsigned char)in.at[i + 1]) ||
			    !isxdigit((unsigned char)in.at[i + 2]))
				return -EINVAL;
			memcpy(digits, in.at + i + 1, 2);
			c = (char)strtoul(digits, NULL, 16);
			i += 2;
		}
		if (c == '\0')
			return -EINVAL;
		if (n + 1 >= bytes)
			return -ENAMETOOLONG;
		out[n++] = c;
	}
	out[n] = '\0';
	return 0;
}

int bow_uri_escape(char *out, size_t bytes, const char *text)
{
	size_t n = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		bool plain = c < 0x80 && (isalnum(c) || strchr("/-._~", c));

		if (n + 4 > bytes)
			return -ENAMETOOLONG;
		n += (size_t)snprintf(out + n, bytes - n, plain ? "%c" : "%%%02X", c);
	}
	out[n] = '\0';
	return 0;
}

/* ---- making absolute ------------------------------------------------------------- */

/* The text so far; nothing more is added once `rc` is not 0. */
struct text {
	char *at;
	size_t used;
	int rc;
};

static void add(struct text *t, const char *bytes, size_t n)
{
	if (!t->rc && t->used + n >= PATH_MAX)
		t->rc = -ENAMETOOLONG;
	if (t->rc)
		return;
	memcpy(t->at + t->used, bytes, n);
	t->used += n;
	t->at[t->used] = '\0';
}

/* What is not there (any more) has no real path, but its directory has. */
static int absolute_file(const char *path, char out[PATH_MAX])
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	char dir[PATH_MAX];
	int n;

	if (!*base)
		return -EINVAL;
	n = snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(base - path) : 1, slash ? path : ".");
	if (n >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	if (!realpath(dir, out))
		return -errno;
	n = (int)strlen(out);
	n += snprintf(out + n, (size_t)(PATH_MAX - n), n > 1 ? "/%s" : "%s", base);
	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static bool names_a_file(struct piece key)
{
	return is(key, "socket") || is(key, "tls-certificates") || is(key, "tls-psk-file");
}

/* "KEY=VALUE", of which the value is made absolute if it is a file's name. */
static void add_parameter(struct text *t, struct piece parameter)
{
	struct piece key = up_to(parameter.at, "=&"), value = parameter;
	char plain[PATH_MAX], real[PATH_MAX], escaped[PATH_MAX];

	value.at += key.bytes + 1;
	if (!names_a_file(key) || key.bytes >= parameter.bytes) {
		add(t, parameter.at, parameter.bytes);
		return;
	}
	value.bytes -= key.bytes + 1;
	add(t, parameter.at, key.bytes + 1);
	if (!t->rc)
		t->rc = unescape(plain, sizeof(plain), value);
	if (!t->rc)
		t->rc = absolute_file(plain, real);
	if (!t->rc)
		t->rc = bow_uri_escape(escaped, sizeof(escaped), real);
	if (!t->rc)
		add(t, escaped, strlen(escaped));
}

/* The value of `name` in the query part, or NULL. */
static const char *find_parameter(const char *uri, const char *name)
{
	const char *at = uri + strcspn(uri, "?");

	while (*at) {
		at++;
		if (is(up_to(at, "=&"), name) && at[strlen(name)] == '=')
			return at + strlen(name) + 1;
		at += strcspn(at, "&");
	}
	return NULL;
}

static int check_transport(const char *uri, struct bowimg_error *err)
{
	static const char *const known[] = {"nbd", "nbds", "nbd+unix", "nbds+unix"};
	bool fits = false;
	int rc;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		fits = fits || is(up_to(uri, ":"), known[i]);
	if (!fits) {
		rc = bow_err(err, -EOPNOTSUPP, "%s: no transport of NBD that is supported", uri);
		bow_err_hint(err,
			     "nbd://HOST/EXPORT or nbd+unix:///EXPORT?socket=PATH; with TLS "
			     "nbds:// and nbds+unix://; a file of this name is ./%.100s",
			     uri);
		return rc;
	}
	if (!is_unix(uri) || find_parameter(uri, "socket"))
		return 0;
	rc = bow_err(err, -EINVAL, "%s: the URI does not name a socket", uri);
	bow_err_hint(err, "nbd+unix:///EXPORT?socket=PATH, where EXPORT may be empty");
	return rc;
}

int bow_uri_absolute(const char *uri, char out[PATH_MAX], struct bowimg_error *err)
{
	struct text t = {.at = out};
	const char *at = uri + strcspn(uri, "?");
	int rc = check_transport(uri, err);

	if (rc)
		return rc;
	add(&t, uri, (size_t)(at - uri));
	while (*at && !t.rc) {
		struct piece parameter = up_to(at + 1, "&");

		add(&t, at, 1);
		add_parameter(&t, parameter);
		at = parameter.at + parameter.bytes;
	}
	if (!t.rc)
		return 0;
	rc = bow_err_errno(err, t.rc, "%s: the URI", uri);
	bow_err_hint(err,
		     "the directories of a socket and of TLS files must exist; other characters "
		     "than letters and digits are written as %%XX");
	return rc;
}

/* ---- telling exports apart ------------------------------------------------------- */

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

/* "host:port" of what stands between "//" and "/". */
static void place_of_host(struct piece authority, char *out, size_t bytes)
{
	const char *user = memchr(authority.at, '@', authority.bytes);
	const char *end = authority.at + authority.bytes, *host = user ? user + 1 : authority.at;
	const char *colon = memrchr(host, ':', (size_t)(end - host));
	const char *bracket = memrchr(host, ']', (size_t)(end - host));
	bool port = colon && colon + 1 < end && (!bracket || colon > bracket);

	snprintf(out, bytes, "%.*s%s", (int)(end - host), host, port ? "" : ":" DEFAULT_PORT);
	lower(out);
}

bool bow_uri_is_tls(const char *uri)
{
	return strncmp(uri, "nbds", 4) == 0;
}

bool bow_uri_socket(const char *uri, char out[PATH_MAX])
{
	const char *socket = is_unix(uri) ? find_parameter(uri, "socket") : NULL;

	return socket && unescape(out, PATH_MAX, up_to(socket, "&")) == 0;
}

bool bow_uri_is_loopback(const char *uri)
{
	const char *authority = strstr(uri, "://") + 3;
	char place[PATH_MAX];

	if (is_unix(uri))
		return false;
	place_of_host(up_to(authority, "/?"), place, sizeof(place));
	return strncmp(place, "127.", 4) == 0 || strncmp(place, "localhost:", 10) == 0 ||
	       strncmp(place, "[::1]:", 6) == 0;
}

void bow_uri_server(const char *uri, char out[PATH_MAX])
{
	out[0] = '\0';
	if (!is_unix(uri))
		place_of_host(up_to(strstr(uri, "://") + 3, "/?"), out, PATH_MAX);
	else
		bow_uri_socket(uri, out);
}

uint64_t bow_uri_key(const char *uri)
{
	char place[PATH_MAX];

	bow_uri_server(uri, place);
	return bow_uri_key_at(uri, place);
}

uint64_t bow_uri_key_at(const char *uri, const char *place)
{
	const char *authority = strstr(uri, "://") + 3;
	const char *path = authority + strcspn(authority, "/?");
	char name[PATH_MAX] = "", key[2 * PATH_MAX + 8];

	if (*path == '/')
		unescape(name, sizeof(name), up_to(path + 1, "?"));
	snprintf(key, sizeof(key), "%s/%s", place, name);
	return bow_hash(key, strlen(key), 0);
}

int bow_image_name(const char *image, char out[PATH_MAX], struct bowimg_error *err)
{
	if (bow_uri_is_nbd(image))
		return bow_uri_absolute(image, out, err);
	if (!realpath(image, out))
		return bow_err_errno(err, -errno, "looking at %s", image);
	return 0;
}
