#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# More than one undo: rollback --again, run and its policies, two images at once; and commit --wipe.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
	make_ext4 disk.img 48M
	remember
}

@test "three experiments on one image, each from the same start" {
	local test free first_free=
	expect 0 prepare --exact disk.img
	for test in 1 2 3; do
		free=$(key free-total-bytes)
		[ "${first_free:=$free}" -eq "$free" ]
		up
		[ ! -e mnt/trace ]
		echo "$test" >mnt/trace
		change_tree mnt
		down
		expect 0 rollback --again disk.img
		[ "$(key state)" = checkpoint ]
		[ "$(key changed-bytes)" -le 4096 ]
	done
	expect 0 rollback disk.img
	same_as "$before"
}

@test "rollback --again, killed, is an open checkpoint or can be finished" {
	local round longest=150000 state
	SEED=${SEED:-$RANDOM}
	echo "SEED=$SEED"
	RANDOM=$SEED
	used_ranges disk.img >used
	cp disk.img before.img
	expect 0 prepare --exact disk.img
	up
	change_tree mnt
	within 30 dd if=/dev/urandom of=mnt/new1 bs=1M count=10 conv=fsync status=none
	down
	for ((round = 0; round < 8; round++)); do
		cp --preserve=timestamps disk.img trial.img
		killed_after $((RANDOM * 1000 % longest)) rollback -q --again trial.img
		state=$(key state trial.img)
		echo "round $round: $ended, $state"
		if [ "$state" = none ]; then
			# Between the two checkpoints: what the second had parked in free blocks is
			# nobody's any more, and stays.
			used_equal used before.img trial.img
			clean_fs trial.img
		else
			expect 0 rollback trial.img
			same_as "$before" trial.img
		fi
	done
}

@test "commit --wipe leaves no trace of what was overwritten" {
	local secret=the-old-secret-of-this-disk
	rm disk.img
	mkdir tree
	yes "$secret" | head -c 6M >tree/secret
	make_ext4 disk.img 48M -d tree
	expect 0 prepare disk.img
	up
	within 30 dd if=/dev/urandom of=mnt/secret bs=64k count=96 conv=notrunc,fsync status=none
	down
	grep -aq "$secret" disk.img
	cp --preserve=timestamps disk.img plain.img
	expect 0 commit --wipe disk.img
	clean_fs
	run ! grep -aq "$secret" disk.img
	run ! grep -aq "bowimg rollback" disk.img
	# Without it they are there, as the manual warns.
	expect 0 commit plain.img
	clean_fs plain.img
	grep -aq "$secret" plain.img
}

@test "two images at the same time keep to themselves" {
	local sums
	make_ext4 other.img 32M -b 4096
	sums="$before $(sum other.img)"
	expect 0 prepare disk.img
	expect 0 prepare other.img
	mkdir mnt other
	expect 0 mount disk.img mnt
	expect 0 mount other.img other
	change_tree mnt &
	change_tree other
	wait $!
	tree_sums other >other.sums
	expect 0 umount mnt
	expect 0 rollback disk.img
	# The one is still served.
	tree_sums other | diff other.sums -
	expect 0 umount other
	expect 0 rollback other.img
	[ "$(sum disk.img) $(sum other.img)" = "$sums" ]
}

@test "run: every policy, for success and for failure" {
	local result policy code
	for result in success failure; do
		code=$([ $result = success ] && echo 0 || echo 7)
		for policy in rollback commit keep; do
			make_ext4 disk.img 24M
			remember
			expect "$code" run -q --on-"$result"="$policy" disk.img -- \
				sh -c 'tune2fs -L changed "$1" && exit "$2"' sh {} "$code"
			case $policy in
			rollback)
				[ "$(key state)" = none ]
				same_as "$before"
				;;
			commit)
				[ "$(key state)" = none ]
				[ "$(e2label disk.img)" = changed ]
				clean_fs
				;;
			keep)
				[ "$(key state)" = checkpoint ]
				expect 0 rollback -q disk.img
				same_as "$before"
				;;
			esac
		done
	done
}

@test "run on an image that has changes already wants to be told what to do" {
	expect 0 prepare disk.img
	up
	change_tree mnt
	down
	refused 125 "" run disk.img -- true {}
	expect 0 run --on-success=keep --on-failure=keep disk.img -- true {}
	expect 0 rollback disk.img
	same_as "$before"
}

@test "an image changed around bowimg is refused; force goes on" {
	expect 0 prepare disk.img
	up
	change_tree mnt
	down
	printf x | dd of=disk.img bs=1 seek=$((40 << 20)) conv=notrunc status=none
	refused 7 "" rollback disk.img
	refused 7 "" commit disk.img
	refused 7 "" verify disk.img
	refused 7 "" mount disk.img mnt
	refused 7 "" attach disk.img
	expect 0 rollback --force=changed disk.img
	clean_fs
}

@test "an image of another length than at prepare is refused" {
	expect 0 prepare --on-full=stop disk.img
	truncate -s 40M disk.img
	refused 7 "40|41943040" rollback disk.img
	truncate -s 56M disk.img
	refused 7 "56|58720256" rollback disk.img
	truncate -s 48M disk.img
	bow rollback --force=changed disk.img
}
