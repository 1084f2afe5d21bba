#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A disk in a cluster by a link that takes 50 ms for each request: how many requests are in flight in
# each verb.

load ../lib/common
load ../lib/front
load ../lib/e2e
load ../lib/ceph
load ../lib/flight

setup_file() { ceph_setup_file; }
teardown_file() { ceph_teardown_file; }

setup() {
	common_setup
	ceph_disk 128
}

teardown() {
	[ -z "${far_nbdkit:-}" ] || kill "$far_nbdkit" 2>/dev/null || true
	[ -z "${qemu_nbd:-}" ] || kill -9 "$qemu_nbd" 2>/dev/null || true
	common_teardown
}

# overwrite SEED N: so many blocks of the large file, here and there.
overwrite() {
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep "$uri" -- python3 -c '
import os, random, sys
random.seed(int(sys.argv[2]))
fd = os.open(sys.argv[1], os.O_RDWR)
for blk in random.sample(range(2000, 14000), int(sys.argv[3])):
    os.pwrite(fd, os.urandom(4096), blk * 4096)
os.fsync(fd)' '{}' "$@"
}

# crowded VERB... -- LEAST KIND...: the verb on the far disk has at least LEAST such requests in flight.
crowded() {
	local verb=() began=$EPOCHREALTIME most all
	while [ "$1" != -- ]; do
		verb+=("$1")
		shift
	done
	: >far.log
	expect 0 "${verb[@]}" "$far" || return 1
	read -r most all <<<"$(flight far.log "${@:3}")"
	echo "# ${verb[*]}: $most of $all requests at once (${*:3}), $(
		awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')" >&3
	[ "$most" -ge "$2" ]
}

@test "50 ms away, verify, rollback, the return to a mark and commit have many requests in flight" {
	expect 0 prepare --exact "$uri"
	overwrite 1 500
	expect 0 mark "$uri" here
	overwrite 2 400
	ceph_far 50
	crowded verify -- 12 Read
	crowded export --redo -o redo.tar -- 12 Read
	crowded rollback --to=here -- 12 Write
	crowded rollback -- 12 Write
	same_disk "$before"
	crowded apply -n redo.tar -- 12 Read
	crowded apply redo.tar -- 8 Write
	expect 0 prepare --exact "$uri"
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep "$uri" -- bash -c '
		for ((blk = 2000; blk < 8000; blk += 40)); do
			fallocate -p -o $((blk * 4096)) -l 8192 "$1" || exit
		done' bash '{}'
	crowded commit -- 12 Zero
	ceph_far_stop
}
