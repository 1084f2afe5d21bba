/* SPDX-License-Identifier: MIT */
/* Is an exFAT clean? After Microsoft's "exFAT file system specification". */
#include <string.h>

#include "lib/base/bytes.h"
#include "lib/freespace/fs/common.h"
#include "lib/freespace/fs/kinds.h"

#define TOOL "fsck.exfat -y " BOW_HINT_DEVICE
/* No tool of Linux takes this mark away. */
#define SURFACE "chkdsk /r in Windows, which looks for bad places"

static int check(struct bowimg_disk *vol, enum bow_fs_reader reader, struct bow_fs_limits *limits,
		 struct bowimg_error *err)
{
	uint8_t raw[512];
	uint64_t sectors;
	uint32_t flags;
	int rc = bow_fs_read(vol, raw, sizeof(raw), 0, err);

	(void)reader; /* there is no journal to replay */
	if (rc)
		return rc;
	sectors = bow_get64(raw + 72);
	if (memcmp(raw + 3, "EXFAT   ", 8) != 0 || raw[108] < 9 || raw[108] > 12 || !sectors)
		return bow_fs_malformed(vol, "impossible sizes in the boot sector", err);
	if (sectors > vol->size >> raw[108])
		return bow_fs_cut_off(vol, err);
	if (raw[110] != 1)
		return bow_fs_unsupported(vol, "an exFAT with two allocation tables", err);
	limits->extent = sectors << raw[108];
	flags = bow_get16(raw + 106);
	if (flags & 2)
		return bow_fs_unclean(vol, "the exFAT was not cleanly unmounted", TOOL, err);
	if (flags & 4)
		return bow_fs_unclean(vol, "the exFAT has noted errors of its disk", SURFACE, err);
	return 0;
}

const struct bow_fs_kind bow_fs_exfat = {
	.type = "exfat",
	.name = "exFAT",
	.program = "partclone.exfat",
	.check = check,
};
