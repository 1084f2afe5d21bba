#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# diff --tar of all that is hard to tell (times, names, numbers, attributes, holes), as GNU tar,
# bsdtar and Python read it.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse bsdtar python3 setfattr
	mkdir mnt out
	make_fs disk.img
	expect 0 prepare --store=tail disk.img
	expect 0 mount disk.img mnt
}

# Times and attributes of every kind, in their full range, whatever the host's own file system has.
make_fs() {
	truncate -s 64M "$1"
	mkfs.ext4 -q -F -b 4096 -I 512 "$1"
}

# fresh_out: a file system of the same kind, at out.
fresh_out() {
	! mountpoint -q out || umount out
	make_fs out.img
	mount -o loop out.img out
}

# same_tree: out is what mnt was.
same_tree() {
	python3 "$ROOT_DIR/tests/lib/tree_lines.py" list out >out.json
	python3 "$ROOT_DIR/tests/lib/tree_lines.py" compare mnt.json out.json | grep -v '^modified  /lost+found/' >differs || true
	cat differs
}

layer() {
	python3 "$ROOT_DIR/tests/lib/odd_tree.py" make mnt
	python3 "$ROOT_DIR/tests/lib/tree_lines.py" list mnt >mnt.json
}

gnu_tar() {
	tar --xattrs --xattrs-include='*' --acls --numeric-owner -xpf "$1" -C out 2>said
	grep -v "Ignoring unknown extended header keyword 'hdrcharset'" said || true
}

@test "everything that is odd, through every reader" {
	layer
	expect 0 umount mnt
	expect 1 diff --tar=l.tar disk.img
	expect 1 diff --tar=l.tar.zst disk.img
	zstd -dc l.tar.zst | cmp - l.tar
	expect 0 mount disk.img mnt

	fresh_out
	gnu_tar l.tar
	same_tree
	[ ! -s differs ]

	fresh_out
	LC_ALL=C.UTF-8 bsdtar --numeric-owner -xpf l.tar -C out
	same_tree
	# Some libarchives count the fraction of a time before 1970 away from it, and the root's own time
	# is theirs.
	run ! grep -vE '^modified  (/times/(0|1|5|14)|/) \(times\)$' differs

	python3 "$ROOT_DIR/tests/lib/odd_tree.py" read l.tar mnt
}

@test "an attribute whose name tar cannot say is left out, with words; all else is there" {
	touch mnt/file
	setfattr -n user.a=b -v 1 mnt/file
	setfattr -n user.x%3Dy -v 2 mnt/file
	setfattr -n user.p%25 -v 3 mnt/file
	setfattr -n user.good -v 4 mnt/file
	expect 0 umount mnt
	expect 1 diff --tar=l.tar disk.img
	[ "$(grep -c 'left out of the archive: the attribute user.* of file' <<<"$stderr")" -eq 3 ]
	grep -q 'user.a=b' <<<"$stderr"
	fresh_out
	gnu_tar l.tar
	[ "$(getfattr -d -m - out/file | grep -c =)" -eq 1 ]
	[ "$(getfattr --only-values -n user.good out/file)" = 4 ]
}

@test "a large hole, and a file of many pieces, as each reader sees them" {
	truncate -s 12T mnt/hole
	truncate -s 9G mnt/both
	printf begin | dd of=mnt/both conv=notrunc status=none
	printf end | dd of=mnt/both bs=1 seek=$(((8 << 30) + 5)) conv=notrunc status=none
	expect 0 umount mnt
	expect 1 diff --tar=l.tar disk.img
	[ "$(stat -c %s l.tar)" -lt 40000 ]
	for reader in gnu_tar 'bsdtar -C out -xf'; do
		fresh_out
		$reader l.tar
		[ "$(stat -c %s out/hole)" -eq $((12 << 40)) ]
		[ "$(stat -c %s out/both)" -eq $((9 << 30)) ]
		[ "$(stat -c %b out/both)" -le 64 ]
		[ "$(tail -c +$(((8 << 30) + 6)) out/both | head -c 3)" = end ]
		[ "$(head -c 5 out/both)" = begin ]
	done
	python3 -c "
import tarfile
sizes = {m.name: m.size for m in tarfile.open('l.tar')}
assert sizes['hole'] == 12 << 40 and sizes['both'] == 9 << 30, sizes"
}
