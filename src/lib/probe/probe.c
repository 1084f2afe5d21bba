/* SPDX-License-Identifier: MIT */
/*
 * What is on this device? libblkid knows. It reads the image itself, or, where there is no
 * descriptor for that, a copy of all places that it looks at.
 *
 * libblkid gives one answer where there could be two: if it ranks the other lower (FAT, UDF, ISO
 * 9660), if the device is as small as a floppy, or if the boot sector of a FAT is also an MBR with
 * partitions. Such an answer would call blocks free that belong to the other one, so all answers
 * are asked for here.
 */
#include <blkid/blkid.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/cleanup.h"
#include "lib/freespace/fs/kinds.h"
#include "lib/disk/hint.h"
#include "lib/probe/places.h"
#include "lib/probe/sector.h"
#include "lib/probe/probe.h"

/* What libblkid reads: `bytes` bytes of fd from `off` on. */
struct view {
	int fd;
	uint64_t off, bytes;
	uint32_t sector_size;
};

static void copy_value(blkid_probe pr, const char *name, char *to, size_t room)
{
	const char *value;

	to[0] = '\0';
	if (blkid_probe_lookup_value(pr, name, &value, NULL) == 0)
		snprintf(to, room, "%s", value);
}

static int ambivalent(struct bowimg_disk *dev, const char *one, const char *other,
		      struct bowimg_error *err)
{
	bow_err(err, -EOPNOTSUPP,
		"%s: find out what it holds: several file systems or partition tables claim "
		"it%s%s%s%s",
		dev->name, one[0] ? ": " : "", one, other[0] ? ", " : "", other);
	bow_err_hint(err, "without any of them: " BOW_HINT_WITHOUT
			  "; to find the stale ones: wipefs " BOW_HINT_DEVICE);
	return -EOPNOTSUPP;
}

static int failed(struct bowimg_disk *dev, struct bowimg_error *err)
{
	return bow_err(err, -EIO, "%s: find out what it holds: libblkid failed", dev->name);
}

static bool set_up(blkid_probe pr, const struct view *v, bool tables)
{
	return blkid_probe_set_device(pr, v->fd, (blkid_loff_t)v->off, (blkid_loff_t)v->bytes) >=
		       0 &&
	       blkid_probe_set_sectorsize(pr, v->sector_size) >= 0 &&
	       blkid_probe_enable_superblocks(pr, 1) >= 0 &&
	       /* The source refuses a superblock with a wrong checksum, and says why. */
	       blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_BADCSUM) >=
		       0 &&
	       blkid_probe_enable_partitions(pr, tables) >= 0;
}

/* libblkid 2.41 calls that an error (-1), where others say -2. */
static bool several_claim_it(blkid_probe pr, const struct view *v)
{
	int rc, n = 0;

	if (!set_up(pr, v, false))
		return false;
	while ((rc = blkid_do_probe(pr)) == 0)
		n++;
	return rc > 0 && n > 1;
}

static int ask(struct bowimg_disk *dev, blkid_probe pr, const struct view *v, struct bow_probe *out,
	       struct bowimg_error *err)
{
	int rc;

	if (!set_up(pr, v, true))
		return failed(dev, err);
	rc = blkid_do_safeprobe(pr);
	if (rc == -2 || (rc < 0 && several_claim_it(pr, v)))
		return ambivalent(dev, "", "", err);
	if (rc < 0)
		return failed(dev, err);
	copy_value(pr, "TYPE", out->type, sizeof(out->type));
	copy_value(pr, "PTTYPE", out->pttype, sizeof(out->pttype));
	return 0;
}

/* Does anything else claim a volume in which we would find free blocks? */
static int ask_others(struct bowimg_disk *dev, blkid_probe pr, const struct view *v,
		      const struct bow_probe *found, struct bowimg_error *err)
{
	char type[sizeof(found->type)];
	int rc;

	if (!bow_fs_find(found->type))
		return 0;
	if (!set_up(pr, v, false))
		return failed(dev, err);
	while ((rc = blkid_do_probe(pr)) == 0) {
		copy_value(pr, "TYPE", type, sizeof(type));
		if (strcmp(type, found->type) != 0)
			return ambivalent(dev, found->type, type, err);
	}
	return rc < 0 ? failed(dev, err) : 0;
}

/*
 * libblkid does not take the boot sector of a FAT for an MBR, but the kernel reads its entries:
 * what the kernel shows as partitions is in use. An MBR without entries claims nothing.
 */
static int look_at_mbr(struct bowimg_disk *dev, struct bow_probe *found, struct bowimg_error *err)
{
	uint8_t mbr[512] = {0};
	int rc = found->type[0] ? bow_disk_read(dev, mbr, bow_min(sizeof(mbr), dev->size), 0, err)
				: 0;

	if (rc || !found->type[0])
		return rc;
	if (!found->pttype[0] && bow_mbr_shows_partitions(mbr, dev->size / dev->sector_size))
		snprintf(found->pttype, sizeof(found->pttype), "dos");
	else if (!strcmp(found->pttype, "dos") && bow_is_zero(mbr + 446, 64))
		found->pttype[0] = '\0';
	return 0;
}

static int probe_view(struct bowimg_disk *dev, const struct view *v, struct bow_probe *out,
		      struct bowimg_error *err)
{
	blkid_probe pr = blkid_new_probe();
	int rc = pr ? ask(dev, pr, v, out, err) : -ENOMEM;

	if (!pr)
		return bow_err_errno(err, rc, "%s: find out what it holds", dev->name);
	if (!rc)
		rc = ask_others(dev, pr, v, out, err);
	blkid_free_probe(pr);
	return rc ? rc : look_at_mbr(dev, out, err);
}

int bow_probe_device(struct bowimg_disk *dev, struct bow_probe *out, struct bowimg_error *err)
{
	struct view v = {.bytes = dev->size, .sector_size = dev->sector_size};
	CLEANUP_CLOSE int fd = v.fd = bow_disk_reopen(dev, &v.off);
	int rc = 0;

	*out = (struct bow_probe){0};
	if (fd < 0) {
		v.off = 0;
		fd = v.fd = bow_places_copy(dev, err);
		rc = fd < 0 ? fd : 0;
	}
	return rc ? rc : probe_view(dev, &v, out, err);
}

int bow_probe_refuse_both(struct bowimg_disk *dev, const struct bow_probe *found,
			  struct bowimg_error *err)
{
	if (!found->type[0] || !found->pttype[0])
		return 0;
	bow_err(err, -EOPNOTSUPP,
		"%s: find out what it holds: a file system (%s) and a partition table (%s) both "
		"claim it",
		dev->name, found->type, found->pttype);
	bow_err_hint(err, "without either: " BOW_HINT_WITHOUT
			  "; to find the stale one: wipefs " BOW_HINT_DEVICE);
	return -EOPNOTSUPP;
}
