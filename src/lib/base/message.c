/* SPDX-License-Identifier: MIT */
#include "lib/base/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int bow_packet_send(int sock, const void *packet, size_t bytes)
{
	ssize_t n;

	do
		n = send(sock, packet, bytes, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)bytes ? 0 : n < 0 ? -errno : -EPIPE;
}

int bow_packet_recv(int sock, void *packet, size_t bytes)
{
	ssize_t n;

	/* MSG_TRUNC: n is the size of the packet, even if it is longer than `bytes`. */
	do
		n = recv(sock, packet, bytes, MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)bytes ? 0 : -EPIPE;
}

int bow_message_send(int sock, int what, const struct bowimg_error *err)
{
	struct bow_message m = {.what = what};

	if (err)
		m.err = *err;
	return bow_packet_send(sock, &m, sizeof(m));
}

int bow_message_recv(int sock, int what, const char *from, struct bowimg_error *err)
{
	struct bow_message m;

	if (bow_packet_recv(sock, &m, sizeof(m)))
		return bow_err(err, -EIO, "%s has ended unexpectedly", from);
	if (m.err.code && err)
		*err = m.err;
	if (m.err.code)
		return m.err.code;
	return m.what == what ? 0 : bow_err(err, -EIO, "unexpected reply from %s", from);
}

/* ---- descriptors ----------------------------------------------------------------- */

/* A message of one byte, with room for a descriptor beside it. */
struct parcel {
	char byte;
	struct iovec data;
	_Alignas(struct cmsghdr) char beside[CMSG_SPACE(sizeof(int))];
	struct msghdr message;
};

static void init_parcel(struct parcel *p)
{
	memset(p, 0, sizeof(*p));
	p->data = (struct iovec){&p->byte, 1};
	p->message.msg_iov = &p->data;
	p->message.msg_iovlen = 1;
	p->message.msg_control = p->beside;
	p->message.msg_controllen = sizeof(p->beside);
}

int bow_fd_send(int sock, int fd)
{
	struct parcel p;

	init_parcel(&p);
	struct cmsghdr *c = CMSG_FIRSTHDR(&p.message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &p.message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int bow_fd_recv(int sock)
{
	struct parcel p;
	ssize_t n;
	int fd;

	init_parcel(&p);
	do
		n = recvmsg(sock, &p.message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	struct cmsghdr *c = n == 1 ? CMSG_FIRSTHDR(&p.message) : NULL;
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -EIO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}
