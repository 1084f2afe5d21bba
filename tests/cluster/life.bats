#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The life of a checkpoint on a disk in a cluster: a real Ceph of one machine, by qemu-nbd. Each of the
# processes in the way is killed once.

load ../lib/common
load ../lib/front
load ../lib/e2e
load ../lib/ceph

setup_file() { ceph_setup_file; }
teardown_file() { ceph_teardown_file; }

setup() {
	common_setup
	ceph_disk 128
}

# A URI is not found by the common clean-up.
teardown() {
	timeout 60 "$BOWIMG" umount "${uri:-none}" >/dev/null 2>&1 || true
	[ -z "${qemu_nbd:-}" ] || kill -9 "$qemu_nbd" 2>/dev/null || true
	common_teardown
}

# write_on: a guest that overwrites files' blocks here and there, says so in $T/going, and goes on.
write_on() {
	cat >write_on.py <<-'EOF'
		import os, random, sys
		random.seed(int(sys.argv[2]))
		fd = os.open(sys.argv[1], os.O_RDWR)
		for i in range(int(sys.argv[3])):
		    os.pwrite(fd, os.urandom(4096), random.randrange(400, 30000) * 4096)
		    if i % 100 == 99:
		        os.fsync(fd)
		        open("going", "a").write("x")
		os.fsync(fd)
	EOF
	rm -f going
	python3 write_on.py "$@"
}

# written N: so many hundreds of blocks are durable.
written() {
	[ "$(stat -c %s going)" -ge "$1" ]
}

@test "prepared, mounted, looked at, marked, taken back to the mark, rolled back; and committed" {
	expect 0 prepare --exact "$uri"
	mkdir mnt old
	expect 0 mount -p 1 "$uri" mnt
	tree_sums mnt >sums
	change_tree mnt
	expect 0 mount --before -p 1 "$uri" old
	tree_sums old >old_sums
	cmp sums old_sums
	expect 0 umount old
	expect 0 umount "$uri"
	expect 1 diff --files --json "$uri"
	[ "$(json '[.[] | select(.change == "added") | .path] | index("/new1") != null' <<<"$output")" = true ]
	[ "$(json '.[] | select(.path == "/moved") | .["old-path"]' <<<"$output")" = /file3 ]
	expect 0 mark "$uri" changed
	expect 0 run -q --on-success=keep --on-failure=keep "$uri" -- dd if=/dev/urandom of={} bs=64k seek=100 count=200 \
		conv=notrunc,fsync status=none
	expect 0 verify "$uri"
	expect 0 rollback --to=changed "$uri"
	[ "$(key state "$uri")" = checkpoint ]
	expect 0 mount -p 1 -o ro "$uri" mnt
	[ -s mnt/new1 ]
	[ ! -e mnt/file1 ]
	expect 0 umount "$uri"
	expect 0 rollback "$uri"
	same_disk "$before"
	expect 0 prepare "$uri"
	expect 0 run -q --on-success=keep --on-failure=keep "$uri" -- dd if=/dev/urandom of={} bs=64k seek=100 count=20 \
		conv=notrunc,fsync status=none
	expect 0 commit "$uri"
	[ "$(key state "$uri")" = none ]
	[ "$(disk_sum)" != "$before" ]
}

@test "the NBD server is killed under a guest and in a rollback, and nothing is lost" {
	expect 0 prepare --exact "$uri"
	export -f write_on
	"$BOWIMG" run -q --via=fuse --on-failure=keep "$uri" -- bash -c 'write_on "$1" 1 100000' bash '{}' \
		>run.out 2>&1 3>&- &
	local run=$! status=0
	ceph_until written 3
	ceph_stop_serving KILL
	wait "$run" || status=$?
	cat run.out
	[ "$status" -ne 0 ]
	ceph_serve
	expect 0 verify "$uri"
	ceph_far 20
	"$BOWIMG" rollback -q "$far" >rollback.out 2>&1 3>&- &
	run=$!
	ceph_until is_rolling_back
	ceph_stop_serving KILL
	status=0
	wait "$run" || status=$?
	cat rollback.out
	[ "$status" -eq 1 ]
	ceph_far_stop
	ceph_serve
	[ "$(key state "$uri")" = rolling-back ]
	expect 0 rollback "$uri"
	same_disk "$before"
}

is_rolling_back() {
	[ "$("$BOWIMG" status --json --force=changed "$uri" | jq -r .state)" = rolling-back ]
}

@test "bowimg's own server is killed under a guest, and nothing is lost" {
	expect 0 prepare --exact "$uri"
	mkdir fuse
	expect 0 attach --fuse fuse "$uri"
	write_on fuse/disk 2 100000 >guest.out 2>&1 3>&- &
	local guest=$!
	ceph_until written 3
	kill_daemon "$uri"
	local status=0
	wait "$guest" || status=$?
	[ "$status" -ne 0 ]
	within 60 "$BOWIMG" detach "$uri" || true
	[ "$(key in-use "$uri")" = false ]
	expect 0 verify "$uri"
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep "$uri" -- true
	expect 0 rollback "$uri"
	same_disk "$before"
}

@test "the OSD is killed under a guest and in a rollback: bowimg says that it waits, and goes on" {
	expect 0 prepare --exact "$uri"
	export -f write_on
	"$BOWIMG" run -q --via=fuse --on-success=keep "$uri" -- bash -c 'write_on "$1" 3 800' bash '{}' \
		>run.out 2>&1 3>&- &
	local run=$!
	ceph_until written 3
	ceph_kill osd
	ceph_until grep -q 'waiting for' run.out
	ceph_start_osd
	wait "$run"
	grep 'answers again' run.out
	ceph_far 20
	"$BOWIMG" rollback -q "$far" >rollback.out 2>&1 3>&- &
	run=$!
	ceph_until is_rolling_back
	ceph_kill osd
	ceph_start_osd
	wait "$run"
	cat rollback.out
	ceph_far_stop
	[ "$(key state "$uri")" = none ]
	same_disk "$before"
}
