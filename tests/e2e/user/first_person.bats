#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What the first person does with it: a small disk as mkfs makes it, some files, a mount, an undo.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
	make_ext4 disk.img 64M
	remember
	expect 0 prepare disk.img
	up
	within 30 fstrim mnt
	change_tree mnt
	tree_sums mnt >new.sums
	down
}

@test "rollback of a disk that was mounted, trimmed, overwritten and added to" {
	expect 0 verify disk.img
	expect 0 rollback disk.img
	same_as "$before"
	clean_fs
	[ "$(key state)" = none ]
}

@test "commit of the same keeps the new files, and then there is nothing to roll back" {
	expect 0 commit disk.img
	clean_fs
	[ "$(stat -c %s disk.img)" -eq $((64 << 20)) ]
	within 30 mount -o loop,ro disk.img mnt
	tree_sums mnt | diff new.sums -
	within 30 umount mnt
	refused 3 "" rollback disk.img
	refused 3 "" commit disk.img
}

@test "the prepared image cannot be mounted, repaired or recognised by accident" {
	run -32 mount -o loop disk.img mnt
	run mount -t ext4 -o loop disk.img mnt
	[ "$status" -ne 0 ]
	run e2fsck -p disk.img
	[ "$status" -ge 8 ]
	run blkid -p disk.img
	[ "$status" -eq 2 ]
	run -0 strings -n 8 disk.img
	head -n 20 <<<"$output" | grep -q 'bowimg rollback'
	head -n 20 <<<"$output" | grep -q 'bowimg commit'
	expect 0 rollback disk.img
	same_as "$before"
}
