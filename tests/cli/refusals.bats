#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What prepare refuses: each with its exit status and a line that says what to do, and the image is as
# it was.

load ../lib/common

# unchanged STATUS PATTERN IMAGE [OPTION...]
unchanged() {
	local wanted=$1 pattern=$2 image=$3 before
	shift 3
	before=$(sum "$image")
	refused "$wanted" "$pattern" prepare "$@" "$image" || return 1
	[ "$(sum "$image")" = "$before" ] || {
		echo "$image was changed by a refused prepare"
		return 1
	}
}

@test "a file that is not there" {
	refused 1 "no such file" prepare nothing.img
}

@test "a file system whose journal must be replayed" {
	make_ext4 disk.img 16M
	debugfs -w -R "feature needs_recovery" disk.img
	unchanged 6 "journal" disk.img
	grep -q "e2fsck" <<<"$stderr"
}

@test "a file system with its errors flag set" {
	make_ext4 disk.img 16M
	debugfs -w -R "set_super_value state 3" disk.img
	unchanged 6 "error" disk.img
	grep -q "e2fsck" <<<"$stderr"
}

@test "a file system that was not unmounted cleanly" {
	make_ext4 disk.img 16M
	debugfs -w -R "set_super_value state 0" disk.img
	unchanged 6 "clean" disk.img
}

@test "an image that is mounted" {
	requires root loop
	make_ext4 disk.img 16M
	mkdir mnt
	mount -o loop,ro disk.img mnt
	unchanged 4 "loop|mounted" disk.img
}

@test "an image behind a loop device" {
	requires root loop
	make_ext4 disk.img 16M
	losetup -f disk.img
	unchanged 4 "loop" disk.img
}

@test "a block device that is mounted" {
	requires root loop
	make_ext4 disk.img 16M
	mkdir mnt
	device=$(losetup -f --show disk.img)
	mount -o ro "$device" mnt
	refused 4 "mounted|in use|busy" prepare "$device"
}

@test "an image that a virtual machine has open" {
	requires qemu-io
	make_ext4 disk.img 16M
	mkfifo commands
	background qemu-io -f raw disk.img <>commands
	wait_until grep -q ":$(stat -c %i disk.img) " /proc/locks
	unchanged 4 "in use|locked|virtual machine|qemu" disk.img
}

@test "an image that somebody has locked" {
	make_ext4 disk.img 16M
	background flock -x disk.img sleep 60
	wait_until grep -q "FLOCK.*:$(stat -c %i disk.img) " /proc/locks
	unchanged 4 "lock|in use" disk.img
}

@test "an image that is prepared already" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	unchanged 3 "already" disk.img
	grep -qE "rollback|commit|status" <<<"$stderr"
}

@test "a directory, a FIFO, a character device" {
	mkdir dir.img
	refused 9 "directory" prepare dir.img
	mkfifo fifo.img
	refused 9 "fifo|pipe" prepare fifo.img
	refused 9 "character|device" prepare /dev/zero
}

@test "an empty file, and one that is too small" {
	: >disk.img
	unchanged 9 "empty" disk.img
	truncate -s 61440 disk.img
	unchanged 9 "small" disk.img --free-from=none
}

@test "a file that may not be written" {
	requires setpriv
	make_ext4 disk.img 16M
	chmod 444 disk.img
	chmod 755 .
	if [ "$(id -u)" -eq 0 ]; then
		run --separate-stderr setpriv --reuid=65534 --regid=65534 --clear-groups \
			"$BOWIMG" prepare disk.img
	else
		run --separate-stderr "$BOWIMG" prepare disk.img
	fi
	echo "$stderr"
	[ "$status" -eq 1 ]
	grep -qi "permission" <<<"$stderr"
	grep -q "^  [^ ]" <<<"$stderr"
}

@test "a file on a read-only file system" {
	requires root
	mkdir mnt
	mount -t tmpfs -o size=64m none mnt
	make_ext4 mnt/disk.img 16M
	mount -o remount,ro mnt
	unchanged 1 "read-only" mnt/disk.img
}

@test "a block device that is read-only" {
	requires root loop
	make_ext4 disk.img 16M
	device=$(losetup -r -f --show disk.img)
	refused 1 "read-only|write-protected" prepare "$device"
}

@test "no free space at all, and none wanted past the end" {
	head -c 1M /dev/urandom >disk.img
	unchanged 5 "free|space" disk.img --free-from=none --on-full=stop
	grep -q -- "tail" <<<"$stderr"
}

@test "a file system that is full to the last block" {
	truncate -s 8M disk.img
	mkfs.ext4 -q -F -m 0 -O ^has_journal disk.img
	head -c 8M /dev/urandom >filler
	debugfs -w -R "write filler filler" disk.img || true
	e2fsck -fy disk.img || true
	unchanged 5 "free|space" disk.img --on-full=stop
}

@test "qcow2, vmdk, vhdx and vdi images, with the name of the right tool" {
	requires qemu-img
	make_ext4 disk.img 16M
	for format in qcow2 vmdk vhdx vdi; do
		qemu-img convert -O "$format" disk.img "disk.$format"
		unchanged 9 "$format" "disk.$format"
		grep -q "qemu-img" <<<"$stderr"
	done
}

@test "content it does not know, with the sources there are" {
	head -c 1M /dev/urandom >disk.img
	unchanged 9 "unknown|know|no file system" disk.img
	grep -q "none" <<<"$stderr"
	grep -q "map:" <<<"$stderr"
}

@test "a file system it does not know, by name" {
	requires mkfs.minix
	truncate -s 16M disk.img
	mkfs.minix disk.img
	unchanged 9 "minix" disk.img
}

@test "a free-from it does not know" {
	make_ext4 disk.img 16M
	unchanged 2 "ext" disk.img --free-from=oracle
}

@test "a map that is not there, or is none" {
	make_ext4 disk.img 16M
	refused 1 "no such file" prepare --free-from=map:nothing disk.img
	echo "no map" >bad.map
	refused 6 "bad.map" prepare --free-from=map:bad.map disk.img
}

@test "the tail on a block device" {
	requires root loop
	make_ext4 disk.img 16M
	device=$(losetup -f --show disk.img)
	refused 9 "tail" prepare --store=tail "$device"
}
