/* SPDX-License-Identifier: MIT */
/* A real NBD server for tests: nbdkit on a unix socket, in front of a file unless told otherwise.
 */
#ifndef TESTS_NBD_SERVER_H
#define TESTS_NBD_SERVER_H

#include "lib/disk/disk.h"
#include "lib/host.h"

struct nbd_server {
	char dir[HOST_PATH_BYTES], image[HOST_PATH_BYTES + 16], socket[HOST_PATH_BYTES + 16];
	char uri[HOST_PATH_BYTES + 64];
	pid_t pid; /* 0: none is running */
	struct bowimg_disk *dev;
};

/* cmocka's set-up and tear-down: a directory, with nothing running. */
int nbd_server_set_up(void **state);
int nbd_server_tear_down(void **state);
#define NBD_TEST(f) cmocka_unit_test_setup_teardown(f, nbd_server_set_up, nbd_server_tear_down)

/*
 * Skips the test without nbdkit or libnbd. Makes the image, of random bytes, unless it is there,
 * and starts nbdkit on it with these filters (words of a shell, as all that follows; may be "") and
 * their parameters; or another plugin with its own.
 */
#define NBD_IMAGE_BYTES (4u << 20)
void nbd_server_start(struct nbd_server *s, const char *filters, const char *parameters);
void nbd_server_start_plugin(struct nbd_server *s, const char *plugin);

/* SIGKILL, and wait until it is gone. */
void nbd_server_kill(struct nbd_server *s);

/* Open for writing or looking; must work. The tear-down closes it. */
void nbd_server_open(struct nbd_server *s, enum bow_open_mode mode);
void nbd_server_close(struct nbd_server *s);

/* Opening for writing must fail like this, with a hint. */
void nbd_server_assert_refused(struct nbd_server *s, int code, const char *word);

/* What the file behind it holds. */
void nbd_server_look(struct nbd_server *s, void *buf, size_t bytes, uint64_t off);

#endif
