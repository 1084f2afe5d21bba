/* SPDX-License-Identifier: MIT */
/*
 * Is this process in a limited memory cgroup?
 *
 * In a limited cgroup of version 1 a process that needs memory waits until dirty pages of the same
 * cgroup are written. With a loop device over FUSE these can be the pages the daemon itself has to
 * write, and everything stands still; locked memory alone did not prevent it. Version 2 throttles
 * the writers instead, so that only very small limits are refused there.
 */
#include "fronts/memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "fronts/mounts.h"
#include "fronts/notice.h"

/* What a daemon needs many times over; smaller limits are not worth the risk. */
#define V2_MINIMUM_BYTES (512ull << 20)

struct hierarchy {
	bool v2;
	char own[PATH_MAX];   /* our cgroup, as /proc/self/cgroup has it */
	char mount[PATH_MAX]; /* where the hierarchy is mounted; "" nowhere */
	char root[PATH_MAX];  /* which of its cgroups is mounted there */
};

struct limit {
	char cgroup[PATH_MAX];
	uint64_t bytes; /* UINT64_MAX: none */
};

/* "4:memory:/a/b" is version 1's line, "0::/a/b" version 2's. */
static bool own_cgroup(struct hierarchy *h)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX + 256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		char *path = strchr(line, ':');
		path = path ? strchr(path + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		const char *controllers = strchr(line, ':') + 1;
		found = h->v2 ? !*controllers : strstr(controllers, "memory") != NULL;
		if (found)
			snprintf(h->own, sizeof(h->own), "%s", path);
	}
	if (f)
		fclose(f);
	return found;
}

static int find_mount(void *ctx, const struct bow_mount *m)
{
	struct hierarchy *h = ctx;

	if (h->v2 ? strcmp(m->type, "cgroup2") != 0
		  : strcmp(m->type, "cgroup") != 0 || !strstr(m->options, "memory"))
		return 0;
	memcpy(h->mount, m->target, sizeof(h->mount));
	memcpy(h->root, m->root, sizeof(h->root));
	return 1;
}

static uint64_t read_limit(const char *dir, bool v2)
{
	char path[2 * PATH_MAX + 32], text[32] = "";
	char *end;

	snprintf(path, sizeof(path), "%s/%s", dir, v2 ? "memory.max" : "memory.limit_in_bytes");
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return UINT64_MAX;
	uint64_t bytes = strtoull(text, &end, 10);
	return end == text ? UINT64_MAX : bytes; /* "max" */
}

/* The smallest limit between our cgroup and the top of what we can see. */
static void smallest_limit(const struct hierarchy *h, struct limit *out)
{
	const char *below = h->own;
	size_t root_bytes = strcmp(h->root, "/") == 0 ? 0 : strlen(h->root);
	size_t top = strlen(h->mount);
	char dir[2 * PATH_MAX];

	/* In a container the mount may show only a part of the hierarchy. */
	if (root_bytes && strncmp(below, h->root, root_bytes) == 0)
		below += root_bytes;
	out->bytes = UINT64_MAX;
	snprintf(dir, sizeof(dir), "%s%s", h->mount, below);
	for (;;) {
		uint64_t bytes = read_limit(dir, h->v2);
		if (bytes < out->bytes) {
			out->bytes = bytes;
			snprintf(out->cgroup, sizeof(out->cgroup), "%.*s", PATH_MAX - 1, dir);
		}
		char *slash = strrchr(dir, '/');
		if (!slash || (size_t)(slash - dir) < top)
			return;
		*slash = '\0';
	}
}

static uint64_t total_memory(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? UINT64_MAX : (uint64_t)info.totalram * info.mem_unit;
}

static int check(struct hierarchy *h, struct bowimg_error *err)
{
	struct limit limit;

	if (!own_cgroup(h) || bow_mounts_each(find_mount, h, NULL) != 1)
		return 0;
	smallest_limit(h, &limit);
	if (limit.bytes >= total_memory())
		return 0;
	if (h->v2 && limit.bytes >= V2_MINIMUM_BYTES) {
		bow_notice("the memory of %s is limited to %" PRIu64 " MiB; if the mount is slow, "
			   "that is why",
			   limit.cgroup, limit.bytes >> 20);
		return 0;
	}
	int ret = bow_err(err, -EOPNOTSUPP,
			  "a loop device over FUSE could hang here: the memory cgroup %s is "
			  "limited to %" PRIu64 " MiB",
			  limit.cgroup, limit.bytes >> 20);
	bow_err_hint(err, "start it outside of that cgroup, or use a road without a loop device: "
			  "bowimg attach --fuse DIR IMAGE, or NBD");
	return ret;
}

int bow_cgroup_refuse_limited(struct bowimg_error *err)
{
	CLEANUP_FREE struct hierarchy *h = malloc(sizeof(*h));
	int ret = 0;

	if (!h)
		return bow_err_errno(err, -ENOMEM, "looking at memory limits");
	for (int version = 1; version <= 2 && !ret; version++) {
		memset(h, 0, sizeof(*h));
		h->v2 = version == 2;
		ret = check(h, err);
	}
	return ret;
}
