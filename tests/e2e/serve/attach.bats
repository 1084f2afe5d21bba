#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# attach and detach: the loop device, and the file that behaves like a disk.
#
# Alone: it looks at all that user 65534 left in /tmp.

load ../../lib/common
load ../../lib/front

setup() {
	common_setup
	requires root loop fuse jq
	make_ext4 disk.img 24M
	before=$(sum disk.img)
	"$BOWIMG" prepare -q disk.img
	mkdir dir
}

@test "attach prints the loop device, detach takes it away" {
	expect 0 attach disk.img
	device=$output
	[ -b "$device" ]
	[ "$(blockdev --getsize64 "$device")" -eq $((24 << 20)) ]
	[ "$(sum "$device")" = "$before" ]
	tune2fs -L changed "$device"
	expect 0 detach disk.img
	nothing_left
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "umount and detach say with -v what has ended, and nothing without" {
	expect 0 attach disk.img
	expect 0 detach -v disk.img
	[ "$output" = "$PWD/disk.img: ended by detach; everything is on disk" ]
	expect 0 mount disk.img dir
	expect 0 umount --verbose dir
	[ "$output" = "$PWD/disk.img: ended by umount; everything is on disk" ]
	expect 0 mount disk.img dir
	expect 0 umount dir
	[ -z "$output$stderr" ]
	nothing_left
}

@test "detach is refused with 4 while the device is mounted or open" {
	expect 0 attach disk.img
	device=$output
	mount "$device" dir
	refused 4 "mounted at $PWD/dir" detach disk.img
	umount dir
	exec 9<"$device"
	refused 4 'open in another process' detach disk.img
	[ "$(sum "$device")" != '' ]
	exec 9<&-
	expect 0 detach disk.img
	nothing_left
}

@test "attach --fuse shows a file, detach takes it away by either name" {
	for name in disk.img dir; do
		expect 0 attach --fuse dir disk.img
		[ "$output" = "$PWD/dir/disk" ]
		[ "$(ls -A dir)" = $'before\ndisk' ]
		[ "$(stat -c '%s %a' dir/disk)" = "$((24 << 20)) 600" ]
		[ "$(sum dir/disk)" = "$before" ]
		expect 0 detach "$name"
		nothing_left
	done
}

@test "detach of a file that is open is refused with 4" {
	expect 0 attach --fuse dir disk.img
	exec 9<dir/disk
	refused 4 'cannot unmount' detach disk.img
	exec 9<&-
	expect 0 detach disk.img
}

@test "what fusermount or losetup takes away ends the daemon too" {
	expect 0 attach --fuse dir disk.img
	umount dir
	wait_until quietly nothing_left
	expect 0 attach disk.img
	losetup -d "$output"
	wait_until quietly nothing_left
}

@test "the file is a disk: of fixed size, and zeroed ranges read as zeros" {
	expect 0 attach --fuse dir disk.img
	run ! truncate -s 1M dir/disk
	run ! bash -c ': >dir/disk'
	run ! truncate -s +1 dir/disk
	truncate -s $((24 << 20)) dir/disk
	run ! fallocate -l 8192 dir/disk
	run ! fallocate -z -l 8192 -o $((24 << 20)) dir/disk
	run ! dd if=/dev/zero of=dir/disk bs=512 seek=$((24 << 11)) count=1 conv=notrunc
	for mode in --punch-hole '--punch-hole --keep-size' --zero-range '--zero-range --keep-size'; do
		head -c 20000 /dev/urandom | dd of=dir/disk bs=4096 seek=100 conv=notrunc,fsync status=none
		# shellcheck disable=SC2086
		fallocate $mode -o $((409600 + 300)) -l 15000 dir/disk
		cmp -n 15000 -i $((409600 + 300)):0 dir/disk /dev/zero
		run ! cmp -n 300 -i 409600:0 dir/disk /dev/zero
	done
	expect 0 detach disk.img
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "a discard through the loop device reads as zeros and is undone" {
	expect 0 attach disk.img
	blkdiscard -f -o 1048576 -l 4194304 "$output"
	cmp -n 4194304 -i 1048576:0 "$output" /dev/zero
	blkdiscard -f -z -o 8388608 -l 1049088 "$output"
	cmp -n 1049088 -i 8388608:0 "$output" /dev/zero
	expect 0 detach disk.img
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "two images are attached at the same time" {
	make_ext4 other.img 16M
	other=$(sum other.img)
	expect 0 prepare other.img
	expect 0 attach disk.img
	first=$output
	expect 0 attach other.img
	[ "$output" != "$first" ]
	cp "$first" copy
	dd if=/dev/urandom of="$output" bs=64k count=20 oflag=direct status=none
	cmp copy "$first"
	expect 0 detach disk.img
	expect 0 detach other.img
	expect 0 rollback other.img
	[ "$(sum other.img)" = "$other" ]
	nothing_left
}

@test "wrong use is refused: both kinds, no directory, no image" {
	expect 2 attach --fuse dir --loop disk.img
	expect 2 attach
	expect 1 attach --fuse disk.img disk.img
	expect 1 attach no-such-image
	refused 3 'not attached' detach disk.img
	nothing_left
}

@test "a user without rights attaches as a file" {
	requires setpriv unshare
	chmod 755 .
	chown 65534:65534 disk.img dir
	# In a mount namespace of its own, where /dev/fuse is open to users as it is on most systems.
	mknod -m 666 fuse c 10 229
	cat >as-user <<-'S'
		set -e
		"$BOWIMG" attach --fuse dir disk.img
		tune2fs -L mine dir/disk
		! "$BOWIMG" attach --fuse dir disk.img
		"$BOWIMG" detach disk.img
		"$BOWIMG" rollback disk.img
		"$BOWIMG" run disk.img -- tune2fs -L ours {}
		# The locks of NBD images are in a directory that stays.
		test -z "$(ls "/tmp/bowimg-$(id -u)" 2>/dev/null | grep -vx lock)"
	S
	unshare -m sh -c 'mount --bind fuse /dev/fuse && exec setpriv --reuid=65534 --regid=65534 \
		--clear-groups env -u XDG_RUNTIME_DIR PATH="$PATH:/usr/sbin:/sbin" sh as-user'
	[ "$(sum disk.img)" = "$before" ]
}
