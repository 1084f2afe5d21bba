#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Every file system through a whole checkpoint: prepared, changed until its free space has an end,
# rolled back. By the kernel's mount where it has one, else by the tools that know the format.

load ../../lib/common
load ../../lib/e2e
load ../../lib/filesystems

setup() {
	common_setup
	requires root loop fuse jq
}

# prepared KIND [OPTION...]: a file system with files, its sums and a copy kept, a checkpoint open.
prepared() {
	fs_requires "$1"
	fs_make "$1" disk.img
	fs_sums "$1" disk.img >before
	cp --sparse=always disk.img original.img
	expect 0 prepare "${@:2}" disk.img
}

# How far it went: for the reader of the log.
tell() {
	timeout 20 "$BOWIMG" status --json disk.img | jq -r --arg kind "$1" '
		"# \($kind): of \(."free-total-bytes" / 1048576 | floor) MiB free \(
		(."free-total-bytes" - ."free-left-bytes") / 1048576 | floor) were taken, \(
		."backup-bytes" / 1048576 | floor) MiB of backups, \(
		."changed-bytes" / 1048576 | floor) MiB changed, tail \(
		."tail-bytes" / 1048576 | floor) MiB"' >&3
}

# Overwrite, copy, delete and add, in rounds, until nothing fits any more (or ROUNDS are over).
churn() {
	local dir=$1 round
	for ((round = 0; round < ${2:-40}; round++)); do
		find "$dir" -name 'file*' -type f | while read -r file; do
			dd if=/dev/urandom of="$file" bs=64k count=4 conv=notrunc status=none || exit 1
		done || return 0
		cp -r "$dir/sub" "$dir/copy$round" || return 0
		head -c 2000000 /dev/urandom >"$dir/new$round" || return 0
		[ "$round" -lt 3 ] || rm -rf "$dir/copy$((round - 3))" "$dir/new$((round - 3))"
		sync -f "$dir" || return 0
	done 2>>"$T/churn.err"
}

# exactly KIND: the whole image is what it was.
exactly() {
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$(sum original.img)" ]
	fs_check "$1" disk.img
}

# in_use KIND SOURCE: every used block, and so every file, is what it was.
in_use() {
	expect 0 rollback disk.img
	[ "$(free_map changed original.img disk.img "$2")" -eq 0 ]
	fs_check "$1" disk.img
	fs_sums "$1" disk.img >after
	cmp before after
}

# by_mount KIND: changed and filled by a kernel mount, with the tail behind it; exact.
by_mount() {
	prepared "$1" --exact
	up
	churn mnt 6
	fill mnt/full
	down
	tell "$1"
	exactly "$1"
}

@test "an ext4 that was changed and filled up comes back byte for byte" { by_mount ext4; }
@test "an xfs that was changed and filled up comes back byte for byte" { by_mount xfs; }
@test "a btrfs that was changed and filled up comes back byte for byte" { by_mount btrfs; }

# until_full KIND SOURCE: where writes fail when the free space is used up, nothing is lost.
until_full() {
	prepared "$1" --no-exact --on-full=stop --free-from="$2"
	up
	churn mnt
	fill mnt/full || true
	within 60 umount mnt || umount -l mnt
	bow detach disk.img
	tell "$1"
	# More than a third of it was put to use before that.
	[ $((3 * $(key free-left-bytes))) -lt $((2 * $(key free-total-bytes))) ]
	in_use "$1" "$2"
}

@test "an ext4 whose free space ends during a checkpoint keeps every used block" {
	until_full ext4 ext
}

@test "an xfs whose free space ends during a checkpoint keeps every used block" {
	until_full xfs partclone
}

# Its own copy-on-write takes free blocks for every change, and so do the backups.
@test "a btrfs with snapshots, defragment and balance keeps every used block until space ends" {
	local round
	prepared btrfs --no-exact --on-full=stop --free-from=partclone
	up
	for round in 1 2 3 4 5 6 7 8; do
		within 30 btrfs subvolume snapshot mnt "mnt/snap$round" || break
		churn mnt 1
		within 30 btrfs filesystem defragment -r mnt || break
		within 60 btrfs balance start --full-balance mnt || break
		sync -f mnt || break
	done
	echo "# btrfs: $round rounds" >&3
	tell "btrfs with its own copy-on-write"
	within 60 umount mnt || umount -l mnt
	bow detach disk.img
	in_use btrfs partclone
}

# through_fuse KIND: the image's own file, at fuse/disk.
attach_fuse() {
	mkdir -p fuse
	expect 0 attach --fuse "$T/fuse" disk.img
}

@test "a FAT changed and filled up by mtools comes back byte for byte" {
	local kind i
	for kind in fat12 fat32; do
		prepared $kind --exact
		attach_fuse
		mdeltree -i fuse/disk ::/sub
		head -c 1000000 /dev/urandom >some
		for ((i = 0; i < 80; i++)); do
			mcopy -o -i fuse/disk some "::/new$i" || break
		done 2>/dev/null
		[ "$i" -gt 1 ] && [ "$i" -lt 80 ]
		expect 0 detach disk.img
		tell $kind
		exactly $kind
	done
}

@test "an ntfs changed and filled up by ntfs-3g comes back byte for byte" {
	prepared ntfs --exact
	attach_fuse
	fs_mount ntfs fuse/disk mnt big_writes
	churn mnt 3
	fill mnt/full
	fs_umount "$T/mnt"
	expect 0 detach disk.img
	tell ntfs
	exactly ntfs
}

@test "an exfat changed and filled up by exfat-fuse comes back byte for byte" {
	prepared exfat --exact
	attach_loop disk.img
	mkdir mnt
	within 30 mount.exfat-fuse "$device" mnt >/dev/null
	churn mnt 3
	fill mnt/full
	fs_umount "$T/mnt"
	expect 0 detach disk.img
	tell exfat
	exactly exfat
}

@test "an f2fs changed by sload.f2fs comes back byte for byte" {
	prepared f2fs --exact
	attach_fuse
	files more 20000000
	sload.f2fs -f more -t /more fuse/disk >/dev/null
	expect 0 detach disk.img
	tell f2fs
	[ "$(key changed-bytes)" -gt 0 ]
	exactly f2fs
}
