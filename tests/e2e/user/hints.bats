#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Hints are commands: pasted as they stand, they make what was refused possible.

load ../../lib/common
load ../../lib/e2e
load ../../lib/disk
load ../../lib/filesystems

# pasted PATTERN ARG...: refused with PATTERN; then the command of the hint is run, and it is taken.
# A mount of the hint goes to /mnt, for which the test has its own; e2fsck would ask its questions.
pasted() {
	local command
	refused 6 "$@"
	command=$(sed -n 's/^  .*: \(.*\)/\1/p' <<<"$stderr")
	echo "pasted: $command"
	[ -n "$command" ]
	mkdir -p mnt
	command=${command//\/mnt/$T/mnt}
	within 60 sh -c "${command/e2fsck -f /e2fsck -fy }" || [ $? -eq 1 ] # checkers: what was wrong is mended
	expect 0 "${@:2}"
}

# in_partition KIND: disk.img becomes partition 2 of an MBR.
in_partition() {
	mv disk.img part.img
	truncate -s $(($(stat -c %s part.img) + (4 << 20))) disk.img
	printf 'start=2048,size=2048,type=83\nstart=4096,size=%d,type=83\n' \
		$(($(stat -c %s part.img) / 512)) | sfdisk -q disk.img
	dd if=part.img of=disk.img bs=1M seek=2 conv=notrunc,sparse status=none
}

both_ways() {
	cp --sparse=always disk.img kept.img
	pasted "$1" prepare -n disk.img
	mv kept.img disk.img
	in_partition
	pasted "partition 2: .*$1" prepare -n disk.img
	[ -z "$(own_loops)" ]
}

@test "the hint for an ext4 that was not unmounted, pasted, cleans it, in a partition too" {
	requires root loop debugfs sfdisk
	fs_format ext4 disk.img
	debugfs -w -R 'set_super_value state 0' disk.img
	both_ways 'not cleanly unmounted'
}

@test "the hint for an ext4 whose group miscounts, pasted, repairs it" {
	requires root loop debugfs sfdisk
	fs_format ext4 disk.img
	tune2fs -O ^metadata_csum,^uninit_bg disk.img >/dev/null
	debugfs -w -R 'set_bg 0 free_blocks_count 3' disk.img
	both_ways 'by its bitmap'
}

@test "the hint for a FAT that was not unmounted, pasted, cleans it, in a partition too" {
	fs_requires fat16
	requires root loop sfdisk xxd
	fs_format fat16 disk.img
	printf '\001' | dd of=disk.img bs=1 seek=37 conv=notrunc status=none
	both_ways 'not cleanly unmounted'
}

@test "the hint for an exFAT that was not unmounted, pasted, cleans it, in a partition too" {
	fs_requires exfat
	requires partclone.exfat sfdisk
	fs_format exfat disk.img
	printf '\002' | dd of=disk.img bs=1 seek=106 conv=notrunc status=none
	both_ways 'not cleanly unmounted'
}

@test "the hint for an NTFS that is to be checked, pasted, is what Linux can do" {
	fs_requires ntfs
	requires root loop partclone.ntfs sfdisk
	fs_format ntfs disk.img
	within 30 ntfsfix disk.img
	both_ways 'to be checked'
}

# cut KIND: as a power cut leaves it, with something in the log.
cut() {
	fs_requires "$1"
	requires "partclone.$1" sfdisk
	fs_format "$1" live.img
	fs_mount "$1" live.img fs
	within 30 dd if=/dev/urandom of=fs/synced bs=64k count=2 conv=fsync status=none
	cp --sparse=always live.img disk.img
	fs_umount "$T/fs"
	rm live.img
}

@test "the hint for an XFS with a log, pasted, replays it, in a partition too" {
	cut xfs
	both_ways 'log must be replayed'
}

@test "the hint for a btrfs with a log, pasted, replays it, in a partition too" {
	cut btrfs
	both_ways 'log tree'
}

@test "the hint for a GPT of other sectors, pasted, gives a device that is taken" {
	local device
	requires root loop sfdisk
	truncate -s 64M disk.img
	device=$(losetup -f --show --sector-size 4096 disk.img)
	echo 'size=20M,type=L' | sfdisk -q -X gpt "$device"
	losetup -d "$device"
	refused 9 'sectors of another size: 4096 bytes' prepare -n disk.img
	device=$(sh -c "$(sed -n 's/^  .*: \(losetup.*\)/\1/p' <<<"$stderr")")
	expect 0 map "$device"
	losetup -d "$device"
}

@test "a btrfs seed is not told to be checked, and its hint makes it an ordinary one" {
	fs_requires btrfs
	requires btrfstune partclone.btrfs
	fs_format btrfs disk.img
	btrfstune -S 1 disk.img
	refused 9 'seed device' prepare -n disk.img
	if grep 'btrfs check' <<<"$stderr"; then return 1; fi
	sh -c "yes | $(sed -n 's/^  .*: \(btrfstune.*\)/\1/p' <<<"$stderr")"
	expect 0 prepare -n disk.img
}
