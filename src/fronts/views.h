/* SPDX-License-Identifier: MIT */
/*
 * Both sides of a part of a disk, mounted for reading. Another process shows them as files, because
 * one that serves a file and waits for the kernel to use it cannot be killed. Loop devices and
 * mounts are this process's, and have no place in the tree of files: whoever is killed, nothing is
 * left behind. Nothing can be written: the image is open for reading only, and so is all above it.
 */
#ifndef BOW_FRONTS_VIEWS_H
#define BOW_FRONTS_VIEWS_H

#include "base/err.h"
#include "fronts/loop.h"

struct bow_views;

/* Root only. `image` is for messages, and tells the size of sectors. */
int bow_views_open(bowimg_look *look, const char *image, uint64_t off, uint64_t bytes,
		   struct bow_views **out, struct bowimg_error *err);
void bow_views_close(struct bow_views *v); /* unmounts; accepts NULL */

/*
 * Attach and mount one side; the descriptor of the mount, which is borrowed. -EROFS: it has a log
 * that must be replayed first.
 */
int bow_views_mount(struct bow_views *v, enum bowimg_side side, const char *driver,
		    const char *option, struct bowimg_error *err);
void bow_views_unmount(struct bow_views *v, enum bowimg_side side);

/* ---- views_server.c: the other process ------------------------------------------------------- */

/* Sends an error (of code 0), and after that the descriptors of both sides, by enum bowimg_side. */
_Noreturn void bow_views_serve(int sock, bowimg_look *look, uint64_t off, uint64_t bytes);

#endif
