#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Tools that rewrite much or all of a disk, through bowimg, and undone.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
}

# undone COMMAND...: changes disk.img by running COMMAND on it; then all is as before.
undone() {
	expect 0 run --on-success=keep --on-failure=keep disk.img -- "$@"
	[ "$(key changed-bytes)" -gt 0 ]
	expect 0 verify disk.img
	expect 0 rollback disk.img
	same_as "$before"
}

@test "tune2fs, e2fsck -fyD, e2label and a change of features" {
	make_ext4 disk.img 48M -O ^dir_index
	remember
	undone tune2fs -L renamed -c 5 -m 1 {}
	undone tune2fs -O ^has_journal {}
	undone tune2fs -O dir_index {}
	undone tune2fs -U random {}
	undone e2fsck -fyD {}
	undone sh -c 'tune2fs -O ^metadata_csum "$1" && e2fsck -fyD "$1"' sh {}
}

@test "resize2fs: shrunk, and grown again, inside the image" {
	make_ext4 disk.img 96M
	remember
	undone sh -c 'e2fsck -fy "$1" && resize2fs "$1" 40M' sh {}
	undone sh -c 'e2fsck -fy "$1" && resize2fs "$1" 40M && resize2fs "$1"' sh {}
	# From a file system that fills a part of the image only: the rest counts as used.
	resize2fs disk.img 40M
	truncate -s 96M disk.img
	remember
	expect 0 prepare disk.img
	undone sh -c 'e2fsck -fy "$1" && resize2fs "$1" 96M' sh {}
}

@test "resize2fs -M and a commit: the small file system is sound" {
	make_ext4 disk.img 96M
	expect 0 run --on-success=commit --on-failure=rollback disk.img -- \
		sh -c 'e2fsck -fy "$1" && resize2fs -M "$1"' sh {}
	clean_fs
	[ "$(key state)" = none ]
}

# With files in it: the new file system has to work through bowimg, too.
fill_new_fs() {
	# shellcheck disable=SC2016
	within 90 "$BOWIMG" run --on-success=keep --on-failure=keep disk.img -- sh -c '
		set -e
		mkdir -p mnt
		"$@"
		eval "disk=\$$#"
		mount "$disk" mnt
		head -c 20M /dev/urandom >mnt/new
		cp -r "'"$BATS_FILE_TMPDIR"'/tree" mnt/
		sum=$(sha256sum mnt/new)
		umount mnt
		mount "$disk" mnt
		[ "$sum" = "$(sha256sum mnt/new)" ]
		umount mnt' sh "$@"
	expect 0 verify disk.img
	expect 0 rollback disk.img
	same_as "$before"
}

@test "mkfs.vfat over the whole disk" {
	requires mkfs.vfat
	make_ext4 disk.img 64M
	remember
	undone sh -c 'mkfs.vfat "$1" && fsck.vfat -n "$1"' sh {}
}

@test "mkfs.btrfs over the whole disk, with files" {
	requires mkfs.btrfs
	make_ext4 disk.img 160M
	remember
	fill_new_fs mkfs.btrfs -q -f {}
}

@test "mkfs.xfs over the whole disk, with files" {
	requires mkfs.xfs
	make_ext4 disk.img 320M
	remember
	fill_new_fs mkfs.xfs -q -f {}
}

@test "another mkfs.ext4, and dd of noise over everything" {
	make_ext4 disk.img 48M
	remember
	expect 0 prepare --on-full=tail disk.img
	undone mkfs.ext4 -q -F -b 4096 {}
	expect 0 prepare --on-full=tail disk.img
	undone dd if=/dev/urandom of={} bs=1M count=48 conv=notrunc,fsync status=none
	expect 0 prepare --on-full=tail disk.img
	undone dd if=/dev/zero of={} bs=1M count=48 conv=notrunc,fsync status=none
}
