#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What is on the image, not what was there before: VMFS where swap space was, told by a signature
# away from both ends. As a file, in a partition of one, on a server.

load ../../lib/common
load ../../lib/front
load ../../lib/remote
load ../../lib/disk

setup() {
	common_setup
	requires mkswap blkid jq
}

# vmfs_at IMAGE BYTE: its volume header, 1 MiB behind where it begins.
vmfs_at() {
	printf '\x0d\xd0\x01\xc0' | dd of="$1" bs=1M seek=$(($2 / 1048576 + 1)) conv=notrunc status=none
}

@test "a file is what libblkid takes it for, not the swap space it was" {
	truncate -s 24M disk.img
	mkswap disk.img >/dev/null 2>&1
	expect 0 prepare -n disk.img
	vmfs_at disk.img 0
	[ "$(blkid -p -s TYPE -o value disk.img)" = VMFS_volume_member ]
	refused 9 'VMFS_volume_member' prepare disk.img
}

@test "nor is a partition" {
	requires sfdisk
	truncate -s 32M disk.img
	echo 'start=2048, size=24M, type=82' | sfdisk -q --label dos disk.img
	swap_on disk.img 1
	expect 0 prepare -n --json disk.img
	[ "$(json '.partitions[0]."free-source"' <<<"$output")" = swap ]
	vmfs_at disk.img "$(start_of disk.img 1)"
	expect 0 prepare -n --json disk.img
	[ "$(json '.partitions[0].content' <<<"$output")" = VMFS_volume_member ]
	[ "$(json '."free-total-bytes"' <<<"$output")" -eq 0 ]
}

@test "nor is an export of a server" {
	requires nbdkit
	truncate -s 24M disk.img
	mkswap disk.img >/dev/null 2>&1
	remote
	expect 0 prepare -n "$remote"
	vmfs_at disk.img 0
	refused 9 'VMFS_volume_member' prepare "$remote"
}

@test "an NTFS with shadow copies in its free space is prepared in exact mode alone" {
	requires mkntfs partclone.ntfs
	truncate -s 24M disk.img
	mkntfs -qF disk.img >/dev/null 2>&1
	expect 0 prepare -n --no-exact disk.img
	printf '\x6b\x87\x08\x38\x76\xc1\x48\x4e\xb7\xae\x04\x04\x6e\x6c\xc7\x52' |
		dd of=disk.img bs=1 seek=$((0x1e00)) conv=notrunc status=none
	expect 0 prepare -n --no-exact disk.img
	printf '\1' | dd of=disk.img bs=1 seek=$((0x1e00 + 50)) conv=notrunc status=none
	refused 9 'shadow copies' prepare --no-exact disk.img
	expect 0 prepare -v disk.img
	grep -q 'exact: the whole image.*(an NTFS has shadow copies' <<<"$output"
	expect 0 rollback disk.img
}

@test "a FAT whose boot sector has partitions is refused with the ways out" {
	requires mkfs.vfat
	truncate -s 24M disk.img
	mkfs.vfat disk.img >/dev/null
	printf '\x80\1\1\0\x83\xfe\xff\xff\0\x08\0\0\0\x20\0\0' |
		dd of=disk.img bs=1 seek=446 conv=notrunc status=none
	refused 9 'a file system \(vfat\) and a partition table \(dos\) both claim it' prepare disk.img
	grep -q 'wipefs' <<<"$stderr"
}
