#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Discards while a checkpoint is open: they cost nothing, read as zeros, and lose nothing.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
	make_tree tree
	head -c 20M /dev/urandom >tree/large
	make_ext4 disk.img 64M -d tree
	remember
	expect 0 prepare disk.img
}

# zeros FILE OFFSET BYTES
zeros() {
	cmp -n "$3" -i "$2:0" "$1" /dev/zero
}

# The loop device is read with direct I/O: its page cache would say what it has been told itself.
zeros_on() {
	within 30 dd if="$1" iflag=direct,skip_bytes,count_bytes skip="$2" count="$3" bs=64k \
		status=none | cmp -n "$3" - /dev/zero
}

# trim_cost: fstrim the mounted disk.img; sets what that cost, in bytes.
trim_cost() {
	local backup free log
	within 30 sync -f mnt
	backup=$(key backup-bytes) free=$(key free-left-bytes) log=$(key log-bytes)
	within 30 fstrim mnt
	within 30 sync -f mnt
	copied=$(($(key backup-bytes) - backup))
	logged=$(($(key log-bytes) - log))
	taken=$((free - $(key free-left-bytes) - logged))
	echo "copied $copied, log $logged, other free space $taken bytes"
}

@test "fstrim copies nothing and takes no free space" {
	local copied logged taken
	make_ext4 disk.img 64M -d tree -b 4096
	remember
	expect 0 prepare disk.img
	up -o noinit_itable
	trim_cost
	[ "$copied" -eq 0 ]
	[ "$taken" -eq 0 ]
	[ "$logged" -eq 0 ]
	down
	expect 0 rollback disk.img
	same_as "$before"
}

@test "fstrim with small blocks: only what shares a block with the ends of a free range" {
	local copied logged taken
	up -o noinit_itable
	trim_cost
	# Two ends in each of 8 block groups.
	[ "$copied" -le $((16 * 4096)) ]
	[ "$taken" -le $((32 * 4096)) ]
	[ "$logged" -le $((1 << 20)) ]
	down
	expect 0 rollback disk.img
	same_as "$before"
}

@test "deleting files on a mount with -o discard copies only metadata" {
	local backup
	up -o discard
	within 30 sync -f mnt
	backup=$(key backup-bytes)
	rm -r mnt/large mnt/file*
	within 30 sync -f mnt
	down
	echo "backups: $backup, then $(key backup-bytes)"
	[ "$(key backup-bytes)" -lt $((backup + (1 << 20))) ]
	cp --preserve=timestamps disk.img commit.img
	expect 0 rollback disk.img
	same_as "$before"
	expect 0 commit commit.img
	clean_fs commit.img
}

# Ranges of every kind: in use and untouched, overwritten, free, newly written, with backups in them.
discard_all_kinds() {
	local i
	attach_loop disk.img
	for i in 3 21; do
		within 30 dd if=/dev/urandom of="$device" bs=1M seek=$i count=2 conv=fsync status=none
	done
	# Unaligned at both ends: edges are zeroed by writing.
	within 30 blkdiscard -f -o $(((2 << 20) + 512)) -l $(((4 << 20) + 1024)) "$device"
	within 30 blkdiscard -f -z -o $((20 << 20)) -l $((30 << 20)) "$device"
	within 30 blockdev --flushbufs "$device"
	within 30 sync "$device"
}

all_read_zero() {
	zeros_on "$device" $(((2 << 20) + 512)) $(((4 << 20) + 1024))
	zeros_on "$device" $((20 << 20)) $((30 << 20))
}

@test "discarded and zeroed ranges read as zeros, at once, after detach, and after a kill -9" {
	discard_all_kinds
	all_read_zero
	expect 0 detach disk.img
	attach_loop disk.img
	all_read_zero
	kill_daemon "$T/disk.img"
	attach_loop disk.img
	all_read_zero
	expect 0 detach disk.img
	expect 0 rollback disk.img
	same_as "$before"
}

@test "after a commit the discarded ranges are zeros in the image itself" {
	discard_all_kinds
	expect 0 detach disk.img
	expect 0 commit disk.img
	zeros disk.img $(((2 << 20) + 512)) $(((4 << 20) + 1024))
	zeros disk.img $((20 << 20)) $((30 << 20))
}

@test "a discard costs nothing even if the whole disk is discarded, and all comes back" {
	local backup
	attach_loop disk.img
	backup=$(key backup-bytes)
	within 30 blkdiscard -f "$device"
	within 30 sync "$device"
	[ "$(key backup-bytes)" -le $((backup + 8192)) ]
	zeros_on "$device" 0 $((64 << 20))
	expect 0 detach disk.img
	expect 0 rollback disk.img
	same_as "$before"
}

@test "written again after a discard: the new data is there, also after kill -9" {
	attach_loop disk.img
	head -c 6M /dev/urandom >new
	within 30 blkdiscard -f "$device"
	within 30 dd if=new of="$device" bs=1M seek=10 conv=fsync status=none
	kill_daemon "$T/disk.img"
	attach_loop disk.img
	within 30 dd if="$device" iflag=direct bs=1M skip=10 count=6 status=none | cmp - new
	zeros_on "$device" 0 $((10 << 20))
	zeros_on "$device" $((16 << 20)) $((48 << 20))
	expect 0 detach disk.img
	cp --preserve=timestamps disk.img commit.img
	expect 0 commit commit.img
	cmp -n $((6 << 20)) -i $((10 << 20)):0 commit.img new
	zeros commit.img 0 $((10 << 20))
	expect 0 rollback disk.img
	same_as "$before"
}
