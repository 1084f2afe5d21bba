#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# mount and umount: the way up, the way down, and everything that can stand in it.

load ../../lib/common
load ../../lib/front

setup() {
	common_setup
	requires root loop fuse jq
	make_ext4 disk.img 24M
	before=$(sum disk.img)
	"$BOWIMG" prepare -q disk.img
	mkdir mnt
}

@test "what is written through the mount is there after the next mount, and gone after rollback" {
	expect 0 mount disk.img mnt
	rm -r mnt/sub
	echo new >mnt/new
	expect 0 umount mnt
	nothing_left
	expect 0 mount disk.img mnt
	[ "$(cat mnt/new)" = new ]
	[ ! -e mnt/sub ]
	expect 0 umount disk.img
	nothing_left
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "the loop device uses direct I/O and 512-byte sectors, and discards in units of 512" {
	expect 0 mount disk.img mnt
	device=$(findmnt -no SOURCE --raw mnt | head -n 1)
	device=$(losetup -nO NAME -j "$(jq -r '."fuse-dir"' "$(state_of disk.img)")/disk" || echo "$device")
	name=$(basename "$device")
	[ "$(cat "/sys/block/$name/loop/dio")" -eq 1 ]
	[ "$(cat "/sys/block/$name/queue/logical_block_size")" -eq 512 ]
	[ "$(cat "/sys/block/$name/queue/discard_granularity")" -eq 512 ]
	expect 0 umount mnt
}

@test "mount passes its options on" {
	expect 0 mount -o ro,noatime disk.img mnt
	findmnt -no OPTIONS mnt | grep -q '^ro,nosuid,nodev,noatime'
	run ! touch mnt/x
	expect 0 umount mnt
}

@test "a mount that fails leaves nothing behind and exits with 1" {
	expect 1 mount -o no-such-option disk.img mnt
	nothing_left
	expect 1 mount disk.img no-such-dir
	expect 1 mount disk.img disk.img
	nothing_left
}

@test "an image that is not prepared is refused with 3, and stays as it was" {
	make_ext4 plain.img 16M
	plain=$(sum plain.img)
	refused 3 'checkpoint' mount plain.img mnt
	nothing_left
	[ "$(sum plain.img)" = "$plain" ]
}

@test "a second mount or attach of the same image is refused with 4" {
	mkdir other
	expect 0 mount disk.img mnt
	refused 4 'in use' mount disk.img other
	refused 4 'in use' attach disk.img
	refused 4 'in use' attach --fuse other disk.img
	ln disk.img same.img
	refused 4 'in use' mount same.img other
	refused 4 'mounted' detach disk.img
	expect 0 umount mnt
	nothing_left
}

@test "umount of a busy mount is refused with 4 and takes nothing down" {
	expect 0 mount disk.img mnt
	exec 9<mnt/file1
	refused 4 'busy' umount mnt
	echo still >mnt/still
	exec 9<&-
	expect 0 umount mnt
	nothing_left
}

@test "umount of what is not mounted is refused with 3" {
	refused 3 'not attached or mounted' umount mnt
	refused 3 'not attached or mounted' umount disk.img
	refused 3 'not attached or mounted' umount no/such/thing
}

@test "mounts are found by other names of the directory and of the image" {
	ln -s mnt link
	ln -s disk.img link.img
	for name in mnt/ ./mnt "$PWD/mnt" link mnt/../mnt disk.img ./disk.img link.img; do
		expect 0 mount disk.img mnt
		expect 0 umount "$name"
		nothing_left
	done
	expect 0 mount disk.img mnt
	mv disk.img moved.img
	expect 0 umount moved.img
	expect 0 mount moved.img mnt
	rm moved.img
	expect 0 umount moved.img
	nothing_left
}

@test "blanks, commas, percent signs and odd bytes in names do no harm" {
	name=$'a, b\\%20\n\xff'
	mkdir "$name.d"
	mv disk.img "$name"
	expect 0 mount "$name" "$name.d"
	echo x >"$name.d/x"
	expect 0 umount "$name.d"
	expect 0 mount "$name" "$name.d"
	expect 0 umount "$name"
	nothing_left
}

@test "the system's own umount ends everything too" {
	expect 0 mount disk.img mnt
	pid=$(daemon_of disk.img)
	echo x >mnt/x
	umount mnt
	wait_until is_gone "$pid"
	wait_until quietly nothing_left
	expect 0 verify disk.img
}

@test "SIGTERM to the daemon unmounts, unless the mount is in use" {
	expect 0 mount disk.img mnt
	pid=$(daemon_of disk.img)
	exec 9<mnt/file1
	kill -TERM "$pid"
	sleep 0.5
	echo x >mnt/x
	exec 9<&-
	kill -TERM "$pid"
	wait_until is_gone "$pid"
	wait_until quietly nothing_left
}

@test "an ordinary user is told which way he can take" {
	chmod 777 . mnt
	chmod 666 disk.img
	nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	way='run --via=nbd'
	if "${nobody[@]}" test -w /dev/fuse; then way='attach --fuse'; fi
	run --separate-stderr "${nobody[@]}" "$BOWIMG" mount disk.img mnt
	[ "$status" -eq 1 ]
	grep -q -- "$way" <<<"$stderr"
}
