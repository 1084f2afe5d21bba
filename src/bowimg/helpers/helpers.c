/* SPDX-License-Identifier: MIT */
/*
 * A volume as a read-only file, for a helper program.
 *
 * This process serves the file, so it must never wait for it: if it were killed at that moment, it
 * would wait for itself for ever. A child opens the file and sends the descriptor; a close waits
 * for nothing (fuse/ops.c).
 */
#include "bowimg/helpers/expose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bowimg/fuse/fuse.h"

struct exposed {
	struct bow_fuse *fuse;
	int fd, hold;
	char dir[PATH_MAX];
};

static int open_file(struct exposed *s, struct bowimg_error *err)
{
	char path[PATH_MAX + 16];

	s->hold = bow_expose_hold(s->dir, err);
	if (s->hold < 0)
		return s->hold;
	snprintf(path, sizeof(path), "%s/" BOW_FUSE_FILE, s->dir);
	s->fd = bow_expose_open(path);
	if (s->fd < 0)
		return bow_err_errno(err, s->fd, "cannot open %s", path);
	bow_expose_detach(s->dir);
	return 0;
}

static void release(struct exposed *s)
{
	if (s->fd >= 0)
		close(s->fd);
	/* Nothing was written: there is nothing to lose. */
	bow_unexpose(s->fuse, s->hold, s->dir, NULL);
	free(s);
}

static int expose_in(struct exposed *s, bowimg_disk *vol, struct bowimg_error *err)
{
	int ret = bow_fuse_new_brief(vol, NULL, "bowimg-expose", s->dir, &s->fuse, err);

	if (!ret)
		ret = bow_fuse_start(s->fuse, err);
	return ret ? ret : open_file(s, err);
}

/* -EOPNOTSUPP for any reason: the library may have another way. */
static int expose(void *ctx, bowimg_disk *vol, int *fd, void **exposed, struct bowimg_error *err)
{
	struct exposed *s = calloc(1, sizeof(*s));

	(void)ctx;
	if (!s)
		return bow_err_errno(err, -ENOMEM, "cannot expose a volume");
	s->fd = s->hold = -1;
	int ret = bow_expose_make_dir(s->dir, err);
	if (ret) {
		free(s);
		return bow_err_wrap(err, -EOPNOTSUPP, "cannot expose it to a program");
	}
	ret = expose_in(s, vol, err);
	if (ret) {
		release(s);
		return bow_err_wrap(err, -EOPNOTSUPP, "cannot expose it to a program");
	}
	*fd = s->fd;
	*exposed = s;
	return 0;
}

static void unexpose(void *ctx, void *exposed)
{
	(void)ctx;
	release(exposed);
}

const struct bowimg_helpers bow_helpers = {
	.expose = expose,
	.unexpose = unexpose,
	.trim = bow_expose_trim,
};
