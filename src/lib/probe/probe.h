/* SPDX-License-Identifier: MIT */
/* What is on this device, by libblkid? And is it a container format instead of a raw image? */
#ifndef BOW_PROBE_PROBE_H
#define BOW_PROBE_PROBE_H

#include "lib/disk/disk.h"

struct bow_probe {
	char type[32];	 /* libblkid's TYPE: "ext4", "xfs", "vfat", "swap", ...; "" if unknown */
	char pttype[16]; /* partition table: "gpt", "dos", ...; "" if none */
};
/* -EOPNOTSUPP: several file systems claim it. */
int bow_probe_device(struct bowimg_disk *dev, struct bow_probe *out, struct bowimg_error *err);
/* -EOPNOTSUPP if a file system and a partition table both claim it. */
int bow_probe_refuse_both(struct bowimg_disk *dev, const struct bow_probe *found,
			  struct bowimg_error *err);
/* -EOPNOTSUPP with the right tool's name if dev is a qcow2, vmdk, vhdx, vdi, ... container. */
int bow_probe_refuse_container(struct bowimg_disk *dev, struct bowimg_error *err);

#endif
