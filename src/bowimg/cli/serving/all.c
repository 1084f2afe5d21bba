/* SPDX-License-Identifier: MIT */
#include "bowimg/cli/serving/all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/grow.h"
#include "bowimg/cli/message.h"
#include "bowimg/cli/serving/service.h"

struct end {
	char *name;
	bool before; /* of the disk as it was, beside the disk */
};

struct ends {
	const struct bow_serving_all *all;
	struct end *v;
	size_t n, room;
};

static int add(struct ends *ends, const char *name, bool before)
{
	struct end *v = bow_grow(ends->v, ends->n, &ends->room, sizeof(*v));

	if (!v)
		return -ENOMEM;
	ends->v = v;
	v[ends->n] = (struct end){strdup(name), before};
	return v[ends->n++].name ? 0 : -ENOMEM;
}

/* What is mounted beside a disk needs it, and comes first. */
static int on_served(void *ctx, const struct bow_served *s)
{
	struct ends *ends = ctx;
	bool picked = ends->all->picks(s);
	int ret = 0;

	if (s->how == BOW_SERVED_NBD || bow_served_is_busy(s))
		return 0;
	if (s->before_dir[0] && (picked || ends->all->befores_attached == s->before_attached))
		ret = add(ends, s->before_dir, true);
	return ret || !picked ? ret : add(ends, s->image, false);
}

static int end_before(struct bow_cli *cli, const char *dir)
{
	struct bowimg_error err = {0};
	struct bow_session entry;
	int ret = bow_runtime_find(dir, &entry, &err);

	return ret ? bow_cli_fail(cli, ret, &err) : bow_serving_stop_before(cli, &entry);
}

int bow_serving_end_all(struct bow_cli *cli, const struct bow_serving_all *all)
{
	struct ends ends = {.all = all};
	struct bowimg_error err = {0};
	int ret = bow_served_each(on_served, &ends, &err);
	int status = ret ? bow_cli_fail(cli, ret, &err) : BOW_EXIT_DONE;

	for (size_t i = 0; i < ends.n; i++) {
		struct end *e = &ends.v[i];
		int one = ret ? 0 : e->before ? end_before(cli, e->name) : all->end(cli, e->name);

		status = status ? status : one;
		free(e->name);
	}
	free(ends.v);
	return status;
}
