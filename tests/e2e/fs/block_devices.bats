#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A block device as the target, as /dev/sdX would be: loop devices stand in for it.

load ../../lib/common
load ../../lib/e2e
load ../../lib/disk

setup() {
	common_setup
	requires root loop fuse jq
	mkdir mnt fuse
}

# What was made on the target goes first.
teardown() {
	[ -z "${target:-}" ] || {
		"$BOWIMG" umount "$target" || "$BOWIMG" detach "$target"
		umount -q mnt
		losetup -n -O NAME,BACK-FILE | awk -v t="${target}p" 'index($2, t) == 1 { print $1 }' |
			xargs -r -n 1 losetup -d
	} 2>/dev/null || true
	common_teardown
}

# device_on IMAGE [LOSETUP-OPTION...]: sets $target.
device_on() {
	target=$(losetup --find --show "${@:2}" "$1")
}

# show_parts N...: as devices, also where the kernel does not know such tables.
show_parts() {
	local n
	for n in "$@"; do
		[ -b "${target}p$n" ] || addpart "$target" "$n" $(($(start_of disk.img "$n") / 512)) \
			$(($(bytes_of disk.img "$n") / 512))
	done
}

@test "sectors of 4096 bytes: changed, killed, attached again, rolled back, committed" {
	local before served
	make_ext4 disk.img 48M -b 4096
	device_on disk.img --sector-size 4096
	before=$(sum "$target")
	expect 0 prepare --exact "$target"
	expect 0 mount "$target" "$T/mnt"
	served=$(findmnt -no SOURCE "$T/mnt")
	[ "$(blockdev --getss "$served")" -eq 4096 ]
	[ "$(blockdev --getsize64 "$served")" -eq $((48 << 20)) ]
	change_tree mnt
	tree_sums mnt >new.sums
	kill_daemon "$target"
	expect 0 mount "$target" "$T/mnt"
	tree_sums mnt | diff new.sums -
	rm -r mnt/copied
	expect 0 umount "$T/mnt"
	expect 0 verify "$target"
	expect 0 rollback "$target"
	[ "$(sum "$target")" = "$before" ]

	expect 0 run --on-success=commit --on-failure=rollback "$target" -- e2label {} changed
	[ "$(e2label "$target")" = changed ]
	clean_fs "$target"
}

@test "a partitioned disk with sectors of 4096 bytes" {
	requires sfdisk
	local before device
	truncate -s 64M disk.img
	device_on disk.img --sector-size 4096
	printf 'label: gpt\nsize=40M\nsize=16M, type=S\n' | sfdisk -q "$target"
	mkfs.ext4 -q -E "offset=$((256 * 4096))" "$target" 40M 2>/dev/null
	before=$(sum "$target")
	expect 0 prepare --exact "$target"
	grep -qE '1 +ext4 .* ext$' <<<"$output"
	expect 0 mount -p 1 "$target" "$T/mnt"
	head -c 1M /dev/urandom >mnt/file
	expect 0 umount "$T/mnt"
	attach_loop "$target"
	[ "$(blockdev --getss "$device")" -eq 4096 ]
	within 30 sfdisk -q --verify "$device"
	within 30 mkswap "${device}p2"
	within 30 mount -o ro "${device}p1" mnt
	[ "$(stat -c %s mnt/file)" -eq $((1 << 20)) ]
	within 30 umount mnt
	expect 0 detach "$target"
	expect 0 rollback "$target"
	[ "$(sum "$target")" = "$before" ]
}

@test "a disk whose partition is mounted, or has something on top, is refused; the others are not" {
	requires sfdisk
	local on_top
	old_disk disk.img
	device_on disk.img --partscan
	show_parts 1 6
	within 30 mount -o ro "${target}p1" mnt
	refused 4 "${target}p1 is mounted" prepare "$target"
	refused 4 'mounted on' prepare "${target}p1"
	# A partition is a device of its own.
	expect 0 prepare -n "${target}p6"
	within 30 umount mnt

	on_top=$(losetup --find --show "${target}p1")
	refused 4 "${target}p1" prepare "$target"
	losetup -d "$on_top"
	wait_for_no_loop "${target}p1"

	expect 0 prepare "$target"
	refused 3 '' prepare "$target"
	expect 0 attach --fuse "$T/fuse" "$target"
	# The kernel's claim: nothing can be mounted from it meanwhile.
	run ! mount -o ro "${target}p1" mnt
	run ! mount -o ro "${target}p6" mnt
	expect 0 detach "$target"
	expect 0 rollback "$target"
}

wait_for_no_loop() {
	for _ in $(seq 100); do
		[ -n "$(losetup -n -j "$1")" ] || return 0
		sleep 0.1
	done
}

@test "one partition's device, with its neighbours mounted: these are left alone" {
	requires sfdisk
	local before neighbour
	old_disk disk.img
	device_on disk.img --partscan
	show_parts 1 6
	before=$(sum "${target}p6")
	within 30 mount "${target}p1" mnt
	expect 0 prepare --exact "${target}p6"
	expect 0 run --via=fuse --on-success=keep --on-failure=keep "${target}p6" -- \
		dd if=/dev/urandom of={} bs=64k seek=10 count=64 conv=notrunc,fsync status=none
	echo more >mnt/more
	within 30 umount mnt
	neighbour=$(sum "${target}p1")
	expect 0 rollback "${target}p6"
	[ "$(sum "${target}p6")" = "$before" ]
	[ "$(sum "${target}p1")" = "$neighbour" ]
	clean_fs "${target}p1"
}

@test "discards of a guest neither cost space nor make a commit write zeros" {
	local before total
	make_ext4 disk.img 64M
	device_on disk.img
	before=$(sum "$target")
	expect 0 prepare --exact "$target"
	expect 0 mount -o discard "$target" "$T/mnt"
	total=$(key free-left-bytes "$target")
	within 30 fstrim mnt || true
	rm -r mnt/sub
	within 30 sync -f mnt
	[ "$(key free-left-bytes "$target")" -gt $((total - (2 << 20))) ]
	expect 0 umount "$T/mnt"
	[ "$(logged promise "$target")" -lt 64 ]
	expect 0 rollback "$target"
	[ "$(sum "$target")" = "$before" ]
}

@test "a device cannot have a tail" {
	local before
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	device_on disk.img
	refused 9 'cannot have a tail' prepare --store=tail "$target"
	refused 9 'cannot have a tail' prepare --on-full=tail "$target"
	refused 5 'too little free space' prepare --free-from=none "$target"
	same_as "$before"
}
