#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The disk as it was at prepare: mounted and as a file, while the disk itself is served and written.
#
# Alone: it looks at all that user 65534 left in /tmp.

load ../../lib/common
load ../../lib/e2e
load ../../lib/front

# Both helpers' files have a function of this name; here an image's name is enough.
serving() {
	jq .pid "$(state_of disk.img)"
}

setup() {
	common_setup
	requires root loop fuse jq
	make_ext4 disk.img "${SIZE:-96M}"
	cp --sparse=always disk.img original.img
	remember
	mkdir mnt old
}

# The file that the daemon shows.
before_file() {
	echo "$(jq -r '."fuse-dir"' "$(state_of disk.img)")/before"
}

@test "what was there before is mounted beside what is there now" {
	expect 0 prepare -q disk.img
	up
	tree_sums mnt >sums
	expect 0 mount --before disk.img old
	[ -z "$output" ]
	change_tree mnt
	within 60 fstrim mnt
	[ "$(tree_sums old)" = "$(cat sums)" ]
	[ "$(tree_sums mnt)" != "$(cat sums)" ]
	run ! touch old/file0
	same_as "$before" "$(before_file)"
	run ! dd if=/dev/zero of="$(before_file)" count=1 conv=notrunc
	expect 0 umount old
	[ "$(tree_sums mnt)" != "$(cat sums)" ]
	down
	nothing_left
	expect 0 rollback disk.img
	same_as "$before"
}

# In exact mode the whole file must be what it was, at every moment.
@test "under heavy writing the file before never changes" {
	requires fio
	expect 0 prepare -q --exact disk.img
	up
	fio --name=w --directory=mnt --rw=randwrite --bs=4k-64k --size=24M --numjobs=3 --iodepth=16 \
		--ioengine=libaio --direct=1 --time_based --runtime=5 --fsync=64 --nrfiles=4 \
		--fallocate=none >fio.log 2>&1 3>&- &
	writer=$!
	file=$(before_file)
	for i in 1 2 3 4; do
		[ $((i % 2)) -eq 0 ] || within 60 fstrim mnt
		rm -f "mnt/file$i" "mnt/copy$((i - 1))"
		cp mnt/file0 "mnt/copy$i"
		[ "$(dd if="$file" bs=1M iflag=direct status=none | sha256sum | cut -d' ' -f1)" = "$before" ] || {
			echo "round $i: it is not what it was"
			return 1
		}
	done
	wait $writer || {
		cat fio.log
		return 1
	}
	same_as "$before" "$file"
	down
	expect 0 rollback disk.img
	same_as "$before"
}

@test "without exact mode the blocks that were in use never change" {
	requires fio
	expect 0 prepare -q --no-exact disk.img
	# Of the original, so that it does not depend on what is served.
	used_ranges original.img >ranges
	up
	fio --name=w --directory=mnt --rw=randwrite --bs=4k --size=16M --numjobs=2 --time_based --runtime=4 \
		--fsync=32 >fio.log 2>&1 3>&- &
	writer=$!
	for i in 1 2 3 4; do
		rm -f "mnt/file$i"
		used_equal ranges original.img "$(before_file)"
	done
	wait $writer
	used_equal ranges original.img "$(before_file)"
	down
}

@test "the disk is nearly full, and backups move while they are read" {
	expect 0 prepare -q --no-exact --on-full=stop disk.img
	used_ranges original.img >ranges
	up
	# Overwritten first: the backups fill free space, which the new files then take over.
	for i in 4 5 6 7 8 9; do shred -n 1 "mnt/file$i"; done
	sync
	used_equal ranges original.img "$(before_file)"
	(for i in $(seq 60); do head -c 1M /dev/urandom >"mnt/n$i" || exit 0; done) 2>/dev/null 3>&- &
	writer=$!
	for i in 1 2 3; do
		used_equal ranges original.img "$(before_file)"
	done
	wait $writer || true
	sync -f mnt || true
	used_equal ranges original.img "$(before_file)"
	down
	expect 0 rollback disk.img
	used_equal ranges original.img disk.img
}

@test "an image that nobody serves is mounted as it was, and not changed by that" {
	expect 0 prepare -q disk.img
	up
	tree_sums mnt >sums
	change_tree mnt
	down
	now=$(sum disk.img)
	expect 0 mount --before disk.img old
	[ "$(tree_sums old)" = "$(cat sums)" ]
	same_as "$before" "$(before_file)"
	[ "$(cd "$(dirname "$(before_file)")" && echo *)" = before ]
	refused 4 'in use' attach --fuse mnt disk.img
	grep -q 'serves it at .*old' <<<"$stderr"
	grep -q 'if that comes first: bowimg umount disk.img$' <<<"$stderr"
	refused 4 'mounted already' mount --before disk.img mnt
	refused 4 'in use' rollback disk.img
	expect 0 status disk.img
	expect 0 umount disk.img
	nothing_left
	same_as "$now"
	[ "$(key attached)" = false ]
	expect 0 mount --before disk.img old
	expect 0 umount old
	nothing_left
	expect 0 rollback disk.img
	same_as "$before"
}

@test "the disk goes only after the mount of what it was" {
	expect 0 prepare -q disk.img
	up
	expect 0 mount --before disk.img old
	refused 4 'as it was is still in use' umount mnt
	refused 4 'as it was is still in use' umount disk.img
	refused 4 'mounted already' mount --before disk.img mnt
	grep -q "umount $T/old" <<<"$stderr"
	(cd old && refused 4 'cannot unmount.*busy' umount "$T/old")
	expect 0 umount old
	down
	nothing_left
}

@test "both mounts may be taken away with the system's own tools, in any order" {
	expect 0 prepare -q disk.img
	up
	expect 0 mount --before disk.img old
	umount old
	expect 0 mount --before disk.img old
	umount mnt
	same_as "$before" "$(before_file)"
	pid=$(serving)
	umount old
	wait_until is_gone "$pid"
	nothing_left
	up
	expect 0 mount --before disk.img old
	pid=$(serving)
	umount mnt
	expect 0 umount old
	wait_until is_gone "$pid"
	nothing_left
	[ "$(key attached)" = false ]
}

@test "a killed daemon takes both with it, and the next has both again" {
	expect 0 prepare -q disk.img
	up
	expect 0 mount --before disk.img old
	change_tree mnt
	pid=$(serving)
	kill -9 "$pid"
	wait_until is_gone "$pid"
	expect 0 umount old
	grep -q 'had been killed' <<<"$stderr"
	nothing_left
	up
	expect 0 mount --before disk.img old
	same_as "$before" "$(before_file)"
	pid=$(serving)
	kill -TERM "$pid"
	wait_until is_gone "$pid"
	nothing_left
	expect 0 mount --before disk.img old
	same_as "$before" "$(before_file)"
	pid=$(serving)
	kill -9 "$pid"
	wait_until is_gone "$pid"
	# What is left of a view alone is taken away by whoever comes next.
	up
	down
	nothing_left
	expect 0 rollback disk.img
	same_as "$before"
}

@test "a disk that is attached has its past beside it" {
	expect 0 prepare -q disk.img
	attach_loop disk.img
	expect 0 mount --before disk.img old
	dd if=/dev/urandom of="$device" bs=1M count=20 conv=fsync status=none
	same_as "$before" "$(before_file)"
	refused 4 'as it was is still in use' detach disk.img
	expect 0 umount disk.img
	expect 0 detach disk.img
	nothing_left
	mkdir fuse
	expect 0 attach --fuse fuse disk.img
	[ "$(cd fuse && echo *)" = 'before disk' ]
	[ "$(stat -c %a fuse/before)" = 400 ]
	same_as "$before" fuse/before
	expect 0 mount --before disk.img old
	expect 0 umount old
	expect 0 detach disk.img
	nothing_left
}

@test "without a checkpoint there is nothing to look back at" {
	refused 3 'nothing to view' mount --before disk.img old
	nothing_left
	expect 0 prepare -q disk.img
	expect 0 commit disk.img
	refused 3 'nothing to view' mount --before disk.img old
	expect 0 prepare -q disk.img
	expect 0 rollback disk.img
	refused 3 'nothing to view' mount --before disk.img old
	nothing_left
}

@test "an ordinary user reads what was, and nothing else" {
	requires setpriv unshare
	expect 0 prepare -q disk.img
	mkdir fuse bin
	cp "$BOWIMG" bin/
	chmod 755 .
	chown 65534:65534 . disk.img fuse
	# In a mount namespace of its own, where /dev/fuse is open to users as it is on most systems.
	mknod -m 666 device c 10 229
	cat >as-user <<-'S'
		set -e
		bin/bowimg attach --fuse fuse disk.img
		dd if=/dev/urandom of=fuse/disk bs=1M count=30 conv=notrunc,fsync status=none
		sha256sum fuse/before | cut -d' ' -f1 >sum
		! (echo >>fuse/before) 2>/dev/null
		! bin/bowimg mount --before disk.img old
		bin/bowimg detach disk.img
		# The locks of NBD images are in a directory that stays.
		test -z "$(ls "/tmp/bowimg-$(id -u)" 2>/dev/null | grep -vx lock)"
	S
	unshare -m sh -c 'mount --bind device /dev/fuse && exec setpriv --reuid=65534 --regid=65534 \
		--clear-groups env -u XDG_RUNTIME_DIR PATH="$PATH:/usr/sbin:/sbin" timeout 60 sh as-user'
	[ "$(cat sum)" = "$before" ]
	expect 0 rollback disk.img
	same_as "$before"
}
