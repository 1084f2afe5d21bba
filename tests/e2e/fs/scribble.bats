#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2030,SC2031
# Is what a source calls free really free? A checkpoint is opened, every free block that bowimg has
# not taken itself is filled with random bytes, and the image is rolled back (which brings back used
# blocks alone): the file system's own checker and the checksum of every file must not notice.

load ../../lib/common
load ../../lib/e2e
load ../../lib/filesystems

# The file system is shorter than its place, and what lies behind it is somebody else's.
TAIL_BYTES=$((4 * 1024 * 1024 + 1536))

# scribbled KIND SOURCE
scribbled() {
	local size
	requires jq
	fs_requires "$1"
	[ "$2" != trim ] || requires root loop fuse
	[ "$2" != partclone ] || requires partclone.xfs
	fs_make "$1" disk.img
	head -c $TAIL_BYTES /dev/urandom | tee -a disk.img >behind
	fs_sums "$1" disk.img >before
	cp --sparse=always disk.img original.img
	expect 0 prepare --no-exact --free-from="$2" disk.img
	[ "$(key free-source)" = "$2" ]
	size=$(free_map scribble disk.img)
	echo "$size bytes were filled"
	[ "$size" -gt 1000000 ]
	[ "$(sum disk.img)" != "$(sum original.img)" ]
	expect 0 rollback --force=changed disk.img
	tail -c $TAIL_BYTES disk.img | cmp behind -
	[ "$2" = trim ] || [ "$(free_map changed original.img disk.img "$2")" -eq 0 ]
	truncate -s -$TAIL_BYTES disk.img
	fs_check "$1" disk.img
	fs_sums "$1" disk.img >after
	cmp before after
}

@test "what ext calls free on ext4 is free" { scribbled ext4 ext; }
@test "what the kernel trims on ext4 is free" { scribbled ext4 trim; }
@test "what partclone calls free on xfs is free" { scribbled xfs partclone; }
@test "what the kernel trims on xfs is free" { scribbled xfs trim; }
@test "what partclone calls free on btrfs is free, in all copies" { scribbled btrfs partclone; }
@test "what the kernel trims on btrfs is free, in all copies" { scribbled btrfs trim; }
@test "what the table calls free on FAT12 is free" { scribbled fat12 fat; }
@test "what the table calls free on FAT16 is free" { scribbled fat16 fat; }
@test "what the table calls free on FAT32 is free" { scribbled fat32 fat; }
@test "what partclone calls free on FAT12 is free once the table has been heard" {
	scribbled fat12 partclone
}
@test "what partclone calls free on FAT32 is free" { scribbled fat32 partclone; }
@test "what partclone calls free on ntfs is free" { scribbled ntfs partclone; }
@test "what partclone calls free on exfat is free" { scribbled exfat partclone; }
@test "what partclone calls free on f2fs is free" { scribbled f2fs partclone; }

# agree KIND FIRST SECOND: what the second calls used, the first must not call free. What is free by
# the second alone is shown.
agree() {
	fs_requires "$1"
	requires root loop fuse partclone.xfs
	fs_make "$1" disk.img
	local found
	found=$(free_map compare disk.img "$2" "$3")
	echo "# $1: bytes free by both, by $2 alone, by $3 alone: $found" >&3
	[ "$(cut -d' ' -f1 <<<"$found")" -gt 1000000 ]
	[ "$(cut -d' ' -f2 <<<"$found")" -eq 0 ]
}

@test "no source calls free what the kernel does not trim, or ext or the FAT calls used" {
	agree ext4 ext trim
	agree ext4 trim ext
	partclone.extfs -F -s disk.img -D -o made.map -L /dev/null
	free_map compare disk.img ext map:made.map | grep -qE '^[1-9][0-9]* 0 0$'
	agree fat16 partclone fat
	agree fat12 partclone fat
}

@test "partclone calls no block of xfs or btrfs free that the kernel does not trim" {
	agree xfs partclone trim
	agree btrfs partclone trim
}

# Not at the beginning of the image, and not on a block of 4 KiB: as in old partition tables.
in_a_part() {
	local bytes off=$((63 * 512))
	fs_requires "$1"
	requires root loop fuse partclone.xfs
	rm -f disk.img
	fs_make "$1" fs.img
	fs_sums "$1" fs.img >before
	bytes=$(stat -c %s fs.img)
	truncate -s $((off + bytes + 1000000)) disk.img
	dd if=fs.img of=disk.img bs=512 seek=63 conv=notrunc,sparse status=none
	[ "$(free_map part disk.img $off "$bytes" "$2")" -gt 1000000 ]
	dd if=disk.img of=fs.img bs=512 skip=63 count=$((bytes / 512)) conv=sparse status=none
	fs_check "$1" fs.img
	fs_sums "$1" fs.img >after
	cmp before after
	[ "$(dd if=disk.img bs=512 count=63 status=none | tr -d '\0' | wc -c)" -eq 0 ]
	[ "$(tail -c 1000000 disk.img | tr -d '\0' | wc -c)" -eq 0 ]
}

@test "in a part of an image, what partclone calls free is free" {
	in_a_part btrfs partclone
	in_a_part f2fs partclone
}

@test "in a part of an image, what the table or the kernel calls free is free" {
	in_a_part fat16 fat
	in_a_part xfs trim
}
