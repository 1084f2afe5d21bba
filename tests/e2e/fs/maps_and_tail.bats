#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Free maps from elsewhere, and images without any: full file systems, noise, encrypted disks.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
}

# A ddrescue map from what dumpe2fs says about each group's free blocks.
map_from_dumpe2fs() {
	local bytes size
	bytes=$(dumpe2fs -h "$1" 2>/dev/null | awk '/^Block size:/ { print $3 }')
	size=$(stat -c %s "$1")
	dumpe2fs "$1" 2>/dev/null | sed -n 's/^  Free blocks: //p' | tr -d ' ' | tr ',' '\n' |
		awk -F- -v b="$bytes" -v size="$size" '
		BEGIN { print "0x0 ? 1" }
		NF {
			from = $1 * b; to = (NF == 2 ? $2 + 1 : $1 + 1) * b
			if (from > at) printf "0x%X 0x%X +\n", at, from - at
			printf "0x%X 0x%X ?\n", from, to - from
			at = to
		}
		END { if (size > at) printf "0x%X 0x%X +\n", at, size - at }'
}

# A map is as good as ext's own: through a mount with changes and back.
works_with_map() {
	local total
	expect 0 prepare -q --free-from=ext disk.img
	total=$(key free-total-bytes)
	expect 0 rollback -q disk.img
	expect 0 prepare -q --free-from="map:$1" disk.img
	[ "$(key free-total-bytes)" -eq "$total" ]
	up
	change_tree mnt
	down
	expect 0 rollback disk.img
	same_as "$before"
}

@test "a ddrescue map made from dumpe2fs names the same blocks as ext does" {
	local bytes
	for bytes in 1024 4096; do
		make_ext4 disk.img 48M -b "$bytes"
		remember
		map_from_dumpe2fs disk.img >made.map
		works_with_map made.map
	done
}

@test "what 'bowimg map' prints can be given back, also from another machine's tools" {
	requires ddrescuelog
	make_ext4 disk.img 48M -b 1024
	remember
	"$BOWIMG" map disk.img >own.map
	ddrescuelog -t own.map
	works_with_map own.map
	# Turned inside out twice by ddrescue's own tool: its layout, the same blocks.
	ddrescuelog --change-types=?+,+? own.map >inverse.map
	ddrescuelog --change-types=?+,+? inverse.map >again.map
	works_with_map again.map
}

@test "a file system that is full" {
	local policy
	make_ext4 full.img 16M -m 0 -O ^has_journal
	mkdir mnt
	within 30 mount -o loop full.img mnt
	fill mnt/fill
	fill mnt/fill2 || true
	within 30 umount mnt
	for policy in --store=tail --on-full=tail; do
		cp full.img disk.img
		remember
		expect 0 prepare --exact "$policy" disk.img
		up
		within 60 dd if=/dev/urandom of=mnt/fill bs=64k count=100 conv=notrunc,fsync status=none
		tree_sums mnt >new.sums
		down
		[ "$(stat -c %s disk.img)" -gt $((16 << 20)) ]
		cp --preserve=timestamps disk.img commit.img
		expect 0 rollback disk.img
		same_as "$before"
		expect 0 commit commit.img
		[ "$(stat -c %s commit.img)" -eq $((16 << 20)) ]
		within 30 mount -o loop,ro commit.img mnt
		tree_sums mnt | diff new.sums -
		within 30 umount mnt
		clean_fs commit.img
	done
}

@test "noise of any length, all of it overwritten: the same bytes and the same length again" {
	local bytes
	for bytes in $((12 << 20)) $((12 << 20 | 512)) $(((12 << 20) + 4095)); do
		head -c "$bytes" /dev/urandom >disk.img
		remember
		expect 0 prepare --free-from=none disk.img
		mkdir -p fuse
		expect 0 attach --fuse "$T/fuse" disk.img
		[ "$(sum fuse/disk)" = "$before" ]
		head -c "$bytes" /dev/urandom >new
		within 60 dd if=new of=fuse/disk bs=1M conv=notrunc,fsync status=none
		cmp new fuse/disk
		expect 0 detach disk.img
		cp --preserve=timestamps disk.img commit.img
		expect 0 verify disk.img
		expect 0 rollback disk.img
		[ "$(stat -c %s disk.img)" -eq "$bytes" ]
		same_as "$before"
		expect 0 commit commit.img
		cmp new commit.img
	done
}

@test "--store=tail leaves free blocks to the file system" {
	make_ext4 disk.img 48M
	remember
	expect 0 prepare --store=tail disk.img
	up
	change_tree mnt
	tree_sums mnt >new.sums
	down
	[ "$(key tail-bytes)" -gt 0 ]
	"$BOWIMG" log --json disk.img >log.json
	# Every backup is past the end.
	json "[.[] | select(.type == \"copy\" or .type == \"move\") | .dest] | min" <log.json >lowest
	[ "$(cat lowest)" -ge $((48 << 20 >> 12)) ]
	expect 0 rollback disk.img
	same_as "$before"
}
