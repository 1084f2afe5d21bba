#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# rescue: sector 0 of a prepared image is overwritten or damaged; the log is found again, and nothing
# that is no open checkpoint is taken for one.

load ../lib/common

# change: block 0, and several MiB elsewhere, through bowimg. The checkpoint stays open.
change() {
	requires fuse
	# shellcheck disable=SC2016
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep disk.img -- sh -c '
		dd if=/dev/urandom of="$1" bs=4k count=1 conv=notrunc,fsync status=none &&
		dd if=/dev/urandom of="$1" bs=64k seek=3 count=${2:-60} conv=notrunc,fsync status=none
	' change {} "$@"
}

# lose SECTORS [FROM]: zeros where the superblock was.
lose() {
	dd if=/dev/zero of=disk.img bs=512 count="$1" seek="${2:-0}" conv=notrunc status=none
}

remember() {
	before=$(sum disk.img)
}

# changed_disk SIZE [OPTION...]: an ext4 with a checkpoint, changed; its checksum at prepare is in $before.
changed_disk() {
	make_ext4 disk.img "$1"
	remember
	shift
	expect 0 prepare -q "$@" disk.img
	change
}

brought_back() {
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "a lost sector 0: found, put back, rolled back to the last byte" {
	for size in 16M 17000001; do
		changed_disk "$size"
		uuid=$("$BOWIMG" status --json disk.img | json .uuid)
		lose 1
		refused 3 "no checkpoint" rollback disk.img
		lost=$(sum disk.img)
		expect 0 rescue disk.img
		grep -q "$uuid" <<<"$output"
		grep -q "nothing was changed" <<<"$output"
		[ "$(sum disk.img)" = "$lost" ]
		expect 0 rescue --write disk.img
		expect 0 verify disk.img
		[ "$("$BOWIMG" status --json disk.img | json .uuid)" = "$uuid" ]
		brought_back
	done
}

@test "all of block 0 overwritten with something else: the same" {
	changed_disk 16M
	head -c 4096 /dev/urandom | dd of=disk.img conv=notrunc status=none
	expect 0 rescue -w disk.img
	brought_back
}

@test "a damaged sector 0, whatever byte it is" {
	changed_disk 16M
	for at in 0 8 24 40 70 130 500; do
		# Another one than is there.
		printf '%b' "\\x$(printf '%02x' $((0x$(xxd -p -s $at -l 1 disk.img) ^ 0xff)))" |
			dd of=disk.img bs=1 seek=$at conv=notrunc status=none
		expect 0 rescue -w disk.img
		expect 0 verify disk.img
	done
	brought_back
}

@test "the log in the tail" {
	changed_disk 16M --store=tail
	lose 8
	expect 0 rescue -w disk.img
	brought_back
	[ "$(stat -c %s disk.img)" -eq 16777216 ]
}

@test "an image without free space, all of it in the tail" {
	requires fuse
	head -c 2M /dev/urandom >disk.img
	remember
	expect 0 prepare -q --free-from=none disk.img
	change 10
	lose 1
	expect 0 rescue -w disk.img
	brought_back
}

@test "a commit keeps what was written, block 0 included" {
	# So large that what is written does not drive block 0's copy from its place.
	changed_disk 64M
	cp --sparse=always disk.img other.img
	expect 0 commit --force=changed other.img
	lose 8
	expect 0 rescue -w disk.img
	expect 0 commit disk.img
	[ "$(sum disk.img)" = "$(sum other.img)" ]
}

@test "a rollback that was cut, and then sector 0 as well" {
	changed_disk 64M
	# A rollback cannot be stopped at a chosen place here; its state can.
	timeout -s KILL 0.02 "$BOWIMG" rollback -q disk.img || true
	lose 1
	bow rescue -w disk.img
	# It may have been over already, or not begun.
	[ "$status" -ne 0 ] || expect 0 rollback disk.img
	[ "$status" -ne 0 ] || [ "$(sum disk.img)" = "$before" ]
}

@test "an image that needs no rescue is left alone" {
	make_ext4 disk.img 16M
	expect 0 prepare -q disk.img
	now=$(sum disk.img)
	refused 3 "nothing to rescue" rescue -w disk.img
	[ "$(sum disk.img)" = "$now" ]
}

@test "what a commit or rollback left behind is not rescued by accident" {
	make_ext4 disk.img 16M
	head -c 8M /dev/urandom | dd of=disk.img bs=1M seek=8 conv=notrunc status=none
	for verb in commit rollback; do
		expect 0 prepare -q --no-exact disk.img
		expect 0 "$verb" -q disk.img
		now=$(sum disk.img)
		refused 7 "ordinary image" rescue disk.img
		refused 7 "ordinary image" rescue --write disk.img
		[ "$(sum disk.img)" = "$now" ]
	done
	tune2fs -L changed disk.img
	refused 7 "file system \(ext4\)" rescue -w disk.img
}

@test "--force=changed goes on where a file system was put into block 0" {
	make_ext4 disk.img 16M
	head -c 8M /dev/urandom | dd of=disk.img bs=1M seek=8 conv=notrunc status=none
	cp disk.img original.img
	expect 0 prepare -q --no-exact disk.img
	dd if=original.img of=disk.img bs=4096 count=1 conv=notrunc status=none
	refused 7 "what it was at prepare" rescue disk.img
	tune2fs -L somebody disk.img
	refused 7 "ordinary image" rescue -w disk.img
	expect 0 rescue -w --force=changed disk.img
	expect 0 rollback disk.img
	cmp -n 65536 disk.img original.img
}

@test "an image that never had a checkpoint" {
	make_ext4 disk.img 16M
	now=$(sum disk.img)
	refused 3 "nothing to rescue: .*no log.*file system \(ext4\)" rescue -w disk.img
	[ "$(sum disk.img)" = "$now" ]
	head -c 1M /dev/urandom >noise.img
	refused 6 "no log" rescue noise.img
}

@test "a damaged backup: nothing is written" {
	changed_disk 16M --no-exact
	# Of blocks that the guest has overwritten, 48 to 1007; what was backed up ahead can be made
	# again. And one that lies where it was put: the guest writes over some places, too.
	dest=$("$BOWIMG" log --json disk.img | json '[.[] | select(.type == "move")] as $moves |
		[.[] | select(.type == "copy" and .source >= 48 and .source + .count <= 1008) |
			select(.dest as $d | all($moves[]; .source > $d or .source + .count <= $d))][0].dest')
	[ "$dest" != null ]
	printf 'XXXX' | dd of=disk.img bs=1 seek=$((dest * 4096 + 100)) conv=notrunc status=none
	lose 8
	now=$(sum disk.img)
	refused 6 "the log that was found" rescue -w disk.img
	[ "$(sum disk.img)" = "$now" ]
}

@test "block 0's copy driven from its place: a rollback can follow, nothing else" {
	requires fuse
	make_ext4 disk.img 16M
	remember
	expect 0 prepare -q disk.img
	# Where it is, by the superblock (bowimg-format).
	place=$(od -An -t u8 -j 64 -N 8 disk.img | tr -d ' ')
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep disk.img -- \
		dd if=/dev/urandom of={} bs=4k seek="$place" count=1 conv=notrunc,fsync status=none
	lose 8
	expect 0 rescue -w disk.img
	grep -q "only a rollback" <<<"$output"
	refused 8 "rollback" commit disk.img
	brought_back
}

@test "the log's newest segment overwritten: not rolled back to a part" {
	changed_disk 16M
	segment=$("$BOWIMG" log --json disk.img | json '.[0].segment')
	lose 1 $((segment * 8))
	lose 8
	refused 6 "the log was longer|no log" rescue -w disk.img
}

@test "an image that is served, or locked" {
	requires fuse
	make_ext4 disk.img 16M
	expect 0 prepare -q disk.img
	mkdir fuse
	expect 0 attach --fuse fuse disk.img
	lose 8
	refused 4 "serves it" rescue disk.img
	refused 4 "in use|lock" rescue -w disk.img
	# What was written there meanwhile is not bowimg's to overwrite.
	refused 7 "another program wrote to block 0" detach disk.img
	flock -x disk.img sleep 60 3>&- &
	for _ in $(seq 100); do
		grep -q "FLOCK.*:$(stat -c %i disk.img) " /proc/locks && break
		sleep 0.1
	done
	refused 4 "in use|lock" rescue -w disk.img
}

@test "a sparse disk of 1 TiB in a few seconds" {
	truncate -s 1T disk.img
	mkfs.ext4 -q -F -E lazy_itable_init=1,nodiscard disk.img
	head -c 4096 disk.img | sha256sum >before
	expect 0 prepare -q disk.img
	lose 8
	run timeout 20 "$BOWIMG" rescue -w disk.img
	[ "$status" -eq 0 ]
	expect 0 rollback -q disk.img
	head -c 4096 disk.img | sha256sum | cmp - before
}
