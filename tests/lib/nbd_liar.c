/* SPDX-License-Identifier: MIT */
/* See nbd_liar.h. */
#include "lib/nbd_liar.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

void nbd_liar_say(int fd, const void *bytes, size_t n)
{
	(void)!send(fd, bytes, n, MSG_NOSIGNAL);
}

void nbd_liar_reply(int fd, const uint8_t request[28], uint32_t error, uint64_t other_cookie)
{
	uint8_t head[16];
	const uint32_t magic = htobe32(0x67446698), be_error = htobe32(error);

	memcpy(head, &magic, 4);
	memcpy(head + 4, &be_error, 4);
	memcpy(head + 8, request + 8, 8);
	head[15] ^= (uint8_t)other_cookie;
	nbd_liar_say(fd, head, sizeof(head));
}

static void greet(int fd, const struct nbd_liar *l)
{
	uint8_t hello[152] = "NBDMAGIC";
	const uint64_t magic = htobe64(0x00420281861253), size = htobe64(l->size);
	const uint16_t flags = htobe16(l->flags);

	memcpy(hello + 8, &magic, 8);
	memcpy(hello + 16, &size, 8);
	memcpy(hello + 26, &flags, 2);
	nbd_liar_say(fd, hello, l->greeting_bytes ? l->greeting_bytes : sizeof(hello));
}

static void *lie(void *arg)
{
	struct nbd_liar *l = arg;
	uint8_t request[28];
	int fd;

	while ((fd = accept(l->listen_fd, NULL, NULL)) >= 0) {
		__atomic_add_fetch(&l->clients, 1, __ATOMIC_RELAXED);
		greet(fd, l);
		while (l->answer &&
		       recv(fd, request, sizeof(request), MSG_WAITALL) == sizeof(request))
			l->answer(fd, request);
		close(fd);
	}
	return NULL;
}

pthread_t nbd_liar_start(struct nbd_server *s, struct nbd_liar *l)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	pthread_t thread;

	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", s->socket);
	unlink(s->socket);
	l->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(l->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(l->listen_fd, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, lie, l), 0);
	return thread;
}

void nbd_liar_end(struct nbd_liar *l, pthread_t thread)
{
	shutdown(l->listen_fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(l->listen_fd);
}
