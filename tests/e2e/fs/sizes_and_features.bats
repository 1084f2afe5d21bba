#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Block sizes, features and image sizes: each is changed through a mount, and comes back.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
}

# round_trip [MKFS-OPTION...]: disk.img is mounted, changed, rolled back; then committed.
round_trip() {
	local before
	make_ext4 disk.img "$size" "$@"
	remember
	expect 0 prepare disk.img
	up
	change_tree mnt
	down
	cp --preserve=timestamps disk.img commit.img
	expect 0 rollback disk.img
	same_as "$before"
	expect 0 commit commit.img
	clean_fs commit.img
}

@test "block sizes of 1, 2 and 4 KiB" {
	local bytes size=48M
	for bytes in 1024 2048 4096; do
		round_trip -b "$bytes"
	done
}

@test "block sizes above 4 KiB, which this kernel may not mount" {
	local bytes before
	head -c 300000 /dev/urandom >new
	for bytes in 8192 16384 65536; do
		make_ext4 disk.img 64M -b "$bytes"
		remember
		expect 0 prepare disk.img
		expect 0 run --on-success=keep --on-failure=keep disk.img -- \
			debugfs -w -R "write new new" {}
		expect 0 run --on-success=keep --on-failure=keep disk.img -- e2fsck -fyD {}
		expect 0 rollback disk.img
		same_as "$before"
	done
}

@test "ext2 and ext3" {
	local size=32M
	round_trip -t ext2
	round_trip -t ext3
}

@test "bigalloc, meta_bg, sparse_super2, uninit_bg, no 64bit, inline_data" {
	local size=48M
	round_trip -O bigalloc -C 16384
	round_trip -O meta_bg,^resize_inode
	round_trip -O sparse_super2,^resize_inode
	round_trip -O uninit_bg,^metadata_csum
	round_trip -O ^64bit,^flex_bg,^has_journal
	round_trip -O inline_data
}

@test "image sizes that are no multiple of 4 KiB" {
	local size
	for size in $((24 << 20 | 512)) $((24 << 20 | 1536)) $((24 << 20 | 3584)); do
		round_trip -b 1024
	done
}

@test "8 MiB" {
	local size=8M
	make_tree tree 3
	round_trip -d tree
}

@test "4 GiB, as sparse afterwards as before" {
	local blocks
	requires qemu-img
	make_ext4 disk.img 4G
	blocks=$(stat -c %b disk.img)
	cp --sparse=always disk.img before.img
	expect 0 prepare disk.img
	up
	change_tree mnt
	head -c 100M /dev/urandom >mnt/large
	down
	expect 0 rollback disk.img
	identical before.img disk.img
	# The host's own bookkeeping of holes may differ by a little.
	[ "$(stat -c %b disk.img)" -le $((blocks + 4096)) ]
}

# peak_kib STATUS ARG...: run bowimg, print its largest resident size.
peak_kib() {
	local wanted=$1 status=0
	shift
	within 120 /usr/bin/time -f %M -o peak "$BOWIMG" "$@" >peak.out 2>&1 || status=$?
	cat peak.out >&2
	[ "$status" -eq "$wanted" ] && tail -n 1 peak
}

@test "a sparse 1 TiB image is prepared, served and rolled back within 128 MiB of memory" {
	local dir verb kib pid
	requires /usr/bin/time qemu-img
	truncate -s 1T disk.img
	mkfs.ext4 -q -F disk.img
	cp --sparse=always disk.img before.img
	kib=$(peak_kib 0 prepare disk.img)
	[ "$kib" -lt $((128 << 10)) ]
	up -o noinit_itable
	for dir in a b c d e f g h; do
		mkdir "mnt/$dir"
		head -c 8M /dev/urandom >"mnt/$dir/file"
	done
	within 60 sync -f mnt
	pid=$(daemon_of "$T/disk.img")
	kib=$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$pid/status")
	echo "the serving process: $kib KiB"
	[ "$kib" -lt $((128 << 10)) ]
	down
	for verb in status verify log map rollback; do
		kib=$(peak_kib 0 "$verb" disk.img)
		echo "$verb: $kib KiB"
		[ "$kib" -lt $((128 << 10)) ]
	done
	identical before.img disk.img
}
