/* SPDX-License-Identifier: MIT */
/* The plugin's requests: errors in NBD's words, and nothing that comes after the image is closed.
 */
#include "fronts/nbdkit_plugin.h"

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

/* What NBD has no word for would reach the client as "invalid argument". */
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

/* A failure is said once, not for each of the thousand requests that follow. */
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
	return end(bow_nbdkit_is_before(handle)
			   ? bow_nbdkit_disk_read_before(&bow_nbdkit.disk, buf, count, off, &err)
			   : bow_nbdkit_disk_read(&bow_nbdkit.disk, buf, count, off, &err),
		   &err);
}

int bow_nbdkit_write(void *handle, const void *buf, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	if (!begin())
		return -1;
	return end(bow_nbdkit_disk_write(&bow_nbdkit.disk, buf, count, off, flags_of(flags), &err),
		   &err);
}

int bow_nbdkit_flush(void *handle, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	(void)flags;
	return begin() ? end(bow_nbdkit_disk_flush(&bow_nbdkit.disk, &err), &err) : -1;
}

int bow_nbdkit_trim(void *handle, uint32_t count, uint64_t off, uint32_t flags)
{
	struct bowimg_error err = {0};

	(void)handle;
	if (!begin())
		return -1;
	return end(bow_nbdkit_disk_trim(&bow_nbdkit.disk, off, count, flags_of(flags), &err), &err);
}

/*
 * MAY_TRIM is granted in any case. In a file, zeroing is a promise or a call to the file system; on
 * a device it may be as slow as writing, which a client that asked for "fast" wants to hear first.
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
	return end(bow_nbdkit_disk_zero(&bow_nbdkit.disk, off, count, flags_of(flags), &err), &err);
}

/* The first range, and if it may be more, all that was asked about. */
static int add_extents(uint64_t off, uint64_t limit, bool one, struct nbdkit_extents *extents,
		       struct bowimg_error *err)
{
	int ret = 0;

	do {
		uint64_t bytes = 0;
		bool zero = false;

		ret = bow_nbdkit_disk_extent(&bow_nbdkit.disk, off, &zero, &bytes, err);
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
