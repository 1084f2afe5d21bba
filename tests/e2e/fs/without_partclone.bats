#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Where partclone is not installed, nothing is mounted in its place.
# Alone: a mount namespace that is made here would hold the mounts of other files.

load ../../lib/common
load ../../lib/e2e
load ../../lib/filesystems

# without_partclone COMMAND...: where it is not installed, as far as this process can see.
without_partclone() {
	unshare -m sh -c 'for f in /usr/sbin/partclone.*; do mount --bind /dev/null "$f"; done
		exec "$@"' sh "$@"
}

# mounts_nothing ARG...: bowimg is refused, names package and option, and calls nothing that mounts.
mounts_nothing() {
	run without_partclone strace -f -qq -o trace -e trace=mount,fsopen,fsconfig,fsmount,move_mount,open_tree \
		"$BOWIMG" "$@"
	echo "$output"
	[ "$status" -eq 9 ]
	[[ "$output" == *"package partclone"* ]]
	[[ "$output" == *"apt install partclone"*"--free-from=trim"* ]]
	[ ! -s trace ] || { cat trace; return 1; }
	[ "$(key state)" = none ]
}

@test "without partclone, nothing is mounted, not even by root, who is told the package and the option" {
	fs_requires xfs
	requires unshare setpriv partclone.xfs strace jq
	fs_make xfs disk.img
	mounts_nothing prepare disk.img
	mounts_nothing prepare -n disk.img
	mounts_nothing prepare --free-from=auto disk.img
	mounts_nothing map disk.img
	run without_partclone "$BOWIMG" run disk.img -- true
	[ "$status" -eq 125 ]
	[[ "$output" == *"--free-from=trim"* ]]
	chown -R nobody "$T"
	run without_partclone setpriv --reuid=nobody --regid=nogroup --clear-groups \
		"$BOWIMG" prepare disk.img
	[ "$status" -eq 9 ]
	[[ "$output" == *"apt install partclone"* ]]
	[ "$(key state)" = none ]
	run without_partclone "$BOWIMG" prepare --free-from=trim disk.img
	[ "$status" -eq 0 ]
	[ "$(key free-source)" = trim ]
}

@test "a partition whose partclone is missing is not mounted, and counts as used for that reason" {
	fs_requires xfs
	requires unshare partclone.xfs sfdisk strace jq
	fs_make xfs part.img
	truncate -s 302M disk.img
	echo 'start=2048,size=614400,type=83' | sfdisk -q disk.img
	dd if=part.img of=disk.img bs=1M seek=1 conv=notrunc,sparse status=none
	run without_partclone strace -f -qq -o trace -e trace=mount,fsopen,fsconfig,fsmount \
		"$BOWIMG" prepare -n --json disk.img
	[ "$status" -eq 0 ]
	[[ $(json '.partitions[0]."why-not"' <<<"$output") == *"package partclone"* ]]
	[ ! -s trace ]
}
