#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The disk as it was is mounted first, and the disk itself beside it. The other order is in before.bats.

load ../../lib/common
load ../../lib/e2e
load ../../lib/front
load ../../lib/disk

setup() {
	common_setup
	requires root loop fuse jq
	mkdir mnt old
}

# Changed since prepare, and mounted as it was; $sums of that.
as_it_was() {
	make_ext4 disk.img 96M
	remember
	expect 0 prepare -q disk.img
	up
	tree_sums mnt >sums
	change_tree mnt
	down
	now=$(sum disk.img)
	expect 0 mount --before disk.img old
}

old_is_old() {
	[ "$(tree_sums old)" = "$(cat sums)" ]
}

before_file() {
	echo "$(jq -r '."fuse-dir"' "$(state_of disk.img)")/before"
}

# rolled_back: all ends, and the disk is what it was at prepare.
rolled_back() {
	nothing_left
	[ "$(key attached)" = false ]
	expect 0 rollback disk.img
	same_as "$before"
}

@test "the disk is mounted beside what it was, which does not notice" {
	as_it_was
	exec 7<old/file0 8<"$(before_file)"
	file0=$(sha256sum <old/file0)
	up
	expect 0 list
	grep -q "mounted at $T/mnt, as it was at $T/old" <<<"$output"
	[ "$(cd "$(dirname "$(before_file)")" && echo *)" = 'before disk' ]
	[ ! -e mnt/file1 ]
	change_tree mnt/copied || true
	shred -n 1 mnt/file0 mnt/file4
	within 60 fstrim mnt
	old_is_old
	[ "$(sha256sum <&7)" = "$file0" ]
	[ "$(sha256sum <&8 | cut -d' ' -f1)" = "$before" ]
	exec 7<&- 8<&-
	refused 4 'as it was is still in use' umount mnt
	refused 4 'mounted already' mount --before disk.img mnt
	expect 0 umount old
	down
	rolled_back
}

@test "the disk is attached beside what it was, and a device may come after it once more" {
	as_it_was
	attach_loop disk.img
	dd if=/dev/urandom of="$device" bs=1M seek=40 count=20 conv=fsync status=none
	old_is_old
	same_as "$before" "$(before_file)"
	refused 4 'as it was is still in use' detach disk.img
	expect 0 umount old
	expect 0 mount --before disk.img old
	old_is_old
	expect 0 umount old
	expect 0 detach disk.img
	rolled_back
}

# Each of the two is still there when the other one is read.
@test "under heavy reading and writing both are right" {
	requires fio
	as_it_was
	(while [ ! -e stop ]; do sha256sum "$(before_file)"; done >read.log 2>&1) 3>&- &
	reader=$!
	up
	fio --name=w --directory=mnt --rw=randwrite --bs=4k-64k --size=16M --numjobs=2 --iodepth=8 --ioengine=libaio \
		--direct=1 --time_based --runtime=3 --fsync=64 --fallocate=none >fio.log 2>&1 3>&-
	old_is_old
	expect 0 umount old
	touch stop
	wait "$reader"
	[ "$(sort -u read.log | grep -c "^$before ")" -eq 1 ]
	run ! grep -v "^$before " read.log
	down
	rolled_back
}

@test "who else reads the image is named, and nothing has changed" {
	as_it_was
	exec 9<disk.img
	flock -s 9
	refused 4 'in use: process' mount disk.img mnt
	same_as "$now"
	old_is_old
	refused 4 'in use: process' attach disk.img
	expect 0 list
	run ! grep -q "$T/mnt" <<<"$output"
	exec 9<&-
	up
	old_is_old
	expect 0 umount old
	down
	rolled_back
}

@test "a mount that fails leaves what was there" {
	as_it_was
	refused 1 'cannot use the directory' mount disk.img none
	refused 1 'there is no partition 3' mount -p 3 disk.img mnt
	refused 4 'as it was is mounted at' mount disk.img old
	same_as "$now"
	refused 1 mount mount -o nonsense disk.img mnt
	old_is_old
	[ "$(own_mounts | grep -c "$T/mnt")" -eq 0 ]
	up
	old_is_old
	expect 0 umount old
	refused 1 mount mount --before -o nonsense disk.img old
	down
	expect 0 mount --before disk.img old
	refused 1 mount mount -o nonsense disk.img mnt
	expect 0 umount disk.img
	rolled_back
}

@test "a killed daemon takes both with it" {
	as_it_was
	up
	pid=$(daemon_of disk.img)
	kill -9 "$pid"
	wait_until is_gone "$pid"
	expect 0 umount old
	grep -q 'had been killed' <<<"$stderr"
	nothing_left
	expect 0 mount --before disk.img old
	old_is_old
	up
	pid=$(daemon_of disk.img)
	kill -TERM "$pid"
	wait_until is_gone "$pid"
	nothing_left
	expect 0 mount --before disk.img old
	pid=$(daemon_of disk.img)
	kill -9 "$pid"
	wait_until is_gone "$pid"
	up
	down
	rolled_back
}

@test "both may be taken away with the system's own tools, in any order" {
	as_it_was
	up
	pid=$(daemon_of disk.img)
	umount mnt
	old_is_old
	umount old
	wait_until is_gone "$pid"
	expect 0 mount --before disk.img old
	up
	pid=$(daemon_of disk.img)
	umount old
	expect 0 mount --before disk.img old
	old_is_old
	umount old mnt
	wait_until is_gone "$pid"
	rolled_back
}

@test "a partition as it was, and another one or the same as it is" {
	requires sfdisk mkswap
	old_disk disk.img
	remember
	expect 0 prepare -q disk.img
	expect 0 mount --before -p 6 disk.img old
	tree_sums old >sums
	refused 9 'one must be chosen' mount disk.img mnt
	for part in 1 6; do
		expect 0 mount -p $part disk.img mnt
		head -c 1M /dev/urandom >mnt/new
		[ ! -e old/new ]
		old_is_old
		umount mnt
		expect 0 umount old
		expect 0 mount --before -p 6 disk.img old
	done
	expect 0 mount -p 1 disk.img mnt
	[ -e mnt/new ]
	expect 0 umount old
	expect 0 umount mnt
	rolled_back
}

@test "an XFS is mounted twice, a btrfs is not" {
	requires mkfs.xfs mkfs.btrfs partclone.xfs partclone.btrfs
	truncate -s 320M disk.img
	mkfs.xfs -q disk.img
	expect 0 prepare -q disk.img
	expect 0 mount --before disk.img old
	up
	touch mnt/new
	[ ! -e old/new ]
	expect 0 umount old
	down
	expect 0 rollback disk.img
	rm disk.img
	truncate -s 160M disk.img
	mkfs.btrfs -q disk.img
	remember
	expect 0 prepare -q disk.img
	expect 0 mount --before disk.img old
	refused 9 'btrfs cannot be mounted' mount disk.img mnt
	expect 0 umount old
	rolled_back
}

# ---- at a mark, as a device, as a file ----------------------------------------------------------

# Changed since prepare, marked, changed again: $sums of the files at the mark.
marked() {
	make_ext4 disk.img 96M
	remember
	expect 0 prepare -q disk.img
	up
	tree_sums mnt >first
	change_tree mnt
	down
	expect 0 mark -q disk.img here
	up
	tree_sums mnt >sums
	shred -n 1 mnt/file0 mnt/file4
	rm -r mnt/copied
	head -c 2M /dev/urandom >mnt/late
	down
	now=$(sum disk.img)
}

# Nothing else gets at the image: no mark is made or goes, and nothing is rolled back.
all_is_refused() {
	refused 4 'in use' mark disk.img more
	refused 4 'in use' mark --delete disk.img here
	refused 4 'in use' rollback --to=here disk.img
	refused 4 'in use' rollback disk.img
	refused 4 'in use' commit disk.img
	refused 125 'in use' run --on-success=keep --on-failure=keep disk.img -- true
}

write_on() {
	shred -n 1 mnt/file5 mnt/file6
	head -c 3M /dev/urandom >"mnt/written$RANDOM"
	within 60 fstrim mnt
	sync -f mnt
}

sum_of_device() {
	blockdev --flushbufs "$1"
	dd if="$1" bs=1M iflag=direct status=none | sha256sum | cut -d' ' -f1
}

@test "what was at a mark is mounted first, and the disk beside it" {
	marked
	expect 0 mount --before=here disk.img old
	expect 0 list
	grep -q "as it was at the mark here, mounted at $T/old " <<<"$output"
	all_is_refused
	same_as "$now"
	exec 7<old/file0
	file0=$(sha256sum <old/file0)
	up
	expect 0 list --json
	[ "$(json ".[] | select(.image == \"$T/disk.img\") | [.before, .where, .\"before-where\"] | tojson" \
		<<<"$output")" = "[false,\"$T/mnt\",\"$T/old\"]" ]
	write_on
	old_is_old
	[ ! -e old/late ] && [ -e mnt/late ]
	[ "$(sha256sum <&7)" = "$file0" ]
	exec 7<&-
	same_as "$before" "$(before_file)@prepare"
	same_as "$(sum "$(before_file)")" "$(before_file)@here"
	all_is_refused
	refused 4 'as it was is still in use' umount mnt
	expect 0 umount old
	expect 0 mount --before disk.img old
	tree_sums old | diff first -
	expect 0 umount old
	expect 0 mount --before=here disk.img old
	old_is_old
	expect 0 umount old
	down
	rolled_back
}

@test "under heavy writing what was at a mark stays what it was" {
	requires fio
	marked
	expect 0 mount --before=here disk.img old
	was=$(sum "$(before_file)")
	up
	fio --name=w --directory=mnt --rw=randwrite --bs=4k-64k --size=16M --numjobs=2 --iodepth=8 --ioengine=libaio \
		--direct=1 --time_based --runtime=3 --fsync=64 --fallocate=none >fio.log 2>&1 3>&- &
	writer=$!
	for _ in 1 2 3; do
		[ "$(dd if="$(before_file)" bs=1M iflag=direct status=none | sha256sum | cut -d' ' -f1)" = "$was" ]
	done
	wait "$writer"
	old_is_old
	same_as "$was" "$(before_file)"
	expect 0 umount old
	down
	rolled_back
}

@test "what was is attached first, and the disk is mounted beside it; and the other way round" {
	marked
	for at in prepare here; do
		expect 0 attach --before=$at disk.img
		was=$output
		sum=$(sum_of_device "$was")
		[ $at = here ] || [ "$sum" = "$before" ]
		all_is_refused
		up
		write_on
		[ "$(sum_of_device "$was")" = "$sum" ]
		run ! dd if=/dev/zero of="$was" count=1 status=none
		refused 4 "as it was is still in use: as $was" umount mnt
		grep -q "bowimg detach $was\$" <<<"$stderr"
		refused 4 'attached already' mount --before disk.img old
		refused 4 'attached already' attach --before disk.img
		refused 3 'attached, not mounted' umount "$was"
		expect 0 list
		grep -q "mounted at $T/mnt, as it was as $was " <<<"$output"
		expect 0 detach "$was"
		[ ! -e "/sys/block/${was##*/}/loop" ]
		write_on
		expect 0 attach --before=$at disk.img
		[ "$(sum_of_device "$output")" = "$sum" ]
		expect 0 detach disk.img
		down
		nothing_left
	done
	rolled_back
}

@test "what was is attached first, and the disk is attached beside it" {
	marked
	expect 0 attach --before=here disk.img
	was=$output
	sum=$(sum_of_device "$was")
	attach_loop disk.img
	dd if=/dev/urandom of="$device" bs=1M seek=40 count=20 conv=fsync status=none
	[ "$(sum_of_device "$was")" = "$sum" ]
	refused 4 "as it was is still in use: as $was" detach disk.img
	expect 0 detach "$was"
	expect 0 mount --before=here disk.img old
	old_is_old
	expect 0 umount old
	expect 0 detach "$device"
	rolled_back
}

@test "partitions of a disk that is attached as it was are devices, too" {
	requires sfdisk mkswap
	old_disk disk.img
	remember
	expect 0 prepare -q disk.img
	expect 0 attach --before disk.img
	was=$output
	[ -b "${was}p6" ]
	expect 0 attach disk.img
	[ -b "${output}p6" ]
	expect 0 detach "$was"
	expect 0 attach --before disk.img
	[ -b "${output}p1" ] && [ -b "${output}p6" ]
	expect 0 detach "$output"
	expect 0 detach disk.img
	rolled_back
}

@test "what was is a file first, and the disk goes beside it in every way" {
	marked
	mkdir fuse other
	expect 0 attach --fuse fuse --before=here disk.img
	[ "$output" = "$T/fuse/before" ]
	sum=$(sum fuse/before)
	[ "$(cd fuse && echo *)" = before ]
	# Nobody has asked for the disk.
	run ! dd if=/dev/zero of=fuse/disk count=1 conv=notrunc status=none
	same_as "$now"
	refused 4 'nowhere else' attach --fuse other disk.img
	grep -q "bowimg attach --fuse $T/fuse $T/disk.img\$" <<<"$stderr"
	refused 4 'attached already' mount --before disk.img old
	exec 7<fuse/before
	for _ in 1 2; do
		up
		write_on
		same_as "$sum" fuse/before
		refused 4 'it is mounted' detach disk.img
		refused 4 'in use' rollback --to=here disk.img
		down
	done
	attach_loop disk.img
	dd if=/dev/urandom of="$device" bs=1M seek=40 count=5 conv=fsync status=none
	expect 0 detach "$device"
	[ "$(sha256sum <&7 | cut -d' ' -f1)" = "$sum" ]
	exec 7<&-
	expect 0 attach --fuse fuse disk.img
	[ "$output" = "$T/fuse/disk" ]
	[ "$(cd fuse && echo *)" = 'before disk' ]
	dd if=/dev/urandom of=fuse/disk bs=1M seek=50 count=5 conv=notrunc,fsync status=none
	same_as "$sum" fuse/before
	same_as "$before" fuse/before@prepare
	expect 0 mount --before=here disk.img old
	old_is_old
	expect 0 umount old
	expect 0 detach disk.img
	rolled_back
}

@test "the disk is a file first, and what was goes beside it in every way" {
	marked
	mkdir fuse other
	expect 0 attach --fuse fuse disk.img
	expect 0 attach --before=here disk.img
	was=$output
	sum=$(sum_of_device "$was")
	dd if=/dev/urandom of=fuse/disk bs=1M seek=50 count=5 conv=notrunc,fsync status=none
	[ "$(sum_of_device "$was")" = "$sum" ]
	refused 4 'as it was is still in use' detach disk.img
	refused 4 'no file elsewhere' attach --fuse other --before=here disk.img
	grep -q "it is $T/fuse/before@here\$" <<<"$stderr"
	expect 0 detach "$was"
	expect 0 detach disk.img
	up
	refused 4 'no file elsewhere' attach --fuse other --before disk.img
	grep -q "bowimg attach --before $T/disk.img\$" <<<"$stderr"
	down
	rolled_back
}

@test "a process that is killed takes what it shows with it, whichever came first" {
	marked
	# first, second, how both end
	# shellcheck disable=SC2086
	while read -r -a words; do
		expect 0 ${words[0]} ${words[1]} disk.img ${words[2]#.}
		expect 0 ${words[3]} ${words[4]} disk.img ${words[5]#.}
		[ -e mnt/late ]
		write_on
		kill_daemon disk.img
		expect 0 "${words[6]}" disk.img
		grep -q 'had been killed' <<<"$stderr"
		nothing_left
		expect 0 mount --before=here disk.img old
		old_is_old
		expect 0 umount old
	done <<-'S'
		mount --before=here old mount -v mnt umount
		attach --before=here . mount -v mnt detach
		mount -v mnt mount --before=here old umount
		mount -v mnt attach --before=here . umount
	S
	nothing_left
	expect 0 rollback disk.img
	same_as "$before"
}

@test "a command that is killed while the disk comes leaves what was there" {
	marked
	for micro in 1000 4000 8000 15000 25000 40000 70000; do
		expect 0 mount --before=here disk.img old
		killed_after $micro mount disk.img "$T/mnt"
		old_is_old
		# It may have been through.
		timeout 60 "$BOWIMG" umount old
		timeout 60 "$BOWIMG" umount disk.img 2>/dev/null || true
		nothing_left
	done
	rolled_back
}
