/* SPDX-License-Identifier: MIT */
/*
 * A child process and the socket between it and us. Neither process keeps a copy of the other's
 * end: whichever dies first, the other one sees the end of the socket.
 */
#ifndef BOW_BASE_CHILD_H
#define BOW_BASE_CHILD_H

#include <sys/types.h>

struct bow_child {
	pid_t pid; /* 0: none */
	int sock;  /* our end; -1: none */
};

#define BOW_NO_CHILD ((struct bow_child){.sock = -1})

/*
 * Make a connected pair of SOCK_SEQPACKET sockets (message.h says what they carry), closed on exec.
 * Our end is c->sock, the child's end is returned. -errno.
 */
int bow_child_pair(struct bow_child *c);

/*
 * Fork, with such a pair. The child calls run() with its end, and exits with what that returns. If
 * the process has other threads, run() may only call what is safe in a signal handler. 0 or -errno.
 */
int bow_child_fork(struct bow_child *c, int (*run)(int sock, void *ctx), void *ctx);

/*
 * Close our end of the socket, which tells the child to end, and wait until it has. Returns its
 * wait status; 0 if there is no child; -errno if the status is not known (SIGCHLD is
 * ignored).
 */
int bow_child_end(struct bow_child *c);

/* ---- in the child ---------------------------------------------------------------- */

/*
 * Make `fd` descriptor number `as` and close all higher ones. Returns `as`, closed on exec, or
 * -errno.
 */
int bow_child_keep_only(int fd, int as);

/* Redirect the descriptors from first to last to /dev/null. 0 or -errno. */
int bow_child_use_null(int first, int last);

#endif
