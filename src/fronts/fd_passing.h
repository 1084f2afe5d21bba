/* SPDX-License-Identifier: MIT */
/* Descriptors from one process to another, each beside one byte, through a SOCK_SEQPACKET socket.
 */
#ifndef BOW_FRONTS_FD_PASSING_H
#define BOW_FRONTS_FD_PASSING_H

/* -errno. After a fork among threads this is nothing but a system call. */
int bow_fd_send(int sock, int fd);
/* The descriptor, closed on exec; -EIO if none came, or the other process is gone. */
int bow_fd_receive(int sock);

#endif
