/* SPDX-License-Identifier: MIT */
/*
 * What is on this device? By libblkid, which looks at a copy of the places where superblocks and
 * partition tables are kept: 2 MiB of memory for a disk of any size.
 */
#include <blkid/blkid.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "maps/freemap.h"
#include "maps/sparse.h"

#define EDGE_BYTES (1u << 20)	/* copied from both ends: nearly every signature is there */
#define PLACE_BYTES (64u << 10) /* copied around the others */

/* NTFS is recognised by its master file table as well, which may be anywhere. */
static uint64_t ntfs_table(const uint8_t *boot)
{
	const uint64_t cluster = (uint64_t)bow_get16(boot + 11) * boot[13];
	const uint64_t table = bow_get64(boot + 48);

	if (memcmp(boot + 3, "NTFS    ", 8) != 0 || !cluster || table > INT64_MAX / cluster)
		return UINT64_MAX;
	return table * cluster;
}

static int copy_places(struct bow_dev *dev, int fd, struct bowimg_error *err)
{
	/* btrfs' other superblocks; the first one is among the first bytes. */
	uint64_t places[] = {64u << 20, 256ull << 30, UINT64_MAX};
	uint8_t boot[512] = {0};
	int rc = bow_dev_read(dev, boot, bow_min(sizeof(boot), dev->size), 0, err);

	places[2] = ntfs_table(boot);
	if (!rc)
		rc = bow_sparse_copy(dev, fd, 0, EDGE_BYTES, err);
	if (!rc && dev->size > EDGE_BYTES)
		rc = bow_sparse_copy(dev, fd, (dev->size - EDGE_BYTES) & ~(uint64_t)4095,
				     EDGE_BYTES + 4096, err);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && !rc; i++)
		rc = bow_sparse_copy(dev, fd, places[i], PLACE_BYTES, err);
	return rc;
}

static void copy_value(blkid_probe pr, const char *name, char *to, size_t room)
{
	const char *value;

	to[0] = '\0';
	if (blkid_probe_lookup_value(pr, name, &value, NULL) == 0)
		snprintf(to, room, "%s", value);
}

static int ambivalent(struct bow_dev *dev, struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"%s: find out what it holds: several file systems or partition tables claim it",
		dev->name);
	bow_err_hint(err,
		     "wipefs %s lists them; remove the stale ones with it, or name the right "
		     "source with --free-from",
		     dev->name);
	return -EOPNOTSUPP;
}

static int look(struct bow_dev *dev, blkid_probe pr, int fd, struct bow_probe *out,
		struct bowimg_error *err)
{
	int rc;

	if (blkid_probe_set_device(pr, fd, 0, 0) < 0 ||
	    blkid_probe_set_sectorsize(pr, dev->sector_size) < 0 ||
	    blkid_probe_enable_superblocks(pr, 1) < 0 ||
	    /* A superblock with a wrong checksum is for the source to refuse, with its reason. */
	    blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_BADCSUM) < 0 ||
	    blkid_probe_enable_partitions(pr, 1) < 0)
		return bow_err(err, -EIO, "%s: find out what it holds: libblkid cannot be set up",
			       dev->name);
	rc = blkid_do_safeprobe(pr);
	if (rc == -2)
		return ambivalent(dev, err);
	if (rc < 0)
		return bow_err(err, -EIO, "%s: find out what it holds: libblkid failed", dev->name);
	copy_value(pr, "TYPE", out->type, sizeof(out->type));
	copy_value(pr, "PTTYPE", out->pttype, sizeof(out->pttype));
	return 0;
}

int bow_probe_device(struct bow_dev *dev, struct bow_probe *out, struct bowimg_error *err)
{
	CLEANUP_CLOSE int fd = bow_sparse_new(dev, dev->size, err);
	blkid_probe pr;
	int rc;

	if (fd < 0)
		return fd;
	rc = copy_places(dev, fd, err);
	if (rc < 0)
		return rc;
	pr = blkid_new_probe();
	if (!pr)
		return bow_err_errno(err, -ENOMEM, "%s: find out what it holds", dev->name);
	rc = look(dev, pr, fd, out, err);
	blkid_free_probe(pr);
	return rc;
}
