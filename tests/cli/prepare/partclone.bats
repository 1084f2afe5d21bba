#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The helper program partclone: as an ordinary user, and when it does not do what it should. Which
# one is run is decided by PATH, so that these tests bring their own.

load ../../lib/common

setup() {
	common_setup
	requires mkfs.vfat mkfs.exfat jq
	truncate -s 16M disk.img
	mkfs.exfat disk.img >/dev/null
	mkdir bin
	PATH=$T/bin:$PATH
}

# instead BODY: a partclone.exfat that does this. Its map goes to descriptor 4.
instead() {
	printf '#!/bin/sh\n%s\n' "$1" >bin/partclone.exfat
	chmod +x bin/partclone.exfat
}

# lacks GREP-ARG...: no line matches.
lacks() {
	if grep "$@"; then return 1; fi
}

unchanged() {
	[ "$(sum disk.img)" = "$before" ]
}

@test "an exfat is prepared with partclone, which is said with the reason" {
	requires partclone.exfat
	expect 0 prepare -v disk.img
	grep -q 'found *exFAT' <<<"$output"
	grep -q 'from partclone (partclone.exfat is installed)' <<<"$output"
	expect 0 status --json disk.img
	[ "$(json '."free-source"' <<<"$output")" = partclone ]
	expect 0 rollback disk.img
}

@test "a FAT needs no program: its table is read" {
	truncate -s 16M fat.img
	mkfs.vfat fat.img >/dev/null
	expect 0 prepare -v fat.img
	grep -q 'from fat (found on the image)' <<<"$output"
	expect 0 rollback fat.img
	expect 0 prepare -n --free-from=fat fat.img
	refused 6 'impossible sizes' prepare --free-from=fat disk.img
}

@test "partclone is started with nothing of ours but the volume and the place for its map" {
	instead 'ls -l /proc/self/fd/ >'"$T"'/fds
		echo "$@" >'"$T"'/args
		env >'"$T"'/env
		exit 3'
	LC_ALL=C.UTF-8 refused 1 'ended with status 3' prepare disk.img
	[ "$(grep -c ' [0-9]* -> ' fds)" -eq 6 ] # one of them is that of ls itself
	lacks -F "$T/disk.img" fds
	grep -q -- '-s /proc/self/fd/3' args
	[ "$(grep -c '^LC_ALL=C$' env)" -eq 1 ]
	lacks '^LC_ALL=C.UTF-8' env
}

@test "the last words of a partclone that fails are in the message, its noise is not" {
	before=$(sum disk.img)
	instead 'echo "Partclone v9"; printf "Elapsed: 1\r"; printf "\033[31mno such \001 luck\n" >&2
		echo "exfat: bad cluster heap"; exit 1'
	refused 1 'bad cluster heap' prepare disk.img
	grep -q 'nothing was changed' <<<"$stderr"
	lacks 'Elapsed\|Partclone v9' <<<"$stderr"
	lacks $'\033\|\001' <<<"$stderr"
	unchanged
}

@test "a partclone that is killed, or kills itself, is told by its signal" {
	instead 'kill -SEGV $$'
	refused 1 'killed by signal 11' prepare disk.img
}

@test "a map of partclone that is not one, or reaches beyond the volume, is refused" {
	before=$(sum disk.img)
	instead 'echo nonsense >&4'
	refused 6 'partclone.s map.*line 1' prepare disk.img
	instead 'printf "0x0 ?\n0x0 0x1000001 ?\n" >&4'
	refused 6 'beyond the end' prepare disk.img
	instead ':'
	refused 6 'without a map' prepare disk.img
	unchanged
}

@test "what a map of partclone does not name counts as used" {
	instead 'printf "0x0 ?\n0x800000 0x100000 ?\n" >&4'
	expect 0 map disk.img
	[ "$(grep -c '?$' <<<"$output")" -eq 1 ]
	grep -q '^0x00800000  0x00100000  ?$' <<<"$output"
}

@test "what a map of partclone calls free behind the end of the file system is used" {
	truncate -s 20M disk.img
	instead 'printf "0x0 ?\n0x800000 0xc00000 ?\n" >&4'
	expect 0 map disk.img
	[ "$(grep -c '?$' <<<"$output")" -eq 1 ]
	grep -q '^0x00800000  0x00800000  ?$' <<<"$output"
}

@test "a partclone that writes to the volume changes nothing" {
	requires fuse
	before=$(sum disk.img)
	instead 'dd if=/dev/urandom of=/proc/self/fd/3 bs=4096 count=4 conv=notrunc 2>/dev/null && exit 0
		echo "not allowed"; exit 1'
	refused 1 'not allowed' prepare disk.img
	unchanged
}

@test "nothing is left when preparing ends, well or badly" {
	instead 'printf "0x0 ?\n0x800000 0x100000 ?\n" >&4'
	mkdir tmp
	TMPDIR=$T/tmp expect 0 prepare -n disk.img
	instead 'exit 1'
	TMPDIR=$T/tmp refused 1 'status 1' prepare disk.img
	[ -z "$(ls -A tmp)" ]
	lacks "$T/tmp" /proc/self/mountinfo
}

@test "a killed prepare leaves no mount and no process behind" {
	requires fuse
	instead 'echo $$ >'"$T"'/pid; exec sleep 60 3<&3'
	mkdir tmp
	TMPDIR=$T/tmp "$BOWIMG" prepare disk.img 3>&- &
	local prepare=$!
	for _ in $(seq 100); do
		[ ! -s pid ] || break
		sleep 0.05
	done
	[ -s pid ]
	kill -9 "$prepare"
	wait "$prepare" || true
	lacks "$T/tmp" /proc/self/mountinfo
	[ -z "$(ls -A tmp)" ]
	kill "$(cat pid)"
	expect 0 prepare -n --free-from=none disk.img
}

@test "an ordinary user prepares with partclone, in a directory of his own" {
	requires user partclone.exfat
	if [ "$(id -u)" -eq 0 ]; then
		# The build tree may be where only root can go.
		cp "$BOWIMG" own
		chown -R nobody "$T"
		run setpriv --reuid=nobody --regid=nogroup --clear-groups env PATH=/usr/bin:/bin \
			./own prepare -v disk.img
	else
		run "$BOWIMG" prepare -v disk.img
	fi
	echo "$output"
	[ "$status" -eq 0 ]
	grep -q 'from partclone' <<<"$output"
}

@test "an unknown file system or source is refused with what there is" {
	truncate -s 16M noise.img
	refused 9 'no known file system' prepare noise.img
	refused 9 'no known file system' prepare --free-from=partclone noise.img
	refused 2 'unknown source' prepare --free-from=magic disk.img
	grep -q 'auto, ext, fat, partclone, trim' <<<"$stderr"
}
