/* SPDX-License-Identifier: MIT */
/* An NBD server for tests that does not keep to the protocol, in a thread. */
#ifndef TESTS_NBD_LIAR_H
#define TESTS_NBD_LIAR_H

#include <pthread.h>

#include "lib/nbd_server.h"

/*
 * A server of the oldest kind, which shows itself with one structure and then does its worst.
 * Clients come one after the other.
 */
struct nbd_liar {
	uint64_t size;
	uint16_t flags;					   /* LIAR_* */
	size_t greeting_bytes;				   /* of 152; 0: all */
	void (*answer)(int fd, const uint8_t request[28]); /* NULL: hangs up */

	int listen_fd;
	unsigned clients; /* so far; atomic */
};
#define LIAR_HAS_FLAGS 1
#define LIAR_READ_ONLY 2
#define LIAR_SEND_FLUSH 4

/* On the socket of `s`, where no other server runs. */
pthread_t nbd_liar_start(struct nbd_server *s, struct nbd_liar *l);
/* When its client has hung up. */
void nbd_liar_end(struct nbd_liar *l, pthread_t thread);

void nbd_liar_say(int fd, const void *bytes, size_t n);
/* The head of a reply; `other_cookie` is mixed into that of the request. */
void nbd_liar_reply(int fd, const uint8_t request[28], uint32_t error, uint64_t other_cookie);

#endif
