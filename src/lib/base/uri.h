/* SPDX-License-Identifier: MIT */
/* Images that are no paths: NBD URIs. Text only; nothing is connected here. */
#ifndef BOW_BASE_URI_H
#define BOW_BASE_URI_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include "lib/base/err.h"

/* Is this an NBD URI (of whatever transport), and not a path? */
bool bow_uri_is_nbd(const char *image);

/*
 * The same URI as it is understood in any directory: a unix socket gets its absolute path, with the
 * symbolic links of its directory followed, and so do the files of TLS. -EOPNOTSUPP: a transport
 * that is not supported; -EINVAL: no well-formed URI; -ENAMETOOLONG.
 */
int bow_uri_absolute(const char *uri, char out[PATH_MAX], struct bowimg_error *err);

/*
 * A number for the export an absolute URI leads to, the same for some ways of writing it (port
 * 10809 or none, with or without TLS), for names of locks and directories.
 */
uint64_t bow_uri_key(const char *uri);

/* The same, where the server is known by something else than its name in the URI. */
uint64_t bow_uri_key_at(const char *uri, const char *place);

/* Is its host this machine, as far as the text tells? */
bool bow_uri_is_loopback(const char *uri);

/* Does an absolute URI ask for TLS? Its unix socket's path; false: it has none. */
bool bow_uri_is_tls(const char *uri);
bool bow_uri_socket(const char *uri, char out[PATH_MAX]);

/* What to call its server in a sentence: "host:port", or the socket's path. */
void bow_uri_server(const char *uri, char out[PATH_MAX]);

/* The name of an image wherever one stands: its absolute URI, or its real path. */
int bow_image_name(const char *image, char out[PATH_MAX], struct bowimg_error *err);

/* Text as it may stand in a URI, "/" kept; -ENAMETOOLONG. */
int bow_uri_escape(char *out, size_t bytes, const char *text);

#endif
