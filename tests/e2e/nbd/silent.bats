#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A server that does not answer: no command waits for it in silence, and status gives up when told to.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/remote

setup() {
	common_setup
	requires fuse nbdkit jq
	make_ext4 disk.img 32M
	before=$(sum disk.img)
}

teardown() {
	[ -z "${remote_pid:-}" ] || kill -CONT "$remote_pid" 2>/dev/null || true
	common_teardown
}

# waits VERB...: it is started while the server is stopped, says so once, and ends well when the
# server goes on.
waits() {
	local status=0 pid
	rm -f out err # what the one before has said is no sign of this one
	kill -STOP "$remote_pid"
	"$BOWIMG" "$@" >out 2>err 3>&- &
	pid=$!
	wait_until grep -qs 'waiting for' err
	kill -CONT "$remote_pid"
	wait "$pid" || status=$?
	cat out err
	[ "$status" -eq 0 ]
	[ "$(grep -c 'waiting for' err)" -eq 1 ]
	[ "$(grep -c 'answers again, after [3-9] seconds' err)" -eq 1 ]
}

@test "a command that waits for a server names it once, and says when it goes on" {
	remote_tcp
	expect 0 prepare "$remote"
	local server=${remote#nbd://}
	waits status --json "$remote"
	grep -F "bowimg: waiting for ${server%/}, which has not answered for 3 seconds ($remote)" err
	[ "$(json .state <out)" = checkpoint ]
	waits verify -q "$remote"
	[ ! -s out ]
	waits mark "$remote" here
	waits commit -q "$remote"
	remote_stop
}

@test "a server that stops in the middle of a rollback is waited for, and nothing is lost" {
	remote --filter=delay -- delay-read=30ms delay-write=30ms
	expect 0 prepare "$remote"
	expect 0 run -q --via=fuse --on-success=keep "$remote" -- \
		dd if=/dev/urandom of={} bs=4k count=700 seek=2000 conv=notrunc,fsync status=none
	"$BOWIMG" rollback "$remote" >out 2>err 3>&- &
	local pid=$!
	wait_until rolling_back
	kill -STOP "$remote_pid"
	wait_until grep -q 'waiting for' err
	kill -CONT "$remote_pid"
	wait "$pid"
	cat err
	grep -q 'answers again' err
	remote_stop
	same_as "$before" disk.img
}

# Of the file below the server: sector 0 has the state.
rolling_back() {
	[ "$("$BOWIMG" status --json --force=changed disk.img | jq -r .state)" = rolling-back ]
}

@test "a disk that is served says so, too, and the guest goes on" {
	remote
	expect 0 prepare "$remote"
	echo "kill -STOP $remote_pid; (sleep 4.5; kill -CONT $remote_pid) & dd if=\$1 of=/dev/null bs=4k count=1 skip=3000 iflag=direct" >io
	expect 0 run --via=fuse "$remote" -- sh io '{}'
	[[ $stderr == *"waiting for $T/remote.sock"* ]]
	[[ $stderr == *"answers again"* ]]
	remote_stop
	same_as "$before" disk.img
}

@test "umount says which process it waits for while the server does not answer" {
	requires root loop
	remote
	expect 0 prepare "$remote"
	mkdir mnt
	expect 0 mount "$remote" mnt
	head -c 2M /dev/urandom >mnt/new
	kill -STOP "$remote_pid"
	"$BOWIMG" umount mnt >out 2>err 3>&- &
	local pid=$!
	wait_until grep -q "waiting for process [0-9]*, which serves ${remote//[?]/.}" err
	kill -CONT "$remote_pid"
	wait "$pid"
	[ "$(wc -l <err)" -eq 1 ]
	expect 0 rollback "$remote"
	remote_stop
	same_as "$before" disk.img
}

@test "status gives up after the time that it was given, and says what is known" {
	remote
	expect 0 prepare "$remote"
	expect 0 status --timeout=20 "$remote"
	kill -STOP "$remote_pid"
	local began=$SECONDS
	refused 1 'no answer within 1 second; on this machine it is not mounted' \
		status --timeout=1 "$remote"
	expect 1 status --json --timeout=1 "$remote"
	[ "$(jq .error.exit <<<"$stderr")" -eq 1 ]
	[ $((SECONDS - began)) -le 4 ]
	kill -CONT "$remote_pid"
	expect 0 attach --fuse "$(mkdir -p fuse && echo fuse)" "$remote"
	kill -STOP "$remote_pid"
	refused 1 "it is .*$T/fuse" status --timeout=1 "$remote"
	kill -CONT "$remote_pid"
	expect 0 detach "$remote"
	remote_stop
}

@test "a server that is gone for good is an error after the message" {
	remote
	expect 0 prepare "$remote"
	kill -STOP "$remote_pid"
	"$BOWIMG" verify "$remote" >out 2>err 3>&- &
	local pid=$! status=0
	wait_until grep -q 'waiting for' err
	kill -9 "$remote_pid"
	wait "$pid" || status=$?
	[ "$status" -eq 1 ]
	[ "$(grep -c 'answers again' err)" -eq 0 ]
}
