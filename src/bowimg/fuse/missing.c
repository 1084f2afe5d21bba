/* SPDX-License-Identifier: MIT */
/*
 * Replaces the other files of this folder in a program that is built without FUSE (make static).
 * No session is ever made, so that what wants one is not called.
 */
#include "bowimg/fuse/fuse.h"

#include <stdlib.h>

static int missing(const char *dir, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP, "cannot serve a disk at %s: this bowimg was built without FUSE",
		dir);
	bow_err_hint(err, "change the disk with a bowimg that has FUSE, or by one that has nbdkit: "
			  "bowimg serve --help");
	return -EOPNOTSUPP;
}

int bow_fuse_usable(struct bowimg_error *err)
{
	return bow_err(err, -EOPNOTSUPP, "this bowimg was built without FUSE");
}

int bow_fuse_new(const struct bow_fuse_source *source, const struct bow_parts *parts,
		 const char *image, const char *dir, struct bow_watchdog *dog,
		 struct bow_fuse **out, struct bowimg_error *err)
{
	(void)source;
	(void)parts;
	(void)image;
	(void)dog;
	(void)out;
	return missing(dir, err);
}

int bow_fuse_new_brief(bowimg_disk *disk, bowimg_disk *before, const char *name, const char *dir,
		       struct bow_fuse **out, struct bowimg_error *err)
{
	(void)disk;
	(void)before;
	(void)name;
	(void)out;
	return missing(dir, err);
}

void bow_fuse_punched_is_free(struct bow_fuse *fuse)
{
	(void)fuse;
	abort();
}

unsigned bow_fuse_connection(const struct bow_fuse *fuse)
{
	(void)fuse;
	abort();
}

int bow_fuse_start(struct bow_fuse *fuse, struct bowimg_error *err)
{
	(void)fuse;
	(void)err;
	abort();
}

int bow_fuse_ended_fd(const struct bow_fuse *fuse)
{
	(void)fuse;
	abort();
}

int bow_fuse_closed_fd(const struct bow_fuse *fuse)
{
	(void)fuse;
	abort();
}

bool bow_fuse_is_open(const struct bow_fuse *fuse)
{
	(void)fuse;
	abort();
}

void bow_fuse_wait_closed(struct bow_fuse *fuse, int timeout_ms)
{
	(void)fuse;
	(void)timeout_ms;
	abort();
}

int bow_fuse_stop(struct bow_fuse *fuse, struct bowimg_error *err)
{
	(void)fuse;
	(void)err;
	abort();
}
