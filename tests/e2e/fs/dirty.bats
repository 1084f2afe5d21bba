#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A file system that is not clean is refused, whoever would read its free map: its blocks are not
# what its tables say. The unclean end is a real one where the tools for it exist here.

load ../../lib/common
load ../../lib/e2e
load ../../lib/filesystems

# refuses PATTERN: as root and with any source; the image stays as it is.
refuses() {
	local was
	was=$(sum disk.img)
	refused 6 "$1" prepare disk.img
	refused 6 "$1" prepare -n disk.img
	refused 6 "$1" map disk.img
	[ "$(sum disk.img)" = "$was" ]
	[ "$(key state)" = none ]
}

# An image as a power cut leaves it: copied while it is mounted and has been written to.
cut_off() {
	fs_requires "$1"
	fs_make "$1" live.img
	fs_mount "$1" live.img fs
	head -c 300000 /dev/urandom >fs/late
	within 30 dd if=/dev/urandom of=fs/synced bs=64k count=2 conv=fsync status=none
	cp --sparse=always live.img disk.img
	fs_umount "$T/fs"
}

@test "an ext4 whose journal must be replayed is refused" {
	cut_off ext4
	refuses 'journal.*replayed'
}

@test "an xfs whose log must be replayed is refused, and taken after a mount" {
	cut_off xfs
	refuses 'log must be replayed'
	fs_mount xfs disk.img fs
	fs_umount "$T/fs"
	expect 0 prepare -n disk.img
}

@test "a btrfs with a log tree is refused, and taken after a mount" {
	cut_off btrfs
	refuses 'log tree'
	fs_mount btrfs disk.img fs
	fs_umount "$T/fs"
	expect 0 prepare -n disk.img
}

@test "the kernel's trims are taken after it has replayed a journal, which is told" {
	local kind
	for kind in ext4 xfs btrfs; do
		cut_off "$kind"
		expect 0 prepare --no-exact --free-from=trim disk.img
		grep -q 'before the checkpoint' <<<"$stderr"
		free_map scribble disk.img
		expect 0 rollback --force=changed disk.img
		fs_mount "$kind" disk.img fs
		[ -f fs/synced ]
		fs_umount "$T/fs"
		fs_check "$kind" disk.img
	done
}

@test "a dry run replays no journal, and says that it would have to" {
	local was
	cut_off ext4
	was=$(sum disk.img)
	refused 1 'must write' prepare -n --free-from=trim disk.img
	refused 1 'must write' map --free-from=trim disk.img
	[ "$(sum disk.img)" = "$was" ]
}

@test "one of several devices of a btrfs is refused" {
	local a b
	fs_requires btrfs
	truncate -s 160M disk.img other.img
	a=$(losetup -f --show disk.img)
	b=$(losetup -f --show other.img)
	mkfs.btrfs -q "$a" "$b"
	losetup -d "$a" "$b"
	refused 9 'several devices' prepare disk.img
	refused 9 'several devices' prepare --free-from=trim disk.img
}

@test "an xfs with its log or realtime part elsewhere is refused" {
	fs_requires xfs
	truncate -s 300M disk.img log.img
	mkfs.xfs -q -l logdev=log.img,size=64m disk.img
	refused 9 'log is on another device' prepare disk.img
	mkfs.xfs -q -f -r rtdev=log.img disk.img
	refused 9 'realtime' prepare disk.img
}

# set_bytes IMAGE OFFSET HEX
set_bytes() {
	xxd -r -p <<<"$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "a FAT whose boot sector or table has the dirty mark that the format defines is refused" {
	local kind boot table
	for kind in fat12:37: fat16:37:fff87fff fat32:65:f8ffff0fffffff07; do
		IFS=: read -r kind boot table <<<"$kind"
		fs_requires "$kind"
		fs_make "$kind" clean.img
		cp clean.img disk.img
		set_bytes disk.img "$boot" 01
		fsck.vfat -n disk.img | grep -q 'Dirty bit is set'
		refuses 'not cleanly unmounted'
		fsck.vfat -a disk.img || [ $? -eq 1 ]
		expect 0 prepare -n disk.img
		[ -n "$table" ] || continue
		cp clean.img disk.img
		set_bytes disk.img $((512 * $(od -An -tu2 -j14 -N2 disk.img))) "$table"
		refuses 'not cleanly unmounted|copies of the FAT differ'
	done
}

@test "a FAT whose copies differ is refused" {
	fs_requires fat16
	fs_make fat16 disk.img
	set_bytes disk.img $((512 * $(od -An -tu2 -j14 -N2 disk.img) + 200)) ffff
	refuses 'copies of the FAT differ'
}

@test "an exfat that was copied while it was mounted is refused" {
	fs_requires exfat
	fs_make exfat live.img
	fs_mount exfat live.img fs
	head -c 300000 /dev/urandom >fs/late
	cp --sparse=always live.img disk.img
	fs_umount "$T/fs"
	refuses 'not cleanly unmounted'
	fsck.exfat -y disk.img || [ $? -eq 1 ]
	expect 0 prepare -n disk.img
}

@test "an ntfs that is to be checked is refused, and taken after that" {
	fs_requires ntfs
	fs_make ntfs disk.img
	within 30 ntfsfix disk.img # asks Windows to check it
	refuses 'to be checked'
	within 30 ntfsfix -d disk.img
	expect 0 prepare -n disk.img
}

@test "an ntfs on which a Windows is hibernated is refused" {
	local i
	fs_requires ntfs
	fs_make ntfs disk.img
	fs_mount ntfs disk.img fs
	# Enough names that the root directory has blocks of its own.
	for ((i = 0; i < 120; i++)); do
		echo "$i" >"fs/some_long_name_for_a_file_$i"
	done
	{ printf hibr; head -c 8188 /dev/zero; } >fs/hiberfil.sys
	fs_umount "$T/fs"
	refuses 'hibernated'
	fs_mount ntfs disk.img fs remove_hiberfile
	fs_umount "$T/fs"
	expect 0 prepare -n disk.img
}

# f2fs_flags IMAGE HEX: the flags of both checkpoints, with the checksums that go with them.
f2fs_flags() {
	python3 - "$1" "$2" <<-'EOF'
		import struct, sys, zlib
		def crc(data):
		    return zlib.crc32(data, 0xf2f52010 ^ 0xffffffff) ^ 0xffffffff
		with open(sys.argv[1], 'r+b') as f:
		    f.seek(1024 + 76)
		    start = struct.unpack('<I', f.read(4))[0]
		    for pack in (start, start + 512):
		        f.seek(pack * 4096)
		        head = f.read(4096)
		        count = struct.unpack_from('<I', head, 136)[0]
		        for at in (pack, pack + count - 1) if 2 <= count <= 512 else ():
		            f.seek(at * 4096)
		            block = bytearray(f.read(4096))
		            struct.pack_into('<I', block, 132, int(sys.argv[2], 16))
		            where = struct.unpack_from('<I', block, 164)[0]
		            struct.pack_into('<I', block, where, crc(block[:where]))
		            f.seek(at * 4096)
		            f.write(block)
	EOF
}

@test "an f2fs whose checkpoint was not written at unmount, as its flags tell, is refused" {
	fs_requires f2fs
	requires python3
	fs_make f2fs disk.img
	f2fs_flags disk.img 05
	expect 0 prepare -n disk.img
	f2fs_flags disk.img 04
	refuses 'not cleanly unmounted'
	f2fs_flags disk.img 07
	refuses 'not cleanly unmounted'
	f2fs_flags disk.img 15
	refuses 'has errors'
}

@test "a file system that was cut off is refused" {
	local kind
	for kind in xfs btrfs fat16 ntfs exfat f2fs; do
		fs_requires $kind
		fs_format $kind disk.img
		truncate -s -2M disk.img
		refused 6 'larger than the image|beyond the end|several file systems|no known' \
			prepare disk.img || refused 9 'no known file system' prepare disk.img
	done
}
