#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2030,SC2031
# diff --files and --tar where the kernel mounts both versions: xfs, btrfs.
#
# Alone: it looks for loop devices that any bowimg may have left.

load ../../lib/common
load ../../lib/e2e
load ../../lib/filesystems
load ../../lib/layer

setup() {
	common_setup
	requires root loop fuse python3 getfattr setfattr getfacl setfacl bsdtar
	mkdir mnt
}

# prepared KIND: with a checkpoint, and mounted at mnt.
prepared() {
	fs_requires "$1"
	fs_format "$1" disk.img
	fs_mount "$1" disk.img "$T/mnt"
	# Owners and times are the image's own from here on.
	fill mnt
	fs_umount "$T/mnt"
	expect 0 prepare -q disk.img
	expect 0 mount disk.img mnt
	cp -a mnt before
}

remains() {
	losetup -nO BACK-FILE -a | grep -x '/disk\|/before' || pgrep -f "^$BOWIMG diff" ||
		find "$T" -maxdepth 2 -name 'bowimg-expose.*' | grep .
}

# Loop devices go a moment later than their owner.
nothing_remains() {
	local i
	for ((i = 0; i < 50; i++)); do
		remains >what-remains || return 0
		sleep 0.1
	done
	cat what-remains
	return 1
}

@test "xfs: a tree changed at random" {
	prepared xfs
	random_changes_are_told
}

@test "btrfs: a tree changed at random" {
	prepared btrfs
	random_changes_are_told
}

@test "xfs: files are renamed and replaced in every way" {
	prepared xfs
	every_rename_is_told
}

@test "btrfs: files are renamed and replaced in every way" {
	prepared btrfs
	every_rename_is_told
}

@test "xfs: each line says what differs" {
	prepared xfs
	lines_are_right
}

@test "btrfs: each line says what differs" {
	prepared btrfs
	lines_are_right
}

# one_of_each KIND
one_of_each() {
	fs_requires "$1"
	fs_format "$1" disk.img
	fs_mount "$1" disk.img "$T/mnt"
	mkdir -p mnt/a/b mnt/gone/deep mnt/moved
	echo x >mnt/gone/deep/file
	for ((i = 1; i < 10; i++)); do echo "file $i" >"mnt/a/f$i"; done
	ln mnt/a/f1 mnt/a/b/other
	ln -s here mnt/link
	mknod mnt/null c 1 3
	head -c 300000 /dev/urandom >mnt/data
	truncate -s 5M mnt/sparse
	touch -d 2001-02-03 mnt mnt/a mnt/a/b mnt/data mnt/a/f1
	fs_umount "$T/mnt"
	expect 0 prepare -q disk.img
	expect 0 mount disk.img mnt
	printf z | dd of=mnt/data bs=1 seek=150000 conv=notrunc status=none
	echo more >>mnt/a/b/other
	touch -d 2001-02-03 mnt/data mnt/a/f1
	mv mnt/a/f2 mnt/a/b/f2
	mv mnt/moved mnt/a/moved
	rm -r mnt/gone
	chmod 600 mnt/a/f3
	chown 7:8 mnt/a/f4
	touch -d 1999-01-01 mnt/a/f5
	setfattr -n user.x -v y mnt/a/f6
	setfattr -h -n trusted.x -v y mnt/link
	ln mnt/a/f7 mnt/a/new-name
	cp mnt/a/f8 mnt/tmp && mv mnt/tmp mnt/a/f8
	printf z | dd of=mnt/sparse bs=1 seek=3M conv=notrunc status=none
	rm mnt/null && mknod mnt/null b 9 9
	echo new >mnt/$'new\n'
	touch -d 2001-02-03 mnt mnt/a mnt/a/b mnt/sparse
	expect 0 umount mnt
	now=$(sum disk.img)
	expect 1 diff --files disk.img
	[ "$(sum disk.img)" = "$now" ]
	diff - <(printf '%s\n' "$output") <<-'END'
		renamed   /a/f2 -> /a/b/f2
		modified  /a/b/other (content, size)
		modified  /a/f1 (content, size)
		modified  /a/f3 (mode)
		modified  /a/f4 (owner)
		modified  /a/f5 (times)
		modified  /a/f6 (xattrs)
		modified  /a/f8 (times)
		renamed   /moved/ -> /a/moved/
		added     /a/new-name
		modified  /data (content)
		deleted   /gone/
		deleted   /gone/deep/
		deleted   /gone/deep/file
		modified  /link (xattrs)
		added     /new\x0a
		modified  /null (type, times)
		modified  /sparse (content, times)
	END
}

@test "xfs: one change of each kind" {
	one_of_each xfs
}

@test "btrfs: one change of each kind" {
	one_of_each btrfs
}

@test "nothing was written: no difference, and nothing is mounted" {
	fs_requires xfs
	fs_format xfs disk.img
	expect 0 prepare -q disk.img
	requires strace
	run --separate-stderr strace -f -e trace=fsmount,clone,clone3 -o calls "$BOWIMG" diff --files disk.img
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	[ "$(grep -c 'fsmount\|clone' calls)" -eq 0 ]
}

# A block of the disk that holds this text, overwritten without the file system knowing.
@test "xfs: data that was overwritten under the file system is seen, inode or not" {
	prepared xfs
	expect 0 umount mnt
	attach_loop disk.img
	at=$(python3 -c '
import sys
disk = open(sys.argv[1], "rb").read()
print(disk.find(open(sys.argv[2], "rb").read(200)))' "$device" before/b/x/f4)
	[ "$at" -gt 0 ]
	printf changed | dd of="$device" bs=1 seek="$at" conv=notrunc,fsync status=none
	expect 0 detach disk.img
	expect 1 diff --files disk.img
	[ "$output" = "modified  /b/x/f4 (content)" ]
}

@test "an image that was looked at is the same, and goes back to what it was" {
	fs_requires btrfs
	fs_format btrfs disk.img
	before=$(sum disk.img)
	expect 0 prepare -q disk.img
	expect 0 mount disk.img mnt
	echo x >mnt/file
	expect 0 umount mnt
	now=$(sum disk.img)
	expect 1 diff --files --tar=layer.tar disk.img
	[ "$(sum disk.img)" = "$now" ]
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "a user is told that it takes root: exit 9" {
	requires user
	prepared xfs
	echo x >mnt/file
	expect 0 umount mnt
	chmod 755 . && chown 65534 disk.img
	now=$(sum disk.img)
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$BOWIMG" diff --files disk.img
	echo "$output"
	[ "$status" -eq 9 ]
	grep -q 'to compare files of xfs, both versions are mounted, which needs root' <<<"$output"
	grep -q 'nothing was written' <<<"$output"
	[ "$(sum disk.img)" = "$now" ]
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$BOWIMG" diff disk.img
	[ "$status" -eq 1 ]
}

# killed_server KIND: a log is left.
killed_server() {
	prepared "$1"
	echo x >mnt/file
	within 20 sync mnt/file
	kill -9 "$(daemon_of "$T/disk.img")"
	within 20 umount mnt || true
	bow umount disk.img
	refused 6 "the log of the file system as it is now was not replayed" diff --files disk.img
	expect 0 mount disk.img mnt
	[ "$(cat mnt/file)" = x ]
	expect 0 umount mnt
	expect 1 diff --files disk.img
	grep -qx 'added     /file' <<<"$output"
}

@test "xfs: a log that was not replayed is refused with the way out, which works: exit 6" {
	killed_server xfs
}

@test "btrfs: a log that was not replayed is refused with the way out, which works: exit 6" {
	killed_server btrfs
}

@test "killed in the middle: nothing is left" {
	prepared xfs
	for ((i = 0; i < 1500; i++)); do : >"mnt/c/many$i"; done
	expect 0 umount mnt
	now=$(sum disk.img)
	mkdir tmp
	for wait in 0.03 0.1 0.2 0.4; do
		TMPDIR=$T/tmp "$BOWIMG" diff -q --files disk.img &
		pid=$!
		sleep "$wait"
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" || true
		nothing_remains
	done
	# The one that exposes both versions.
	TMPDIR=$T/tmp "$BOWIMG" diff -q --files disk.img 2>said &
	pid=$!
	sleep 0.3
	server=$(pgrep -P "$pid") && kill -9 "$server"
	status=0
	wait "$pid" || status=$?
	cat said
	[ "$status" -eq 1 ]
	nothing_remains
	[ "$(sum disk.img)" = "$now" ]
	expect 1 diff -q --files disk.img
	nothing_remains
}

@test "what is mounted elsewhere can be unmounted while a diff runs" {
	local pid
	prepared xfs
	for ((i = 0; i < 2000; i++)); do : >"mnt/c/$(printf '%0100d' $i)"; done
	expect 0 umount mnt
	make_ext4 other.img 16M
	expect 0 prepare -q other.img
	expect 0 mount other.img mnt
	# It waits for whoever reads its lines.
	mkfifo lines
	"$BOWIMG" diff --files disk.img >lines &
	pid=$!
	exec 8<lines
	head -c 4096 <&8 >begun
	[ "$(stat -c %s begun)" -eq 4096 ]
	kill -0 "$pid"
	expect 0 umount mnt
	cat <&8 >rest
	exec 8<&-
	wait "$pid" || [ $? -eq 1 ]
	nothing_remains
}

@test "btrfs: subvolumes and snapshots are directories like others" {
	fs_requires btrfs
	fs_format btrfs disk.img
	fs_mount btrfs disk.img "$T/mnt"
	btrfs -q subvolume create mnt/home
	echo x >mnt/home/file
	echo y >mnt/file
	btrfs -q subvolume create mnt/home/inner
	btrfs -q subvolume set-default "$(btrfs inspect-internal rootid mnt/home)" mnt
	fs_umount "$T/mnt"
	expect 0 prepare -q disk.img
	expect 0 mount -o subvolid=5 disk.img mnt
	btrfs -q subvolume snapshot mnt/home mnt/snap
	echo more >>mnt/home/file
	btrfs -q subvolume create mnt/new
	touch -d 2001-02-03 mnt/home/inner
	mv mnt/home/inner mnt/moved
	expect 0 umount mnt
	expect 1 diff --files disk.img
	printf '%s\n' "$output" | grep -vx 'modified  .*/ (times)' | diff - /dev/fd/3 3<<-'END'
		modified  /home/file (content, size, times)
		renamed   /home/inner/ -> /moved/ (times)
		added     /new/
		added     /snap/
		added     /snap/file
		added     /snap/inner/
	END
}

@test "a file system that was made anew is compared by its paths" {
	prepared xfs
	expect 0 umount mnt
	attach_loop disk.img
	mkfs.btrfs -q -f "$device"
	expect 0 detach disk.img
	expect 0 mount disk.img mnt
	mkdir mnt/a
	cp -a before/a/f1 mnt/a/f1
	echo other >mnt/a/f2
	expect 0 umount mnt
	expect 1 diff --files --tar=layer.tar disk.img
	[[ $output != */a/f1* ]]
	grep -q '^modified  /a/f2 (content, size, times)' <<<"$output"
	grep -q '^deleted   /b/x/f1$' <<<"$output"
	[[ $output != *renamed* ]]
}

@test "a disk with partitions: each in its own way, and what cannot be is named" {
	fs_requires btrfs
	truncate -s 620M disk.img
	printf 'label: gpt\nsize=310M\nsize=160M\nsize=64M\nsize=8M\nsize=8M\n' | sfdisk -q disk.img
	fs_format xfs xfs.img
	fs_format btrfs btrfs.img
	make_ext4 ext4.img 64M
	truncate -s 8M fat.img && mkfs.minix fat.img >/dev/null
	starts=$(sfdisk -J disk.img | jq '.partitiontable.partitions[].start')
	for part in xfs btrfs ext4 fat; do
		dd if=$part.img of=disk.img bs=512 seek="$(head -n 1 <<<"$starts")" conv=notrunc,sparse status=none
		starts=$(tail -n +2 <<<"$starts")
	done
	expect 0 prepare -q --free-from=none disk.img
	for part in 1 2 3; do
		expect 0 mount -p $part disk.img mnt
		echo x >mnt/new$part
		touch -d 2001-02-03 mnt
		expect 0 umount mnt
	done
	attach_loop disk.img
	printf x | dd of="${device}p4" bs=1 seek=1M conv=notrunc,fsync status=none
	expect 0 detach disk.img
	expect 1 diff --files disk.img
	[ "$(grep -v '(times)$' <<<"$output")" = "\
partition 1:
added     /new1
partition 2:
added     /new2
partition 3:
added     /new3" ]
	grep -q 'partition 4 (minix) changed, but its files are not compared' <<<"$stderr"
	expect 1 diff --files --json -p 2 disk.img
	[ "$(json '.[] | select(.change == "added") | .partition + .path' <<<"$output")" = 2/new2 ]
	refused 2 "choose one for --tar with --partition" diff --tar=layer.tar disk.img
	expect 1 diff --tar=layer.tar -p 1 disk.img
	bsdtar -tf layer.tar | grep -qx new1
}

@test "a damaged file system ends in words" {
	prepared btrfs
	expect 0 umount mnt
	attach_loop disk.img
	python3 - "$device" <<-'PY'
		import sys
		with open(sys.argv[1], "r+b") as f:
		    for at in range(1 << 20, 160 << 20, 1 << 14):
		        f.seek(at)
		        block = f.read(1 << 14)
		        if b"f4" in block and b"f3" in block:
		            f.seek(at + 8000)
		            f.write(b"\xff" * 64)
	PY
	expect 0 detach disk.img
	bow diff --files disk.img
	[ "$status" -ne 0 ]
	[ -z "$output" ]
	grep -q 'compare files: .* as it is now' <<<"$stderr"
	grep -q '^  [^ ]' <<<"$stderr"
	nothing_remains
}
