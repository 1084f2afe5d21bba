/* SPDX-License-Identifier: MIT */
/*
 * A second loop device, read-only, on the daemon's file "before", and a mount on that. It goes when
 * it is unmounted, by whomever; the daemon serves both files as long as somebody has one open.
 */
#include "fronts/service_before.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fronts/mounts.h"
#include "fronts/parts.h"
#include "fronts/process.h"

/* Magic numbers of file systems that the kernel knows by their UUID, which both views share. */
#define XFS_MAGIC "XFSB"
#define BTRFS_MAGIC "_BHRfS_M"
#define BTRFS_MAGIC_OFF 65600

bool bow_service_has_before(const struct bow_entry *e, char device[BOW_LOOP_NAME])
{
	char file[PATH_MAX + 16];

	bow_entry_before(e, file, sizeof(file));
	return !e->before_only && bow_loop_find(file, device);
}

static bool begins_with(int fd, off_t off, const char *magic)
{
	char bytes[16];

	return pread(fd, bytes, sizeof(bytes), off) == sizeof(bytes) &&
	       memcmp(bytes, magic, strlen(magic)) == 0;
}

/* Read-only, and whatever else it takes beside a mount of the same file system. */
static int choose_options(int fd, const char *wanted, char *out, size_t bytes,
			  struct bowimg_error *err)
{
	int ret;

	if (begins_with(fd, BTRFS_MAGIC_OFF, BTRFS_MAGIC)) {
		ret = bow_err(err, -EOPNOTSUPP,
			      "btrfs cannot be mounted as it was while the disk itself is served: "
			      "to the kernel both would be one file system");
		bow_err_hint(err, "take the disk down first (bowimg umount or detach), then mount "
				  "--before");
		return ret;
	}
	ret = snprintf(out, bytes, "ro%s%s%s", begins_with(fd, 0, XFS_MAGIC) ? ",nouuid" : "",
		       wanted ? "," : "", wanted ? wanted : "");
	return ret < (int)bytes ? 0 : bow_err_errno(err, -ENAMETOOLONG, "the mount options");
}

static int mount_before(const struct bow_entry *e, const char *wanted, int signal_fd,
			struct bowimg_error *err)
{
	char file[PATH_MAX + 16], options[1024];
	struct bow_loop_options how = {.readonly = true};
	struct bow_loop loop;

	bow_entry_before(e, file, sizeof(file));
	int ret = bow_loop_ask(e->image, &how, err);
	if (!ret)
		ret = bow_loop_attach(file, &how, &loop, err);
	if (ret)
		return ret;
	ret = choose_options(loop.fd, wanted, options, sizeof(options), err);
	if (!ret)
		ret = bow_mounts_add(loop.path, e->before_dir, options, signal_fd, err);
	/* The mount keeps the device; without one the kernel takes it away. */
	close(loop.fd);
	return ret;
}

static int refuse_second(const struct bow_entry *e, const char *device, struct bowimg_error *err)
{
	int ret = bow_err(err, -EBUSY, "%s as it was is mounted already: at %s", e->image,
			  e->before_dir[0] ? e->before_dir : device);

	bow_err_hint(err, "look there, or end it first: bowimg umount %s",
		     e->before_dir[0] ? e->before_dir : device);
	return ret;
}

/* The entry is locked, and its daemon is up. */
static int add(struct bow_entry *e, unsigned partition, const char *dir, const char *options,
	       struct bowimg_error *err)
{
	char device[BOW_LOOP_NAME];
	struct stat st;

	if (e->before_only)
		return refuse_second(e, e->mount_dir, err);
	if (bow_service_has_before(e, device))
		return refuse_second(e, device, err);
	if (!realpath(dir, e->before_dir) || stat(e->before_dir, &st) < 0)
		return bow_err_errno(err, -errno, "looking at the directory %s", dir);
	if (!S_ISDIR(st.st_mode))
		return bow_err_errno(err, -ENOTDIR, "looking at the directory %s", dir);
	int ret = bow_parts_check_image(e->image, partition, err);
	if (ret)
		return ret;
	e->before_partition = partition;
	int signal_fd = bow_process_catch_signals(err);
	if (signal_fd < 0)
		return signal_fd;
	/* Written down first: what is mounted must be found again. */
	ret = bow_entry_save(e, err);
	if (!ret)
		ret = mount_before(e, options, signal_fd, err);
	if (ret) {
		e->before_dir[0] = '\0';
		bow_entry_save(e, NULL);
	}
	return ret;
}

int bow_service_add_before(const char *image, unsigned partition, const char *dir,
			   const char *options, struct bowimg_error *err)
{
	struct bow_entry e;
	int ret = bow_runtime_enter(image, &e, err);

	if (ret < 0)
		return ret;
	if (ret == 0 || !bow_entry_alive(&e)) {
		bow_entry_leave(&e, ret == 0);
		return 0;
	}
	ret = add(&e, partition, dir, options, err);
	bow_entry_leave(&e, false);
	return ret ? ret : 1;
}

int bow_service_remove_before(const struct bow_entry *e, int flags, struct bowimg_error *err)
{
	char device[BOW_LOOP_NAME], file[PATH_MAX + 16];
	int ret = 0;

	if (!bow_service_has_before(e, device))
		return 0;
	bow_entry_before(e, file, sizeof(file));
	if (bow_mounts_has(e->before_dir, device))
		ret = bow_mounts_remove(e->before_dir, flags, err);
	if (!ret && !(flags & MNT_DETACH))
		ret = bow_loop_refuse_mounted(device, NULL, err);
	if (ret)
		return ret;
	/* Its last close takes it away; this waits for that. */
	return flags & MNT_DETACH ? bow_loop_release(device, file, err)
				  : bow_loop_detach(device, file, err);
}
