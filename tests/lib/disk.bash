# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Partitioned disks, made without root:   load ../lib/common; load ../lib/disk

# start_of IMAGE N, bytes_of IMAGE N: of partition N, in bytes.
start_of() {
	sfdisk -J "$1" | jq ".partitiontable.partitions[] | select(.node | test(\"[^0-9]p?$2\$\")) | .start * 512"
}

bytes_of() {
	sfdisk -J "$1" | jq ".partitiontable.partitions[] | select(.node | test(\"[^0-9]p?$2\$\")) | .size * 512"
}

# put FILE IMAGE N: FILE's content at the start of partition N.
put() {
	dd if="$1" of="$2" bs=512 seek=$(($(start_of "$2" "$3") / 512)) conv=notrunc,sparse status=none
}

# ext4_on IMAGE N [MKFS-OPTION...]: with the files of make_ext4 in it.
ext4_on() {
	local image=$1 n=$2
	shift 2
	make_ext4 part.tmp "$(bytes_of "$image" "$n")" "$@"
	put part.tmp "$image" "$n"
	rm part.tmp
}

vfat_on() {
	truncate -s "$(bytes_of "$1" "$2")" part.tmp
	mkfs.vfat "${@:3}" part.tmp >/dev/null
	put part.tmp "$1" "$2"
	rm part.tmp
}

swap_on() {
	truncate -s "$(bytes_of "$1" "$2")" part.tmp
	mkswap part.tmp >/dev/null 2>&1
	put part.tmp "$1" "$2"
	rm part.tmp
}

# cloud_disk IMAGE: as cloud images are: an ESP, an ext4 root, swap; and a gap.
cloud_disk() {
	from_kept "$1" make_cloud_disk
}

# old_disk IMAGE: an MBR with an ext4, and in its extended partition a swap (5) and an ext4 (6).
old_disk() {
	from_kept "$1" make_old_disk
}

# One disk serves a whole file of tests.
from_kept() {
	local kept=$BATS_FILE_TMPDIR/$2.img
	[ -f "$kept" ] || "$2" "$kept" || return 1
	cp --sparse=always "$kept" "$1"
}

make_cloud_disk() {
	truncate -s 128M "$1"
	sfdisk -q "$1" <<-END
		label: gpt
		start=2048, size=36M, type=U, name=ESP
		size=48M, type=L, name=root
		start=180224, size=16M, type=S
	END
	vfat_on "$1" 1 -F 32
	ext4_on "$1" 2
	swap_on "$1" 3
}

make_old_disk() {
	truncate -s 96M "$1"
	sfdisk -q "$1" <<-END
		label: dos
		disk1 : start=2048, size=32M, type=83
		disk2 : size=60M, type=5
		disk5 : size=8M, type=82
		disk6 : size=40M, type=83
	END
	ext4_on "$1" 1 -b 1024
	swap_on "$1" 5
	ext4_on "$1" 6
}
