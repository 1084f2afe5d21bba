#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# diff --files and --tar against the kernel: trees changed at random through a mount, and the list
# and the archive held against both trees. LAYER_SEED repeats a run, LAYER_OPS makes it longer.

load ../../lib/common
load ../../lib/e2e
load ../../lib/layer

setup() {
	common_setup
	requires root loop fuse getfattr setfattr getfacl setfacl bsdtar
	mkdir tree mnt
	fill tree
	truncate -s 64M disk.img
	# A host's tree on its own: owners and times of both sides come from the image.
	mkfs.ext4 -q -F -d tree disk.img
	expect 0 prepare -q disk.img
	expect 0 mount disk.img mnt
	cp -a mnt before
}

@test "a tree changed at random: the list gives its paths, the archive all of it" {
	random_changes_are_told
}

@test "files are renamed and replaced in every way, and the layer knows" {
	every_rename_is_told
}

@test "a sparse file of a terabyte is a small archive" {
	truncate -s 1T mnt/sparse
	printf end | dd of=mnt/sparse bs=1 seek=700G conv=notrunc status=none
	truncate -s 5G mnt/hole
	expect 0 umount mnt
	expect 1 diff --tar=layer.tar disk.img
	[ "$(stat -c %s layer.tar)" -lt 100000 ]
	mkdir out
	tar -xSpf layer.tar -C out
	[ "$(stat -c %s out/sparse)" -eq $((1 << 40)) ]
	[ "$(tail -c +$(((700 << 30) + 1)) out/sparse | head -c 3)" = end ]
	[ "$(stat -c %s out/hole)" -eq $((5 << 30)) ]
	[ "$(stat -c %b out/hole)" -le 8 ]
}

@test "a full host disk: exit 5, and nothing under the archive's name" {
	head -c 8M /dev/urandom >mnt/large
	expect 0 umount mnt
	mkdir small
	mount -t tmpfs -o size=1M tmpfs small
	echo old >small/layer.tar
	for suffix in tar tar.gz; do
		refused 5 "write small/layer.$suffix: No space left" diff "--tar=small/layer.$suffix" disk.img
	done
	[ "$(ls small)" = layer.tar ]
	[ "$(cat small/layer.tar)" = old ]
}
