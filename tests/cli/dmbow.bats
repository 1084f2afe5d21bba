#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A disk that the kernel's dm-bow left in its checkpoint state: the verbs know it by themselves.

load ../lib/common
load ../lib/dmbow

same_as_before() {
	cmp -n 51200 disk disk.was
}

@test "status names dm-bow and what ends its checkpoint" {
	dmbow_disk disk
	expect 0 status -v disk
	grep -q "^disk: a checkpoint of the kernel's dm-bow is open$" <<<"$output"
	grep -q "format dm-bow" <<<"$output"
	grep -q "blocks of 512 bytes" <<<"$output"
	grep -q "'bowimg rollback'.*'bowimg commit'" <<<"$output"
	expect 0 status --json disk
	[ "$(json '[.format, .state, ."block-size", ."virtual-size", .entries, ."log-bytes",
		."changed-bytes", ."backup-bytes", ."free-source", ."on-full", .uuid, .exact,
		."tail-bytes"] | tostring' <<<"$output")" = \
		'["dm-bow","checkpoint",512,131072,2,512,512,1024,null,null,null,false,0]' ]
}

@test "log lists dm-bow's entries in its own blocks" {
	dmbow_disk disk
	expect 0 log disk
	[ "$(wc -l <<<"$output")" -eq 3 ]
	expect 0 log --json disk
	[ "$(json '[.[] | [.type, .sequence, .source, .dest, .count]] | tostring' <<<"$output")" = \
		'[["copy",0,5,202,1],["copy",0,0,201,1]]' ]
}

@test "verify and -n say that dm-bow's disk can be rolled back, and change nothing" {
	dmbow_disk disk
	before=$(sum disk)
	expect 0 verify disk
	grep -q "would work: 2 log entries, 1.0 KiB" <<<"$output"
	expect 0 rollback -n disk
	grep -q "nothing was changed; rollback would bring back 1.0 KiB" <<<"$output"
	expect 0 commit -n disk
	[ "$(sum disk)" = "$before" ]
}

@test "rollback brings back what was there when dm-bow's checkpoint began" {
	dmbow_disk disk
	expect 0 rollback disk
	grep -q "rolled back: 1.0 KiB" <<<"$output"
	same_as_before
	refused 3 'nothing to roll back' rollback disk
}

@test "commit keeps what is there, block 0 included" {
	dmbow_disk disk
	expect 0 commit disk
	[ "$(head -n 1 disk)" = "block 0 as it is" ]
	put_block disk.was 0 "block 0 as it is"
	put_block disk.was 5 "block 5 as it is"
	same_as_before
}

@test "a damaged backup of dm-bow's is named, and what can be done about it" {
	dmbow_disk disk
	put_block disk 202 "somebody was here"
	before=$(sum disk)
	refused 6 'entry 1: the backup of 1 block.s. from 5 is damaged' rollback disk
	grep -q -- "--force=partial" <<<"$stderr"
	grep -q "bowimg commit" <<<"$stderr"
	refused 6 'damaged' verify disk
	[ "$(sum disk)" = "$before" ]
	expect 0 rollback --force=partial disk
	grep -q "Not all of it" <<<"$output"
	put_block disk.was 5 "block 5 as it is"
	same_as_before
}

@test "rollback goes forward only when it is told to" {
	dmbow_disk disk
	put_block disk 202 "somebody was here"
	before=$(sum disk)
	expect 0 rollback -n --force=forward disk
	grep -q "would be committed" <<<"$output"
	[ "$(sum disk)" = "$before" ]
	expect 0 rollback --force=forward disk
	grep -q "committed, because the log is damaged" <<<"$output"
	[ "$(head -n 1 disk)" = "block 0 as it is" ]
}

@test "a restore that the original tool began is finished, and not committed" {
	dmbow_disk disk
	printf 'WOB' | dd of=disk conv=notrunc status=none
	expect 0 status --json disk
	[ "$(json .state <<<"$output")" = rolling-back ]
	refused 8 'rollback was interrupted' commit disk
	expect 0 rollback disk
	grep -q "finishing an interrupted run" <<<"$output"
	same_as_before
}

@test "what bowimg cannot do with dm-bow's disk is refused in so many words" {
	dmbow_disk disk
	mkdir dir
	before=$(sum disk)
	for verb in "prepare" "map" "rescue --write" "serve --socket dir/s" "rollback --again" \
		"commit --wipe" "diff" "diff --files" "export --undo -o patch.tar"; do
		# shellcheck disable=SC2086
		refused 9 'dm-bow' $verb disk
	done
	bow run disk -- true
	[ "$status" -eq 125 ]
	grep -q "dm-bow" <<<"$stderr"
	grep -q "'bowimg rollback'" <<<"$stderr"
	[ "$(sum disk)" = "$before" ]
}

@test "attach and mount refuse dm-bow's disk" {
	requires root loop fuse
	dmbow_disk disk
	mkdir dir
	refused 9 'dm-bow' attach disk
	refused 9 'dm-bow' attach --fuse dir disk
	refused 9 'dm-bow' mount disk dir
}

@test "an unknown version and a damaged header of dm-bow's are no ordinary image" {
	dmbow_disk disk
	printf '\2' | dd of=disk bs=1 seek=5 conv=notrunc status=none
	for verb in status verify rollback commit log prepare; do
		refused 9 'unknown version' $verb disk
	done
	dmbow_disk disk
	printf '\377' | dd of=disk bs=1 seek=12 conv=notrunc status=none
	for verb in status verify rollback commit log prepare; do
		refused 6 'header of dm-bow' $verb disk
	done
}

@test "--force takes only what the verb knows" {
	dmbow_disk disk
	refused 2 'use one of: changed' verify --force=partial disk
	refused 2 'use one of: changed, forward' commit --force=partial disk
	refused 2 'use one of: changed, partial, forward' rollback --force=backward disk
}
