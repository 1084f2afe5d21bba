/* SPDX-License-Identifier: MIT */
/* What the readers of both kinds of table share. */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/disk/hint.h"
#include "lib/partitions/table.h"

struct bow_part *bow_table_add(struct bowimg_disk *dev, struct bow_table *out,
			       struct bowimg_error *err)
{
	if (out->count == BOWIMG_PARTITIONS_MAX) {
		bow_table_refuse(dev, -EOPNOTSUPP, "it has too many partitions", err);
		return NULL;
	}
	return &out->parts[out->count++];
}

int bow_table_refuse(struct bowimg_disk *dev, int code, const char *why, struct bowimg_error *err)
{
	bow_err(err, code, "%s: read the partition table: %s", dev->name, why);
	if (code == -EUCLEAN)
		bow_err_hint(err, "have it checked and written anew first (fdisk or gdisk, command "
				  "v, then w); without the table: " BOW_HINT_WITHOUT);
	else
		bow_err_hint(err, "without the table: " BOW_HINT_WITHOUT);
	return code;
}

int bow_table_cut_off(struct bowimg_disk *dev, const char *why, struct bowimg_error *err)
{
	bow_err(err, -EUCLEAN, "%s: read the partition table: %s", dev->name, why);
	bow_err_hint(err, "if the image was cut off, get a whole copy of it; else have the table "
			  "corrected with fdisk or gdisk");
	return -EUCLEAN;
}
