#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Advice about an image in use: who uses it, where, and a command that ends that.

load ../../lib/common
load ../../lib/e2e
load ../../lib/front

setup() {
	common_setup
	requires root loop fuse
	make_ext4 disk.img 16M
	mkdir mnt dir bin
	ln -s "$BOWIMG" bin/bowimg
	PATH=$T/bin:$PATH
}

# told PATTERN: every command that is refused names the process, and one command ends that; status says
# both. That command, pasted, makes what was refused possible.
told() {
	local user=$1 command
	for verb in rollback commit verify diff prepare rescue 'attach --loop' 'serve --socket s'; do
		# shellcheck disable=SC2086
		refused 4 "in use: $user|in use: process [0-9]+ serves it at" $verb disk.img
		[ "$(wc -l <<<"$stderr")" -eq 2 ]
		command=$(sed -n 's/^  .*: \(bowimg .*\)/\1/p' <<<"$stderr")
		[ -n "$command" ]
	done
	expect 0 status disk.img
	grep -qE "^disk.img: checkpoint open.*, (mounted at|attached as) (/dev/loop|$T/).* \(process [0-9]+\)$" <<<"$output"
	grep -qE "^next: bowimg (umount|detach) .*, then bowimg rollback disk.img" <<<"$output"
	grep -qE "^process [0-9]+ serves it at (/dev/loop|$T/).*; to end that: bowimg (umount|detach) disk.img$" <<<"$("$BOWIMG" status --json disk.img | json .next)"
	within 30 sh -c "$command"
	[[ $(key next) == *"'rollback' brings everything back"* ]]
}

@test "a mounted image: status and refusals name process, place, and the umount that ends it" {
	expect 0 prepare -q disk.img
	up
	told "process $(daemon_of disk.img) "
	expect 0 attach disk.img
	told "process $(daemon_of disk.img) "
	expect 0 attach --fuse dir disk.img
	told "process $(daemon_of disk.img) "
	expect 0 rollback disk.img
	nothing_left
}

@test "an image that a killed process left is not called used, and what status says works" {
	expect 0 prepare -q disk.img
	up
	kill_daemon disk.img
	[[ $(key next) == "left by a process that was killed: nothing is lost; 'bowimg mount' or 'attach' go on"* ]]
	expect 0 mount disk.img mnt
	down
	expect 0 rollback disk.img
}

@test "an image that NBD serves is used by that process" {
	requires nbdkit
	expect 0 prepare -q disk.img
	"$BOWIMG" serve --socket s disk.img >uri 3>&- &
	wait_until test -s uri
	[[ $(key next) == "in use by process "*" (nbdkit): nothing is lost"* ]]
	refused 4 'in use: process [0-9]+ \(nbdkit\)' rollback disk.img
	kill $!
	wait $! || true
	expect 0 rollback disk.img
}

@test "an image behind a loop device: status says that prepare would refuse it" {
	device=$(losetup -f --show disk.img)
	[[ $(key next) == "'bowimg prepare' would refuse it: in use: $device is attached to it" ]]
	losetup -d "$device"
	[ "$(key next)" = "'bowimg prepare' opens a checkpoint" ]
}

@test "directories: a missing one is to be made, and FUSE hides nothing" {
	expect 0 prepare -q disk.img
	refused 1 'cannot use the directory nowhere' mount disk.img nowhere
	grep -q '^  make it first: mkdir -p nowhere$' <<<"$stderr"
	refused 1 'cannot use the directory gone' attach --fuse gone disk.img
	touch dir/mine
	refused 1 'cannot use the directory dir: Directory not empty' attach --fuse dir disk.img
	refused 1 'Not a directory' attach --fuse dir/mine disk.img
	[ -e dir/mine ]
	expect 0 mount disk.img dir
	expect 0 umount dir
	expect 0 rollback disk.img
	nothing_left
}
