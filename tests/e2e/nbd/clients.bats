#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The NBD clients that people use, on a served image; each ends with a rollback.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd

setup() {
	nbd_setup 64M
	cp --sparse=always disk.img copy.img
	expect 0 prepare disk.img
}

@test "nbdinfo shows what the server can do" {
	serve
	nbdinfo --json "$uri" >info.json
	cat info.json
	[ "$(json '.exports[0]."export-size"' <info.json)" -eq $((64 << 20)) ]
	for can in flush fua trim zero fast_zero multi_conn; do
		[ "$(json ".exports[0].can_$can" <info.json)" = true ]
	done
	[ "$(json '.exports[0].block_size_preferred' <info.json)" = 4096 ]
	[ "$(json '.exports[0].is_read_only' <info.json)" = false ]
	unserve
	roll_back
}

@test "qemu-img reads the disk, compares it and overwrites all of it" {
	serve
	[ "$(qemu-img info --output=json -f raw "$uri" | json '."virtual-size"')" -eq $((64 << 20)) ]
	within 60 qemu-img compare -f raw -F raw copy.img "$uri"
	within 60 qemu-img convert -f raw -O raw "$uri" read.img
	identical read.img copy.img
	truncate -s 64M other.img
	mkfs.ext4 -q -F -b 1024 -L other -d "$BATS_FILE_TMPDIR/tree" other.img
	within 60 qemu-img convert -n -f raw -O raw other.img "$uri"
	within 60 qemu-img compare -f raw -F raw other.img "$uri"
	unserve
	roll_back
}

@test "clients are told what reads as zeros, and skip it" {
	serve
	io 'write -P 7 8M 1M' 'write -z 10M 4M' 'write -P 9 12M 1M' flush
	within 60 nbdinfo --map --json "$uri" >map.json
	cat map.json
	# To the end, and most of it not data.
	[ "$(json '[.[] | .length] | add' <map.json)" -eq $((64 << 20)) ]
	[ "$(json '[.[] | select(.type == 3) | .length] | add' <map.json)" -gt $((40 << 20)) ]
	# What is told agrees with what is read.
	within 60 qemu-img convert -f raw -O raw "$uri" convert.img
	within 60 nbdcopy "$uri" nbdcopy.img
	within 60 nbdcopy --no-extents "$uri" all.img
	cmp convert.img all.img
	cmp nbdcopy.img all.img
	unserve
	roll_back
}

@test "nbdcopy fills the disk with new data, and reads the same back" {
	head -c 64M /dev/urandom >random.img
	serve
	within 60 nbdcopy --flush random.img "$uri"
	within 60 nbdcopy "$uri" read.img
	cmp random.img read.img
	unserve INT
	serve
	within 60 nbdcopy "$uri" read.img
	cmp random.img read.img
	unserve HUP
	roll_back
}

@test "nbdcopy of an empty disk zeroes everything without a copy" {
	truncate -s 64M empty.img
	serve
	within 60 nbdcopy --flush empty.img "$uri"
	within 60 qemu-img compare -f raw -F raw empty.img "$uri"
	unserve
	[ "$(key backup-bytes)" -lt $((1 << 20)) ]
	roll_back
}

@test "qemu-io writes, zeroes and discards, aligned and not" {
	serve
	io 'write -P 1 0 64k' 'write -P 2 65537 1' 'write -P 3 1000003 70001' 'write -P 4 4M 1M'
	io 'read -P 1 0 64k' 'read -P 2 65537 1' 'read -P 3 1000003 70001' 'read -P 4 4M 1M'
	io 'write -z 4197377 12345' 'read -P 0 4197377 12345' 'read -P 4 4M 3073' \
		'read -P 4 4209722 1000'
	io 'write -zu 8M 8M' 'write -z 20M 4M' 'write -zn 30M 1M' \
		'read -P 0 8M 8M' 'read -P 0 20M 4M' 'read -P 0 30M 1M'
	io 'discard 12M 1M' 'discard 25000001 999999' 'write -f -P 9 12M 4097' 'read -P 9 12M 4097' \
		'read -P 9 12M 4097' 'write -P 8 67108863 1' 'flush' 'read -P 8 67108863 1'
	unserve
	roll_back
}

@test "fio writes at random and verifies, with 32 requests in flight and several jobs" {
	requires fio
	serve
	within 120 fio --ioengine=nbd --uri="$uri" --rw=randwrite --bs=4k --iodepth=32 --size=16M \
		--numjobs=3 --offset_increment=20M --verify=crc32c --verify_fatal=1 --do_verify=1 \
		--group_reporting --name=random >fio.out
	within 120 fio --ioengine=nbd --uri="$uri" --rw=randrw --bssplit=512/20:4k/40:68k/40 \
		--iodepth=16 --size=20M --offset=40M --verify=crc32c --verify_fatal=1 --fsync=7 \
		--name=mixed >fio.out
	unserve
	roll_back
}

@test "fio that flushes after every write" {
	requires fio
	serve
	within 120 fio --ioengine=nbd --uri="$uri" --rw=randwrite --bs=4k --iodepth=1 --size=4M \
		--numjobs=2 --offset_increment=10M --fsync=1 --verify=crc32c --verify_fatal=1 \
		--name=flush >fio.out
	unserve
	roll_back
}

@test "what a client wrote can be committed" {
	serve
	within 60 nbdcopy "$uri" changed.img
	debugfs -w -R "write $BATS_TEST_FILENAME new" changed.img
	within 60 nbdcopy --flush changed.img "$uri"
	unserve
	expect 0 commit disk.img
	identical disk.img changed.img
	clean_fs disk.img
	refused 3 'roll back' rollback disk.img
}
