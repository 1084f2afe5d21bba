#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The daemon and the nbdkit plugin, built with ThreadSanitizer, while fio and others use them. nbdkit
# itself is not built so: it gets the sanitizer's library preloaded, by a wrapper in PATH.

load ../lib/common
load ../lib/front
load ../lib/e2e
load ../lib/nbd

setup() {
	requires root loop fuse fio nbdcopy
	nbd_setup 64M
	export TSAN_OPTIONS="log_path=$T/race exitcode=0"
	preload_in_nbdkit
}

preload_in_nbdkit() {
	local nbdkit library
	nbdkit=$(command -v nbdkit)
	library=$(ldd "$BOWIMG" | awk '$1 ~ /^libtsan/ { print $3 }')
	[ -e "$library" ] || {
		echo "$BOWIMG is not built with ThreadSanitizer"
		return 1
	}
	mkdir bin
	printf '#!/bin/sh\nLD_PRELOAD=%s exec %s "$@"\n' "$library" "$nbdkit" >bin/nbdkit
	chmod +x bin/nbdkit
	PATH=$T/bin:$PATH
}

no_races() {
	! compgen -G "$T/race.*" >/dev/null || {
		head -n 100 "$T"/race.*
		return 1
	}
}

# load ENGINE-OPTION...: overwrites, free blocks, holes and flushes by several jobs at once.
load_with_fio() {
	within 120 fio --name=load --size=64M --bsrange=512-128k --blockalign=512 --norandommap \
		--rw=randrw --iodepth=8 --time_based --runtime="${SECONDS_OF_LOAD:-4}" --fsync=16 \
		--output=fio.out "$@"
}

@test "the daemon: its file, and the disk as it was beside it" {
	expect 0 prepare disk.img
	mkdir fuse
	expect 0 attach --fuse fuse disk.img
	load_with_fio --filename=fuse/disk --ioengine=psync --numjobs=4 --group_reporting &
	for _ in 1 2 3; do
		within 60 cp fuse/before seen
		within 60 fallocate -p -o 20M -l 3M fuse/disk
		within 60 fallocate -z -o 30M -l 100000 fuse/disk
	done
	wait $!
	same_as "$before" seen
	expect 0 detach disk.img
	roll_back
	no_races
}

@test "the daemon: the disk comes late, while the disk as it was is read" {
	expect 0 prepare disk.img
	mkdir old
	expect 0 mount --before disk.img old
	file=$(jq -r '."fuse-dir"' "$(state_of disk.img)")/before
	(while [ ! -e stop ]; do dd if="$file" of=seen bs=64k iflag=direct status=none; done) 3>&- &
	attach_loop "$T/disk.img"
	load_with_fio --filename="$device" --ioengine=libaio --direct=1 --numjobs=2 --group_reporting
	touch stop
	wait $!
	same_as "$before" seen
	expect 0 umount old
	expect 0 detach disk.img
	roll_back
	no_races
}

@test "the daemon under a loop device" {
	expect 0 prepare --free-from=none --on-full=tail disk.img
	attach_loop "$T/disk.img"
	load_with_fio --filename="$device" --ioengine=libaio --direct=1 --numjobs=2 --group_reporting &
	for _ in 1 2 3; do
		within 60 blkdiscard -f -o 20M -l 2M "$device"
		within 60 blkdiscard -f -z -o 30M -l 1M "$device"
	done
	wait $!
	expect 0 detach disk.img
	roll_back
	no_races
}

@test "the plugin: both exports, trims, zeros and extents" {
	expect 0 prepare disk.img
	serve
	grep -q libtsan "/proc/$(nbdkit_of "$server")/maps"
	load_with_fio --ioengine=nbd --uri="$uri" --rw=randrw &
	for _ in 1 2 3; do
		within 60 nbdcopy "nbd+unix:///before?socket=$T/nbd.sock" seen
		within 60 nbdinfo --map "$uri" >map
		io 'discard 20M 3M' 'write -z -u 30M 100000'
	done
	wait $!
	same_as "$before" seen
	unserve
	roll_back
	no_races
}

@test "the plugin that tracks discards, and is told to end while it is used" {
	expect 0 prepare --no-exact --free-from=trim disk.img -- sh -c \
		"fio --name=trim --ioengine=nbd --uri={} --offset=32M --size=32M --rw=randtrim --bs=64k \
		--iodepth=8 --number_ios=400 --output=trim.out
		fio --name=load --ioengine=nbd --uri={} --size=32M --rw=randwrite --bs=4k --iodepth=8 \
		--time_based --runtime=60 --output=fio.out & sleep 1"
	[ "$(key state)" = checkpoint ]
	no_races
}
