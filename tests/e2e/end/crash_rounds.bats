#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Many lives of a checkpoint: attach, write, detach, attach, write, kill -9, attach, write, detach,
# and then a rollback (nothing is lost) or a commit (what was synced is there).
#
# SEED=N repeats a run that printed N; LIFE_ROUNDS=N makes it longer.

load ../../lib/common
load ../../lib/e2e

disk_bytes=$((16 << 20))

setup() {
	common_setup
	requires root loop fuse jq
	SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
	LIFE_ROUNDS=${LIFE_ROUNDS:-50}
	echo "SEED=$SEED LIFE_ROUNDS=$LIFE_ROUNDS"
	RANDOM=$SEED
	# A little under half of it in use.
	mkdir tree
	head -c 6M /dev/urandom >tree/old
	truncate -s $disk_bytes base.img
	mkfs.ext4 -q -F -d tree base.img
	before=$(sum base.img)
	head -c 1M /dev/urandom >noise
}

# below LIMIT: a random number; one RANDOM has 15 bits only.
below() {
	number=$(((RANDOM << 15 | RANDOM) % $1))
}

# A write of up to 128 KiB, in sectors, somewhere in the first half; synced, and remembered.
write_synced() {
	local sectors at from
	below 256 && sectors=$((number + 1))
	below $((disk_bytes / 1024 - 256)) && at=$number
	below 1700 && from=$number
	dd if=noise of=expected bs=512 skip="$from" seek="$at" count="$sectors" conv=notrunc status=none
	written+=("$((at * 512)) $((sectors * 512))")
	within 20 dd if=noise of="$device" bs=512 skip="$from" seek="$at" count="$sectors" \
		conv=notrunc,fsync status=none
}

# Writes into the second half; nobody waits for them, because the process that serves them is killed.
write_and_kill() {
	local at
	below $((disk_bytes / 8192 - 256)) && at=$((number + disk_bytes / 8192))
	timeout -k 5 20 dd if=noise of="$device" bs=4k seek="$at" count=200 conv=notrunc,fsync \
		status=none 2>/dev/null &
	sleep "0.0$((RANDOM % 4))"
	kill_daemon "$T/disk.img"
	wait $! || true
}

synced_is_there() {
	local at bytes
	for range in "${written[@]}"; do
		read -r at bytes <<<"$range"
		cmp -i "$at" -n "$bytes" "$1" expected
	done
}

attach() {
	device=$(timeout 20 "$BOWIMG" attach disk.img 2>attach.err) || {
		cat attach.err
		return 1
	}
}

detach() {
	timeout 20 "$BOWIMG" detach disk.img
}

one_life() {
	cp --sparse=always base.img disk.img
	rm -f expected
	truncate -s $disk_bytes expected
	written=()
	timeout 20 "$BOWIMG" prepare -q --on-full=tail disk.img
	attach
	write_synced
	write_synced
	detach
	attach
	write_synced
	write_synced
	write_and_kill
	attach
	write_synced
	detach
}

@test "a checkpoint survives any number of attaches and kills, and loses nothing that was synced" {
	local round range device number written
	for ((round = 1; round <= LIFE_ROUNDS; round++)); do
		echo "round $round of SEED=$SEED"
		one_life
		if [ $((round % 5)) -eq 0 ]; then
			timeout 20 "$BOWIMG" commit -q disk.img
			[ "$(stat -c %s disk.img)" -eq "$disk_bytes" ]
			synced_is_there disk.img
		else
			timeout 20 "$BOWIMG" rollback -q disk.img
			same_as "$before"
		fi
	done
}

@test "one checkpoint through many kills, with a file system that is mounted each time" {
	local round
	expect 0 prepare base.img
	mkdir mnt
	for ((round = 1; round <= 8; round++)); do
		expect 0 mount "$T/base.img" "$T/mnt"
		[ "$round" -eq 1 ] || diff <(tree_sums mnt | grep synced) sums
		head -c $((RANDOM * 4 + 1)) /dev/urandom >"mnt/synced$round"
		within 20 sync -f mnt
		tree_sums mnt | grep synced >sums
		head -c 300000 /dev/urandom >mnt/lost
		kill_daemon "$T/base.img"
	done
	expect 0 mount "$T/base.img" "$T/mnt"
	diff <(tree_sums mnt | grep synced) sums
	expect 0 umount "$T/mnt"
	cp --preserve=timestamps base.img disk.img
	expect 0 commit disk.img
	clean_fs
	expect 0 rollback base.img
	same_as "$before" base.img
}
