#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Disks that a real kernel's dm-bow left, where they are at hand: with 512 and 4096-byte blocks, raw,
# ext4 and FAT, out of space, after power cuts, half restored by the original tool, torn, committed.

load ../../lib/common
load ../../lib/dmbow

# Every disk with a log, but for the torn one, whose newest entry is not there.
logged() {
	local log
	for log in "$DMBOW_DISKS"/*/log-entries.txt; do basename "$(dirname "$log")"; done
}

# From the manifest, whose rows may be of two disks: "d512, d4k", "512/4096".
manifest() { # DISK COLUMN
	awk -F ' *[|] *' -v disk="$1" -v column="$2" '
		{
			n = split($2, names, ", *")
			for (i = 1; i <= n && NF > 7; i++)
				if (names[i] == disk) {
					if (split($column, values, "/") < n) print values[1]
					else print values[i]
				}
		}' "$DMBOW_DISKS/MANIFEST.md"
}

# What the manifest calls a moved backup is every block of dm-bow's own that was in the way; the
# first move of block 0's newest content is none.
moved() {
	jq '[.[] | select(.type == "move" or .type == "live")] | length as $n |
		(map(select(.type == "live")) | length) as $live | $n - ([$live, 1] | min)'
}

# As log-entries.txt has it, oldest first, without the index: sequence, places in sectors, bytes, sum.
as_listed() { # BLOCK-SIZE
	jq -r --argjson size "$1" 'reverse[] | "\(.sequence) \(.source * $size / 512) " +
		"\(.dest * $size / 512) \(.count * $size) \(.hash[-8:])"'
}

check_log() { # DISK
	local size
	unpack "$1" checkpoint x
	size=$(manifest "$1" 4)
	expect 0 status --json x
	[ "$(jq -c '[.format, .state, ."virtual-size", ."block-size", ."log-bytes", .entries]' \
		<<<"$output")" = "[\"dm-bow\",\"checkpoint\",$(($(manifest "$1" 3) << 20)),$size,$((
		$(manifest "$1" 5) * size)),$(manifest "$1" 6)]" ]
	expect 0 verify -q x
	"$BOWIMG" log --json x >listing
	[ "$(moved <listing)" = "$(manifest "$1" 7)" ]
	as_listed "$size" <listing |
		diff - <(awk '!/^#/ { print $1, $3, $4, $5, $6 }' "$DMBOW_DISKS/$1/log-entries.txt")
}

@test "status and log of a kernel's disks are what the manifest says" {
	real_disks || return 0
	requires zstd
	for disk in $(logged); do
		echo "$disk"
		check_log "$disk"
	done
}

@test "rollback brings back every used byte of a kernel's disks, half restored ones included" {
	real_disks || return 0
	requires zstd
	for disk in $(logged) h_live_torn; do
		unpack "$disk" before before
		for left in "$DMBOW_DISKS/$disk"/checkpoint*.zst; do
			echo "$disk: $left"
			unpack "$disk" "$(basename "$left" .img.zst)" x
			expect 0 rollback x
			same_where_used "$disk" before x
			refused 3 'nothing to roll back' rollback x
		done
	done
}

@test "commit of a kernel's disk leaves what its device showed last" {
	real_disks || return 0
	requires zstd
	for live in "$DMBOW_DISKS"/*/live.img.zst; do
		disk=$(basename "$(dirname "$live")")
		[ "$disk" != z_committed ] || continue
		echo "$disk"
		unpack "$disk" live live
		unpack "$disk" checkpoint x
		expect 0 commit x
		cmp live x
	done
}

@test "a disk that the kernel has committed is an ordinary one" {
	real_disks || return 0
	requires zstd
	unpack z_committed checkpoint x
	refused 3 'no checkpoint' rollback x
	expect 0 status --json x
	[ "$(json .state <<<"$output")" = none ]
}
