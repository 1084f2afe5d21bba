/* SPDX-License-Identifier: MIT */
/* Processes, devices and mounts that hold on to a device or a file system. */
#include "bowimg/host/holder.h"

#include <ctype.h>
#include <dirent.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/mountinfo.h"
#include "lib/base/openers.h"
#include "lib/base/show.h"
#include "bowimg/host/loop.h"

/* What is searched for: one of disk, fs and mount is not 0. */
struct held {
	dev_t disk, fs;
	unsigned mount;
	unsigned kinds; /* BOW_HOLDER_*; files are those of file systems on the disk */
	struct bow_holder *out;
};

static bool is_of_disk(dev_t device, dev_t disk)
{
	return device && disk && (device == disk || bow_block_disk(device) == disk);
}

/* ---- processes ------------------------------------------------------------------- */

static bool uses(void *ctx, const struct bow_open_file *file)
{
	const struct held *h = ctx;

	bool counts = h->kinds & (file->is_path ? BOW_HOLDER_DIRS : BOW_HOLDER_FILES);

	return (counts && h->fs && file->fs == h->fs) || (h->mount && file->mount == h->mount) ||
	       (counts && major(file->fs) && is_of_disk(file->fs, h->disk)) ||
	       (!file->is_path && is_of_disk(file->device, h->disk));
}

static bool find_process(struct held *h)
{
	struct bow_opener opener;

	if (!bow_find_opener(uses, h, -1, &opener))
		return false;
	snprintf(h->out->who, sizeof(h->out->who),
		 h->fs || h->mount ? "process %d (%s) uses it"
				   : "it is open in another process, %d (%s)",
		 (int)opener.pid, opener.comm);
	snprintf(h->out->hint, sizeof(h->out->hint), "end that process first: kill %d",
		 (int)opener.pid);
	return true;
}

bool bow_holder_of_device(dev_t disk, struct bow_holder *out)
{
	struct held h = {.disk = disk, .out = out};

	return disk && find_process(&h);
}

/* ---- devices --------------------------------------------------------------------- */

static int is_loop_on(void *ctx, const char *device)
{
	struct held *h = ctx;
	struct bow_loop_backing backing;

	if (!bow_loop_number(device) || !bow_loop_ask_backing(device, &backing) ||
	    !((h->fs && backing.fs == h->fs) || is_of_disk(backing.device, h->disk)))
		return 0;
	snprintf(h->out->who, sizeof(h->out->who), "%s is attached to it", device);
	snprintf(h->out->hint, sizeof(h->out->hint), "take that away first: losetup -d %s", device);
	return 1;
}

/* Device mapper, RAID and others, on the disk or a partition of it. */
static bool find_built_on(struct held *h, const char *pattern)
{
	char path[96];
	glob_t found;

	snprintf(path, sizeof(path), pattern, major(h->disk), minor(h->disk));
	bool any = glob(path, GLOB_NOSORT, NULL, &found) == 0 && found.gl_pathc > 0;
	if (any) {
		const char *name = strrchr(found.gl_pathv[0], '/') + 1;

		snprintf(h->out->who, sizeof(h->out->who), "/dev/%.64s is built on it", name);
		snprintf(h->out->hint, sizeof(h->out->hint), "take that apart first: %s /dev/%.64s",
			 strncmp(name, "md", 2) == 0 ? "mdadm --stop" : "dmsetup remove", name);
	}
	globfree(&found);
	return any;
}

/* ---- mounts ---------------------------------------------------------------------- */

struct mount_search {
	struct held *held;
	const char *pid; /* whose mounts these are, or NULL: ours */
};

static int is_mounted(void *ctx, const struct bow_mount *m)
{
	const struct mount_search *s = ctx;
	struct bow_holder *out = s->held->out;

	if (!(s->held->fs && m->dev == s->held->fs) &&
	    !is_of_disk(bow_mount_device(m), s->held->disk))
		return 0;
	if (!s->pid) {
		snprintf(out->who, sizeof(out->who), "it is mounted at %.300s", m->target);
		snprintf(out->hint, sizeof(out->hint), "unmount it first: umount %s",
			 BOW_WORD(m->target));
		return 1;
	}
	snprintf(out->who, sizeof(out->who),
		 "it is mounted at %.300s in the mount namespace of process %s", m->target, s->pid);
	snprintf(out->hint, sizeof(out->hint), "unmount it there: nsenter -t %s -m umount %s",
		 s->pid, BOW_WORD(m->target));
	return 1;
}

enum { NAMESPACES_MAX = 256 };

struct namespaces {
	char seen[NAMESPACES_MAX][32];
	size_t count;
};

/* Was this namespace not seen yet? After NAMESPACES_MAX of them all count as seen. */
static bool is_new(struct namespaces *ns, const char *pid)
{
	char path[300], *name = ns->seen[ns->count];

	snprintf(path, sizeof(path), "/proc/%s/ns/mnt", pid);
	ssize_t n = readlink(path, name, sizeof(ns->seen[0]) - 1);
	if (n <= 0 || ns->count + 1 == NAMESPACES_MAX)
		return false;
	name[n] = '\0';
	for (size_t i = 0; i < ns->count; i++)
		if (strcmp(ns->seen[i], name) == 0)
			return false;
	ns->count++;
	return true;
}

static bool find_in_namespaces(struct held *h)
{
	struct namespaces *ns = calloc(1, sizeof(*ns));
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	char path[300];
	int ret = 0;

	if (ns)
		is_new(ns, "self");
	while (ns && dir && ret <= 0 && (entry = readdir(dir))) {
		struct mount_search s = {h, entry->d_name};

		if (!isdigit((unsigned char)entry->d_name[0]) || !is_new(ns, entry->d_name))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/mountinfo", entry->d_name);
		ret = bow_mountinfo_each(path, is_mounted, &s);
	}
	if (dir)
		closedir(dir);
	free(ns);
	return ret > 0;
}

/* ---- all of it ------------------------------------------------------------------- */

bool bow_holder_of_disk(dev_t disk, struct bow_holder *out)
{
	struct held h = {.disk = disk, .kinds = BOW_HOLDER_ALL, .out = out};

	return disk && (find_process(&h) || find_built_on(&h, "/sys/dev/block/%u:%u/holders/*") ||
			find_built_on(&h, "/sys/dev/block/%u:%u/*/holders/*") ||
			bow_loop_each(is_loop_on, &h) == 1 || find_in_namespaces(&h));
}

bool bow_holder_of_mount(unsigned id, struct bow_holder *out)
{
	struct held h = {.mount = id, .out = out};

	return id && find_process(&h);
}

bool bow_holder_of_fs(dev_t fs, unsigned kinds, struct bow_holder *out)
{
	struct held h = {.fs = fs, .kinds = kinds, .out = out};
	struct mount_search ours = {&h, NULL};

	if (!fs)
		return false;
	if (find_process(&h) || ((kinds & BOW_HOLDER_LOOPS) && bow_loop_each(is_loop_on, &h) == 1))
		return true;
	return (kinds & BOW_HOLDER_MOUNTS) &&
	       (bow_mountinfo_each(BOW_MOUNTS, is_mounted, &ours) == 1 || find_in_namespaces(&h));
}
