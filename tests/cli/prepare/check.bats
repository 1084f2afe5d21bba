#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# prepare --check: how a checker is run, and what becomes of its answer. Which one is run is decided by
# PATH, so that these tests bring their own.
# Alone: a mount namespace that is made here would hold the mounts of other files.

load ../../lib/common

setup() {
	common_setup
	requires fuse mkfs.vfat jq
	make_ext4 disk.img 16M
	mkdir bin
	PATH=$T/bin:$PATH
	before=$(sum disk.img)
}

# instead BODY [PROGRAM]: an e2fsck that does this.
instead() {
	printf '#!/bin/sh\n%s\n' "$1" >"bin/${2:-e2fsck}"
	chmod +x "bin/${2:-e2fsck}"
}

unchanged() {
	[ "$(sum disk.img)" = "$before" ]
}

@test "what the checker passes is prepared, and the report says who looked" {
	expect 0 prepare --check disk.img
	grep -q 'checked *by e2fsck, which found nothing wrong' <<<"$output"
	expect 0 rollback disk.img
	expect 0 prepare -n --json disk.img
	[ "$(json .checked <<<"$output")" = null ]
}

@test "what it complains of is in the message, its phases are not, and its hint can be pasted" {
	instead 'echo "e2fsck 9 (soon)"; echo "Pass 1: Checking"; printf "Inode 12 is \033[31msick\n" >&2
		echo "$3: ***** WARNING"; exit 4'
	refused 6 'e2fsck finds it damaged, and nothing was changed: "Inode 12 is .*sick' prepare --check disk.img
	grep -q '^  repair .*: e2fsck -f disk.img' <<<"$stderr"
	if grep -e 'Pass 1' -e /proc/self -e $'\033' <<<"$stderr"; then return 1; fi
	expect 6 prepare --check --json disk.img
	[ "$(json .error.exit <<<"$stderr")" -eq 6 ]
	unchanged
	expect 0 prepare -n disk.img
}

@test "a checker that fails, or is killed, has not said yes" {
	instead 'echo "cannot open: no luck"; exit 8'
	refused 1 'ended with status 8.*no luck|no luck.*ended with status 8' prepare --check disk.img
	instead 'kill -SEGV $$'
	refused 1 'killed by signal 11' prepare --check disk.img
	instead 'exit 127'
	refused 1 'status 127' prepare --check disk.img
	unchanged
}

@test "a checker is asked to read only, and cannot write even if it wants to" {
	instead 'echo "$@" >'"$T"'/args; ls -l /proc/self/fd/ >'"$T"'/fds
		for f in $3 /proc/self/fd/3; do
			dd if=/dev/urandom of=$f bs=4096 count=4 conv=notrunc 2>/dev/null && exit 0
			dd if=/dev/urandom bs=4096 count=4 2>/dev/null 1<>$f && exit 0
		done
		(: >$3) && exit 0
		cmp $3 '"$T"'/disk.img || exit 8; exit 4'
	refused 6 'e2fsck finds it damaged' prepare --check disk.img
	grep -q -- '^-f -n /proc/self/fd/3$' args
	if grep -F "$T/disk.img" fds; then return 1; fi
	unchanged
}

@test "the checker of a partition sees the partition" {
	truncate -s 20M whole.img
	echo 'start=2048,size=16M,type=83' | sfdisk -q whole.img
	dd if=disk.img of=whole.img bs=1M seek=1 conv=notrunc,sparse status=none
	instead 'cmp '"$T"'/disk.img $3 || exit 4'
	expect 0 prepare -n --check whole.img
	instead 'echo "all is lost"; exit 4'
	refused 6 'partition 1: .*all is lost' prepare --check whole.img
}

@test "what is not clean is refused before a checker is asked" {
	requires debugfs
	instead 'touch '"$T"'/asked; exit 4'
	debugfs -w -R 'set_super_value state 0' disk.img
	refused 6 'not cleanly unmounted' prepare --check disk.img
	[ ! -e asked ]
}

@test "a checker that is not installed is named with its package" {
	requires root unshare
	run unshare -m sh -c 'mount --bind /dev/null "$(command -v e2fsck)"; exec "$@"' sh \
		"$BOWIMG" prepare --check disk.img
	[ "$status" -eq 9 ]
	[[ "$output" == *"e2fsck (package e2fsprogs) is not installed"*"nothing was changed"*"apt install e2fsprogs"* ]]
	unchanged
}

@test "without FUSE there is no check, and no checkpoint" {
	requires root unshare
	run unshare -m sh -c 'mount --bind /dev/zero /dev/fuse; exec "$@"' sh \
		"$BOWIMG" prepare --check disk.img
	[ "$status" -eq 9 ]
	[[ "$output" == *"without FUSE"*"cannot be written to"* ]]
	unchanged
}

@test "what has no checker is refused, but passed over among partitions" {
	head -c 1M /dev/urandom >noise.img
	refused 9 'no checker for its content' prepare --check --free-from=none noise.img
	truncate -s 24M whole.img
	printf 'start=2048,size=16M,type=83\nsize=2M,type=83\nsize=1M,type=82\n' | sfdisk -q whole.img
	dd if=disk.img of=whole.img bs=1M seek=1 conv=notrunc,sparse status=none
	printf 'LUKS\272\276\0\1' | dd of=whole.img bs=1M seek=17 conv=notrunc status=none
	expect 0 prepare -n --check whole.img
	grep -q 'partition 2 was not checked: there is no checker for crypto_LUKS' <<<"$stderr"
	if grep 'partition [13] was not' <<<"$stderr"; then return 1; fi
}

@test "with a command --check is refused: the guest comes after it" {
	expect 2 prepare --check --free-from=trim disk.img -- true
	grep -q -- '--check and a command cannot be combined' <<<"$stderr"
	unchanged
}

@test "nothing is left when a check ends, well or badly" {
	mkdir tmp
	TMPDIR=$T/tmp expect 0 prepare -n --check disk.img
	instead 'exit 4'
	TMPDIR=$T/tmp refused 6 'damaged' prepare --check disk.img
	[ -z "$(ls -A tmp)" ]
	if grep "$T/tmp" /proc/self/mountinfo; then return 1; fi
}
