#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Two ways to one image: what lies under a device, by whatever name, is asked as well. bowimg's own
# devices on the disks that it serves are no second way.
# Alone: a mount namespace that is made here would hold the mounts of other files.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	mkdir dir mnt
	expect 0 prepare -q disk.img
}

teardown() {
	local loop
	for loop in "${loops[@]}"; do losetup -d "$loop" 2>/dev/null || true; done
	common_teardown
}

serve() {
	expect 0 attach --fuse dir disk.img
}

# loop_on FILE [OPTION...]: sets $device; detached in the end.
loop_on() {
	device=$(losetup -f --show "${@:2}" "$1")
	loops+=("$device")
}

# What bowimg wrote before it was refused would be seen in the end.
undo_all() {
	local loop
	for loop in "${loops[@]}"; do losetup -d "$loop"; done
	loops=()
	expect 0 rollback -q disk.img
	[ "$(sum disk.img)" = "$before" ]
}

# Holds FILE open for writing, and does nothing else, until the test ends.
hold_open() {
	sleep 600 <>"$1" 3>&- &
	disown
}

@test "a loop device on a file that bowimg serves is not rolled back" {
	serve
	loop_on disk.img
	for verb in rollback commit prepare; do
		refused 4 "\(bowimg\) has $T/disk.img open for writing, which $device is on" "$verb" "$device"
	done
	refused 4 "\(bowimg\) has $T/disk.img open" attach --fuse mnt "$device"
	expect 0 detach disk.img
	undo_all
}

@test "a hard link, a bind mount or a file descriptor is the same file, and so is a loop device on it" {
	ln disk.img link.img
	mkdir bound
	mount --bind "$T" bound
	serve
	for name in link.img bound/disk.img; do
		refused 4 "\(bowimg\) has locked it" rollback "$name"
	done
	refused 4 "\) has locked it" rollback /proc/self/fd/9 9<disk.img
	for name in link.img bound/disk.img /proc/self/fd/9; do
		loop_on "$name" 9<>disk.img
		refused 4 "\(bowimg\) has .* open for writing, which $device is on" rollback "$device"
	done
	expect 0 detach disk.img
	undo_all
}

@test "a loop device is on a served file that this mount namespace cannot see" {
	serve
	loop_on disk.img
	run within 30 unshare -m bash -c "mount -t tmpfs none '$T' && exec '$BOWIMG' rollback $device"
	[ "$status" -eq 4 ]
	[[ $output == *"(bowimg) has $T/disk.img open for writing, which $device is on"* ]]
	expect 0 detach disk.img
	undo_all
}

@test "the same from a container that sees neither the file nor the process" {
	serve
	loop_on disk.img
	echo "mount -t tmpfs none '$T' && exec '$BOWIMG' rollback $device" >container
	run within 30 unshare -mpf --mount-proc bash container
	echo "$output"
	[ "$status" -eq 4 ]
	[[ $output == *"another process has $T/disk.img locked, which $device is on"* ]]
	expect 0 detach disk.img
	undo_all
}

@test "a loop device on a loop device, and the other of two on a file, are refused" {
	loop_on disk.img
	lower=$device
	expect 0 attach --fuse dir "$lower"
	loop_on "$lower"
	refused 4 "\(bowimg\) has $lower open for writing" rollback "$device"
	loop_on disk.img
	refused 4 "$lower is attached to it" rollback "$device"
	expect 0 detach "$lower"
	losetup -d "${loops[1]}" "${loops[2]}"
	unset 'loops[1]' 'loops[2]'
	expect 0 rollback -q "$lower"
	undo_ended
}

# After a rollback through a device.
undo_ended() {
	losetup -d "${loops[@]}"
	loops=()
	cmp <(echo "$before") <(sum disk.img)
}

# parted IMAGE: two partitions of 16 MiB, each a copy of disk.img as it was.
parted() {
	requires sfdisk
	truncate -s 40M "$1"
	sfdisk -q "$1" <<<$'2048,16M\n,16M'
	expect 0 rollback -q disk.img
	dd if=disk.img of="$1" bs=1M seek=1 conv=notrunc status=none
	dd if=disk.img of="$1" bs=1M seek=17 conv=notrunc status=none
}

@test "a partition is refused for what uses its disk, and not for what uses another partition" {
	parted parts.img
	loop_on parts.img -P
	[ -b "${device}p2" ] || partx -a "$device"
	expect 0 prepare -q "${device}p1"
	expect 0 attach --fuse dir "${device}p1"
	expect 0 prepare -q "${device}p2"
	expect 0 rollback -q "${device}p2"
	refused 4 "in use" prepare "$device"
	expect 0 detach "${device}p1"
	hold_open "$device"
	refused 4 "process [0-9]+ \(sleep\) has $device open for writing, which ${device}p1 is on" \
		rollback "${device}p1"
	kill_own TERM
	hold_open parts.img
	refused 4 "process [0-9]+ \(sleep\) has $T/parts.img open for writing" rollback "${device}p1"
	kill_own TERM
	expect 0 rollback -q "${device}p1"
}

@test "two loop devices on one file are refused if they show the same part of it" {
	parted parts.img
	loop_on parts.img -o 1M --sizelimit 16M
	first=$device
	loop_on parts.img -o 17M --sizelimit 16M
	expect 0 prepare -q "$first"
	expect 0 prepare -q "$device"
	loop_on parts.img -o 16M --sizelimit 2M
	refused 4 "$device is attached to it" rollback "$first"
	refused 4 "$device is attached to it" rollback "${loops[1]}"
	losetup -d "$device"
	unset 'loops[2]'
	expect 0 rollback -q "$first"
	expect 0 rollback -q "${loops[1]}"
}

@test "a device that a process has open for writing is refused, by any of its nodes" {
	loop_on disk.img
	mknod node b 7 "${device#/dev/loop}"
	hold_open node
	for name in "$device" node; do
		refused 4 "process [0-9]+ \(sleep\) has it open for writing" rollback "$name"
	done
	kill_own TERM
	expect 0 rollback -q node
	undo_ended
}

# The kernel lists the devices that a mapped device is on as its slaves. Here the list is made by
# hand, so that no device mapper and no RAID is needed: under the second loop device lies the first.
@test "what a mapped device is on is asked, too" {
	serve
	loop_on disk.img
	lower=$device
	cp disk.img other.img
	loop_on other.img
	mkdir -p "slaves/${lower#/dev/}"
	cat "/sys/block/${lower#/dev/}/dev" >"slaves/${lower#/dev/}/dev"
	on_top() {
		run within 30 unshare -m bash -c "mount --bind '$T/slaves' /sys/block/${device#/dev/}/slaves &&
			exec '$BOWIMG' rollback $device"
		echo "$output"
	}
	on_top
	[ "$status" -eq 4 ]
	[[ $output == *"(bowimg) has $T/disk.img open for writing, which $lower is on"* ]]
	expect 0 detach disk.img
	on_top
	[ "$status" -eq 0 ]
}

@test "swap space in the file of a loop device is noticed" {
	requires mkswap
	truncate -s 8M swap.img
	loop_on swap.img
	head -c 8M /dev/zero >swap.img
	chmod 600 swap.img
	mkswap -q swap.img
	swapon "$PWD/swap.img" || skip "no permission to swap"
	bow prepare --free-from=none "$device"
	swapoff "$PWD/swap.img"
	[ "$status" -eq 4 ]
	grep -q swap <<<"$stderr"
}

@test "the disk that bowimg serves can be prepared and served in its turn" {
	attach_loop disk.img
	expect 0 prepare -q "$device"
	expect 0 attach --fuse dir "$device"
	expect 0 detach "$device"
	expect 0 rollback -q "$device"
	expect 0 detach disk.img
	undo_all
}

@test "an image on a disk that bowimg serves can be served, too" {
	expect 0 mount disk.img mnt
	truncate -s 4M mnt/inner.img
	mkfs.ext4 -q mnt/inner.img
	expect 0 prepare -q mnt/inner.img
	expect 0 attach --fuse dir mnt/inner.img
	expect 0 detach mnt/inner.img
	expect 0 rollback -q mnt/inner.img
	expect 0 umount mnt
	undo_all
}
