/* SPDX-License-Identifier: MIT */
/*
 * Where libblkid looks, for devices that have no descriptor to give it. Nearly all of its
 * signatures are at fixed distances from either end; a few boot sectors lead elsewhere. If a place
 * were missing here, libblkid would overlook a signature and might believe a stale one: a test
 * records what libblkid reads, and compares.
 */
#include "lib/probe/places.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/probe/sector.h"

#define PIECE (64u << 10)     /* copied at a time, and around a single place */
#define READ_BYTES (1u << 20) /* read at a time: far away each request takes long */
#define HEAD_BYTES 8192u      /* what leads elsewhere is in here */
#define NOWHERE UINT64_MAX

/* Bytes from the start, or, if negative, from the end. */
static const struct place {
	int64_t at;
	uint32_t bytes;
} fixed[] = {
	{0, (1u << 20) + PIECE}, /* nearly all; UDF at 256 blocks, VMFS volumes at 1 MiB */
	{2 << 20, PIECE},	 /* VMFS, copies of other superblocks */
	{4 << 20, PIECE},	 /* the last place of LUKS' second header */
	{-(2 << 20), 2u << 20},	 /* RAID as the BIOS knows it, md, DRBD, ZFS, backups */
};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* NTFS is recognised by its master file table as well, which may be anywhere. */
static uint64_t lead_ntfs(const uint8_t *head, uint32_t sector)
{
	const uint32_t per = head[13] > 0x80 ? 1u << ((256 - head[13]) & 31) : head[13];
	const uint64_t cluster = (uint64_t)bow_get16(head + 11) * per;
	const uint64_t table = bow_get64(head + 48);

	(void)sector;
	if (memcmp(head + 3, "NTFS    ", 8) != 0 || !cluster || table > INT64_MAX / cluster)
		return NOWHERE;
	return table * cluster;
}

/* A FAT32 must have a second sector with the right mark. */
static uint64_t lead_fat(const uint8_t *head, uint32_t sector)
{
	(void)sector;
	return bow_get16(head + 22) ? NOWHERE
				    : (uint64_t)bow_get16(head + 48) * bow_get16(head + 11);
}

/* BitLocker's header; on removable disks the boot sector of a small FAT leads to it. */
static uint64_t lead_bitlocker(const uint8_t *head, uint32_t sector)
{
	(void)sector;
	if (!memcmp(head + 3, "-FVE-FS-", 8))
		return bow_get64(head + 176);
	return memcmp(head + 3, "MSWIN4.1", 8) ? NOWHERE : bow_get64(head + 440);
}

/* An HFS+ may be wrapped into an HFS; libblkid counts in 32 bits there. */
static uint64_t lead_hfs(const uint8_t *head, uint32_t sector)
{
	const uint8_t *h = head + 1024;
	const uint32_t block = (uint32_t)be16(h + 20) << 16 | be16(h + 22);

	(void)sector;
	return memcmp(h, "BD", 2) ? NOWHERE : be16(h + 28) * 512u + be16(h + 126) * block;
}

/* The entries of a GPT are usually behind its header, but need not be. */
static uint64_t lead_gpt(const uint8_t *head, uint32_t sector)
{
	const uint64_t entries = bow_get64(head + sector + 72);

	return !bow_gpt_signed(head + sector) || entries > INT64_MAX / sector ? NOWHERE
									      : entries * sector;
}

static uint64_t (*const leads[])(const uint8_t *head, uint32_t sector) = {
	lead_ntfs, lead_fat, lead_bitlocker, lead_hfs, lead_gpt,
};

/* A sparse file of the device's size, or -errno. */
static int new_file(struct bowimg_disk *dev, struct bowimg_error *err)
{
	int fd = memfd_create("bowimg-probe", MFD_CLOEXEC);
	int rc = 0;

	if (fd < 0 || ftruncate(fd, (off_t)dev->size) < 0)
		rc = bow_err_errno(err, -errno, "%s: make a sparse copy in memory", dev->name);
	if (rc == -EFBIG)
		bow_err_hint(err, "raise the limit on the size of files (ulimit -f)");
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
static int copy_pieces(struct bowimg_disk *dev, int fd, uint8_t *buf, uint64_t off, size_t bytes,
		       struct bowimg_error *err)
{
	int rc = bow_disk_read(dev, buf, bytes, off, err);

	if (rc < 0)
		return rc;
	for (size_t at = 0, n; at < bytes && !rc; at += n) {
		n = bow_min(PIECE, bytes - at);
		if (!bow_is_zero(buf + at, n))
			rc = put(fd, buf + at, n, off + at);
	}
	return rc < 0 ? bow_err_errno(err, rc, "%s: copy some of its blocks into memory", dev->name)
		      : 0;
}

/* What of [off, off + bytes) lies on the device. */
static int copy(struct bowimg_disk *dev, int fd, uint64_t off, uint64_t bytes,
		struct bowimg_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(READ_BYTES);
	uint64_t end = off < dev->size ? off + bow_min(bytes, dev->size - off) : off;
	int rc = 0;

	if (!buf)
		return bow_err_errno(err, -ENOMEM, "%s: find out what it holds", dev->name);
	for (; off < end && !rc; off += READ_BYTES)
		rc = copy_pieces(dev, fd, buf, off, bow_min(READ_BYTES, end - off), err);
	return rc;
}

/* The anchor of a UDF is at block 256 or 512 of a size that nothing tells; its tag says which. */
static bool is_anchor(int fd, uint32_t block, uint32_t block_bytes, uint8_t anchor[24])
{
	return pread(fd, anchor, 24, (off_t)block * block_bytes) == 24 && bow_get16(anchor) == 2 &&
	       bow_get32(anchor + 12) == block;
}

/* As of version 2.41 libblkid calls it so only if what the anchor leads to does. */
static int copy_udf(struct bowimg_disk *dev, int fd, struct bowimg_error *err)
{
	uint8_t anchor[24];
	int rc = 0;

	for (uint32_t size = 512; size <= 4096; size *= 2)
		for (uint32_t block = 256; block <= 512 && !rc; block += 256)
			if (is_anchor(fd, block, size, anchor))
				rc = copy(dev, fd, (uint64_t)bow_get32(anchor + 20) * size,
					  bow_min(bow_get32(anchor + 16), READ_BYTES), err);
	return rc;
}

static int copy_all(struct bowimg_disk *dev, int fd, struct bowimg_error *err)
{
	uint8_t head[HEAD_BYTES] = {0};
	int rc = bow_disk_read(dev, head, bow_min(sizeof(head), dev->size), 0, err);

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]) && !rc; i++) {
		const struct place *p = &fixed[i];
		uint64_t back = bow_min((uint64_t)-p->at, dev->size);

		rc = copy(dev, fd, p->at < 0 ? dev->size - back : (uint64_t)p->at, p->bytes, err);
	}
	for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]) && !rc; i++)
		rc = copy(dev, fd, leads[i](head, dev->sector_size), PIECE, err);
	return rc ? rc : copy_udf(dev, fd, err);
}

int bow_places_copy(struct bowimg_disk *dev, struct bowimg_error *err)
{
	int fd = new_file(dev, err);
	int rc = fd < 0 ? fd : copy_all(dev, fd, err);

	if (rc && fd >= 0)
		close(fd);
	return rc ? rc : fd;
}
