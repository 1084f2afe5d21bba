#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Partitioned disks in use: mounted by partition, as files, as a loop device with partitions, in run.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/disk
load ../../lib/remote

setup() {
	common_setup
	requires root loop fuse jq sfdisk mkfs.vfat mcopy
	mkdir mnt fuse
}

@test "one prepare, changes in every partition by all roads, and the whole disk comes back" {
	local before device
	cloud_disk disk.img
	remember
	expect 0 prepare disk.img
	expect 0 mount -p 2 disk.img "$T/mnt"
	change_tree mnt
	tree_sums mnt >new.sums
	expect 0 umount "$T/mnt"

	expect 0 attach --fuse "$T/fuse" disk.img
	[ "$(stat -c %s fuse/disk1)" -eq $((36 << 20)) ]
	head -c 3M /dev/urandom >kernel
	within 60 mcopy -i fuse/disk1 kernel ::kernel
	within 60 dd if=/dev/urandom of=fuse/disk3 bs=1M count=12 conv=notrunc,fsync status=none
	expect 0 detach disk.img

	attach_loop disk.img
	[ -b "${device}p1" ] && [ -b "${device}p3" ]
	within 30 mount -o ro "${device}p2" mnt
	tree_sums mnt | diff new.sums -
	refused 4 "${device}p2 is mounted" detach disk.img
	within 30 umount mnt
	expect 0 detach disk.img
	[ ! -e "${device}p1" ]

	cp --preserve=timestamps --sparse=always disk.img commit.img
	expect 0 verify disk.img
	expect 0 rollback disk.img
	same_as "$before"

	expect 0 commit commit.img
	sfdisk -q --verify commit.img
	within 30 mcopy -i "commit.img@@$(start_of commit.img 1)" ::kernel got
	cmp kernel got
	within 30 mount -o "loop,ro,offset=$(start_of commit.img 2),sizelimit=$((48 << 20))" commit.img mnt
	tree_sums mnt | diff new.sums -
	within 30 umount mnt
}

@test "a partition's server is killed: mounted again, then rolled back" {
	local before
	old_disk disk.img
	remember
	expect 0 prepare disk.img
	expect 0 mount -p 6 disk.img "$T/mnt"
	change_tree mnt
	tree_sums mnt >new.sums
	kill_daemon "$T/disk.img"
	expect 0 mount -p 6 disk.img "$T/mnt"
	tree_sums mnt | diff new.sums -
	refused 4 'in use' mount -p 1 disk.img "$T/fuse"
	expect 0 umount disk.img
	expect 0 mount -p 1 disk.img "$T/mnt"
	change_tree mnt
	expect 0 umount "$T/mnt"
	expect 0 rollback disk.img
	same_as "$before"
}

@test "which partitions there are is said where one must be chosen" {
	cloud_disk disk.img
	expect 0 prepare -q disk.img
	refused 9 'one must be chosen.*-p N' mount disk.img "$T/mnt"
	grep -q '1 (vfat), 2 (ext4), 3 (swap)' <<<"$stderr"
	refused 1 'there is no partition 4' mount -p 4 disk.img "$T/mnt"
	grep -q '1 (vfat), 2 (ext4), 3 (swap)' <<<"$stderr"
	refused 2 'needs a number' mount -p root disk.img "$T/mnt"
	make_ext4 whole.img 16M
	expect 0 prepare -q whole.img
	refused 1 'no partition 1' mount -p 1 whole.img "$T/mnt"
	expect 125 run --on-success=keep --on-failure=keep -p 9 disk.img -- true {}
	! losetup -n -O BACK-FILE | grep -F "$T" || return 1
}

@test "run gives its command a partition, or the disk with all of them" {
	local before via
	cloud_disk disk.img
	remember
	for via in loop fuse; do
		expect 0 run --via=$via -p 2 disk.img -- e2fsck -fn {}
		expect 0 run --via=$via -p 2 disk.img -- mkfs.ext4 -q -F {}
		same_as "$before"
	done
	expect 0 run --via=loop disk.img -- sh -c 'test -b {}p1 && mkfs.vfat {}p1 && mkswap {}p3'
	same_as "$before"
	expect 0 run --via=fuse disk.img -- sh -c 'mkfs.vfat {}1 && mkswap {}3'
	same_as "$before"
	requires nbdkit nbdinfo
	expect 0 run --via=nbd -p 3 disk.img -- nbdinfo --size {}
	[ "$output" = $((16 << 20)) ]
	same_as "$before"
}

@test "a file of a partition ends where the partition ends" {
	local before start
	cloud_disk disk.img
	start=$(start_of disk.img 2)
	remember
	expect 0 prepare disk.img
	expect 0 attach --fuse "$T/fuse" disk.img
	run ! within 30 dd if=/dev/zero of=fuse/disk3 bs=1M count=17 conv=notrunc status=none
	within 30 fallocate -p -o $((8 << 20)) -l $((64 << 20)) fuse/disk2
	within 30 dd if=/dev/urandom of=fuse/disk2 bs=4096 count=1 conv=notrunc,fsync status=none
	cmp -n 4096 -i 0:"$start" fuse/disk2 fuse/disk
	[ "$(echo fuse/*)" = 'fuse/before fuse/before1 fuse/before2 fuse/before3 fuse/disk fuse/disk1 fuse/disk2 fuse/disk3' ]
	expect 0 detach disk.img
	# Partition 3, and the gaps around it, have nothing to do with the hole in 2.
	"$BOWIMG" log --json disk.img | json '[.[] | select(.type == "promise") | .source + .count] | max' >end
	[ "$(cat end)" -le $(((start + (48 << 20)) / 4096)) ]
	expect 0 rollback disk.img
	same_as "$before"
}

@test "a new table is seen at the next attach, and undone with the rest" {
	local before
	cloud_disk disk.img
	remember
	expect 0 prepare disk.img
	expect 0 attach --fuse "$T/fuse" disk.img
	printf 'label: dos\nsize=50M\nsize=20M\n' | within 60 sfdisk -q -w always fuse/disk
	expect 0 detach disk.img
	expect 0 attach --fuse "$T/fuse" disk.img
	[ "$(stat -c %s fuse/disk1)" -eq $((50 << 20)) ]
	[ ! -e fuse/disk3 ]
	# One that overlaps shows the whole disk only, and keeps nobody from repairing it.
	printf '\xff\xff\x03\0' | dd of=fuse/disk bs=1 seek=$((446 + 12)) conv=notrunc status=none
	expect 0 detach disk.img
	expect 0 attach --fuse "$T/fuse" disk.img
	grep -q 'only the whole disk is shown' <<<"$stderr"
	[ "$(echo fuse/*)" = 'fuse/before fuse/disk' ]
	expect 0 detach disk.img
	refused 6 'partition 1 is not inside the disk' mount -p 1 disk.img "$T/mnt"
	expect 0 rollback disk.img
	same_as "$before"
}

@test "a partitioned disk on an NBD server" {
	requires nbdkit
	local before
	cloud_disk disk.img
	remember
	remote
	expect 0 prepare --exact "$remote"
	expect 0 mount -p 2 "$remote" "$T/mnt"
	change_tree mnt
	expect 0 umount "$T/mnt"
	attach_loop "$remote"
	[ -b "${device}p3" ]
	within 30 mkswap "${device}p3"
	expect 0 detach "$remote"
	expect 0 run -p 1 --via=nbd --on-success=keep --on-failure=keep "$remote" -- nbdinfo --size {}
	[ "$output" = $((36 << 20)) ]
	expect 0 rollback "$remote"
	remote_stop
	same_as "$before"
}

@test "a partition as it was is mounted beside the disk, and from a disk at rest" {
	cloud_disk disk.img
	mkdir old
	expect 0 prepare disk.img
	expect 0 mount -p 2 disk.img "$T/mnt"
	tree_sums mnt >old.sums
	rm -r mnt/*
	echo new >mnt/new
	sync -f mnt
	refused 9 'one must be chosen.*-p N' mount --before disk.img "$T/old"
	refused 1 'no partition 7' mount --before -p 7 disk.img "$T/old"
	expect 0 mount --before -p 2 disk.img "$T/old"
	tree_sums old | diff old.sums -
	run ! touch old/new
	expect 0 umount "$T/old"
	expect 0 umount "$T/mnt"

	expect 0 mount --before -p 2 disk.img "$T/old"
	tree_sums old | diff old.sums -
	expect 0 umount "$T/old"
	expect 0 status disk.img
}
