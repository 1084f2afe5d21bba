/* SPDX-License-Identifier: MIT */
/* The fields of an inode. */
#include <stddef.h>
#include <string.h>

#include "lib/base/bytes.h"
#include "bowimg/diff/ext/fs.h"

int bow_ext_read_inode(struct bow_ext_fs *fs, ext2_ino_t ino, struct bow_ext_inode *out,
		       struct bowimg_error *err)
{
	struct ext2_inode_large raw = {0};
	errcode_t code =
		ext2fs_read_inode_full(fs->lib, ino, (struct ext2_inode *)&raw, sizeof(raw));

	if (code)
		return bow_err_wrap(err, bow_ext_fail(fs, code, "read an inode", err), "inode %u",
				    ino);
	out->ino = ino;
	out->raw = raw;
	return 0;
}

bool bow_ext_in_use(const struct bow_ext_inode *i)
{
	return i->raw.i_links_count > 0 && i->raw.i_mode != 0;
}

/* Does the inode have the field that ends at this offset? */
static bool has(const struct bow_ext_inode *i, size_t end)
{
	return (size_t)EXT2_GOOD_OLD_INODE_SIZE + i->raw.i_extra_isize >= end;
}

#define HAS(i, field) has(i, offsetof(struct ext2_inode_large, field) + sizeof((i)->raw.field))

uint64_t bow_ext_size(const struct bow_ext_inode *i)
{
	return EXT2_I_SIZE(&i->raw);
}

/* The two low bits of the extra field continue the seconds, which count from 1901 to 2446. */
static struct timespec mtime_of(const struct bow_ext_inode *i)
{
	struct timespec t = {.tv_sec = (int32_t)i->raw.i_mtime};

	if (HAS(i, i_mtime_extra)) {
		t.tv_sec += (time_t)(i->raw.i_mtime_extra & 3) << 32;
		t.tv_nsec = i->raw.i_mtime_extra >> 2;
		if (t.tv_nsec > 999999999)
			t.tv_nsec = 0;
	}
	return t;
}

/* The old form has 8 bits each, the new one 12 and 20, in the second word. */
static void set_device(const struct bow_ext_inode *i, unsigned *major, unsigned *minor)
{
	const uint32_t old = i->raw.i_block[0], new = i->raw.i_block[1];

	*major = old ? old >> 8 & 0xff : new >> 8 & 0xfff;
	*minor = old ? old & 0xff : (new & 0xff) | (new >> 12 & 0xfff00);
}

void bow_ext_describe(const struct bow_ext_inode *i, struct bow_inode *out)
{
	*out = (struct bow_inode){
		.ino = i->ino,
		.in_use = bow_ext_in_use(i),
		.mode = i->raw.i_mode,
		.links = i->raw.i_links_count,
		.uid = inode_uid(i->raw),
		.gid = inode_gid(i->raw),
		.size = bow_ext_size(i),
		.mtime = mtime_of(i),
		.is_encrypted = i->raw.i_flags & EXT4_ENCRYPT_FL,
		.generation = i->raw.i_generation,
		.has_birth = HAS(i, i_crtime),
	};
	set_device(i, &out->major, &out->minor);
	if (out->has_birth)
		out->birth.tv_sec = i->raw.i_crtime;
}
