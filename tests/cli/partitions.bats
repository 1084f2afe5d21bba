#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Partitioned disks without root: what prepare finds on them, and what it refuses.

load ../lib/common
load ../lib/disk

setup() {
	common_setup
	requires sfdisk jq mkfs.ext4 mkfs.vfat mkswap
}

# row N: prepare's line about partition N in $output.
row() {
	grep -E "^ +$1  " <<<"$output"
}

@test "a disk as cloud images are is prepared, with a table that says where space was found" {
	local before
	cloud_disk disk.img
	before=$(sum disk.img)
	expect 0 prepare -n disk.img
	grep -q 'a disk with 3 partitions (GPT)' <<<"$output"
	row 1 | grep -E 'vfat +36.0 MiB'
	row 2 | grep -E 'ext4 +48.0 MiB +[0-9.]+ MiB  ext$'
	row 3 | grep -E 'swap +16.0 MiB +15.9 MiB  swap$'
	[ "$(sum disk.img)" = "$before" ]
	expect 0 prepare -n --json disk.img
	[ "$(json '.partitions[1] | .content, .name, ."why-not"' <<<"$output" | tr '\n' ' ')" = 'ext4 root null ' ]
	[ "$(json '.partitions[2] | .size, ."free-bytes"' <<<"$output" | tr '\n' ' ')" = "$((16 << 20)) $(((16 << 20) - 65536)) " ]
	[ "$(json '."dry-run", .exact, ."on-full"' <<<"$output" | tr '\n' ' ')" = 'true true tail ' ]
	expect 0 prepare disk.img
	row 3 | grep -q swap
	grep -q 'bowimg mount -p N disk.img DIR' <<<"$output"
	expect 0 status --json disk.img
	json '."free-source"' <<<"$output" | grep -E 'ext.*swap'
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
	expect 0 prepare -q disk.img
	[ -z "$output" ]
}

@test "logical partitions of an MBR count, what is between partitions does not" {
	old_disk disk.img
	expect 0 prepare -n disk.img
	grep -q 'a disk with 3 partitions (MBR)' <<<"$output"
	row 1 | grep -E 'ext4 .* ext$'
	row 5 | grep -E 'swap .* swap$'
	row 6 | grep -E 'ext4 .* ext$'
	"$BOWIMG" map disk.img | grep -v '^#' | awk '$3 == "?" { print $1, $2 }' >free
	while read -r off bytes; do
		ok=no
		for n in 1 5 6; do
			start=$(start_of disk.img $n)
			[ $((off)) -lt "$start" ] || [ $((off + bytes)) -gt $((start + $(bytes_of disk.img $n))) ] || ok=yes
		done
		[ $ok = yes ]
	done <free
	[ -s free ]
}

@test "the map of a whole disk can be edited and given back" {
	requires ddrescuelog
	local total
	cloud_disk disk.img
	"$BOWIMG" map disk.img >own.map
	ddrescuelog -t own.map
	expect 0 prepare disk.img
	total=$("$BOWIMG" status --json disk.img | json '."free-total-bytes"')
	"$BOWIMG" map disk.img | cmp - own.map
	expect 0 rollback disk.img
	expect 0 prepare --free-from=map:own.map disk.img
	[ "$("$BOWIMG" status --json disk.img | json '."free-total-bytes"')" -eq "$total" ]
	"$BOWIMG" map disk.img | cmp - own.map
	expect 0 rollback disk.img
	# Without the swap's space, which its owner would rather keep.
	swap=$(printf '0x%08X' $(($(start_of disk.img 3) + 65536)))
	sed -E "/^$swap /s/\?/+/" own.map >edited.map
	expect 0 prepare --free-from=map:edited.map disk.img
	[ "$("$BOWIMG" status --json disk.img | json '."free-total-bytes"')" -eq $((total - (16 << 20) + 65536)) ]
}

@test "a file system that is not clean is refused, and its partition named" {
	cloud_disk disk.img
	dd if=disk.img of=part bs=512 skip=$(($(start_of disk.img 2) / 512)) \
		count=$(($(bytes_of disk.img 2) / 512)) status=none
	debugfs -w -R 'feature needs_recovery' part 2>/dev/null
	put part disk.img 2
	refused 6 'partition 2' prepare disk.img
	refused 6 'partition 2' prepare -n disk.img
	refused 6 'partition 2' map disk.img
	expect 0 prepare --free-from=none disk.img
}

@test "partitions of unknown content count as used, and the rest goes on" {
	cloud_disk disk.img
	head -c 1M /dev/urandom >noise
	put noise disk.img 2
	printf 'LUKS\xba\xbe\0\1' >luks
	put luks disk.img 2
	expect 0 prepare -n disk.img
	row 2 | grep -q 'none, all of it counts as used: it is encrypted'
	# Nothing at all is known: all backups go past the end.
	put luks disk.img 3
	put luks disk.img 1
	expect 0 prepare -v -n disk.img
	grep -q "past the image's end" <<<"$output"
	refused 5 'too little free space' prepare -n --on-full=stop disk.img
	grep -q 'partition 2 counts as used: it is encrypted' <<<"$stderr"
}

@test "a GPT of which one copy is damaged is refused" {
	cloud_disk disk.img
	cp disk.img good.img
	# Over some of the disk's random UUID: one byte would be the same once in a while.
	printf 'damaged!' | dd of=disk.img bs=1 seek=$((512 + 60)) conv=notrunc status=none
	refused 6 'first copy of the GPT is damaged' prepare disk.img
	cp good.img disk.img
	printf 'damaged!' | dd of=disk.img bs=1 seek=$(((128 << 20) - 512 + 60)) conv=notrunc status=none
	refused 6 'backup of the GPT is damaged' prepare disk.img
	cp good.img disk.img
	dd if=/dev/zero of=disk.img bs=512 count=1 conv=notrunc status=none
	refused 6 'no MBR that protects it' prepare disk.img
	cp good.img disk.img
	truncate -s 120M disk.img
	refused 6 'beyond the end of the disk' prepare disk.img
	# Made larger, as for a virtual machine with more room, it is right.
	cp good.img disk.img
	truncate -s 160M disk.img
	expect 0 prepare -n disk.img
}

@test "tables that overlap, go in circles or contradict each other are refused" {
	old_disk disk.img
	cp disk.img good.img
	# Partition 1 is made to reach into the extended one.
	printf '\xff\xff\x01\0' | dd of=disk.img bs=1 seek=$((446 + 12)) conv=notrunc status=none
	refused 6 'overlap' prepare disk.img
	cp good.img disk.img
	# The chain's second link is led back to the first.
	printf '\0\0\0\0' | dd of=disk.img bs=1 seek=$(($(start_of disk.img 2) + 446 + 16 + 8)) \
		conv=notrunc status=none
	refused 6 'chain of logical partitions' prepare disk.img
	cloud_disk gpt.img
	printf '\x83' | dd of=gpt.img bs=1 seek=$((446 + 16 + 4)) conv=notrunc status=none
	printf '\0\x08\0\0\0\x08\0\0' | dd of=gpt.img bs=1 seek=$((446 + 16 + 8)) conv=notrunc status=none
	refused 9 'hybrid' prepare gpt.img
	refused 9 'hybrid' map gpt.img
}
