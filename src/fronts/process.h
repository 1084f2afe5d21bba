/* SPDX-License-Identifier: MIT */
/* Child and foreign processes: start, wait with an eye on signals, tell a pid from its successor.
 */
#ifndef BOW_FRONTS_PROCESS_H
#define BOW_FRONTS_PROCESS_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/err.h"

/* Block SIGINT, SIGTERM and SIGHUP and get them from a descriptor instead. -errno on failure. */
int bow_process_catch_signals(struct bowimg_error *err);

/* Undo that in a child that is about to exec. */
void bow_process_restore_signals(void);

/* Which signal is pending on signal_fd, taken from it; 0: none. */
int bow_process_take_signal(int signal_fd, bool *from_terminal);

/* Wait until fd is readable or hung up: 0. A signal on signal_fd (-1: do not look): -EINTR. */
int bow_process_wait_fd(int fd, int signal_fd);

/* Start a program from PATH. Returns its pid; -errno if there is none such. */
pid_t bow_process_spawn(char *const argv[], struct bowimg_error *err);

/*
 * Wait for a child: *wstatus as waitpid() has it. A signal on signal_fd is passed on to the child
 * (unless the terminal has done that already) and remembered in *caught; the wait goes on.
 */
int bow_process_wait(pid_t pid, int signal_fd, int *wstatus, int *caught, struct bowimg_error *err);

/* A number that a later process of the same pid does not have; 0: there is no living such process.
 */
uint64_t bow_process_start_time(pid_t pid);

/* Wait until that process is gone, be it a child or not. */
int bow_process_wait_gone(pid_t pid, uint64_t start_time, struct bowimg_error *err);

#endif
