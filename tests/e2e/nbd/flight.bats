#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# An image on a server that is far away: what is bowimg's own does not wait for one answer after the
# other.

load ../../lib/common
load ../../lib/e2e
load ../../lib/flight

setup() {
	common_setup
	requires fuse nbdkit python3 jq
	# 200 MiB of data, of which 600 blocks here and there are overwritten.
	head -c 200M /dev/urandom >orig.img
	truncate -s 256M orig.img
	cp orig.img disk.img
	printf '0x0 + 1\n0x0 0xc800000 +\n0xc800000 0x3800000 ?\n' >free.map
	expect 0 prepare --free-from=map:free.map disk.img
	expect 0 run -q --via=fuse --on-success=keep disk.img -- python3 -c '
import os, random, sys
random.seed(1)
fd = os.open(sys.argv[1], os.O_RDWR)
for blk in random.sample(range(1, 51200), 600):
    os.pwrite(fd, os.urandom(4096), blk * 4096)
os.fsync(fd)' '{}'
}

teardown() {
	[ ! -s pid ] || kill "$(cat pid)" 2>/dev/null || true
	common_teardown
}

far_away() {
	nbdkit -U "$PWD/s" -P pid --filter=log --filter=delay file disk.img logfile="$PWD/log" \
		delay-read=20ms delay-write=20ms delay-zero=20ms 3>&- || return 1
	wait_until test -s pid
	uri="nbd+unix:///?socket=$PWD/s"
}

@test "verify has many reads in flight, rollback many writes" {
	local most all
	far_away
	: >log
	expect 0 verify "$uri"
	read -r most all <<<"$(flight log Read)"
	echo "verify: $most of $all reads at once"
	[ "$most" -ge 12 ]
	: >log
	expect 0 rollback "$uri"
	read -r most all <<<"$(flight log Write)"
	echo "rollback: $most of $all writes at once"
	[ "$most" -ge 12 ]
	[ "$all" -ge 400 ]
	kill "$(cat pid)"
	cmp -n 209715200 orig.img disk.img
}

@test "what a stream overwrites is backed up many blocks at a time" {
	local most all
	expect 0 rollback disk.img
	# As much is prepared ahead as there is much free space.
	truncate -s 1200M disk.img
	printf '0x0 + 1\n0x0 0xc800000 +\n0xc800000 0x3e800000 ?\n' >free.map
	expect 0 prepare --free-from=map:free.map disk.img
	far_away
	: >log
	expect 0 run -q --via=fuse --on-success=keep "$uri" -- \
		dd if=/dev/urandom of={} bs=1M seek=8 count=24 conv=notrunc
	read -r most all <<<"$(flight log Read)"
	echo "stream: $most of $all reads at once"
	[ "$most" -ge 8 ]
	read -r most all <<<"$(flight log Write)"
	echo "stream: $most of $all writes at once"
	[ "$most" -ge 8 ]
	# The checks of the last record's copies when the image is opened again.
	: >log
	expect 0 status "$uri"
	read -r most all <<<"$(flight log Read)"
	echo "status: $most of $all reads at once"
	[ "$most" -ge 4 ]
	expect 0 rollback "$uri"
	kill "$(cat pid)"
	cmp -n 209715200 orig.img disk.img
}

here_again() {
	kill "$(cat pid)"
	wait_until test ! -e "/proc/$(cat pid)"
	rm -f pid s
}

# crowded LEAST KIND VERB...: the verb has at least so many requests of that kind in flight.
crowded() {
	local least=$1 kind=$2 most all
	: >log
	bow "${@:3}"
	read -r most all <<<"$(flight log "$kind")"
	echo "$3: $most of $all at once ($kind)"
	[ "$most" -ge "$least" ]
}

@test "prepare, diff, export and apply have many requests in flight, and do what they do on a file" {
	mkdir tree
	head -c 48M /dev/urandom >tree/big
	head -c 20M /dev/urandom >tree/gone
	rm disk.img
	truncate -s 160M disk.img
	mkfs.ext4 -q -F -b 4096 -d tree disk.img
	debugfs -w -R 'rm gone' disk.img 2>/dev/null
	cp disk.img before.img
	far_away
	# How fast twenty pieces of 1 MiB are asked for is for the machine to say.
	crowded 3 Read prepare --exact "$uri"
	[ "$status" -eq 0 ]
	here_again
	expect 0 run -q --via=fuse --on-success=keep disk.img -- python3 -c '
import os, random, sys
random.seed(2)
fd = os.open(sys.argv[1], os.O_RDWR)
for blk in random.sample(range(3000, 14000), 300):
    os.pwrite(fd, os.urandom(4096), blk * 4096)
os.fsync(fd)' '{}'
	expect 1 diff --files disk.img
	printf '%s\n' "$output" >near.diff
	grep -q '^modified.*/big' near.diff
	expect 0 export --redo -o near.tar disk.img
	far_away
	crowded 12 Read diff --files "$uri"
	[ "$status" -eq 1 ]
	printf '%s\n' "$output" | cmp - near.diff
	crowded 12 Read export --redo -o far.tar "$uri"
	[ "$status" -eq 0 ]
	cmp <(tar -xOf near.tar) <(tar -xOf far.tar)
	expect 0 rollback "$uri"
	here_again
	cmp before.img disk.img
	expect 0 apply far.tar disk.img
	mv disk.img applied.img
	cp before.img disk.img
	far_away
	crowded 8 Write apply far.tar "$uri"
	[ "$status" -eq 0 ]
	here_again
	# Free blocks may differ: an export cannot grow, so that the plan of the last step lies there.
	used_ranges before.img >used
	used_equal used applied.img disk.img
}

@test "damage that one of many threads finds ends the rollback before it begins" {
	local source dest blk
	# What is said of the last record is something else: a power cut may have taken it.
	expect 0 run -q --via=fuse --on-success=keep --on-failure=keep disk.img -- \
		dd if=/dev/urandom of={} bs=4096 count=1 seek=9 conv=notrunc
	read -r source dest <<<"$("$BOWIMG" log --json disk.img |
		jq -r '[.[] | select(.type == "copy" and .source != 0)][100] | "\(.source) \(.dest)"')"
	# The backup and the block itself, which may have been saved ahead and not written: neither has
	# the content that was logged.
	for blk in "$source" "$dest"; do
		head -c 4096 /dev/urandom | dd of=disk.img bs=4096 seek="$blk" conv=notrunc status=none
	done
	far_away
	refused 6 'is damaged' rollback --force=changed "$uri"
	[ "$("$BOWIMG" status --json "$uri" | jq -r .state)" = checkpoint ]
	kill "$(cat pid)"
}

# islands LEAVES: a map in which every 128 MiB have 40 free blocks, none beside another one.
islands() {
	python3 -c '
import sys
print("0x0 + 1")
for leaf in range(int(sys.argv[1])):
    for blk in range(leaf << 15, (leaf << 15) + 80):
        print("%#x 0x1000 %s" % (blk << 12, "+?"[blk & 1]))
    print("%#x %#x +" % ((blk + 1) << 12, (32768 - 80) << 12))' "$1"
}

@test "the pieces of a fragmented map are written and read many at a time" {
	expect 0 rollback disk.img
	truncate -s $((48 * 128))M disk.img
	islands 48 >free.map
	far_away
	crowded 12 Write prepare --free-from=map:free.map "$uri"
	[ "$status" -eq 0 ]
	crowded 12 Read status "$uri"
	[ "$status" -eq 0 ]
	expect 0 rollback "$uri"
	here_again
	cmp -n 209715200 orig.img disk.img
}
