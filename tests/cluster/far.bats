#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A disk in a cluster by a link that takes 50 ms for each answer: how many requests are in flight in each
# verb, and how long it takes.

load ../lib/common
load ../lib/front
load ../lib/e2e
load ../lib/ceph
load ../lib/far

setup_file() { ceph_setup_file; }
teardown_file() { ceph_teardown_file; }

setup() {
	common_setup
	requires "${FAR_TOOLS[@]}"
	ceph_disk 128
	litter
	far_start 50 "$T/rbd.sock"
	# shellcheck disable=SC2016
	printf '#!/bin/sh\nexec nsenter --net=/run/netns/%s-c "%s" "$@"\n' "$far_net" "$BOWIMG" >far_bowimg
	chmod +x far_bowimg
}

teardown() {
	far_stop
	[ -z "${qemu_nbd:-}" ] || kill -9 "$qemu_nbd" 2>/dev/null || true
	common_teardown
}

# litter: the free space has been used, so that prepare has blocks to look at.
litter() {
	head -c 24M /dev/urandom >litter
	debugfs -w -f - 'origin.img?offset=1048576' >/dev/null 2>&1 <<-'EOT'
		write litter litter
		rm litter
	EOT
	within 60 nbdcopy --flush origin.img "$uri"
	before=$(sum origin.img)
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

# crowded STATUS VERB... : LEAST KIND...: the verb on the far disk has at least LEAST such requests in
# flight. FAR in it stands for the disk.
crowded() {
	local want=$1 verb=() began=$EPOCHREALTIME most mean all
	shift
	while [ "$1" != : ]; do
		verb+=("$1")
		shift
	done
	: >far.log
	BOWIMG=$T/far_bowimg expect "$want" "${verb[@]/#FAR/$far}" || return 1
	read -r most mean all <<<"$(far_flight "${@:3}")"
	echo "# ${verb[*]:0:4}: at most $most and on average $mean of $all requests at once (${*:3}), $(
		awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')" >&3
	[ "$most" -ge "$2" ]
}

@test "50 ms away, each verb has many requests in flight" {
	crowded 0 prepare --exact FAR : 8 Read
	overwrite 1 300
	expect 0 mark "$uri" here
	overwrite 2 250
	crowded 0 verify FAR : 16 Read
	crowded 0 export --redo -o redo.tar FAR : 16 Read
	crowded 1 diff --files FAR : 16 Read
	crowded 0 rollback --to=here FAR : 14 Read Write
	crowded 0 rollback FAR : 14 Read Write
	same_disk "$before"
	crowded 0 apply -n redo.tar FAR : 16 Read
	crowded 0 apply redo.tar FAR : 8 Write
	expect 0 prepare --exact "$uri"
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep "$uri" -- bash -c '
		for ((blk = 2000; blk < 8000; blk += 40)); do
			fallocate -p -o $((blk * 4096)) -l 8192 "$1" || exit
		done' bash '{}'
	crowded 0 commit FAR : 16 Zero
	expect 0 prepare --exact "$uri"
	crowded 0 run -q --via=loop --on-success=keep FAR -- bash -c '
		for i in 0 1 2 3; do
			dd if=/dev/urandom of="$1" bs=1M seek=$((8 + i * 12)) count=3 conv=notrunc oflag=direct status=none &
		done
		wait' bash '{}' : 16 Read Write
}
