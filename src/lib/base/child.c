/* SPDX-License-Identifier: MIT */
#include "lib/base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int bow_child_pair(struct bow_child *c)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	c->sock = ends[0];
	return ends[1];
}

int bow_child_fork(struct bow_child *c, int (*run)(int sock, void *ctx), void *ctx)
{
	int theirs = bow_child_pair(c);
	int rc = 0;

	if (theirs < 0)
		return theirs;
	pid_t pid = fork();
	if (pid == 0) {
		close(c->sock);
		_exit(run(theirs, ctx));
	}
	if (pid < 0) {
		rc = -errno;
		close(c->sock);
		c->sock = -1;
	} else {
		c->pid = pid;
	}
	close(theirs);
	return rc;
}

int bow_child_end(struct bow_child *c)
{
	int wstatus = 0;

	if (c->sock >= 0)
		close(c->sock);
	while (c->pid > 0 && waitpid(c->pid, &wstatus, 0) < 0)
		if (errno != EINTR) {
			wstatus = -errno;
			break;
		}
	*c = BOW_NO_CHILD;
	return wstatus;
}

int bow_child_keep_only(int fd, int as)
{
	if (fd != as && dup3(fd, as, O_CLOEXEC) < 0)
		return -errno;
	closefrom(as + 1);
	return as;
}

int bow_child_use_null(int first, int last)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int rc = null < 0 ? -errno : 0;

	for (int fd = first; fd <= last && !rc; fd++)
		if (null != fd && dup2(null, fd) < 0)
			rc = -errno;
	if (null > last)
		close(null);
	return rc;
}
