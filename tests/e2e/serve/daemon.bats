#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The daemon dies, is stopped, or must not be started; the commands die. Nothing hangs, nothing stays.

load ../../lib/common
load ../../lib/front
load ../../lib/cgroup

setup() {
	common_setup
	requires root loop fuse jq
	make_ext4 disk.img 24M
	before=$(sum disk.img)
	"$BOWIMG" prepare -q disk.img
	mkdir mnt
}

teardown() {
	local status=0
	remove_limited || status=1
	common_teardown && return "$status"
}

rolls_back() {
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "after kill -9 of the daemon umount clears everything, and the image rolls back" {
	for name in mnt disk.img; do
		expect 0 mount disk.img mnt
		echo flushed >mnt/flushed
		sync -f mnt
		dd if=/dev/zero of=mnt/unflushed bs=4096 count=50 status=none
		kill_daemon disk.img
		expect 0 umount "$name"
		grep -q 'had been killed' <<<"$stderr"
		nothing_left
	done
	expect 0 mount disk.img mnt
	[ "$(cat mnt/flushed)" = flushed ]
	expect 0 umount mnt
	rolls_back
}

@test "after kill -9 of the daemon an earlier one's good end is not taken for its own" {
	local dir
	expect 0 attach --fuse mnt disk.img
	dir=$(dirname "$(state_of disk.img)")
	expect 0 detach disk.img
	mkdir "$dir"
	echo '{ "code": 0, "message": "", "hint": "" }' >"$dir/result.json"
	expect 0 attach --fuse mnt disk.img
	kill_daemon disk.img
	expect 0 detach disk.img
	grep -q 'had been killed' <<<"$stderr"
	nothing_left
}

@test "after kill -9 of the daemon a mount in use is unmounted lazily" {
	expect 0 mount disk.img mnt
	exec 9<mnt/file1
	kill_daemon disk.img
	expect 0 umount mnt
	run ! mountpoint -q mnt
	exec 9<&-
	wait_until quietly nothing_left
	rolls_back
}

@test "after kill -9 of the daemon attach and mount clear up by themselves" {
	for way in 'attach disk.img' 'mount disk.img mnt' 'attach --fuse mnt disk.img'; do
		# shellcheck disable=SC2086
		expect 0 $way
		kill_daemon disk.img
		expect 0 attach disk.img
		grep -q 'killed daemon' <<<"$stderr"
		expect 0 detach disk.img
		nothing_left
	done
	rolls_back
}

@test "after kill -9 of the daemon a device in use is not taken away by attach" {
	expect 0 mount disk.img mnt
	exec 9<mnt/file1
	kill_daemon disk.img
	refused 4 'busy' attach disk.img
	exec 9<&-
	expect 0 attach disk.img
	expect 0 detach disk.img
	nothing_left
}

@test "the watchdog cuts off a mount whose daemon is stopped, and umount clears up" {
	expect 0 mount --stuck-after=2 disk.img mnt
	pid=$(daemon_of disk.img)
	kill -STOP "$pid"
	run timeout 20 dd if=/dev/urandom of=mnt/new bs=64k count=20 conv=fsync
	[ "$status" -ne 0 ]
	[ "$status" -ne 124 ]
	run timeout 20 "$BOWIMG" umount mnt
	[ "$status" -ne 124 ]
	nothing_left
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "umount does not hang on a stopped daemon" {
	expect 0 mount --stuck-after=2 disk.img mnt
	echo x >mnt/x
	kill -STOP "$(daemon_of disk.img)"
	run timeout 20 "$BOWIMG" umount mnt
	[ "$status" -ne 124 ]
	nothing_left
	rolls_back
}

@test "an idle mount is not taken for stuck" {
	expect 0 mount --stuck-after=1 disk.img mnt
	sleep 3
	echo x >mnt/x
	sync -f mnt
	sleep 2
	expect 0 umount mnt
	[ -z "$stderr" ]
	nothing_left
}

@test "a mount that is interrupted takes everything down again" {
	for signal in INT TERM HUP KILL; do
		for delay in 0 0.01 0.02 0.04 0.08; do
			env --default-signal=INT "$BOWIMG" mount disk.img mnt 2>/dev/null 3>&- &
			sleep "$delay"
			kill "-$signal" $! 2>/dev/null || true
			wait $! || true
			# It may have been faster than the signal.
			! mountpoint -q mnt || "$BOWIMG" umount mnt || true
			wait_until quietly nothing_left
		done
	done
	rolls_back
}

@test "a mount that comes up after its command was killed is taken down" {
	mkdir bin
	cat >bin/mount <<-EOF
		#!/bin/bash
		for device; do [[ \$device != /dev/loop* ]] || exec 9<"\$device"; done
		touch "$T/begun"
		until [ -e "$T/killed" ]; do sleep 0.01; done
		sleep 0.3
		$(command -v mount) "\$@"
		touch "$T/mounted"
	EOF
	chmod +x bin/mount
	PATH=$T/bin:$PATH "$BOWIMG" mount disk.img mnt 2>/dev/null 3>&- &
	wait_until test -e begun
	kill -KILL $!
	touch killed
	wait $! || true
	wait_until test -e mounted
	wait_until quietly nothing_left
	rolls_back
}

@test "a runtime directory that others may write in is not trusted" {
	requires setpriv
	export XDG_RUNTIME_DIR=$T/run
	mkdir -p run/bowimg
	chmod 777 . run run/bowimg
	run --separate-stderr setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$BOWIMG" detach disk.img
	[ "$status" -eq 1 ]
	grep -q 'another user' <<<"$stderr"
	rm -r run/bowimg
	ln -s /etc run/bowimg
	run ! setpriv --reuid=65534 --regid=65534 --clear-groups "$BOWIMG" detach disk.img
}

# Of its 16 buffers and as many stacks alone; what it used so far is a third of that.
has_its_memory() {
	local pid
	pid=$("$BOWIMG" status --json disk.img | jq .pid)
	[ "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")" -gt 24576 ]
}

@test "under a loop device the daemon has its memory when the device is there, else a moment later" {
	expect 0 attach disk.img
	has_its_memory
	expect 0 detach disk.img
	expect 0 attach --fuse mnt disk.img
	wait_until has_its_memory
	expect 0 detach disk.img
	rolls_back
}

@test "a loop device is refused in a limited memory cgroup, a file is not" {
	make_limited 64
	# `run` has one status for all failures of its own, so that it is never taken for COMMAND's.
	for way in '9 mount disk.img mnt' '9 attach disk.img' '125 run --via=loop disk.img -- true'; do
		# shellcheck disable=SC2086
		run --separate-stderr limited_in "$BOWIMG" ${way#* }
		echo "$way: $status $stderr"
		[ "$status" -eq "${way%% *}" ] || break
		grep -q "bowimg-test-$$ is limited to 64 MiB" <<<"$stderr" || break
		grep -q 'attach --fuse' <<<"$stderr" || break
	done
	result=$status
	nothing_left
	limited_in "$BOWIMG" attach --fuse mnt disk.img || result=1
	head -c 8M /dev/urandom | dd of=mnt/disk bs=1M seek=8 conv=notrunc,fsync status=none || result=1
	expect 0 detach disk.img
	remove_limited
	[ "$result" -eq 125 ]
	rolls_back
}
