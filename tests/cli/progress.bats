#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# --progress-fd: lines for another program, whatever becomes of that program.

load ../lib/common

setup() {
	common_setup
	requires fuse jq
	make_ext4 disk.img 16M
	head -c 2M /dev/urandom >new
}

# A checkpoint, and 300 blocks that were overwritten one by one.
change() {
	expect 0 prepare -q --no-exact --free-from=none disk.img
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep disk.img -- \
		dd if=new of={} bs=4k count=300 conv=notrunc,fsync status=none
}

# lines FILE STEP...: objects, and few of them; each step is there up to its end.
lines() {
	local file=$1 step
	shift
	[ "$(jq -s 'all(.done <= .total and .done >= 0 and (keys == ["done", "total", "what"]))' "$file")" = true ]
	[ "$(wc -l <"$file")" -le 100 ]
	for step; do
		[ "$(jq -s "map(select(.what == \"$step\"))[-1] | .done > 0 and .done == .total" "$file")" = true ] || {
			echo "no end of '$step' in:"
			cat "$file"
			return 1
		}
	done
}

@test "the long verbs write their steps to the descriptor" {
	expect 0 prepare --exact --progress-fd=7 disk.img 7>steps
	lines steps 'read free map'
	expect 0 commit -q disk.img
	cp --sparse=always disk.img other.img
	change
	expect 0 verify --progress-fd 7 disk.img 7>steps
	lines steps verify
	expect 0 export --redo -o patch.tar --progress-fd=7 disk.img 7>steps
	lines steps verify export
	expect 0 apply --progress-fd=7 patch.tar other.img 7>steps
	lines steps check apply
	dd if=/dev/zero of=disk.img bs=512 count=1 conv=notrunc status=none
	expect 0 rescue --write --force=changed --progress-fd=7 disk.img 7>steps
	lines steps 'search for the log' verify
	expect 0 rollback --force=changed --progress-fd=7 disk.img 7>steps
	lines steps verify restore
	change
	expect 0 commit --progress-fd=7 disk.img 7>steps
	lines steps
}

@test "-q and --json say nothing about the descriptor, and change nothing there" {
	change
	expect 0 verify -q --progress-fd=7 disk.img 7>steps
	lines steps verify
	[ -z "$output$stderr" ]
	expect 0 rollback --json --progress-fd=7 disk.img 7>steps
	lines steps verify restore
	[ "$(json .verb <<<"$output")" = rollback ]
	[ -z "$stderr" ]
}

@test "a descriptor that nobody can write to is a usage error, and nothing is done" {
	local before fd
	before=$(sum disk.img)
	for fd in 77 0 9999999999 -1 x ''; do
		refused 2 '--progress-fd needs' prepare --progress-fd="$fd" disk.img
	done
	refused 2 '7 is none' prepare --progress-fd=7 disk.img 7<new
	run --separate-stderr bash -c '"$BOWIMG" prepare --progress-fd=1 disk.img >&-'
	[ "$status" -eq 2 ]
	[ "$(sum disk.img)" = "$before" ]
	change
	refused 2 'cannot both go to' export --redo -o - --progress-fd=1 disk.img
}

# Descriptor 7 leads to a pipe that nobody can read from any more.
without_reader() {
	local end
	exec {end}<>pipe
	exec 7>pipe
	exec {end}>&-
}

@test "a reader that is gone, a full pipe and a full disk stop nothing" {
	change
	mkfifo pipe
	without_reader
	expect 0 verify --progress-fd=7 disk.img
	expect 0 verify --json --progress-fd=7 disk.img
	exec 7>&-
	# The other end is open, and nobody reads.
	exec 7<>pipe
	dd if=/dev/zero bs=4k count=1000 oflag=nonblock status=none >&7 2>/dev/null || true
	run timeout 30 "$BOWIMG" verify --progress-fd=7 disk.img
	[ "$status" -eq 0 ]
	exec 7>&-
	expect 0 verify --progress-fd=7 disk.img 7>/dev/full
	without_reader
	expect 0 rollback --progress-fd=7 disk.img
	exec 7>&-
}

@test "the command of prepare does not get the descriptor" {
	requires nbdkit
	bow prepare --free-from=trim --progress-fd=7 disk.img -- \
		sh -c 'readlink /proc/self/fd/* >open || true' 7>steps
	grep -q . open
	! grep -q "$T/steps" open || return 1
}
