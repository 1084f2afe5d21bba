/* SPDX-License-Identifier: MIT */
/* The plugin's requests, with errors in NBD's words. After the image is closed they fail. */
#include "nbdkit/plugin.h"

#include <errno.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

static bool begin(void)
{
	pthread_rwlock_rdlock(&bow_nbdkit.in_use);
	if (bow_nbdkit_disk_is_open(&bow_nbdkit.disk))
		return true;
	pthread_rwlock_unlock(&bow_nbdkit.in_use);
	nbdkit_set_error(ESHUTDOWN);
	return false;
}

/* An error without a word in NBD would reach the client as "invalid argument". */
static int errno_of(int code)
{
	switch (-code) {
	case ENOSPC:
	case EINVAL:
	case ENOMEM:
		return -code;
	default:
		return EIO;
	}
}

/* A failure is reported once, not for each of the thousand requests that follow. */
static int end(int code, const struct bowimg_error *err)
{
	pthread_rwlock_unlock(&bow_nbdkit.in_use);
	if (!code)
		return 0;
	if (atomic_exchange(&bow_nbdkit.last_error, code) != code)
		bow_nbdkit_complain(err->message, err->hint);
	nbdkit_set_error(errno_of(code));
	return -1;
}

static unsigned flags_of(uint32_t flags)
{
	return flags & NBDKIT_FLAG_FUA ? BOWIMG_FUA : 0;
}

int bow_nbdkit_read(void *handle, void *buf, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)flags;
	if (!begin())
		return -1;
	return end(bowimg_disk_read(bow_nbdkit_disk_of(handle), buf, count, off, &err), &err);
}

int bow_nbdkit_write(void *handle, const void *buf, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	if (!begin())
		return -1;
	return end(bowimg_disk_write(bow_nbdkit.disk.disk, buf, count, off, flags_of(flags), &err),
		   &err);
}

int bow_nbdkit_flush(void *handle, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	(void)flags;
	return begin() ? end(bowimg_disk_flush(bow_nbdkit.disk.disk, &err), &err) : -1;
}

int bow_nbdkit_trim(void *handle, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};
	int ret;

	(void)handle;
	if (!begin())
		return -1;
	ret = bowimg_disk_discard(bow_nbdkit.disk.disk, off, count, &err);
	if (!ret && flags & NBDKIT_FLAG_FUA)
		ret = bowimg_disk_flush(bow_nbdkit.disk.disk, &err);
	return end(ret, &err);
}

/*
 * MAY_TRIM is always granted. In a file, zeroing is a pending zero or a call to the file system; on
 * a device it may be as slow as writing, and a client that asked for "fast" wants to know that
 * first.
 */
int bow_nbdkit_zero(void *handle, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	if (flags & NBDKIT_FLAG_FAST_ZERO && !bow_nbdkit.cheap_zeros) {
		nbdkit_set_error(EOPNOTSUPP);
		return -1;
	}
	if (!begin())
		return -1;
	return end(bowimg_disk_zero(bow_nbdkit.disk.disk, off, count, flags_of(flags), &err), &err);
}

/* Report the first range, and if more is allowed, all that was asked about. */
static int add_extents(uint64_t off, uint64_t limit, bool one, struct nbdkit_extents *extents,
		       struct bowimg_error *err)
{
	int ret = 0;

	do {
		uint64_t bytes = 0;
		bool zero = false;

		ret = bowimg_disk_extent(bow_nbdkit.disk.disk, off, &zero, &bytes, err);
		if (!ret && nbdkit_add_extent(extents, off, bytes,
					      zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0))
			ret = -ENOMEM;
		off += bytes;
	} while (!ret && !one && off < limit);
	return ret;
}

int bow_nbdkit_extents(void *handle, uint32_t count, uint64_t off, uint32_t flags,
		       struct nbdkit_extents *extents)
{
	struct bowimg_error err = {0};

	(void)handle;
	if (!begin())
		return -1;
	return end(add_extents(off, off + count, flags & NBDKIT_FLAG_REQ_ONE, extents, &err), &err);
}
