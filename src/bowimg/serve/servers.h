/* SPDX-License-Identifier: MIT */
/*
 * The commands that serve an image over NBD themselves (serve, run): a note about each in the
 * runtime directory, so that list and status know of it. It decides nothing: locks do.
 */
#ifndef BOW_SERVE_SERVERS_H
#define BOW_SERVE_SERVERS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct bow_server_note {
	char image[PATH_MAX]; /* absolute, or an NBD URI that is */
	char uri[PATH_MAX];   /* where clients find it */
	bool before_only;
	pid_t pid;
	uint64_t start_time;
};

/*
 * This process serves the image from now on, until it ends or bow_servers_remove(). Notes that
 * killed processes left are removed. That there is no note is no failure.
 */
void bow_servers_add(const char *image, const char *uri, bool before_only);
void bow_servers_remove(void);

/* If this entry of the runtime directory is such a note. */
bool bow_servers_read(const char *path, struct bow_server_note *out);

#endif
