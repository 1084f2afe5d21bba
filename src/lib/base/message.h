/* SPDX-License-Identifier: MIT */
/*
 * Messages between a process and its child, over a SOCK_SEQPACKET socket (child.h). Both are the
 * same program, so a message is a structure as it is in memory.
 */
#ifndef BOW_BASE_MESSAGE_H
#define BOW_BASE_MESSAGE_H

#include <stddef.h>
#include "lib/base/err.h"

struct bow_message {
	int what;		 /* one of an enum that the two processes share */
	struct bowimg_error err; /* code 0: none */
};

/* err may be NULL: none. 0 or -errno. */
int bow_message_send(int sock, int what, const struct bowimg_error *err);

/*
 * Receive a message that must be `what`. Returns 0, or the error that it carries; -EIO: the other
 * process (`from`, as messages call it) has ended, or it sent something else.
 */
int bow_message_recv(int sock, int what, const char *from, struct bowimg_error *err);

/* A packet of exactly this size, for messages that carry more. 0 or -errno. */
int bow_packet_send(int sock, const void *packet, size_t bytes);

/* -EPIPE: the other process has ended, or sent a packet of another size. */
int bow_packet_recv(int sock, void *packet, size_t bytes);

/*
 * A descriptor, beside one byte. Sending is safe in a signal handler. Receiving returns the
 * descriptor, closed on exec; -EIO if none came.
 */
int bow_fd_send(int sock, int fd);
int bow_fd_recv(int sock);

#endif
