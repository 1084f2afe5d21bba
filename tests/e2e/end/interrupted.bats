#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# rollback and commit, killed at random moments: they are run again, and finish.
#
# SEED=N repeats the moments of a run that printed N; END_ROUNDS=N makes it longer.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
	SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
	END_ROUNDS=${END_ROUNDS:-12}
	echo "SEED=$SEED"
	RANDOM=$SEED
	make_tree tree
	head -c 16M /dev/urandom >tree/old
	make_ext4 disk.img 64M -d tree
	remember
	expect 0 prepare disk.img
	up -o discard
	change_tree mnt
	within 60 dd if=/dev/urandom of=mnt/old bs=64k conv=notrunc,fsync status=none count=256
	rm -r mnt/copied
	tree_sums mnt >new.sums
	down
}

# interrupt VERB IMAGE: kill it after up to as long as it takes; says how it ended.
interrupt() {
	local micro=$((RANDOM * 1000 % (longest + 1)))
	killed_after "$micro" "$1" -q "$2"
	echo "$1 after $micro us: $ended, $(key state "$2")"
}

# How long VERB takes here, in microseconds.
measure() {
	local from
	cp --preserve=timestamps disk.img trial.img
	from=${EPOCHREALTIME/[.,]/}
	expect 0 "$1" -q trial.img
	longest=$((${EPOCHREALTIME/[.,]/} - from))
	[ "$longest" -lt 900000 ] || longest=900000
}

@test "rollback, killed again and again, restores every byte" {
	local round state cut=0
	measure rollback
	for ((round = 0; round < END_ROUNDS; round++)); do
		cp --preserve=timestamps disk.img trial.img
		interrupt rollback trial.img
		[ "$ended" -eq 0 ] || interrupt rollback trial.img
		state=$(key state trial.img)
		case $state in
		rolling-back)
			cut=$((cut + 1))
			refused 8 "" commit trial.img
			refused 8 "" attach trial.img
			;;
		esac
		[ "$state" = none ] || expect 0 rollback trial.img
		same_as "$before" trial.img
	done
	echo "interrupted within the restore: $cut of $END_ROUNDS"
}

@test "commit, killed again and again, keeps every file" {
	local round state
	measure commit
	for ((round = 0; round < END_ROUNDS; round++)); do
		cp --preserve=timestamps disk.img trial.img
		interrupt commit trial.img
		[ "$ended" -eq 0 ] || interrupt commit trial.img
		state=$(key state trial.img)
		case $state in
		committing) refused 8 "" rollback trial.img ;;
		esac
		[ "$state" = none ] || expect 0 commit trial.img
		clean_fs trial.img
		within 30 mount -o loop,ro trial.img mnt
		tree_sums mnt | diff new.sums -
		within 30 umount mnt
	done
}

@test "prepare, killed at random moments, leaves the image as it was or prepared" {
	local round
	expect 0 rollback disk.img
	measure prepare
	for ((round = 0; round < END_ROUNDS; round++)); do
		cp --preserve=timestamps disk.img trial.img
		interrupt prepare trial.img
		[ "$(key state trial.img)" = none ] || expect 0 rollback trial.img
		# Killed before its first barrier: what it parked in free space is not the image's.
		clean_fs trial.img
		expect 0 prepare --exact trial.img
		expect 0 rollback trial.img
	done
}

# Of the whole group, as a terminal does it, or of bowimg alone.
interrupted_trim() {
	local wait=$1 flag=$2
	setsid env --default-signal=INT "$BOWIMG" prepare -q --free-from=trim x.img 2>said 3>&- &
	pid=$!
	sleep "$wait"
	kill -INT "$flag$pid" 2>/dev/null || true
	status=0
	wait "$pid" || status=$?
	cat said
	[ "$status" -ne 0 ] || expect 0 rollback x.img
	[ "$status" -eq 0 ] || [ "$status" -eq 130 ]
}

@test "prepare, interrupted while the kernel reads the free map: nothing stays mounted" {
	local wait
	requires setsid mkfs.xfs
	truncate -s 300M x.img
	mkfs.xfs -q x.img
	mkdir tmp
	export TMPDIR=$T/tmp
	for wait in 0.02 0.1 0.3; do
		interrupted_trim "$wait" -
		interrupted_trim "$wait" ""
		[ -z "$(ls tmp)" ]
		[ "$(grep -c "$T/tmp" /proc/self/mountinfo)" -eq 0 ]
		[ "$(key state "$T/x.img")" = none ]
	done
	within 30 xfs_repair -n x.img
}
