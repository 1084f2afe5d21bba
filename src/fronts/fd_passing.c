/* SPDX-License-Identifier: MIT */
#include "fronts/fd_passing.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

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

int bow_fd_receive(int sock)
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
