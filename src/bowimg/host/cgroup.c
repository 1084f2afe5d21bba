/* SPDX-License-Identifier: MIT */
/*
 * Is this process in a memory cgroup (version 2) with a limit so small that a loop device over FUSE
 * could hang? The daemon would wait for memory, and the memory for pages that the daemon has to
 * write. Above the minimum the kernel throttles the writers before that.
 */
#include "bowimg/host/memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "bowimg/host/mounts.h"
#include "bowimg/host/notice.h"

/* Many times what a daemon needs. */
#define MINIMUM_BYTES (512ull << 20)

struct hierarchy {
	char own[PATH_MAX];	  /* our cgroup, as /proc/self/cgroup has it */
	char mount[PATH_MAX + 1]; /* where the hierarchy is mounted; "" nowhere */
	char root[PATH_MAX + 1];  /* which of its cgroups is mounted there */
};

struct limit {
	char cgroup[PATH_MAX];
	uint64_t bytes; /* UINT64_MAX: none */
};

/* The line "0::/a/b"; lines with controllers between the colons are of version 1. */
static bool own_cgroup(struct hierarchy *h)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX + 3];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		found = strncmp(line, "0::", 3) == 0;
		line[strcspn(line, "\n")] = '\0';
		if (found)
			snprintf(h->own, sizeof(h->own), "%s", line + 3);
	}
	if (f)
		fclose(f);
	return found;
}

static int find_mount(void *ctx, const struct bow_mount *m)
{
	struct hierarchy *h = ctx;

	if (strcmp(m->type, "cgroup2") != 0)
		return 0;
	snprintf(h->mount, sizeof(h->mount), "%s", m->target);
	snprintf(h->root, sizeof(h->root), "%s", m->root);
	return 1;
}

static uint64_t read_limit(const char *dir)
{
	char path[2 * PATH_MAX + 32], text[32] = "";
	char *end;

	snprintf(path, sizeof(path), "%s/memory.max", dir);
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
		uint64_t bytes = read_limit(dir);
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
	if (limit.bytes >= MINIMUM_BYTES) {
		bow_notice("the memory of %s is limited to %" PRIu64 " MiB; if the mount is slow, "
			   "that is why",
			   limit.cgroup, limit.bytes >> 20);
		return 0;
	}
	int ret = bow_err(err, -EOPNOTSUPP,
			  "a loop device over FUSE could hang here: the memory cgroup %s is "
			  "limited to %" PRIu64 " MiB",
			  limit.cgroup, limit.bytes >> 20);
	bow_err_hint(err, "start it outside of that cgroup, or use a way without a loop device: "
			  "bowimg attach --fuse DIR IMAGE, or NBD");
	return ret;
}

int bow_cgroup_refuse_limited(struct bowimg_error *err)
{
	CLEANUP_FREE struct hierarchy *h = calloc(1, sizeof(*h));

	return h ? check(h, err) : bow_err_errno(err, -ENOMEM, "cannot read memory limits");
}
