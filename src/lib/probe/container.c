/* SPDX-License-Identifier: MIT */
/* Files that contain a disk but are no raw image: refused, with the tool that converts them. */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/base/show.h"
#include "lib/probe/probe.h"

enum cure { CONVERT, DECOMPRESS, UNSPARSE, RESTORE };

/* Where the signature is: bytes from the start, or, if negative, from the end. */
struct signature {
	int32_t at;
	uint8_t bytes;
	const char *magic;
	const char *what;
	enum cure cure;
};

static const struct signature signatures[] = {
	{0, 4, "QFI\xfb", "a qcow or qcow2 image", CONVERT},
	{0, 4, "QED\0", "a QED image", CONVERT},
	{0, 4, "KDMV", "a VMDK image", CONVERT},
	{0, 4, "COWD", "a VMDK image", CONVERT},
	{0, 8, "\xbe\xba\xfe\xca\0\0\0\0", "a VMDK image", CONVERT},
	{0, 21, "# Disk DescriptorFile", "the description of a VMDK image", CONVERT},
	{0, 8, "vhdxfile", "a VHDX image", CONVERT},
	{0, 8, "conectix", "a VHD image", CONVERT},
	{-512, 8, "conectix", "a VHD image", CONVERT},
	{64, 4, "\x7f\x10\xda\xbe", "a VDI image", CONVERT},
	{0, 16, "WithoutFreeSpace", "a Parallels image", CONVERT},
	{0, 16, "WithouFreSpacExt", "a Parallels image", CONVERT},
	{0, 22, "Bochs Virtual HD Image", "a Bochs image", CONVERT},
	{-512, 4, "koly", "an Apple disk image (dmg)", CONVERT},
	{0, 4, "\x3a\xff\x26\xed", "an Android sparse image", UNSPARSE},
	{0, 15, "partclone-image", "a partclone backup", RESTORE},
	{0, 3, "\x1f\x8b\x08", "gzip-compressed data", DECOMPRESS},
	{0, 6, "\xfd\x37zXZ\0", "xz-compressed data", DECOMPRESS},
	{0, 4, "\x28\xb5\x2f\xfd", "zstd-compressed data", DECOMPRESS},
	{0, 4, "\x04\x22\x4d\x18", "lz4-compressed data", DECOMPRESS},
	{4, 6, "1AY&SY", "bzip2-compressed data", DECOMPRESS},
	{0, 4, "PK\x03\x04", "a zip archive", DECOMPRESS},
	{0, 6, "7z\xbc\xaf\x27\x1c", "a 7z archive", DECOMPRESS},
};

#define SIGNATURES (sizeof(signatures) / sizeof(signatures[0]))

static void hint_for(struct bowimg_disk *dev, enum cure cure, struct bowimg_error *err)
{
	switch (cure) {
	case CONVERT:
		bow_err_hint(err,
			     "convert it to a raw image first: qemu-img convert -O raw %s "
			     "disk.img",
			     BOW_WORD(dev->name));
		break;
	case DECOMPRESS:
		bow_err_hint(err, "decompress it first, then prepare the raw image that was in it");
		break;
	case UNSPARSE:
		bow_err_hint(err, "convert it to a raw image first: simg2img %s disk.img",
			     BOW_WORD(dev->name));
		break;
	case RESTORE:
		bow_err_hint(err,
			     "restore it to a raw image first: partclone.restore -C -s %s -O "
			     "disk.img",
			     BOW_WORD(dev->name));
		break;
	}
}

/* `head` and `tail` hold 512 bytes each: the device's first, and its last. */
static bool matches(const struct signature *s, const uint8_t *head, const uint8_t *tail)
{
	const uint8_t *at = s->at < 0 ? tail + 512 + s->at : head + s->at;

	return memcmp(at, s->magic, s->bytes) == 0;
}

int bow_probe_refuse_container(struct bowimg_disk *dev, struct bowimg_error *err)
{
	uint8_t head[512] = {0}, tail[512] = {0};
	const size_t bytes = bow_min(sizeof(head), dev->size);
	int rc = bow_disk_read(dev, head, bytes, 0, err);

	if (!rc && dev->size >= sizeof(tail))
		rc = bow_disk_read(dev, tail, sizeof(tail), dev->size - sizeof(tail), err);
	if (rc < 0)
		return bow_err_wrap(err, rc, "find out what the image is");
	for (size_t i = 0; i < SIGNATURES; i++) {
		if (!matches(&signatures[i], head, tail))
			continue;
		bow_err(err, -EOPNOTSUPP, "%s: this is not a raw image: it is %s", dev->name,
			signatures[i].what);
		hint_for(dev, signatures[i].cure, err);
		return -EOPNOTSUPP;
	}
	return 0;
}
