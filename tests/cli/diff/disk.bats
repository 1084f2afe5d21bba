#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# diff on a whole disk: ranges and files by partition, without root.

load ../../lib/common

# A GPT disk: minix (nobody knows its free space or compares its files), and two ext4.
setup() {
	common_setup
	requires fuse sfdisk mkfs.minix bsdtar
	truncate -s 80M disk.img
	printf '%s\n' 'label: gpt' start=2048,size=32768 start=34816,size=65536 start=100352,size=40960 |
		sfdisk -q disk.img
	truncate -s 16M minix.img && mkfs.minix minix.img >/dev/null
	make_ext4 two.img 32M
	make_ext4 three.img 20M
	dd if=minix.img of=disk.img bs=512 seek=2048 conv=notrunc,sparse status=none
	dd if=two.img of=disk.img bs=512 seek=34816 conv=notrunc,sparse status=none
	dd if=three.img of=disk.img bs=512 seek=100352 conv=notrunc,sparse status=none
	expect 0 prepare -q disk.img
	echo new >new
	cat >change <<-'EOF'
		set -e
		printf 'write new new\nrm file3\n' | debugfs -w -f - "$1?offset=17825792"
		printf 'sif file4 mode 0100600\n' | debugfs -w -f - "$1?offset=51380224"
		printf x | dd of="$1" bs=1 seek=3000000 conv=notrunc status=none
	EOF
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep disk.img -- sh change {}
}

@test "ranges are told by partition" {
	expect 1 diff disk.img
	grep -Eq '^ +2998272 +4096  .*  1$' <<<"$output"
	grep -q '^partition 1 (minix): 4.0 KiB written' <<<"$output"
	grep -q '^partition 2 (ext4): ' <<<"$output"
	grep -q '^partition 3 (ext4): ' <<<"$output"
	expect 1 diff --json disk.img
	[ "$(json '([.partitions[]."changed-bytes"] | add) == ."changed-bytes"' <<<"$output")" = true ]
	expect 1 diff --json --partition=3 disk.img
	[ "$(json '[.ranges[].partition] | unique | join(" ")' <<<"$output")" = 3 ]
}

@test "files are told by partition, and what cannot be compared is named" {
	expect 1 diff --files disk.img
	[ "$output" = "\
partition 2:
deleted   /file3
added     /new
partition 3:
modified  /file4 (mode)" ]
	grep -q 'partition 1 (minix) changed' <<<"$stderr"
	expect 1 diff --files --json disk.img
	[ "$(json '.[] | .partition + .path' <<<"$output" | tr '\n' ' ')" = '2/file3 2/new 3/file4 ' ]
	refused 9 "the disk as it is now has no file system" diff --files -p 1 disk.img
	refused 9 "no partition '9'" diff --files -p 9 disk.img
}

@test "an archive is of one partition" {
	refused 2 "choose one for --tar with --partition" diff --tar=layer.tar disk.img
	expect 1 diff --tar=layer.tar -p 2 disk.img
	[ "$(bsdtar -tf layer.tar | sort | tr '\n' ' ')" = './ .wh.file3 new ' ]
}
