#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# prepare: what it reports, and what its options decide.

load ../../lib/common

state() {
	"$BOWIMG" status --json "$1" | json "$2"
}

@test "prepare says what it found, whether it is exact and why, the budget, and what to type next" {
	make_ext4 disk.img 64M -b 1024
	expect 0 prepare -v disk.img
	grep -q 'ext4, 1024-byte blocks' <<<"$output"
	grep -q '^  rollback .*exact.*(.*)' <<<"$output"
	grep -q 'budget' <<<"$output"
	grep -q 'when full' <<<"$output"
	grep -q 'bowimg rollback disk.img' <<<"$output"
	[ -z "$stderr" ]
}

@test "prepare says in a few lines what can be undone, how much room there is, and what to type next" {
	make_ext4 disk.img 64M -b 1024
	expect 0 prepare disk.img
	[ "$(wc -l <<<"$output")" -eq 8 ]
	grep -q '^disk.img: checkpoint opened on ext4, 1024-byte blocks, 64.0 MiB$' <<<"$output"
	grep -q '^  undo *the whole image, byte for byte$' <<<"$output"
	grep -qE '^  space *[0-9.]+ MiB for backups and new data; then the file grows$' <<<"$output"
	for verb in mount rollback commit; do grep -q "^  bowimg $verb disk.img" <<<"$output"; done
}

@test "prepare -n reports the same and changes nothing" {
	make_ext4 disk.img 64M
	before=$(sum disk.img)
	expect 0 prepare -v -n disk.img
	grep -q 'nothing was changed' <<<"$output"
	dry=$(grep -E '^  (found|free map|rollback|budget)' <<<"$output")
	[ "$(sum disk.img)" = "$before" ]
	[ "$(state disk.img .state)" = none ]
	expect 0 prepare -v disk.img
	[ "$(grep -E '^  (found|free map|rollback|budget)' <<<"$output")" = "$dry" ]
}

@test "prepare -q prints nothing" {
	make_ext4 disk.img 16M
	expect 0 prepare -q disk.img
	[ -z "$output$stderr" ]
}

@test "a prepared image is no file system any more for those who look at it bare" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	run blkid -p disk.img
	[ "$status" -ne 0 ]
	head -c 4096 disk.img | strings | grep -qi bowimg
	head -c 4096 disk.img | strings | grep -q rollback
}

@test "a fresh sparse image is exact by default, and --no-exact decides otherwise" {
	make_ext4 disk.img 64M
	expect 0 prepare disk.img
	[ "$(state disk.img .exact)" = true ]
	make_ext4 disk.img 64M
	expect 0 prepare --no-exact disk.img
	[ "$(state disk.img .exact)" = false ]
}

@test "an image without holes is not exact by default" {
	make_ext4 sparse.img 16M
	cp --sparse=never sparse.img disk.img
	expect 0 prepare disk.img
	[ "$(state disk.img .exact)" = false ]
}

@test "--exact on an image without holes finds the free blocks that hold zeros" {
	make_ext4 sparse.img 16M
	cp --sparse=never sparse.img disk.img
	expect 0 prepare --exact disk.img
	[ "$(state disk.img .exact)" = true ]
	[ "$(state disk.img '."free-total-bytes"')" -gt 1000000 ]
}

@test "on-full is tail for files, and stop where it is asked for" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	[ "$(state disk.img '."on-full"')" = tail ]
	make_ext4 disk.img 16M
	expect 0 prepare --on-full=stop disk.img
	[ "$(state disk.img '."on-full"')" = stop ]
}

@test "the free map can come from a ddrescue map, and map prints one" {
	make_ext4 disk.img 32M
	expect 0 map disk.img
	printf '%s\n' "$output" >disk.map
	expect 0 prepare --free-from=map:disk.map disk.img
	[ "$(state disk.img '."free-source"')" = map ]
	[ "$(state disk.img '."free-total-bytes"')" -gt 1000000 ]
	expect 0 rollback disk.img
}

@test "with no free map everything goes past the end, and rollback cuts it off again" {
	head -c 3000000 /dev/urandom >disk.img
	before=$(sum disk.img)
	expect 0 prepare --free-from=none disk.img
	[ "$(state disk.img '."virtual-size"')" -eq 3000000 ]
	[ "$(stat -c %s disk.img)" -gt 3000000 ]
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "a name with blanks and quotes is shown so that it can be typed" {
	make_ext4 "it's a disk.img" 16M
	expect 0 prepare "it's a disk.img"
	grep -qF "bowimg commit 'it'\\''s a disk.img'" <<<"$output"
}

@test "control characters in a name do not reach the terminal" {
	name=$'disk\e[2J.img'
	expect 1 prepare "$name"
	run grep -q $'\e' <<<"$stderr$output"
	[ "$status" -eq 1 ]
}

@test "an ext4 with boot code and the mark of a boot sector, but no table, is an ext4" {
	make_ext4 disk.img 32M
	head -c 440 /dev/urandom | dd of=disk.img conv=notrunc status=none
	printf '\125\252' | dd of=disk.img bs=1 seek=510 conv=notrunc status=none
	expect 0 prepare -v -n disk.img
	grep -q 'found *ext4' <<<"$output"
	# With one entry it is either, and the table may be the older one.
	printf '\203' | dd of=disk.img bs=1 seek=450 conv=notrunc status=none
	printf '\001\000\000\000\020' | dd of=disk.img bs=1 seek=454 conv=notrunc status=none
	refused 9 'both claim it' prepare -n disk.img
	grep -q 'wipefs disk.img' <<<"$stderr"
}

@test "what cannot have a tail is not told to use one" {
	requires root loop
	head -c 1M /dev/urandom >disk.img
	refused 9 'no known file system' prepare -n disk.img
	grep -q -e '--free-from=none' <<<"$stderr"
	device=$(losetup -f --show "$T/disk.img")
	refused 9 'no known file system' prepare -n "$device"
	grep -q -e '--free-from=map:FILE' <<<"$stderr"
	run grep -e 'none' <<<"$stderr"
	[ "$status" -eq 1 ]
}

@test "a source that was named and does not fit is told to leave the choice to bowimg" {
	truncate -s 16M disk.img
	mkfs.vfat disk.img >/dev/null
	refused 9 'no ext2, ext3 or ext4' prepare --free-from=ext disk.img
	grep -q 'leave --free-from away' <<<"$stderr"
}

@test "a FAT32 whose root directory is free by its table is refused" {
	truncate -s 64M disk.img
	mkfs.vfat -F 32 -f 1 disk.img >/dev/null
	expect 0 prepare -n disk.img
	table=$((512 * $(od -An -tu2 -j14 -N2 disk.img)))
	head -c 4 /dev/zero | dd of=disk.img bs=1 seek=$((table + 8)) conv=notrunc status=none
	refused 6 'cluster 2 is in use, but free by the table' prepare disk.img
}
