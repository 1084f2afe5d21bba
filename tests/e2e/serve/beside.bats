#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The disk as it was is mounted first, and the disk itself beside it. The other order is in before.bats.

load ../../lib/common
load ../../lib/e2e
load ../../lib/front
load ../../lib/disk

setup() {
	common_setup
	requires root loop fuse jq
	mkdir mnt old
}

# Changed since prepare, and mounted as it was; $sums of that.
as_it_was() {
	make_ext4 disk.img 96M
	remember
	expect 0 prepare -q disk.img
	up
	tree_sums mnt >sums
	change_tree mnt
	down
	now=$(sum disk.img)
	expect 0 mount --before disk.img old
}

old_is_old() {
	[ "$(tree_sums old)" = "$(cat sums)" ]
}

before_file() {
	echo "$(jq -r '."fuse-dir"' "$(state_of disk.img)")/before"
}

# rolled_back: all ends, and the disk is what it was at prepare.
rolled_back() {
	nothing_left
	[ "$(key attached)" = false ]
	expect 0 rollback disk.img
	same_as "$before"
}

@test "the disk is mounted beside what it was, which does not notice" {
	as_it_was
	exec 7<old/file0 8<"$(before_file)"
	file0=$(sha256sum <old/file0)
	up
	expect 0 list
	grep -q "mounted at $T/mnt, as it was at $T/old" <<<"$output"
	[ "$(cd "$(dirname "$(before_file)")" && echo *)" = 'before disk' ]
	[ ! -e mnt/file1 ]
	change_tree mnt/copied || true
	shred -n 1 mnt/file0 mnt/file4
	within 60 fstrim mnt
	old_is_old
	[ "$(sha256sum <&7)" = "$file0" ]
	[ "$(sha256sum <&8 | cut -d' ' -f1)" = "$before" ]
	exec 7<&- 8<&-
	refused 4 'as it was is still in use' umount mnt
	refused 4 'mounted already' mount --before disk.img mnt
	expect 0 umount old
	down
	rolled_back
}

@test "the disk is attached beside what it was, and a device may come after it once more" {
	as_it_was
	attach_loop disk.img
	dd if=/dev/urandom of="$device" bs=1M seek=40 count=20 conv=fsync status=none
	old_is_old
	same_as "$before" "$(before_file)"
	refused 4 'as it was is still in use' detach disk.img
	expect 0 umount old
	expect 0 mount --before disk.img old
	old_is_old
	expect 0 umount old
	expect 0 detach disk.img
	rolled_back
}

# Each of the two is still there when the other one is read.
@test "under heavy reading and writing both are right" {
	requires fio
	as_it_was
	(while [ ! -e stop ]; do sha256sum "$(before_file)"; done >read.log 2>&1) 3>&- &
	reader=$!
	up
	fio --name=w --directory=mnt --rw=randwrite --bs=4k-64k --size=16M --numjobs=2 --iodepth=8 --ioengine=libaio \
		--direct=1 --time_based --runtime=3 --fsync=64 --fallocate=none >fio.log 2>&1 3>&-
	old_is_old
	expect 0 umount old
	touch stop
	wait "$reader"
	[ "$(sort -u read.log | grep -c "^$before ")" -eq 1 ]
	run ! grep -v "^$before " read.log
	down
	rolled_back
}

@test "who else reads the image is named, and nothing has changed" {
	as_it_was
	exec 9<disk.img
	flock -s 9
	refused 4 'in use: process' mount disk.img mnt
	same_as "$now"
	old_is_old
	refused 4 'in use: process' attach disk.img
	expect 0 list
	run ! grep -q "$T/mnt" <<<"$output"
	exec 9<&-
	up
	old_is_old
	expect 0 umount old
	down
	rolled_back
}

@test "a mount that fails leaves what was there" {
	as_it_was
	refused 1 'cannot use the directory' mount disk.img none
	refused 1 'there is no partition 3' mount -p 3 disk.img mnt
	refused 4 'as it was is mounted at' mount disk.img old
	same_as "$now"
	refused 1 mount mount -o nonsense disk.img mnt
	old_is_old
	[ "$(own_mounts | grep -c "$T/mnt")" -eq 0 ]
	up
	old_is_old
	expect 0 umount old
	refused 1 mount mount --before -o nonsense disk.img old
	down
	expect 0 mount --before disk.img old
	refused 1 mount mount -o nonsense disk.img mnt
	expect 0 umount disk.img
	rolled_back
}

@test "a killed daemon takes both with it" {
	as_it_was
	up
	pid=$(daemon_of disk.img)
	kill -9 "$pid"
	wait_until is_gone "$pid"
	expect 0 umount old
	grep -q 'had been killed' <<<"$stderr"
	nothing_left
	expect 0 mount --before disk.img old
	old_is_old
	up
	pid=$(daemon_of disk.img)
	kill -TERM "$pid"
	wait_until is_gone "$pid"
	nothing_left
	expect 0 mount --before disk.img old
	pid=$(daemon_of disk.img)
	kill -9 "$pid"
	wait_until is_gone "$pid"
	up
	down
	rolled_back
}

@test "both may be taken away with the system's own tools, in any order" {
	as_it_was
	up
	pid=$(daemon_of disk.img)
	umount mnt
	old_is_old
	umount old
	wait_until is_gone "$pid"
	expect 0 mount --before disk.img old
	up
	pid=$(daemon_of disk.img)
	umount old
	expect 0 mount --before disk.img old
	old_is_old
	umount old mnt
	wait_until is_gone "$pid"
	rolled_back
}

@test "a partition as it was, and another one or the same as it is" {
	requires sfdisk mkswap
	old_disk disk.img
	remember
	expect 0 prepare -q disk.img
	expect 0 mount --before -p 6 disk.img old
	tree_sums old >sums
	refused 9 'one must be chosen' mount disk.img mnt
	for part in 1 6; do
		expect 0 mount -p $part disk.img mnt
		head -c 1M /dev/urandom >mnt/new
		[ ! -e old/new ]
		old_is_old
		umount mnt
		expect 0 umount old
		expect 0 mount --before -p 6 disk.img old
	done
	expect 0 mount -p 1 disk.img mnt
	[ -e mnt/new ]
	expect 0 umount old
	expect 0 umount mnt
	rolled_back
}

@test "an XFS is mounted twice, a btrfs is not" {
	requires mkfs.xfs mkfs.btrfs partclone.xfs partclone.btrfs
	truncate -s 320M disk.img
	mkfs.xfs -q disk.img
	expect 0 prepare -q disk.img
	expect 0 mount --before disk.img old
	up
	touch mnt/new
	[ ! -e old/new ]
	expect 0 umount old
	down
	expect 0 rollback disk.img
	rm disk.img
	truncate -s 160M disk.img
	mkfs.btrfs -q disk.img
	remember
	expect 0 prepare -q disk.img
	expect 0 mount --before disk.img old
	refused 9 'btrfs cannot be mounted' mount disk.img mnt
	expect 0 umount old
	rolled_back
}

@test "what shows a mark, or is no mount, stays alone" {
	as_it_was
	expect 0 umount old
	expect 0 mark disk.img here
	expect 0 mount --before=here disk.img old
	refused 4 'in use' mount disk.img mnt
	refused 125 'in use' run --on-success=keep --on-failure=keep disk.img -- true
	expect 0 umount old
	expect 0 attach --before disk.img
	refused 4 'in use' mount disk.img mnt
	expect 0 detach disk.img
	rolled_back
}
