/* SPDX-License-Identifier: MIT */
/* One inode of one version. */
#include "bowimg/diff/ext/ext.h"

int bow_diff_ext_inode(struct bow_diff *d, enum bow_version version, ext2_ino_t ino,
		       struct bow_ext_inode *out, struct bowimg_error *err)
{
	struct bow_ext_fs *fs = &d->ext->fs[version];
	const uint32_t per_group = fs->lib->super->s_inodes_per_group;

	*out = (struct bow_ext_inode){.ino = ino};
	if (ino == 0 || ino > fs->lib->super->s_inodes_count ||
	    (ino - 1) % per_group >= bow_ext_table_used(fs, (ino - 1) / per_group))
		return 0;
	return bow_ext_read_inode(fs, ino, out, err);
}
