#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A real boot: Debian's kernel in QEMU, its root disk on bowimg's socket.
#
# Alone: its time limits are about a machine that has nothing else to do.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd
load ../../lib/vm

setup_file() {
	# One kernel for all tests of the file.
	export VM=$BATS_FILE_TMPDIR/vm
}

setup() {
	common_setup
	requires nbdkit jq
	vm_prepare "$VM"
	cp --sparse=always "$VM/root.img" disk.img
	before=$(sum disk.img)
}

boot() {
	vm_command "$@"
	within 180 "${vm[@]}" </dev/null >console 2>&1
	cat console
}

@test "a guest changes its root disk, trims, and powers off; a rollback undoes it" {
	expect 0 prepare disk.img
	serve
	boot "$uri" change
	grep -q 'guest has finished' console
	grep -q 'bytes trimmed' console
	unserve
	[ "$(key changed-bytes)" -gt $((1 << 20)) ]
	roll_back
}

@test "a commit keeps what the guest did, and it boots again" {
	expect 0 prepare disk.img
	serve
	boot "$uri" change
	unserve
	expect 0 commit disk.img
	clean_fs disk.img
	[ "$(debugfs -R 'cat /data/new' disk.img 2>/dev/null)" = "written by the guest" ]
	run debugfs -R 'stat /data/file2' disk.img
	grep -q 'not found' <<<"$output"
	cmp <(debugfs -R 'cat /data/copied' disk.img 2>/dev/null) "$VM/root/data/file3"
	boot disk.img look
	grep -q 'written by the guest' console
}

@test "run boots the guest, and rolls back by itself" {
	vm_command '{}' change
	LIMIT=200 expect 0 run --via=nbd disk.img -- "${vm[@]}"
	grep -q 'guest has finished' <<<"$output"
	same_as "$before"
}

@test "a guest killed in the middle, then the server as well; boot again; roll back" {
	expect 0 prepare disk.img
	serve
	vm_command "$uri" endless
	timeout 120 "${vm[@]}" </dev/null >console 2>&1 3>&- &
	guest=$!
	for _ in $(seq 900); do
		[ "$(grep -c 'guest is busy' console)" -lt 2 ] || break
		sleep 0.1
	done
	grep -q 'guest is busy' console
	pkill -9 -P "$guest"
	wait "$guest" || true
	unserve
	serve
	# The guest's journal is replayed now; then it is the server that dies.
	vm_command "$uri" endless
	timeout 120 "${vm[@]}" </dev/null >console2 2>&1 3>&- &
	guest=$!
	for _ in $(seq 900); do
		! grep -q 'guest is busy' console2 || break
		sleep 0.1
	done
	grep -q 'guest is busy' console2
	kill_server
	pkill -9 -P "$guest" || true
	wait "$guest" || true
	serve
	grep -q 'not detached cleanly' serve.err
	boot "$uri" change
	grep -q 'guest has finished' console
	unserve
	roll_back
}

# free_ranges IMAGE [OPTION...]: "OFFSET BYTES" of what is free.
free_ranges() {
	local image=$1
	shift
	"$BOWIMG" map "$@" "$image" | grep -v '^#' | awk '$3 == "?" && $2 ~ /^0x/ { print $1, $2 }'
}

# scribble RANGES IMAGE: the oracle for every free map: random bytes over all that it calls free.
scribble() {
	local off bytes
	while read -r off bytes; do
		head -c $((bytes)) /dev/urandom |
			dd of="$2" bs=1M oflag=seek_bytes seek=$((off)) conv=notrunc status=none
	done <"$1"
}

sum_of() {
	local off bytes total=0
	while read -r off bytes; do total=$((total + bytes)); done <"$1"
	echo $total
}

@test "prepare takes the free map from a guest that trims, and it is right" {
	vm_command '{}' trim
	LIMIT=200 expect 0 prepare -v --no-exact --free-from=trim disk.img -- "${vm[@]}"
	grep -q 'from trim' <<<"$output"
	[ "$(key free-source)" = trim ]
	free_ranges disk.img >trimmed
	expect 0 rollback disk.img
	cp disk.img scribbled.img
	scribble trimmed scribbled.img
	clean_fs scribbled.img
	for file in file1 file2 file3; do
		cmp <(debugfs -R "cat /data/$file" scribbled.img 2>/dev/null) "$VM/root/data/$file"
	done
	# And it is all that there is, but for crumbs.
	free_ranges disk.img --free-from=ext >by-bitmaps
	[ "$(sum_of trimmed)" -gt $(($(sum_of by-bitmaps) * 95 / 100)) ]
}

@test "with the map of a guest's trims the next boot can be undone" {
	vm_command '{}' trim
	LIMIT=200 expect 0 prepare --exact --free-from=trim disk.img -- "${vm[@]}"
	cp -p --sparse=always disk.img prepared.img
	expect 0 rollback prepared.img
	before=$(sum prepared.img)
	serve
	boot "$uri" change
	grep -q 'guest has finished' console
	unserve
	roll_back
	clean_fs disk.img
}
