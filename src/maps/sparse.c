/* SPDX-License-Identifier: MIT */
/* Copying the few places of a device that libblkid looks at into memory. */
#include "maps/sparse.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define PIECE_BYTES (64u << 10)

int bow_sparse_new(struct bow_dev *dev, uint64_t size, struct bowimg_error *err)
{
	int fd = memfd_create("bowimg-probe", MFD_CLOEXEC);
	int rc = 0;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		rc = bow_err_errno(err, -errno, "%s: make a sparse copy in memory", dev->name);
	if (rc && fd >= 0)
		close(fd);
	return rc ? rc : fd;
}

static int put(int fd, const uint8_t *buf, size_t bytes, uint64_t off)
{
	while (bytes > 0) {
		ssize_t n = pwrite(fd, buf, bytes, (off_t)off);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		buf += n;
		off += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* Zeros are left as the hole they are. */
static int copy_piece(struct bow_dev *dev, int fd, uint8_t *buf, uint64_t off, size_t bytes,
		      struct bowimg_error *err)
{
	int rc = bow_dev_read(dev, buf, bytes, off, err);

	if (rc < 0 || bow_is_zero(buf, bytes))
		return rc;
	rc = put(fd, buf, bytes, off);
	return rc < 0 ? bow_err_errno(err, rc, "%s: copy some of its blocks into memory", dev->name)
		      : 0;
}

int bow_sparse_copy(struct bow_dev *dev, int fd, uint64_t off, uint64_t bytes,
		    struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(PIECE_BYTES);
	uint64_t end = off < dev->size ? off + bow_min(bytes, dev->size - off) : off;
	int rc = 0;

	if (!buf)
		return bow_err_errno(err, -ENOMEM, "%s: find out what it holds", dev->name);
	for (; off < end && !rc; off += PIECE_BYTES)
		rc = copy_piece(dev, fd, buf, off, bow_min(PIECE_BYTES, end - off), err);
	return rc;
}
