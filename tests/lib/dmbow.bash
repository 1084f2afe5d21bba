# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Disks that the kernel's dm-bow left: a small one made here, and real ones where they are at hand.
#
#	BOWIMG_DMBOW_DISKS	directory of the real ones (../shared/dm-bow-images beside the sources)

DMBOW_DISKS=${BOWIMG_DMBOW_DISKS:-$ROOT_DIR/../shared/dm-bow-images}

# Little-endian numbers as printf's escapes.
le() { # BYTES NUMBER
	local i
	for ((i = 0; i < $1; i++)); do printf '\\x%02x' $((($2 >> (8 * i)) & 255)); done
}

put_block() { # IMAGE BLOCK TEXT: 512 bytes of one line, again and again
	yes "$3" | head -c 512 | dd of="$1" bs=512 seek="$2" conv=notrunc status=none
}

log_header() { # COUNT
	le 4 0x00574f42; le 2 0x0100; le 2 28; le 4 512; le 4 "$1"; le 4 0; le 8 200
}

log_entry() { # SOURCE DEST CHECKSUM
	le 8 "$1"; le 8 "$2"; le 4 512; le 4 "$3"
}

# dmbow_disk IMAGE: 256 blocks of 512 bytes. Block 5 and block 0 were overwritten; what they were is
# in blocks 202 and 201, block 0 as it is now in 200. A copy as it was is IMAGE.was, in blocks 0-99.
dmbow_disk() {
	# One serves a whole file of tests.
	local made=$BATS_FILE_TMPDIR/dmbow
	[ -f "$made" ] || make_dmbow_disk "$made"
	cp "$made" "$1"
	cp "$made.was" "$1.was"
}

make_dmbow_disk() {
	local i
	for ((i = 0; i < 100; i++)); do yes "block $i as it was" | head -c 512; done >"$1.was"
	truncate -s 131072 "$1.was"
	cp "$1.was" "$1"
	put_block "$1" 5 "block 5 as it is"
	put_block "$1" 200 "block 0 as it is"
	put_block "$1" 201 "block 0 as it was"
	put_block "$1" 202 "block 5 as it was"
	# The rest of the log block is zeros.
	dd if=/dev/zero of="$1" bs=512 count=1 conv=notrunc status=none
	printf '%b' "$(log_header 2; log_entry 0 201 0x1e5a6457; log_entry 5 202 0x2d2ea1c7)" |
		dd of="$1" conv=notrunc status=none
}

# real_disks: are they here? They cannot be part of the sources, so no machine must have them: a test
# that wants them says that it had none, and passes.
real_disks() {
	[ -f "$DMBOW_DISKS/MANIFEST.md" ] && return
	echo "# $BATS_TEST_DESCRIPTION: not looked at, there is no $DMBOW_DISKS" >&3
	return 1
}

# unpack DISK NAME FILE
unpack() {
	zstd -dqf "$DMBOW_DISKS/$1/$2.img.zst" -o "$3"
}

# same_where_used DISK FILE FILE: every byte range that was in use when the checkpoint began
same_where_used() {
	local from to
	while read -r from to; do
		cmp -n $((to - from)) -i "$from" "$2" "$3" || return 1
	done < <(grep -v '^#' "$DMBOW_DISKS/$1/used.map")
}
