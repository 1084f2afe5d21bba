#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The disk that holds the image runs full: the guest is told, and nothing that was promised is lost.
# And the warnings before the image's own free space ends.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root loop fuse jq
	mkdir host mnt fuse
}

# host SIZE: a small file system for the image, at $T/host.
host() {
	mount -t tmpfs -o "size=$1" "bowimg-$T" host
}

# No byte is left on the host, whatever is written.
stuff_host() {
	! dd if=/dev/zero of=host/stuff bs=4k status=none 2>/dev/null
}

overwritten_until_full() {
	! within 60 dd if=new of=fuse/disk bs=64k conv=notrunc,fsync status=none 2>refused
	grep -q 'No space left' refused
}

@test "the tail meets a full host: ENOSPC, the rest works, and all comes back" {
	local before bytes
	host 40M
	printf 'LUKS\xba\xbe\0\2' >host/disk.img
	head -c $(((24 << 20) - 8)) /dev/urandom >>host/disk.img
	head -c 24M /dev/urandom >new
	before=$(sum host/disk.img)
	expect 0 prepare --free-from=none host/disk.img
	expect 0 attach --fuse "$T/fuse" host/disk.img
	overwritten_until_full
	# What was acknowledged is there; what has its backup can be written; all else can be read.
	bytes=$(key changed-bytes host/disk.img)
	[ "$bytes" -gt $((12 << 20)) ]
	cmp -n $((12 << 20)) new fuse/disk
	within 30 dd if=new of=fuse/disk bs=64k count=16 conv=notrunc,fsync status=none
	within 30 dd if=fuse/disk of=/dev/null bs=1M status=none
	stuff_host
	expect 0 detach host/disk.img
	expect 0 verify host/disk.img
	expect 0 rollback host/disk.img
	[ "$(stat -c %s host/disk.img)" -eq $((24 << 20)) ]
	same_as "$before" host/disk.img

	rm host/stuff
	expect 0 prepare --store=tail --free-from=none host/disk.img
	expect 0 attach --fuse "$T/fuse" host/disk.img
	overwritten_until_full
	stuff_host
	expect 0 detach host/disk.img
	expect 0 commit host/disk.img
	[ "$(stat -c %s host/disk.img)" -eq $((24 << 20)) ]
	cmp -n $((12 << 20)) new host/disk.img
}

# How far the tail got ahead of what it holds must not decide about the last step.
@test "a tail that fills the host to its last block is rolled back all the same" {
	local before size
	printf 'LUKS\xba\xbe\0\2' >random.img
	head -c $(((6 << 20) - 8)) /dev/urandom >>random.img
	head -c 6M /dev/urandom >new
	for size in 9000 9004 9016 9032 9048 9096 9500; do
		host "${size}k"
		cp random.img host/disk.img
		before=$(sum host/disk.img)
		expect 0 prepare -q --free-from=none host/disk.img
		expect 0 attach --fuse "$T/fuse" host/disk.img
		overwritten_until_full
		stuff_host
		expect 0 detach host/disk.img
		expect 0 rollback -q host/disk.img
		same_as "$before" host/disk.img
		[ "$(stat -c %s host/disk.img)" -eq $((6 << 20)) ]
		umount host
	done
}

@test "a sparse image on a full host, with either policy" {
	local before policy
	mkdir tree
	head -c 4M /dev/urandom >tree/old
	host 20M
	make_ext4 host/disk.img 64M -d tree
	before=$(sum host/disk.img)
	for policy in stop tail; do
		expect 0 prepare --on-full=$policy host/disk.img
		expect 0 mount host/disk.img "$T/mnt"
		within 60 dd if=/dev/urandom of=mnt/old bs=64k count=64 conv=notrunc,fsync status=none
		cp mnt/old new
		fill mnt/new
		stuff_host || true
		within 30 cmp mnt/old new
		down || within 30 umount mnt || true
		expect 0 verify host/disk.img
		expect 0 rollback host/disk.img
		same_as "$before" host/disk.img
		rm host/stuff
	done
}

@test "a host without room: prepare changes nothing and says so" {
	local before
	host 16M
	head -c 12M /dev/urandom >host/disk.img
	before=$(sum host/disk.img)
	stuff_host
	refused 5 '' prepare --free-from=none host/disk.img
	same_as "$before" host/disk.img
	[ "$(stat -c %s host/disk.img)" -eq $((12 << 20)) ]
	[ "$(key state host/disk.img)" = none ]
}

# take MIB: the guest takes this much of the free space; what is said about it is in $stderr.
take() {
	expect 0 run --via=fuse --on-success=keep --on-failure=keep disk.img -- \
		dd if=new of={} bs=64k seek=64 count=$(($1 * 16)) conv=notrunc,fsync status=none
}

@test "the user is warned when 75 and 90 percent of the free space are used" {
	head -c 24M /dev/urandom >disk.img
	head -c 24M /dev/urandom >new
	printf '0 ? 1\n0 0x400000 +\n0x400000 0x1400000 ?\n' >map
	expect 0 prepare -q --no-exact --on-full=stop --free-from=map:map disk.img
	take 10
	! grep -q '% of the free space' <<<"$stderr" || return 1
	! "$BOWIMG" status disk.img | grep '^  warning' || return 1
	take 16
	grep -q '75% of the free space for backups is used.*no space' <<<"$stderr"
	! grep -q '90% of' <<<"$stderr" || return 1
	expect 0 status disk.img
	grep -qE '^  warning +8[0-9] % of the free space is used' <<<"$output"
	take 19
	grep -q '90% of the free space' <<<"$stderr"
	grep -q '^  free left' <("$BOWIMG" status -v disk.img)
}

@test "the host's free space is the budget if it is the smaller one, and named" {
	host 30M
	make_ext4 host/disk.img 100M
	expect 0 prepare -n host/disk.img
	grep -q 'warning: the host has 2[0-9].[0-9] MiB left, less than the free space' <<<"$stderr"
	grep -qE '^  space +2[0-9]\.[0-9] MiB .*; the host has 2.*: then writes fail$' <<<"$output"
	expect 0 prepare --json host/disk.img
	[ "$(json '[."budget-limit", ."budget-bytes" == ."host-left-bytes",
		."budget-bytes" < 30 * 1048576, ."free-left-bytes" > 80 * 1048576] | tojson' \
		<<<"$output")" = '["host",true,true,true]' ]
	expect 0 status host/disk.img
	grep -qE '^  space .* of 2[0-9]\.[0-9] MiB used; the host has 2.* left; then writes fail$' <<<"$output"
	! grep '^  warning' <<<"$output" || return 1
	[ "$(key budget-limit host/disk.img)" = host ]
	[ "$(key budget-bytes host/disk.img)" = "$(key host-left-bytes host/disk.img)" ]
	[ "$(key host-left-bytes host/disk.img)" -eq "$(df -B1 --output=avail host | tail -n 1)" ]
	# Space that the image has already needs none of the host.
	expect 0 rollback -q host/disk.img
	fallocate -l 20M host/disk.img
	dd if=/dev/zero of=host/stuff bs=1M count=2 status=none
	expect 0 prepare -q --free-from=none --store=tail host/disk.img
	grep -q '^  space .*grows; the host has [0-9.]* MiB left$' <("$BOWIMG" status host/disk.img)
	[ "$(key budget-bytes host/disk.img)" = "$(key host-left-bytes host/disk.img)" ]
}

@test "an image whose space is allocated has its own limit, and so has a device" {
	local device
	host 60M
	make_ext4 host/disk.img 40M
	fallocate -l 40M host/disk.img
	expect 0 prepare host/disk.img
	[ -z "$stderr" ]
	[ "$(key budget-limit host/disk.img)" = image ]
	[ "$(key budget-bytes host/disk.img)" = "$(key free-left-bytes host/disk.img)" ]
	expect 0 rollback -q host/disk.img
	rm -f host/disk.img
	make_ext4 host/sparse.img 100M
	device=$(losetup -f --show host/sparse.img)
	expect 0 prepare "$device"
	[ -z "$stderr" ]
	[ "$(key host-left-bytes "$device")" = null ]
	[ "$(key budget-limit "$device")" = image ]
}

@test "the user is warned when the host runs low while it serves" {
	host 30M
	make_ext4 host/disk.img 100M
	head -c 32M /dev/urandom >new
	expect 0 prepare -q host/disk.img
	grab() { # MIB: the guest takes this much of the holes
		expect 0 run --via=fuse --on-success=keep --on-failure=keep host/disk.img -- \
			dd if=new of={} bs=64k seek=512 count=$(($1 * 16)) conv=notrunc,fsync status=none
	}
	grab 10
	! grep 'the host has' <<<"$stderr" || return 1
	grab 22
	grep -qE 'warning: the host has [0-9] MiB left: 75% of the space .*no space' <<<"$stderr"
	grep -qE '^  warning +the host has [0-9.]+ MiB left; then writes fail$' \
		<("$BOWIMG" status host/disk.img)
	expect 0 rollback host/disk.img
}
