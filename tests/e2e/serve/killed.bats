#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# kill -9 of the serving process at any moment under load, through the FUSE file and through a loop
# device: what is left can be looked at, recovered, and rolled back to the last byte.
#
# SEED=N repeats a run that printed N (its timing apart); KILL_ROUNDS=N is how often (20).

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq fio
	SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
	KILL_ROUNDS=${KILL_ROUNDS:-20}
	echo "SEED=$SEED KILL_ROUNDS=$KILL_ROUNDS"
	RANDOM=$SEED
	make_ext4 base.img 32M
	before=$(sum base.img)
	mkdir dir
}

# start loop|fuse: attach disk.img; its name as a disk is in $disk.
start() {
	local -a how=(--loop)
	[ "$1" = loop ] || how=(--fuse dir)
	disk=$(timeout 20 "$BOWIMG" attach "${how[@]}" disk.img 2>attach.err) || {
		cat attach.err
		return 1
	}
}

# begin_load ROUND HOW: writes of many sizes all over the disk, flushes, trims; until the disk goes away.
begin_load() {
	local -a extra=(--rw=randwrite)
	[ $(($1 % 3)) -ne 0 ] || extra=(--rw=randtrimwrite)
	# A trim wants a device; the FUSE file gets writes only.
	[ "$2" = loop ] || extra=(--rw=randwrite)
	timeout -k 5 30 fio --name=load --filename="$disk" --size=32M --ioengine=psync --numjobs=2 \
		--thread --bsrange=512-128k --blockalign=512 --fsync=$((RANDOM % 16 + 1)) \
		--randrepeat=0 --randseed=$((SEED + $1)) --norandommap --time_based --runtime=20 \
		--allow_file_create=0 --eta=never --output=fio.log "${extra[@]}" >fio.out 2>&1 3>&- &
	loader=$!
}

# Not before something was written; then after up to 200 ms more.
wait_for_load() {
	local i
	for ((i = 0; i < 500; i++)); do
		[ "$(timeout 5 "$BOWIMG" status --json disk.img 2>/dev/null | json '.entries // 0')" -gt 5 ] &&
			break
		kill -0 "$loader" 2>/dev/null || break
		sleep 0.01
	done
	sleep "0.$(printf %03d $((RANDOM % 200)))"
}

one_kill() {
	cp --sparse=always base.img disk.img
	timeout 20 "$BOWIMG" prepare -q disk.img
	start "$2"
	begin_load "$1" "$2"
	wait_for_load
	kill_daemon "$T/disk.img"
	wait "$loader" || true
	[ "$(key entries)" -gt 5 ]
	[ "$(key state)" = checkpoint ]
	[ "$(key attached)" = true ]
	[ "$(key in-use)" = false ]
}

# Attach again, which recovers, use it, and detach.
recover() {
	start "$1"
	within 20 dd if=/dev/zero of="$disk" bs=4k count=3 seek=$((RANDOM % 8000)) \
		conv=notrunc,fsync status=none
	timeout 20 "$BOWIMG" detach disk.img
}

# No daemon any more: detach takes away what it left, and finds nothing (3) if it left nothing.
clear_up() {
	timeout 20 "$BOWIMG" detach disk.img || [ $? -eq 3 ]
}

nothing_is_left() {
	[ -z "$(own_loops)$(own_mounts)$(own_runtime_entries)" ] || {
		echo "left: $(own_loops) $(own_mounts) $(own_runtime_entries)"
		return 1
	}
}

rounds() {
	local round
	for ((round = 1; round <= KILL_ROUNDS / 2; round++)); do
		echo "round $round of SEED=$SEED"
		one_kill "$round" "$1"
		if [ $((round % 2)) -eq 0 ]; then
			recover "$1"
		else
			clear_up
		fi
		nothing_is_left
		timeout 20 "$BOWIMG" verify -q disk.img
		timeout 20 "$BOWIMG" rollback -q disk.img
		same_as "$before"
	done
}

@test "the process behind a FUSE file, killed at any moment under load" {
	rounds fuse
}

@test "the process behind a loop device, killed at any moment under load" {
	rounds loop
}
