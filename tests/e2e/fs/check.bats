#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A map of free blocks that is wrong, agrees with itself, and belongs to a file system that is marked
# clean: a piece of a file is free by it. What finds it, and what prepare --check does about it.

load ../../lib/common
load ../../lib/e2e
load ../../lib/filesystems
load ../../lib/front
load ../../lib/remote

# with_file KIND: disk.img, in which a random file lies in one piece; the same is in big/file.
with_file() {
	fs_requires "$1"
	requires fuse python3 jq
	mkdir big
	head -c 400000 /dev/urandom >big/file
	fs_format "$1" disk.img
	case $1 in
	ext4)
		mkfs.ext4 -q -F -b 1024 -O ^metadata_csum,^uninit_bg -d big disk.img
		;;
	fat32) mcopy -i disk.img big/file ::/file ;;
	f2fs) sload.f2fs -f big disk.img >/dev/null ;;
	*)
		fs_mount "$1" disk.img fs
		cp big/file fs/
		fs_umount "$T/fs"
		;;
	esac
}

# lie KIND: a piece of the file is free from now on. Sets lie_off.
lie() {
	local bytes
	read -r lie_off bytes < <(python3 "$ROOT_DIR/tests/lib/free_used.py" "$1" disk.img big/file)
	echo "a lie at $lie_off, of $bytes bytes"
	[ "$bytes" -ge 4096 ]
}

# believed: prepare would put something where the file is.
believed() {
	expect 0 prepare --no-exact disk.img
	expect 0 map disk.img
	python3 -c '
import sys
at = (int(sys.argv[1]) + 4095) // 4096 * 4096
lines = [l.split() for l in sys.stdin if l[0] == "0"][1:]
sys.exit(not any(l[2] == "?" and 0 <= at - int(l[0], 16) < int(l[1], 16) for l in lines))
' "$lie_off" <<<"$output"
	expect 0 rollback disk.img
}

# found_by PROGRAM [WORDS]: with --check, and nothing is changed.
found_by() {
	local was
	was=$(sum disk.img)
	refused 6 "${2:-$1 finds it damaged, and nothing was changed: \".}" prepare --check disk.img
	refused 6 "${2:-$1}" prepare -n --check --free-from=none disk.img
	[ "$(sum disk.img)" = "$was" ]
	[ "$(key state)" = none ]
}

# sound KIND PROGRAM: nobody complains of what is well.
sound() {
	expect 0 prepare -n --check --json disk.img
	[ "$(json .checked <<<"$output")" = "$2" ]
}

# checked KIND PROGRAM [WORDS]
checked() {
	with_file "$1"
	sound "$@"
	lie "$1"
	believed
	found_by "$2" "${3:-}"
}

@test "an ext4 whose bitmap lies is refused by e2fsck's word" { checked ext4 e2fsck; }
@test "an xfs whose trees lie is refused by xfs_repair's word" { checked xfs xfs_repair; }
@test "a FAT whose table lies is refused by fsck.fat's word" { checked fat32 fsck.fat; }
@test "an exFAT whose bitmap lies is refused by fsck.exfat's word" { checked exfat fsck.exfat; }
@test "an F2FS whose segment table lies is refused by fsck.f2fs' word" { checked f2fs fsck.f2fs; }

@test "a FAT whose table frees the middle of a chain is refused unasked" {
	with_file fat32
	lie fat32_chain
	refused 6 'is in use, but free by the table' prepare disk.img
	refused 6 'fsck.fat finds it damaged' prepare --check --free-from=none disk.img
	[ "$(key state)" = none ]
}

# partclone asks the trees of files besides, and does not believe this one.
@test "a btrfs whose extent tree lies is refused by the word of btrfs check" {
	with_file btrfs
	sound btrfs btrfs
	lie btrfs
	found_by btrfs
}

@test "an NTFS whose bitmap lies is refused, though ntfsfix finds nothing" {
	checked ntfs ntfsfix 'clusters that its bitmap calls free'
	ntfsfix -n disk.img
}

@test "an NTFS that ntfsfix complains of is refused by its word" {
	with_file ntfs
	# The mirror of the master file table is another one.
	local mirror=$(($(od -An -tu8 -j56 -N8 disk.img) * 4096))
	dd if=/dev/urandom of=disk.img bs=1 seek=$((mirror + 1024 + 100)) count=20 conv=notrunc status=none
	refused 6 'ntfsfix finds it damaged' prepare --check --free-from=none disk.img
	[ "$(key state)" = none ]
}

@test "an NTFS with fragments, many files and compressed ones passes" {
	local i
	fs_requires ntfs
	fs_format ntfs disk.img
	fs_mount ntfs disk.img fs compression
	for ((i = 0; i < 60; i++)); do
		echo "$i" >>"fs/small$i"
		head -c 400000 /dev/zero >>fs/one
		head -c 9000 /dev/urandom >>fs/two
		sync fs/one fs/two
	done
	rm fs/small*[02468]
	mkdir fs/packed
	setfattr -h -v 0x00080000 -n system.ntfs_attrib fs/packed || true
	seq 100000 >fs/packed/numbers
	fs_umount "$T/fs"
	sound ntfs ntfsfix
	fs_make ntfs disk.img
	sound ntfs ntfsfix
}

# What this is for: without --check the lie is believed, and undo gives back a damaged file.
@test "without --check a file that the bitmap calls free comes back damaged" {
	with_file ext4
	lie ext4
	expect 0 prepare --no-exact disk.img
	free_map scribble disk.img
	expect 0 rollback --force=changed disk.img
	debugfs -R "dump /file back" disk.img
	if cmp big/file back; then return 1; fi
}

@test "every partition is checked, and the one that is damaged is named" {
	requires root loop sfdisk
	with_file xfs
	mv disk.img part.img
	make_partitioned
	expect 0 prepare -n --check disk.img
	grep -q 'checked *by fsck.fat+xfs_repair' <<<"$output"
	rm disk.img
	mv part.img disk.img
	lie xfs
	mv disk.img part.img
	make_partitioned
	refused 6 'partition 2: .*xfs_repair finds it damaged' prepare --check disk.img
	grep -q 'L=$(losetup -f --show -o 8388608 .*disk.img); xfs_repair $L' <<<"$stderr"
}

# A FAT, part.img, swap, and what is encrypted.
make_partitioned() {
	truncate -s 6M fat.img
	mkfs.vfat fat.img >/dev/null
	truncate -s $(($(stat -c %s part.img) + (20 << 20))) disk.img
	printf 'start=2048,size=6M,type=6\nstart=16384,size=%d,type=83\nsize=2M,type=82\nsize=2M,type=83\n' \
		$(($(stat -c %s part.img) / 512)) | sfdisk -q disk.img
	dd if=fat.img of=disk.img bs=1M seek=1 conv=notrunc,sparse status=none
	dd if=part.img of=disk.img bs=1M seek=8 conv=notrunc,sparse status=none
}

as_nobody() {
	setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
}

@test "a block device, an export, and an ordinary user have the same check" {
	local device
	requires root loop nbdkit setpriv
	with_file ext4
	device=$(losetup -f --show "$T/disk.img")
	expect 0 prepare -n --check "$device"
	losetup -d "$device"
	remote
	expect 0 prepare -n --check "$remote"
	remote_stop
	lie ext4
	device=$(losetup -f --show "$T/disk.img")
	refused 6 'e2fsck finds it damaged' prepare --check "$device"
	losetup -d "$device"
	remote
	refused 6 'e2fsck finds it damaged' prepare --check "$remote"
	grep -qF "nbdfuse d/disk '$remote'" <<<"$stderr"
	remote_stop
	chown -R nobody "$T"
	run as_nobody "$BOWIMG" prepare --check disk.img
	# Who has no FUSE has no check, rather than one that could write.
	if as_nobody test -w /dev/fuse; then
		[ "$status" -eq 6 ]
		[[ "$output" == *"e2fsck finds it damaged"* ]]
	else
		[ "$status" -eq 9 ]
		[[ "$output" == *"without FUSE"* ]]
	fi
}
