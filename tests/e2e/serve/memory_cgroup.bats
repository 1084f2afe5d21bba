#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Little memory: a loop device over FUSE can stand still when its process shares a limited memory
# cgroup with the writer. So in one of version 2 `mount` refuses beforehand, and what it allows must
# finish, in those of either version.
#
# The tests make a cgroup of their own and put only their own processes in it.
#
# Alone: its time limits are about a machine that has nothing else to do.

load ../../lib/common
load ../../lib/e2e
load ../../lib/cgroup

setup() {
	common_setup
	requires root loop fuse jq
	truncate -s 1200M disk.img
	mkfs.ext4 -q -F disk.img
	expect 0 prepare --on-full=tail disk.img
}

teardown() {
	local status=0
	remove_limited || status=1
	[ ! -d "${cgroup:-}" ] || end_cgroup "$cgroup" "$cgroup/cgroup.procs" || status=1
	common_teardown && return "$status"
}

no_cgroup() {
	[ "${BOWIMG_TEST_STRICT:-0}" = 1 ] && return 1
	skip "needs a memory cgroup that can be made here"
}

# A cgroup below the top of the hierarchy: version 1's memory controller, or version 2.
make_cgroup() {
	local top
	top=$(awk '$0 ~ / - cgroup / && $NF ~ /memory/ { print $5; exit }' /proc/self/mountinfo)
	limit_file=memory.limit_in_bytes
	if [ -z "$top" ]; then
		top=$(awk '$0 ~ / - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
		limit_file=memory.max
		grep -qw memory "$top/cgroup.subtree_control" || return 1
	fi
	mkdir "$top/bowimg-test-$$" || return 1
	cgroup=$top/bowimg-test-$$
	[ -w "$cgroup/$limit_file" ]
}

set_limit() {
	echo $(($1 << 20)) >"$cgroup/$limit_file"
}

# inside COMMAND...: in the cgroup, with a time limit whose clock runs outside.
inside() {
	# shellcheck disable=SC2016
	within 100 bash -c 'echo $BASHPID >"$0/cgroup.procs" && exec "$@"' "$cgroup" "$@"
}

# A GiB through FILE, at the writer's pace.
write_gib() {
	inside dd if=/dev/zero of="$1" bs=1M count=1024 conv=notrunc,fsync status=none
}

@test "process and writer in a cgroup of 256 MiB and of 64 MiB: mount refuses and names the limit" {
	local mib
	mkdir mnt
	make_limited 256
	for mib in 256 64; do
		limit_mib $mib
		run --separate-stderr limited_in "$BOWIMG" mount disk.img mnt
		echo "$output" "$stderr"
		[ "$status" -eq 9 ]
		grep -q "$mib MiB" <<<"$stderr"
		grep -qF "$cgroup" <<<"$stderr"
		grep -q 'NBD' <<<"$stderr"
		run ! mountpoint -q mnt
		run --separate-stderr limited_in "$BOWIMG" attach disk.img
		[ "$status" -eq 9 ]
		run --separate-stderr limited_in "$BOWIMG" run --via=loop disk.img -- true {}
		[ "$status" -eq 125 ]
	done
	# Nothing was left running, and the checkpoint is as it was.
	[ -z "$(daemon_of "$T/disk.img")" ]
	[ "$(key attached)" = false ]
	expect 0 rollback disk.img
}

@test "the process outside, the writer in a cgroup of 256 MiB and of 64 MiB: a GiB is written" {
	local mib
	make_cgroup || no_cgroup
	for mib in 256 64; do
		set_limit $mib
		up
		write_gib mnt/new
		rm mnt/new
		within 60 sync -f mnt
		down
	done
	expect 0 rollback disk.img
	clean_fs
}

@test "attach --fuse with process and writer in a cgroup of 256 MiB and of 64 MiB: a GiB is written" {
	local mib
	make_cgroup || no_cgroup
	mkdir fuse
	for mib in 256 64; do
		set_limit $mib
		within 60 bash -c 'echo $BASHPID >"$0/cgroup.procs" && exec "$@"' "$cgroup" \
			"$BOWIMG" attach --fuse "$T/fuse" disk.img
		write_gib fuse/disk
		expect 0 detach disk.img
	done
	expect 0 rollback disk.img
	clean_fs
}
