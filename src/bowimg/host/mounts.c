/* SPDX-License-Identifier: MIT */
/* The mounts that this process sees. */
#include "bowimg/host/mounts.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/cleanup.h"

int bow_mounts_each(int (*each)(void *ctx, const struct bow_mount *m), void *ctx,
		    struct bowimg_error *err)
{
	int ret = bow_mountinfo_each(BOW_MOUNTS, each, ctx);

	if (ret < 0) {
		bow_err_errno(err, ret, "reading " BOW_MOUNTS);
		bow_err_hint(err, "mount /proc: it lists what is mounted");
	}
	return ret;
}

struct search {
	const char *target; /* at this place, or NULL */
	dev_t device;	    /* of this device, or 0 */
	const char *except; /* not at this place, or NULL */
	struct bow_mount *out;
	bool found;
};

bool bow_mounts_is_on(const struct bow_mount *m, dev_t device)
{
	dev_t on = bow_mount_device(m);

	return on && (on == device || bow_block_disk(on) == device);
}

/* Later mounts cover earlier ones, so the last match counts. */
static int match(void *ctx, const struct bow_mount *m)
{
	struct search *s = ctx;

	if ((s->target && strcmp(s->target, m->target) != 0) ||
	    (s->device && !bow_mounts_is_on(m, s->device)) ||
	    (s->except && strcmp(s->except, m->target) == 0))
		return 0;
	s->found = true;
	*s->out = *m;
	return 0;
}

int bow_mounts_at(const char *target, struct bow_mount *out, struct bowimg_error *err)
{
	struct search s = {.target = target, .out = out};
	int ret = bow_mounts_each(match, &s, err);

	return ret ? ret : s.found;
}

int bow_mounts_of(dev_t device, const char *except, struct bow_mount *out, struct bowimg_error *err)
{
	struct search s = {.device = device, .except = except, .out = out};
	int ret = device ? bow_mounts_each(match, &s, err) : 0;

	return ret ? ret : s.found;
}

bool bow_mounts_has(const char *target, dev_t device)
{
	CLEANUP_FREE struct bow_mount *m = malloc(sizeof(*m));

	return m && device && bow_mounts_at(target, m, NULL) == 1 && bow_mounts_is_on(m, device);
}
