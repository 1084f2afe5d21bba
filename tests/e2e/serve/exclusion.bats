#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Two at once on one image: the second is refused, whichever it is. Where the second cannot be kept
# out, because it asks nobody, that is tested too, as bowimg(7) says it: the next command notices.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq qemu-io
	make_ext4 disk.img 16M
	remember
	mkdir dir mnt
}

serve() {
	expect 0 prepare -q disk.img
	expect 0 attach --fuse dir disk.img
}

# All that would write to the image.
all_refused() {
	local verb
	for verb in "$@"; do
		case $verb in
		attach) refused 4 "$pattern" attach --fuse mnt disk.img ;;
		*) refused 4 "$pattern" "$verb" disk.img ;;
		esac
	done
}

# Was disk.img opened by somebody for writing, in QEMU's way?
locked_by_qemu() {
	grep -q "OFDLCK.*:$(stat -c %i disk.img) " /proc/locks
}

# How many descriptors of disk.img are open, in all processes.
opened() {
	find /proc/[0-9]*/fd -lname "$T/disk.img" 2>/dev/null | wc -l
}

opened_at_least() {
	[ "$(opened)" -ge "$1" ]
}

hold_with_qemu() {
	mkfifo commands
	background qemu-io -f raw "$1" <>commands
	wait_until locked_by_qemu
}

# both COMMAND...: two of it at once; their exit statuses, sorted, in $statuses.
both() {
	local one two first=0 second=0
	timeout 30 "$@" >one.log 2>&1 3>&- &
	one=$!
	timeout 30 "$@" >two.log 2>&1 3>&- &
	two=$!
	wait "$one" || first=$?
	wait "$two" || second=$?
	statuses=$(printf '%s\n' "$first" "$second" | sort -n | tr '\n' ' ')
	cat one.log two.log
}

# ---- bowimg and bowimg --------------------------------------------------------------------------

@test "an image that is served: nothing else that writes gets at it, looking does" {
	serve
	pattern="serve|in use|lock|attached"
	all_refused prepare rollback commit attach
	refused 4 "$pattern" rescue -w disk.img
	expect 0 status disk.img
	[ "$(key in-use)" = true ]
	expect 0 log disk.img
	expect 0 detach disk.img
	expect 0 rollback disk.img
	same_as "$before"
}

@test "of two that prepare at once one does" {
	for _ in 1 2 3 4 5 6; do
		both "$BOWIMG" prepare disk.img
		[[ $statuses == "0 3 " || $statuses == "0 4 " ]]
		expect 0 rollback -q disk.img
		same_as "$before"
	done
}

@test "of two that attach at once one does" {
	expect 0 prepare -q disk.img
	for _ in 1 2 3; do
		both "$BOWIMG" attach disk.img
		[ "$statuses" = "0 4 " ]
		expect 0 detach disk.img
	done
}

@test "of two that roll back at once one does" {
	for _ in 1 2 3 4 5 6; do
		expect 0 prepare -q disk.img
		both "$BOWIMG" rollback disk.img
		[[ $statuses == "0 3 " || $statuses == "0 4 " ]]
		same_as "$before"
	done
}

# ---- QEMU ---------------------------------------------------------------------------------------

@test "a virtual machine that writes, first" {
	expect 0 prepare -q disk.img
	hold_with_qemu disk.img
	pattern="in use|locked"
	all_refused attach rollback commit
}

@test "a virtual machine that writes, second" {
	serve
	run within 20 qemu-io -f raw -c "write 0 4k" disk.img
	[ "$status" -ne 0 ]
	grep -qi lock <<<"$output"
	# It may read.
	within 20 qemu-img info -U disk.img
}

@test "QEMU's storage daemon, first and second" {
	requires qemu-storage-daemon
	expect 0 prepare -q disk.img
	local -a daemon=(qemu-storage-daemon
		--blockdev "driver=file,node-name=disk,filename=disk.img"
		--nbd-server "addr.type=unix,addr.path=nbd.sock"
		--export "type=nbd,id=export,node-name=disk,writable=on")
	background "${daemon[@]}"
	wait_until locked_by_qemu
	pattern="in use|locked"
	all_refused attach rollback
	kill_own TERM
	wait_until eval '! locked_by_qemu'
	expect 0 attach --fuse dir disk.img
	run within 20 "${daemon[@]}"
	[ "$status" -ne 0 ]
	grep -qi lock <<<"$output"
}

# ---- the kernel ---------------------------------------------------------------------------------

@test "a loop device, first" {
	expect 0 prepare -q disk.img
	device=$(losetup -f --show disk.img)
	pattern="loop"
	all_refused attach rollback commit
}

@test "a loop device, second: it cannot be kept out, and the next command says so" {
	serve
	device=$(losetup -f --show disk.img)
	expect 0 detach disk.img
	refused 4 "$device" rollback disk.img
	losetup -d "$device"
	expect 0 rollback disk.img
	same_as "$before"
}

# What kept nobody out: the bare image is written to, as a rollback elsewhere would.
overwrite_sector_0() { # TARGET
	head -c 512 /dev/zero | tr '\0' Z >stranger
	dd if=stranger of="$1" conv=notrunc,fsync status=none
}

sector_0_is_the_strangers() { # TARGET
	head -c 512 "$1" | cmp - stranger
}

@test "a sector 0 that another program wrote while bowimg served the file is left alone" {
	serve
	overwrite_sector_0 disk.img
	refused 7 "another program wrote to block 0" detach disk.img
	sector_0_is_the_strangers disk.img
	refused 3 "no checkpoint" rollback disk.img
}

@test "a sector 0 that another program wrote while bowimg served the device is left alone" {
	device=$(losetup -f --show disk.img)
	expect 0 prepare -q "$device"
	expect 0 attach --fuse dir "$device"
	# Past the device's cache, as from another machine.
	overwrite_sector_0 disk.img
	refused 7 "another program wrote to block 0" detach "$device"
	losetup -d "$device"
	sector_0_is_the_strangers disk.img
}

@test "a mount, first and second" {
	mount -o loop,ro disk.img mnt
	pattern="loop|mounted"
	all_refused prepare
	umount mnt
	serve
	# The bare image looks like no file system: that is what keeps mount away.
	run within 20 mount -o loop disk.img mnt
	[ "$status" -ne 0 ]
	expect 0 detach disk.img
}

@test "swap, first and second" {
	head -c 4M /dev/zero >swap.img
	chmod 600 swap.img
	mkswap -q swap.img
	swapon "$PWD/swap.img"
	bow prepare --free-from=none swap.img
	swapoff "$PWD/swap.img"
	[ "$status" -eq 4 ]
	grep -q swap <<<"$stderr"
	expect 0 prepare -q --free-from=none swap.img
	run within 20 swapon "$PWD/swap.img"
	swapoff "$PWD/swap.img" 2>/dev/null || true
	[ "$status" -ne 0 ]
	expect 0 rollback swap.img
}

@test "a block device under bowimg: nobody else gets it" {
	device=$(losetup -f --show disk.img)
	expect 0 prepare -q --exact "$device"
	expect 0 attach --fuse dir "$device"
	refused 4 "in use|lock|serve" rollback "$device"
	run within 20 mount "$device" mnt
	[ "$status" -ne 0 ]
	expect 0 detach "$device"
	expect 0 rollback "$device"
	losetup -d "$device"
	same_as "$before"
}

# ---- servers that lock nothing ------------------------------------------------------------------

@test "nbdkit with a client, first" {
	requires nbdkit
	expect 0 prepare -q disk.img
	background nbdkit -f -U nbd.sock file disk.img
	wait_until test -S nbd.sock
	mkfifo commands
	background qemu-io -f raw "nbd+unix:///?socket=$PWD/nbd.sock" <>commands
	wait_until opened_at_least 1
	pattern="in use"
	all_refused attach rollback
}

@test "nbdkit that waits for clients has nothing open, and is not noticed" {
	requires nbdkit
	background nbdkit -f -U nbd.sock file disk.img
	wait_until test -S nbd.sock
	serve
	expect 0 detach disk.img
	expect 0 rollback disk.img
	same_as "$before"
}

@test "nbdkit with a client, second: it cannot be kept out, and the next command says so" {
	requires nbdkit
	serve
	background nbdkit -f -U nbd.sock file disk.img
	wait_until test -S nbd.sock
	mkfifo commands
	background qemu-io -r -f raw "nbd+unix:///?socket=$PWD/nbd.sock" <>commands
	wait_until opened_at_least 2
	expect 0 detach disk.img
	refused 4 "in use" rollback disk.img
	kill_own TERM
	wait_until eval '! opened_at_least 1'
	expect 0 rollback disk.img
	same_as "$before"
}
