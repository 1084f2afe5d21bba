/* SPDX-License-Identifier: MIT */
/* Processes: start, wait while signals come, tell a pid from a later one of the same number. */
#ifndef BOW_HOST_PROCESS_H
#define BOW_HOST_PROCESS_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#include "lib/base/err.h"

/* Block SIGINT, SIGTERM and SIGHUP and get them from a descriptor instead. -errno on failure. */
int bow_process_catch_signals(struct bowimg_error *err);

/* Take a signal from signal_fd; 0: none is pending. */
int bow_process_take_signal(int signal_fd, bool *from_terminal);

/* Wait until fd is readable or hung up. -EINTR: a signal is on signal_fd (-1: not used). */
int bow_process_wait_fd(int fd, int signal_fd);

/* Start a program from PATH (see lib/base/program.h). Returns its pid, or -errno. */
pid_t bow_process_spawn(char *const argv[], struct bowimg_error *err);

/* The same, and it gets SIGTERM when the thread that calls this ends. */
pid_t bow_process_spawn_bound(char *const argv[], struct bowimg_error *err);

/* Returns `code`: why this program could not be started. */
int bow_process_refuse_missing(const char *name, int code, struct bowimg_error *err);

/* What else to do while waiting for a process: `turn` is called when `fd` can be read. */
struct bow_process_aside {
	int fd; /* read again after each turn; -1: nothing */
	void (*turn)(struct bow_process_aside *aside);
	void *ctx;
};

/*
 * Wait for a child: *wstatus as waitpid() has it. A signal on signal_fd is passed on to the child
 * (unless the terminal has done that already) and remembered in *caught; the wait goes on.
 */
int bow_process_wait(pid_t pid, int signal_fd, int *wstatus, int *caught, struct bowimg_error *err);
int bow_process_wait_beside(pid_t pid, int signal_fd, struct bow_process_aside *aside, int *wstatus,
			    int *caught, struct bowimg_error *err);

/* A number that a later process of the same pid does not have; 0: no such process is alive. */
uint64_t bow_process_start_time(pid_t pid);

/* That number as a time, in seconds since the epoch. */
int64_t bow_process_started_at(uint64_t start_time);

/* Wait until a process is gone, child or not. -ETIMEDOUT: not within timeout_ms (-1: no limit). */
int bow_process_wait_gone(pid_t pid, uint64_t start_time, int timeout_ms, struct bowimg_error *err);

#endif
