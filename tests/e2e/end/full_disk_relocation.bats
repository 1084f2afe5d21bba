#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The file system is filled to the brim, again and again, and so takes over the blocks in which
# bowimg has parked its backups: all of them must be moved on, none may be lost.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
	make_tree tree
	head -c 14M /dev/urandom >tree/old
}

# Overwrite old content, fill the disk, delete half; then the same with what is left.
churn() {
	local round i
	for round in 1 2 3 4; do
		# The first round makes most backups; all of `old` is 224 pieces.
		within 60 dd if=/dev/urandom of=mnt/old bs=64k seek=$((round * 8 - 8)) count=200 \
			conv=notrunc,fsync status=none 2>/dev/null || true
		for ((i = 0; i < 8; i++)); do
			head -c 2M /dev/urandom >"mnt/part$round-$i" 2>/dev/null || true
		done
		fill "mnt/fill$round" || return 1
		rm -f mnt/part*-[0246] mnt/fill"$round" "mnt/file$round" 2>/dev/null || true
	done
}

@test "past the end of the file: thousands of blocks are moved on, and everything comes back" {
	local before moved
	make_ext4 disk.img 64M -d tree
	remember
	expect 0 prepare --exact --on-full=tail disk.img
	up
	churn
	# What was written is there, although the disk was more than full.
	tree_sums mnt >new.sums
	down
	up
	tree_sums mnt | diff new.sums -
	down
	moved=$(logged move)
	echo "$moved blocks were moved on"
	[ "$moved" -ge 2000 ]
	[ "$(key tail-bytes)" -gt 0 ]
	expect 0 verify disk.img
	cp --preserve=timestamps disk.img commit.img
	expect 0 rollback disk.img
	same_as "$before"

	expect 0 commit commit.img
	[ "$(stat -c %s commit.img)" -eq $((64 << 20)) ]
	clean_fs commit.img
	within 30 mount -o loop,ro commit.img mnt
	tree_sums mnt | diff new.sums -
	within 30 umount mnt
}

@test "without room to go on: writes fail, and everything comes back" {
	local before
	make_ext4 disk.img 64M -d tree
	remember
	expect 0 prepare --exact --on-full=stop disk.img
	up
	churn || true
	down || within 30 umount mnt || true
	[ "$(stat -c %s disk.img)" -eq $((64 << 20)) ]
	expect 0 verify disk.img
	expect 0 rollback disk.img
	same_as "$before"
}

@test "not exact: the blocks in use and the files come back" {
	local policy
	head -c 64M /dev/urandom >disk.img
	mkfs.ext4 -q -F -E nodiscard -d tree disk.img
	used_ranges disk.img >used
	cp disk.img before.img
	for policy in tail stop; do
		expect 0 prepare --no-exact --on-full="$policy" disk.img
		up
		churn || [ "$policy" = stop ]
		down || within 30 umount mnt || true
		expect 0 rollback disk.img
		used_equal used before.img disk.img
		clean_fs
		within 30 mount -o loop,ro disk.img mnt
		(tree_sums tree; tree_sums mnt) | sort | uniq -c | awk '$1 != 2 { bad = 1; print } END { exit bad }'
		within 30 umount mnt
	done
}

@test "backups lie where the file system writes next, and there is still room: no failure" {
	local before
	make_ext4 disk.img 96M -d tree
	remember
	expect 0 prepare --exact --on-full=stop disk.img
	up
	# 14 MiB of backups and 50 MiB of new files share about 70 MiB.
	within 60 dd if=/dev/urandom of=mnt/old bs=64k count=224 conv=notrunc,fsync status=none
	head -c 50M /dev/urandom >large
	within 60 cp large mnt/
	down
	up
	within 60 cmp large mnt/large
	down
	expect 0 rollback disk.img
	same_as "$before"
}
