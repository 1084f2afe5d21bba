#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What is shown goes in any order and by any hand: after each half of an end one umount or detach ends
# the rest, and a second one finds nothing. What others keep is refused by name, and left as it was.

# To shellcheck each test is a subshell, which the helpers and the teardown are not called in; and
# sleep is to hold its standard input, not to read it.
# shellcheck disable=SC2030,SC2031,SC2217
# Alone: a mount namespace that is made here would hold the mounts of other files.

load ../../lib/common
load ../../lib/front

setup() {
	common_setup
	requires root loop fuse jq
	make_ext4 disk.img 24M
	"$BOWIMG" prepare -q disk.img
	mkdir mnt dir old
	helpers=()
}

teardown() {
	[ ${#helpers[@]} -eq 0 ] || kill "${helpers[@]}" 2>/dev/null || true
	common_teardown
}

loop_of() {
	jq -r .loop "$(state_of disk.img)"
}

fuse_of() {
	jq -r '."fuse-dir"' "$(state_of disk.img)"
}

# holding FILE [COMMAND...]: another process has it open; its number in $holder.
holding() {
	sleep 100 <"$1" 3>&- &
	holder=$!
	helpers+=("$holder")
	wait_until grep -qx sleep "/proc/$holder/comm"
}

let_go() {
	kill "$holder"
	wait "$holder" || true
}

# One of both ends all that is left, and a second one says that there is nothing.
ends() {
	local verb=$1
	expect 0 "$verb" disk.img
	wait_until quietly nothing_left
	refused 3 'not attached or mounted' umount disk.img
	refused 3 'not attached or mounted' detach disk.img
}

# The hint is pasted into a shell.
paste_hint() {
	local hint
	hint=$(grep '^  ' <<<"$stderr" | tail -n 1)
	echo "pasting: ${hint##*: }"
	PATH="${BOWIMG%/*}:$PATH:/usr/sbin:/sbin" bash -c "${hint##*: }"
}

# The same of a hint to kill the holder, which takes a moment to die of that.
end_it() {
	local died=0
	paste_hint
	wait "$holder" || died=$?
	[ "$died" -eq 143 ]
}

# ---- somebody has it open -----------------------------------------------------------------------

@test "umount is refused before anything is changed while a process has the device open" {
	for file in device fuse; do
		expect 0 mount disk.img mnt
		case $file in
		device) holding "$(loop_of)" ;;
		fuse) holding "$(fuse_of)/disk" ;;
		esac
		refused 4 "$holder \(sleep\)" umount disk.img
		mountpoint -q mnt
		refused 4 'mounted at' detach disk.img
		paste_hint && return 1
		let_go
		ends umount
	done
}

@test "the process that keeps a mount, a device or a file is named, and can be ended as the hint says" {
	expect 0 mount disk.img mnt
	holding mnt/file1
	refused 4 "busy: .*$holder \(sleep\)" umount mnt
	end_it
	ends umount
	expect 0 attach disk.img
	holding "$output"
	refused 4 "open in another process, $holder \(sleep\)" detach disk.img
	end_it
	ends detach
	expect 0 attach --fuse dir disk.img
	holding dir/disk
	refused 4 "busy: .*$holder \(sleep\)" detach disk.img
	end_it
	ends detach
}

@test "a btrfs, whose files have device numbers of their own, is found and its user named" {
	requires mkfs.btrfs
	truncate -s 128M btrfs.img
	mkfs.btrfs -q btrfs.img 2>/dev/null
	expect 0 prepare -q btrfs.img
	expect 0 mount btrfs.img mnt
	echo x >mnt/x
	holding mnt/x
	refused 4 "busy: .*$holder \(sleep\)" umount mnt
	let_go
	mkdir mnt/sub
	mount --bind mnt/sub dir
	refused 4 "is mounted at $PWD/dir" umount btrfs.img
	paste_hint
	expect 0 umount btrfs.img
	nothing_left
}

@test "what is mounted on the mount is named" {
	expect 0 mount disk.img mnt
	mount -t tmpfs "odd name" mnt/sub
	refused 4 "$PWD/mnt/sub is mounted on it" umount mnt
	paste_hint
	mount --bind mnt/sub dir
	refused 4 "mounted at $PWD/dir" umount mnt
	paste_hint
	ends umount
}

@test "a device on the device is named" {
	expect 0 attach disk.img
	upper=$(losetup -f --show "$output")
	refused 4 "$upper is attached" detach disk.img || {
		losetup -d "$upper"
		return 1
	}
	paste_hint
	ends detach
}

@test "mounts in another mount namespace are named, and end as the hint says" {
	requires unshare nsenter
	for way in 'mount disk.img mnt' 'attach --fuse dir disk.img'; do
		# shellcheck disable=SC2086
		expect 0 $way
		unshare -m --propagation private sleep 100 3>&- &
		holder=$!
		helpers+=("$holder")
		wait_until grep -q "$PWD" "/proc/$holder/mountinfo"
		wait_until grep -q sleep "/proc/$holder/comm"
		verb=${way%% *}
		refused 4 "mount namespace of process" "$([ "$verb" = mount ] && echo umount || echo detach)" \
			disk.img
		paste_hint
		wait_until quietly "$BOWIMG" verify -q disk.img
		let_go
		wait_until quietly nothing_left
	done
}

# ---- one half is gone ---------------------------------------------------------------------------

@test "after umount -l of a mount in use its user is named, and then all goes" {
	expect 0 mount disk.img mnt
	holding mnt/file1
	umount -l mnt
	for verb in umount detach; do
		refused 4 "$holder \(sleep\)" "$verb" disk.img
	done
	let_go
	wait_until quietly nothing_left
	refused 3 'not attached or mounted' umount disk.img
}

@test "after umount -l of a file in use its user is named, and then all goes" {
	expect 0 attach --fuse dir disk.img
	holding dir/disk
	umount -l dir
	refused 4 "$holder \(sleep\)" detach disk.img
	let_go
	wait_until quietly nothing_left
	refused 3 'not attached or mounted' detach disk.img
}

@test "a device that is unmounted but kept open goes with either verb" {
	for verb in umount detach; do
		expect 0 mount disk.img mnt
		holding "$(loop_of)"
		umount mnt
		refused 4 "$holder \(sleep\)" "$verb" disk.img
		refused 4 "$holder \(sleep\)" "$verb" mnt
		let_go
		wait_until quietly nothing_left
		refused 3 'not attached or mounted' "$verb" disk.img
	done
}

@test "without its FUSE mount a loop device is found and ends" {
	for verb in umount detach; do
		if [ $verb = umount ]; then expect 0 mount disk.img mnt; else expect 0 attach disk.img; fi
		umount -l "$(fuse_of)"
		ends $verb
	done
}

@test "losetup -d of a device that is kept open leaves what detach ends" {
	expect 0 attach disk.img
	device=$output
	holding "$device"
	losetup -d "$device"
	refused 4 "$holder \(sleep\)" detach disk.img
	let_go
	wait_until quietly nothing_left
	refused 3 'not attached or mounted' detach disk.img
}

@test "a second loop device on the same file goes as well" {
	expect 0 attach disk.img
	losetup -f "$(fuse_of)/disk"
	ends detach
}

@test "what a killed daemon left goes with either verb, wherever it is mounted" {
	for way in 'umount mount disk.img mnt' 'detach mount disk.img mnt' 'umount attach disk.img' \
		'detach attach --fuse dir disk.img'; do
		# shellcheck disable=SC2086
		expect 0 ${way#* }
		[ "$way" != 'umount attach disk.img' ] || mount "$output" old
		kill_daemon disk.img
		ends "${way%% *}"
	done
}

@test "a mount whose directory was moved or covered is named where it is" {
	mkdir -p parent/mnt parent/dir
	expect 0 mount disk.img parent/mnt
	mv parent moved
	refused 4 "mounted at $PWD/moved/mnt" umount disk.img
	paste_hint
	wait_until quietly nothing_left
	expect 0 attach --fuse moved/dir disk.img
	mv moved parent
	refused 4 "mounted at $PWD/parent/dir" detach disk.img
	paste_hint
	wait_until quietly nothing_left
	expect 0 mount disk.img mnt
	mount -t tmpfs cover mnt
	refused 4 "mounted at $PWD/mnt" umount mnt
	paste_hint
	ends umount
}

@test "after a killed daemon and an end by hand there is nothing left to end" {
	expect 0 mount disk.img mnt
	expect 0 mount --before disk.img old
	kill_daemon disk.img
	umount -l mnt old
	umount -l "$(fuse_of)"
	expect 0 umount disk.img
	wait_until quietly nothing_left
	refused 3 'not attached or mounted' umount disk.img
}

@test "an aborted connection is cleared by one command, which says that it was" {
	for way in 'mount disk.img mnt' 'attach disk.img' 'attach --fuse dir disk.img'; do
		# shellcheck disable=SC2086
		expect 0 $way
		pid=$(daemon_of disk.img)
		echo 1 >"/sys/fs/fuse/connections/$(jq .connection "$(state_of disk.img)")/abort"
		wait_until is_gone "$pid"
		verb=detach
		[ "${way%% *}" = attach ] || verb=umount
		expect 1 $verb disk.img
		grep -q 'aborted' <<<"$stderr"
		wait_until quietly nothing_left
		refused 3 'not attached or mounted' $verb disk.img
	done
}

@test "what was before goes by hand and by name, and keeps nothing up" {
	expect 0 mount disk.img mnt
	expect 0 mount --before disk.img old
	refused 4 'as it was is still in use' umount disk.img
	paste_hint
	mountpoint -q mnt
	expect 0 mount --before disk.img old
	holding old/file1
	umount -l old
	refused 4 "$holder \(sleep\)" umount disk.img
	refused 4 "$holder \(sleep\)" mount --before disk.img old
	mountpoint -q mnt
	let_go
	expect 0 mount --before disk.img old
	umount old
	ends umount
}

@test "partitions that are mounted by hand are named" {
	requires sfdisk
	truncate -s 32M parts.img
	echo '2048,,L' | sfdisk -q parts.img
	make_ext4 part 30M
	dd if=part of=parts.img bs=1M seek=1 conv=notrunc,sparse status=none
	expect 0 prepare parts.img
	expect 0 attach parts.img
	device=$output
	mount "${device}p1" mnt
	refused 4 "${device}p1 is mounted at $PWD/mnt" detach parts.img
	holding "${device}p1"
	umount mnt
	refused 4 "$holder \(sleep\)" detach parts.img
	let_go
	expect 0 detach parts.img
	expect 0 attach parts.img
	mount "${output}p1" mnt
	kill_daemon parts.img
	expect 0 detach parts.img
	wait_until quietly nothing_left
	refused 3 'not attached or mounted' detach parts.img
}

# ---- names --------------------------------------------------------------------------------------

# A FUSE mount that nobody serves, as any user can make one: whoever asks it would wait for ever.
forge_mount() {
	exec 8<>/dev/fuse
	mount -i -t fuse -o fd=8,rootmode=40000,user_id=0,group_id=0 "$1" "$2"
}

unforge() {
	umount -l "$1"
	exec 8>&-
}

@test "a mount that is only called like the device is in nobody's way" {
	mkdir evil
	for way in 'mount disk.img mnt' 'attach disk.img'; do
		# shellcheck disable=SC2086
		expect 0 $way
		device=$(loop_of)
		forge_mount "$device" evil
		mount -t tmpfs "$device" old
		mount -t tmpfs "${device}p1" dir
		verb=detach
		[ "$way" = 'attach disk.img' ] || verb=umount
		run timeout 20 "$BOWIMG" $verb disk.img
		result=$status
		umount dir old
		unforge evil
		echo "$output"
		[ "$result" -eq 0 ]
		nothing_left
	done
}

@test "a mount that is only called like the image does not make it in use" {
	mkdir evil
	device=$(losetup -f --show disk.img)
	forge_mount "$device" evil
	run timeout 20 "$BOWIMG" rollback "$device"
	result=$status
	unforge evil
	losetup -d "$device"
	echo "$output"
	[ "$result" -eq 0 ]
}

@test "a loop device that only looks like ours is not taken for it" {
	requires unshare
	expect 0 attach disk.img
	device=$output
	file=$(fuse_of)/disk
	# In a mount namespace of its own the same path is another file.
	mkdir other
	truncate -s 1M other/disk
	unshare -m --propagation private sh -c 'mount --bind other "$1" && losetup -f --show "$1/disk" &&
		exec sleep 100' sh "${file%/disk}" >forged 3>&- &
	helpers+=($!)
	wait_until test -s forged
	forged=$(cat forged)
	shown=$(cat "/sys/block/${forged#/dev/}/loop/backing_file")
	bow detach disk.img
	attached=$(losetup -nO NAME "$forged")
	losetup -d "$forged"
	[ "$shown" = "$file" ]
	[ "$attached" = "$forged" ]
	[ "$status" -eq 0 ]
	[ ! -e "/sys/block/${device#/dev/}/loop" ]
	nothing_left
}

@test "paths with blanks, quotes and control characters can be pasted from hints" {
	name=$'-a b\'"$x\n\e[2J\x9b'
	mkdir "./$name.d"
	mv disk.img "./$name"
	expect 0 mount -- "$name" "$name.d"
	refused 4 'mounted at' detach -- "$name"
	run ! env LC_ALL=C grep -aqP '[\x00-\x09\x0b-\x1f\x7f]|[\x80-\xff]' <<<"$stderr"
	paste_hint
	nothing_left
	expect 0 attach -- "$name"
	mount "$output" "./$name.d"
	refused 4 'is mounted at' detach -- "$name"
	paste_hint
	refused 3 'attached, not mounted' umount -- "$name"
	paste_hint
	nothing_left
	expect 0 mount -- "$name" "$name.d"
	expect 0 mount --before -- "$name" mnt
	expect 0 umount mnt
	mkdir "./$name.e"
	expect 0 mount --before -- "$name" "$name.e"
	refused 4 'still in use' umount -- "$name"
	paste_hint
	expect 0 umount -- "$name.d"
	nothing_left
}

# ---- what the image may do here -----------------------------------------------------------------

@test "every mount is nosuid and nodev, unless it is asked for otherwise" {
	expect 0 mount disk.img mnt
	expect 0 mount --before disk.img old
	for place in mnt old "$(fuse_of)"; do
		findmnt -no OPTIONS --raw "$place" | grep -qE '(^|,)nosuid,nodev(,|$)'
	done
	cp "$(command -v id)" mnt/id
	chmod 4755 mnt/id
	mknod -m 666 mnt/zero c 1 5
	run ! cat mnt/zero
	! have setpriv || [ "$(setpriv --reuid=65534 --clear-groups mnt/id -u)" = 65534 ]
	expect 0 umount old
	expect 0 umount mnt
	expect 0 mount -o suid,dev,noatime disk.img mnt
	findmnt -no OPTIONS --raw mnt | grep -q noatime
	run ! grep -E 'nosuid|nodev' <(findmnt -no OPTIONS --raw mnt)
	head -c 1 mnt/zero >/dev/null
	! have setpriv || [ "$(setpriv --reuid=65534 --clear-groups mnt/id -u)" = 0 ]
	expect 0 umount mnt
	expect 0 mount -o ro disk.img mnt
	findmnt -no OPTIONS --raw mnt | grep -q '^ro,nosuid,nodev'
	expect 0 umount mnt
}
