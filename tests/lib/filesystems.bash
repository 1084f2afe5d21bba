# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# File systems of many kinds, made, read and checked by their own tools; after common and e2e:
#	load ../lib/filesystems
#
# Kinds: ext4 xfs btrfs fat12 fat16 fat32 ntfs exfat f2fs. Kernel mounts where the kernel has them;
# mtools, ntfs-3g, exfat-fuse and sload.f2fs for the others.

# fs_requires KIND
fs_requires() {
	case $1 in
	ext4) requires root loop mkfs.ext4 ;;
	xfs) requires root loop mkfs.xfs xfs_repair ;;
	btrfs) requires root loop mkfs.btrfs btrfs ;;
	fat*) requires mkfs.vfat mcopy fsck.vfat ;;
	ntfs) requires root fuse mkntfs ntfs-3g ntfsfix ;;
	exfat) requires root loop fuse mkfs.exfat mount.exfat-fuse fsck.exfat ;;
	f2fs) requires mkfs.f2fs sload.f2fs fsck.f2fs ;;
	esac
}

# fs_format KIND IMAGE [SIZE]: as small as they come; the size is for ext4, xfs and btrfs.
fs_format() {
	rm -f "$2"
	case $1 in
	ext4) truncate -s "${3:-48M}" "$2" && mkfs.ext4 -q -F "$2" ;;
	xfs) truncate -s "${3:-300M}" "$2" && mkfs.xfs -q "$2" ;;
	btrfs) truncate -s "${3:-160M}" "$2" && mkfs.btrfs -q "$2" ;;
	fat12) truncate -s 4M "$2" && mkfs.vfat -F 12 "$2" ;;
	fat16) truncate -s 32M "$2" && mkfs.vfat -F 16 "$2" ;;
	fat32) truncate -s 64M "$2" && mkfs.vfat -F 32 "$2" ;;
	ntfs) truncate -s 48M "$2" && mkntfs -qF "$2" ;;
	exfat) truncate -s 48M "$2" && mkfs.exfat "$2" ;;
	f2fs) truncate -s 128M "$2" && mkfs.f2fs -q "$2" ;;
	esac >/dev/null 2>&1
}

# fs_mount KIND IMAGE DIR [OPTION]: a bare image or a device.
fs_mount() {
	mkdir -p "$3"
	case $1 in
	ext4 | xfs | btrfs) within 30 mount -t "$1" -o "loop${4:+,$4}" "$2" "$3" ;;
	ntfs) within 30 ntfs-3g "$2" "$3" ${4:+-o "$4"} >/dev/null ;;
	exfat) exfat_mount "$2" "$3" "${4:-rw}" ;;
	esac
}

# It takes nothing but devices.
exfat_mount() {
	local device
	device=$(losetup -f --show "$1") && within 30 mount.exfat-fuse "$device" "$2" -o "$3" &&
		losetup -d "$device"
} >/dev/null

# Some programs serve from the background, and are not through when umount is.
fs_umount() {
	within 30 umount "$1" || return 1
	local pid
	for pid in $(pgrep -f "(ntfs-3g|exfat-fuse) .* $1( |\$)"); do
		for _ in $(seq 200); do
			[ -e "/proc/$pid" ] || break
			sleep 0.02
		done
	done
}

# files DIR BYTES: files of several sizes, some of them deleted, so that free space is not all zeros.
files() {
	local i
	mkdir -p "$1/sub"
	for ((i = 0; i < 24; i++)); do
		head -c $((RANDOM % 1000 + i * $2 / 300)) /dev/urandom >"$1/file$i"
		echo "small $i" >"$1/sub/small$i"
	done
	sync -f "$1"
	rm -f "$1"/file*[13579] "$1/sub/small1"*
}

# fs_make KIND IMAGE [SIZE]: formatted, with files, clean.
fs_make() {
	fs_format "$1" "$2" "${3:-}" || return 1
	local tree=$T/tree.$1 bytes=30000000
	case $1 in
	fat12) bytes=2000000 ;;
	fat*) bytes=20000000 ;;
	esac
	case $1 in
	fat*)
		mkdir -p "$tree/junk"
		files "$tree" "$bytes"
		head -c $((bytes / 5)) /dev/urandom >"$tree/junk/junk"
		mcopy -s -i "$2" "$tree"/* ::/ && mdeltree -i "$2" ::/junk && rm -r "$tree/junk"
		;;
	f2fs)
		files "$tree" "$bytes"
		sload.f2fs -f "$tree" "$2" >/dev/null
		;;
	*)
		fs_mount "$1" "$2" "$T/fs" && files "$T/fs" "$bytes" && fs_umount "$T/fs"
		;;
	esac
}

# fs_sums KIND IMAGE: of every file; nothing for kinds that nobody here can read.
fs_sums() {
	case $1 in
	fat*)
		rm -rf "$T/read" && mkdir "$T/read" && mcopy -s -n -i "$2" "::/*" "$T/read/" &&
			tree_sums "$T/read"
		;;
	f2fs) ;;
	*) fs_mount "$1" "$2" "$T/fs" ro && tree_sums "$T/fs" && fs_umount "$T/fs" ;;
	esac
}

# fs_check KIND IMAGE: what its own checker says; changes nothing.
fs_check() {
	case $1 in
	ext4) within 60 e2fsck -fn "$2" ;;
	xfs) within 60 xfs_repair -n "$2" ;;
	btrfs) within 60 btrfs check --check-data-csum "$2" && btrfs_scrub "$2" ;;
	fat*) within 60 fsck.vfat -n "$2" ;;
	ntfs) within 60 ntfsfix -n "$2" && within 60 ntfsresize -if "$2" ;;
	exfat) within 60 fsck.exfat -n "$2" ;;
	f2fs) within 60 fsck.f2fs --dry-run -f "$2" ;;
	esac
}

# Both copies of everything, where the checker is content with one.
btrfs_scrub() {
	local status=0
	cp --sparse=always "$1" "$T/scrub.img"
	fs_mount btrfs "$T/scrub.img" "$T/scrub" || return 1
	within 60 btrfs scrub start -Br "$T/scrub" || status=1
	btrfs device stats "$T/scrub" | awk '$2 { bad = 1; print } END { exit bad }' || status=1
	fs_umount "$T/scrub"
	rm -f "$T/scrub.img"
	return $status
}

free_map() {
	"$(dirname "$BOWIMG")/tests/tools/free_map" "$@"
}
