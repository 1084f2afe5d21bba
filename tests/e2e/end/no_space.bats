#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Free space runs out with --on-full=stop: the writer is told, and everything can be undone.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
	make_tree tree
	head -c 20M /dev/urandom >tree/old
}

# overwrite_all FILE: until it is refused.
overwrite_all() {
	! within 60 dd if=/dev/urandom of="$1" bs=64k count=512 conv=notrunc,fsync status=none \
		2>refused
	cat refused
	grep -qE 'No space left' refused
}

@test "overwriting more than fits: ENOSPC for the writer, and everything comes back" {
	make_ext4 disk.img 48M -d tree
	remember
	expect 0 prepare --exact --on-full=stop disk.img
	mkdir fuse
	expect 0 attach --fuse "$T/fuse" disk.img
	overwrite_all fuse/disk
	[ "$(stat -c %s disk.img)" -eq $((48 << 20)) ]
	[ "$(key on-full)" = stop ]
	[ "$(key free-left-bytes)" -lt $((2 << 20)) ]
	# What is there can still be read, and what has its backup can be written.
	within 30 dd if=fuse/disk of=/dev/null bs=1M status=none
	within 30 dd if=/dev/urandom of=fuse/disk bs=64k count=16 conv=notrunc,fsync status=none
	expect 0 detach disk.img
	expect 0 verify disk.img
	expect 0 status disk.img
	grep -qE '^  space .* used; then writes fail$' <<<"$output"
	expect 0 rollback disk.img
	same_as "$before"
}

@test "through a mount: the write fails, status tells how little is left, all comes back" {
	make_ext4 disk.img 48M -d tree
	remember
	expect 0 prepare --exact --on-full=stop disk.img
	up
	within 60 dd if=/dev/urandom of=mnt/old bs=64k count=320 conv=notrunc,fsync status=none || true
	fill mnt/new
	[ "$(key free-left-bytes)" -lt $((2 << 20)) ]
	down || within 30 "$BOWIMG" umount "$T/mnt" || true
	run ! mountpoint -q mnt
	expect 0 rollback disk.img
	same_as "$before"
}

@test "a commit of a disk that had run full keeps what was written" {
	make_ext4 disk.img 48M -d tree
	expect 0 prepare --exact --on-full=stop disk.img
	attach_loop disk.img
	head -c 1M /dev/urandom >new
	within 30 dd if=new of="$device" bs=64k seek=64 conv=notrunc,fsync status=none
	within 60 dd if=/dev/urandom of="$device" bs=64k seek=80 conv=notrunc,fsync status=none || true
	expect 0 detach disk.img
	expect 0 commit disk.img
	cmp -n $((1 << 20)) -i $((64 * 65536)):0 disk.img new
	[ "$(stat -c %s disk.img)" -eq $((48 << 20)) ]
}

# on_device IMAGE OPTION...: prepare a loop device, as a disk would be, and mount it.
on_device() {
	target=$(losetup --find --show "$1")
	shift
	mkdir -p mnt
	expect 0 prepare "$@" "$target"
	expect 0 mount "$target" "$T/mnt"
}

@test "a block device: changed, rolled back, committed" {
	local target
	make_ext4 disk.img 64M -d tree
	remember
	on_device disk.img --exact
	[ "$(key on-full "$target")" = stop ]
	change_tree mnt
	tree_sums mnt >new.sums
	expect 0 umount "$T/mnt"
	expect 0 rollback "$target"
	[ "$(sum "$target")" = "$before" ]

	expect 0 prepare "$target"
	expect 0 mount "$target" "$T/mnt"
	change_tree mnt
	tree_sums mnt >new.sums
	expect 0 umount "$T/mnt"
	expect 0 commit "$target"
	clean_fs "$target"
	within 30 mount -o ro "$target" mnt
	tree_sums mnt | diff new.sums -
	within 30 umount mnt
	refused 3 "" rollback "$target"
}

@test "a block device that runs full: the default is stop, and all comes back" {
	local target
	make_ext4 disk.img 48M -d tree
	used_ranges disk.img >used
	cp disk.img before.img
	on_device disk.img --no-exact
	within 60 dd if=/dev/urandom of=mnt/old bs=64k count=320 conv=notrunc,fsync status=none || true
	fill mnt/new
	down || within 30 "$BOWIMG" umount "$T/mnt" || true
	expect 0 rollback "$target"
	used_equal used before.img "$target"
	clean_fs "$target"
}

@test "a block device whose server is killed" {
	local target
	make_ext4 disk.img 48M -d tree
	remember
	on_device disk.img --exact
	change_tree mnt
	tree_sums mnt >new.sums
	kill_daemon "$target"
	expect 0 mount "$target" "$T/mnt"
	tree_sums mnt | diff new.sums -
	rm -r mnt/copied mnt/old
	expect 0 umount "$T/mnt"
	expect 0 rollback "$target"
	[ "$(sum "$target")" = "$before" ]
}

@test "a device with sectors of 1024, 2048 or 4096 bytes" {
	local target size
	for size in 1024 2048 4096; do
		make_ext4 disk.img 32M -b 4096
		remember
		target=$(losetup --find --show --sector-size "$size" disk.img)
		expect 0 prepare --exact "$target"
		expect 0 run --on-success=keep "$target" -- e2label {} changed
		[ "$(key entries "$target")" -gt 0 ]
		expect 0 verify "$target"
		expect 0 rollback "$target"
		[ "$(sum "$target")" = "$before" ]
		losetup -d "$target"
	done
}
