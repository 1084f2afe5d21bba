/* SPDX-License-Identifier: MIT */
/*
 * A disk that comes late. Where only the disk as it was is served, the disk itself is opened with
 * the first open of its file for writing. The disk as it was is then read from that one, so that no
 * request may use either of them meanwhile: those that do hold a lock, which opening takes alone.
 * Requests for names and attributes do not: opening looks at loop devices, for which the kernel may
 * ask us.
 */
#include "bowimg/fuse/private.h"

void bow_fuse_use_disks(struct bow_fuse *fuse)
{
	if (fuse->disk.source.open_disk)
		pthread_rwlock_rdlock(&fuse->disks);
}

void bow_fuse_leave_disks(struct bow_fuse *fuse)
{
	if (fuse->disk.source.open_disk)
		pthread_rwlock_unlock(&fuse->disks);
}

/* The files that are listed before are those of the disk as it was. */
static int open_disk(struct bow_fuse *fuse)
{
	struct bow_fuse_source *source = &fuse->disk.source;
	unsigned old = fuse->listed;
	int ret = source->open_disk(source->ctx, source);

	for (unsigned i = 0; i < fuse->file_count; i++)
		fuse->files[i].disk = i < old ? source->before : source->disk;
	if (!ret)
		fuse->listed = fuse->file_count;
	return ret;
}

int bow_fuse_need_disk(struct bow_fuse *fuse, const struct bow_fuse_file *file, bool writes)
{
	int ret = 0;

	if (!fuse->disk.source.open_disk)
		return 0;
	pthread_rwlock_wrlock(&fuse->disks);
	if (!file->disk && file->readonly)
		ret = -EIO; /* it was lost */
	else if (!file->disk)
		ret = writes ? open_disk(fuse) : -EACCES;
	pthread_rwlock_unlock(&fuse->disks);
	return ret;
}
