#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What the guest deletes is room for backups again, by every road.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd

# A disk that is 90 % full, and nothing but the free rest for backups.
setup() {
	common_setup
	requires root loop fuse jq
	make_tree tree
	head -c 48M /dev/urandom >tree/large
	make_ext4 disk.img 64M -d tree -b 4096 -m 0
	before=$(sum disk.img)
}

# rounds COMMAND...: write and delete ten times the free space; COMMAND trims each time.
rounds() {
	local free done=0
	free=$(key free-left-bytes)
	while [ "$done" -lt $((free * 10)) ]; do
		within 30 dd if=/dev/urandom of=mnt/new bs=64k count=48 conv=fsync status=none || return 1
		rm mnt/new
		within 30 sync -f mnt
		"$@" || return 1
		done=$((done + (48 << 16)))
	done
	echo "free $free, written $done, tail $(key tail-bytes), gives $(key gives)"
}

@test "with -o discard ten times the free space can be written and deleted" {
	expect 0 prepare --on-full=tail disk.img
	up -o discard,noinit_itable
	rounds true
	down
	[ "$(key gives)" -gt 0 ]
	[ "$(key tail-bytes)" -le $((2 << 20)) ]
	expect 0 rollback disk.img
	same_as "$before"
}

@test "with fstrim, too, and a commit keeps what is left" {
	expect 0 prepare --on-full=stop disk.img
	up -o noinit_itable
	echo kept >mnt/kept
	rounds within 30 fstrim mnt
	down
	[ "$(key gives)" -gt 0 ]
	expect 0 verify disk.img
	expect 0 commit disk.img
	clean_fs disk.img
	up_plain=$(debugfs -R 'cat /kept' disk.img 2>/dev/null)
	[ "$up_plain" = kept ]
}

@test "over NBD, what was trimmed or zeroed is room for backups" {
	local free at part
	requires nbdkit nbdsh qemu-io
	expect 0 prepare --on-full=stop disk.img
	# The longest free range: offset and bytes.
	read -r at free <<<"$("$BOWIMG" map disk.img | awk '$3 == "?" { print $1, $2 }' |
		while read -r at free; do echo "$((at)) $((free))"; done | sort -nk 2 | tail -n 1)"
	part=$((free * 3 / 8 / 4096 * 4096))
	echo "free $free at $at"
	serve
	io "write -P 7 $at $((2 * part))" "discard $at $part" "write -z -u $((at + part)) $part" flush
	# More than was left beside.
	io "write -P 8 8M $((free / 2))" "read -P 8 8M $((free / 2))" "read -P 0 $at $((2 * part))"
	unserve
	[ "$(key gives)" -gt 0 ]
	roll_back
}
