/* SPDX-License-Identifier: MIT */
/* A disk's calls in bowimg.h: flags, empty requests, and calls that only some disks have. */
#include <string.h>

#include "lib/disk/disk.h"
#include "lib/disk/part.h"

static int check_range(const bowimg_disk *disk, uint64_t off, uint64_t bytes, const char *what,
		       struct bowimg_error *err)
{
	uint64_t size = bow_disk_size(disk);

	if (off <= size && bytes <= size - off)
		return 0;
	return bow_err(err, -EINVAL, "%s beyond the end of the disk", what);
}

static int finish(bowimg_disk *disk, int rc, unsigned flags, struct bowimg_error *err)
{
	return !rc && flags & BOWIMG_FUA ? bow_disk_flush(disk, err) : rc;
}

const char *bowimg_disk_name(const bowimg_disk *disk)
{
	return disk->name;
}

uint64_t bowimg_disk_size(const bowimg_disk *disk)
{
	return bow_disk_size(disk);
}

bool bowimg_disk_is_readonly(const bowimg_disk *disk)
{
	return disk->readonly;
}

unsigned bowimg_disk_in_flight(const bowimg_disk *disk)
{
	return disk->queue_depth ? disk->queue_depth : 1;
}

int bowimg_disk_read(bowimg_disk *disk, void *buf, size_t bytes, uint64_t off,
		     struct bowimg_error *err)
{
	int rc = check_range(disk, off, bytes, "read", err);

	return rc || !bytes ? rc : bow_disk_read(disk, buf, bytes, off, err);
}

int bowimg_disk_write(bowimg_disk *disk, const void *buf, size_t bytes, uint64_t off,
		      unsigned flags, struct bowimg_error *err)
{
	int rc = check_range(disk, off, bytes, "write", err);

	if (!rc && bytes)
		rc = bow_disk_write(disk, buf, bytes, off, err);
	return finish(disk, rc, flags, err);
}

int bowimg_disk_zero(bowimg_disk *disk, uint64_t off, uint64_t bytes, unsigned flags,
		     struct bowimg_error *err)
{
	int rc = check_range(disk, off, bytes, "zero", err);

	if (!rc && bytes)
		rc = bow_disk_zero(disk, off, bytes, BOW_ZERO_PUNCH, err);
	return finish(disk, rc, flags, err);
}

int bowimg_disk_discard(bowimg_disk *disk, uint64_t off, uint64_t bytes, struct bowimg_error *err)
{
	int rc = check_range(disk, off, bytes, "discard", err);

	return rc || !bytes ? rc : bow_disk_discard(disk, off, bytes, err);
}

int bowimg_disk_flush(bowimg_disk *disk, struct bowimg_error *err)
{
	return bow_disk_flush(disk, err);
}

int bowimg_disk_extent(bowimg_disk *disk, uint64_t off, bool *zero, uint64_t *bytes,
		       struct bowimg_error *err)
{
	if (off >= bow_disk_size(disk))
		return bow_err(err, -EINVAL, "look for zeros beyond the end of the disk");
	return bow_disk_extent(disk, off, zero, bytes, err);
}

int bowimg_disk_close(bowimg_disk *disk, struct bowimg_error *err)
{
	return bow_disk_close(disk, err);
}

int bowimg_disk_part(bowimg_disk *disk, uint64_t off, uint64_t bytes, bowimg_disk **out,
		     struct bowimg_error *err)
{
	int rc = bow_disk_part(disk, off, bytes, out, err);

	if (!rc)
		(*out)->readonly = disk->readonly;
	return rc;
}

static int unsupported(const bowimg_disk *disk, const char *what, struct bowimg_error *err)
{
	return bow_err(err, -EOPNOTSUPP, "%s: %s: this disk was not opened for that", disk->name,
		       what);
}

int bowimg_disk_at(bowimg_disk *disk, const char *mark, bowimg_disk **out, struct bowimg_error *err)
{
	if (!disk->built || !disk->built->before)
		return unsupported(disk, "look at it as it was", err);
	return disk->built->before(disk, mark, out, err);
}

int bowimg_disk_before(bowimg_disk *disk, bowimg_disk **out, struct bowimg_error *err)
{
	return bowimg_disk_at(disk, NULL, out, err);
}

int bowimg_disk_changes_since(bowimg_disk *disk, const char *mark,
			      int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
			      struct bowimg_error *err)
{
	if (!disk->built || !disk->built->changes)
		return unsupported(disk, "list what changed", err);
	return disk->built->changes(disk, mark, run, ctx, err);
}

int bowimg_disk_changes(bowimg_disk *disk,
			int (*run)(void *ctx, const struct bowimg_change *change), void *ctx,
			struct bowimg_error *err)
{
	return bowimg_disk_changes_since(disk, NULL, run, ctx, err);
}

int bowimg_disk_get_info(const bowimg_disk *disk, struct bowimg_disk_info *out,
			 struct bowimg_error *err)
{
	if (!disk->built || !disk->built->info)
		return unsupported(disk, "describe its checkpoint", err);
	disk->built->info(disk, out);
	return 0;
}

void bowimg_disk_get_counters(const bowimg_disk *disk, struct bowimg_counters *out)
{
	memset(out, 0, sizeof(*out));
	if (disk->built && disk->built->counters)
		disk->built->counters(disk, out);
}
