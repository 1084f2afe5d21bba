#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# export and apply: what a checkpoint changed, carried elsewhere.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq zstd
}

# changed IMAGE [PREPARE-OPTION...]: a disk with an open checkpoint that was changed; before, it was
# what orig.img is.
changed() {
	local image=$1
	shift
	make_ext4 "$image" 64M
	cp --sparse=always "$image" orig.img
	expect 0 prepare "$@" "$image"
	mkdir -p mnt
	expect 0 mount "$image" mnt
	fstrim mnt || true # some hosts cannot punch holes
	change_tree mnt
	expect 0 umount mnt
}

# What is in the files of an image that nobody serves.
files_of() {
	mkdir -p files
	within 30 mount -o ro,loop "$1" files
	tree_sums files
	within 30 umount files
}

@test "an undo patch gives a committed disk back, byte for byte, and a redo patch the changes" {
	changed disk.img --exact
	expect 0 export --undo -o undo.tar.zst disk.img
	expect 0 export --redo -o redo.tar.zst disk.img
	[ "$(key state)" = checkpoint ]
	expect 0 commit --wipe disk.img
	cp --sparse=always disk.img new.img

	expect 0 apply redo.tar.zst disk.img
	grep -q 'already applied' <<<"$output"
	for _ in 1 2; do
		expect 0 apply undo.tar.zst disk.img
		identical disk.img orig.img
		expect 0 apply undo.tar.zst disk.img
		grep -q 'already applied' <<<"$output"
		expect 0 apply redo.tar.zst disk.img
		identical disk.img new.img
	done
	[ "$(key state)" = none ]
}

@test "a redo patch makes an equal disk equal again, in every compression" {
	local suffix
	changed disk.img --exact
	for suffix in tar tar.gz tgz tar.zst tzst; do
		expect 0 export --redo -o "redo.$suffix" disk.img
	done
	gzip -t redo.tar.gz
	zstd -tq redo.tar.zst
	# Equal patches are equal files.
	cmp redo.tgz redo.tar.gz
	cmp redo.tzst redo.tar.zst
	[ "$(tar tf redo.tar | head -n 1)" = manifest.json ]
	tar xOf redo.tar manifest.json | jq -e '.direction == "redo" and .exact'
	expect 0 commit --wipe disk.img
	for suffix in tar tar.gz tar.zst; do
		cp --sparse=always orig.img second.img
		expect 0 apply -q "redo.$suffix" second.img
		[ -z "$output$stderr" ]
		identical second.img disk.img
	done
}

@test "without exactness every used block comes out right" {
	changed disk.img --no-exact
	expect 0 export --undo -o undo.tar disk.img
	expect 0 export --redo -o redo.tar disk.img
	cp --sparse=always orig.img second.img
	# What is in free blocks of the other disk does not matter.
	"$BOWIMG" map orig.img | awk '$3 == "?" { print $1, $2 }' | while read -r off bytes; do
		head -c $((bytes)) /dev/urandom |
			dd of=second.img bs=64k oflag=seek_bytes seek=$((off)) conv=notrunc status=none
	done
	expect 0 commit disk.img
	expect 0 apply redo.tar second.img
	clean_fs second.img
	# File by file: a block that was allocated and never written holds what each disk had there.
	files_of disk.img >new.sums
	files_of second.img | diff new.sums -
	expect 0 apply undo.tar second.img
	expect 0 apply undo.tar disk.img
	clean_fs disk.img
	used_ranges orig.img >used
	used_equal used orig.img second.img
	used_equal used orig.img disk.img
}

@test "patches go through pipes, in both directions" {
	changed disk.img --exact
	cp --sparse=always orig.img second.img
	"$BOWIMG" export --redo -o - disk.img | "$BOWIMG" apply - second.img
	"$BOWIMG" export --redo -o - --compress=zstd disk.img >redo
	expect 0 apply redo second.img
	grep -q 'already applied' <<<"$output"
	mkfifo fifo
	"$BOWIMG" export --undo -o fifo --compress=gzip disk.img &
	expect 0 apply fifo second.img
	wait $!
	[ -p fifo ]
	identical second.img orig.img
}

@test "a disk that is not what the patch expects is left alone, exit 7" {
	changed disk.img
	expect 0 export --undo -o undo.tar.zst disk.img
	expect 0 export --redo -o redo.tar.zst disk.img
	expect 0 commit disk.img
	# Somebody goes on working with the disk: the undo does not fit any more.
	mkdir -p mnt
	within 30 mount -o loop disk.img mnt
	echo more >mnt/more
	within 30 umount mnt
	before=$(sum disk.img)
	refused 7 'is not what undo.tar.zst expects' apply undo.tar.zst disk.img
	refused 7 'is not what redo.tar.zst expects' apply redo.tar.zst disk.img
	same_as "$before"
	make_ext4 other.img 64M -L other
	before=$(sum other.img)
	refused 7 'expects' apply redo.tar.zst other.img
	refused 7 'expects' apply -n redo.tar.zst other.img
	same_as "$before" other.img
	truncate -s 32M small.img
	refused 7 'is for an image of 67108864 bytes' apply redo.tar.zst small.img
}

@test "killed at any moment, a rollback or the next run ends it, and it is never half there" {
	local round cut=0
	changed disk.img --exact
	expect 0 export --redo -o redo.tar.zst disk.img
	expect 0 commit --wipe disk.img
	for round in $(seq 12); do
		cp --sparse=always orig.img second.img
		killed_after $((1000 + RANDOM * 6)) apply -q redo.tar.zst "$T/second.img"
		case $(key state second.img) in
		checkpoint | interrupted | rolling-back)
			cut=$((cut + 1))
			bow apply redo.tar.zst second.img
			[ "$status" -eq 3 ] || [ "$status" -eq 8 ]
			grep -q 'bowimg rollback' <<<"$stderr"
			expect 0 rollback second.img
			;;
		committing | finishing) expect 0 commit second.img ;;
		esac
		identical second.img orig.img || identical second.img disk.img
		expect 0 apply redo.tar.zst second.img
		identical second.img disk.img
	done
	echo "# $cut of $round were cut in the middle"
}

@test "a signal rolls it back" {
	local i pid ended
	changed disk.img --exact
	expect 0 export --redo -o redo.tar.zst disk.img
	for i in 1 3 5 7 9; do
		cp --sparse=always orig.img second.img
		"$BOWIMG" apply -q redo.tar.zst "$T/second.img" &
		pid=$!
		sleep "0.0$i"
		kill -TERM "$pid" || true
		ended=0
		wait "$pid" || ended=$?
		[ "$(key state second.img)" = none ]
		[ "$ended" -eq 0 ] || identical second.img orig.img
	done
}

@test "a block device is patched through its own free space" {
	changed disk.img --exact
	expect 0 export --redo -o redo.tar.zst disk.img
	expect 0 export --undo -o undo.tar.zst disk.img
	expect 0 commit --wipe disk.img
	cp --sparse=always orig.img second.img
	device=$(losetup -f --show second.img)
	expect 0 apply redo.tar.zst "$device"
	expect 0 apply redo.tar.zst "$device"
	grep -q 'already applied' <<<"$output"
	used_ranges disk.img >used
	used_equal used disk.img second.img
	clean_fs "$device"
	expect 0 apply undo.tar.zst "$device"
	used_ranges orig.img >used
	used_equal used orig.img second.img
	clean_fs "$device"
}

@test "a disk of unknown content, with a partition table, is patched like any other" {
	head -c 20M /dev/urandom >disk.img
	echo 'start=2048, type=83' | sfdisk -q disk.img
	cp disk.img orig.img
	expect 0 prepare --free-from=none disk.img
	expect 0 run --via=loop --on-success=keep --on-failure=keep disk.img -- \
		dd if=/dev/urandom of={} bs=1M seek=3 count=6 conv=fsync status=none
	expect 0 export --redo -o redo.tar.zst disk.img
	expect 0 export --undo -o undo.tar.zst disk.img
	expect 0 commit disk.img
	expect 0 apply redo.tar.zst orig.img
	cmp disk.img orig.img
	expect 0 apply undo.tar.zst disk.img
	run ! cmp -s disk.img orig.img
	expect 0 apply undo.tar.zst orig.img
	cmp disk.img orig.img
}

@test "an image that is attached is not exported, exit 4" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	attach_loop disk.img
	refused 4 'use|lock|attached' export --undo -o undo.tar disk.img
	[ ! -e undo.tar ]
	expect 0 detach disk.img
	expect 0 export --undo -o undo.tar disk.img
}

@test "a full disk: exit 5, nothing under the final name, the image as it was" {
	changed disk.img --exact
	expect 0 export --redo -o redo.tar disk.img
	mkdir -p small
	within 30 mount -t tmpfs -o size=1m tmpfs small
	refused 5 'no space' export --redo -o small/redo.tar disk.img
	[ -z "$(ls -A small)" ]
	refused 5 'no space' export --redo -o /dev/full --compress=none disk.img
	expect 0 commit --wipe disk.img

	# What comes through a pipe has no place.
	cp --sparse=always orig.img second.img
	run --separate-stderr env TMPDIR="$T/small" "$BOWIMG" apply - second.img < <(cat redo.tar)
	[ "$status" -eq 5 ]
	grep -q 'TMPDIR' <<<"$stderr"
	identical second.img orig.img
	within 30 umount small

	# The checkpoint of apply itself has none.
	truncate -s 40M host.img
	mkfs.ext4 -q -F host.img
	within 30 mount -o loop host.img small
	cp --sparse=always orig.img small/second.img
	dd if=/dev/zero of=small/fill bs=64k status=none || true
	refused 5 'no space' apply redo.tar small/second.img
	rm small/fill
	# The last step of a rollback may need room, too; then it is finished by hand.
	[ "$(key state "$T/small/second.img")" = none ] || expect 0 rollback small/second.img
	identical small/second.img orig.img
	expect 0 apply redo.tar small/second.img
	identical small/second.img disk.img
	within 30 umount small
}

@test "an export that is stopped leaves no file" {
	local pid
	changed disk.img --exact
	"$BOWIMG" export --redo -q -o redo.tar.gz disk.img &
	pid=$!
	sleep 0.05
	kill -INT "$pid" 2>/dev/null || kill -TERM "$pid" || true
	wait "$pid" || true
	[ -e redo.tar.gz ] || [ -z "$(ls redo* 2>/dev/null)" ]
	[ "$(key state)" = checkpoint ]
}
