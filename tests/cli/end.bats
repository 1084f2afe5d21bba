#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# rollback, commit, verify: on checkpoints that nobody wrote through, and with options.

load ../lib/common

@test "rollback of an untouched checkpoint gives back every byte" {
	for size in 16M 16387k 17000001; do
		make_ext4 disk.img "$size"
		before=$(sum disk.img)
		expect 0 prepare disk.img
		[ "$(sum disk.img)" != "$before" ]
		expect 0 rollback disk.img
		grep -q 'byte for byte' <<<"$output"
		[ "$(sum disk.img)" = "$before" ]
	done
}

@test "commit of an untouched checkpoint leaves a clean file system" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	expect 0 commit disk.img
	e2fsck -fn disk.img
	[ "$(stat -c %s disk.img)" -eq 16777216 ]
}

@test "rollback keeps the image sparse" {
	make_ext4 disk.img 64M
	before=$(stat -c %b disk.img)
	expect 0 prepare disk.img
	expect 0 rollback disk.img
	[ "$(stat -c %b disk.img)" -le $((before + 64)) ]
}

@test "-n of rollback and commit, and verify, change nothing" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	before=$(sum disk.img)
	expect 0 rollback -n disk.img
	grep -q 'nothing was changed' <<<"$output"
	expect 0 commit --dry-run disk.img
	grep -q 'nothing was changed' <<<"$output"
	expect 0 verify disk.img
	grep -q 'would work' <<<"$output"
	[ "$(sum disk.img)" = "$before" ]
}

@test "rollback twice: the second has nothing to roll back" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	expect 0 rollback disk.img
	refused 3 "no checkpoint|nothing to roll back" rollback disk.img
}

@test "rollback after commit, commit after rollback, verify without a checkpoint: exit 3" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	expect 0 commit disk.img
	refused 3 "checkpoint" rollback disk.img
	refused 3 "checkpoint" commit disk.img
	refused 3 "checkpoint" verify disk.img
}

@test "rollback --again leaves a fresh checkpoint with the same free map" {
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	expect 0 prepare disk.img
	map=$("$BOWIMG" map disk.img)
	expect 0 rollback --again disk.img
	[ "$("$BOWIMG" map disk.img)" = "$map" ]
	[ "$("$BOWIMG" status --json disk.img | json .state)" = checkpoint ]
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "commit --wipe leaves no backup behind" {
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	expect 0 prepare disk.img
	expect 0 commit --wipe disk.img
	# Nothing was changed and free space was all zeros: with the remains gone it is the same image.
	[ "$(sum disk.img)" = "$before" ]
}

@test "-q prints nothing, -v a line more" {
	make_ext4 disk.img 16M
	expect 0 prepare -q disk.img
	expect 0 rollback -q -n disk.img
	[ -z "$output$stderr" ]
	expect 0 rollback -v disk.img
	grep -q 'log entries' <<<"$output"
}

@test "rollback goes on when nobody reads its report" {
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	expect 0 prepare disk.img
	"$BOWIMG" rollback disk.img | true
	[ "$(sum disk.img)" = "$before" ]
}

@test "a damaged backup: rollback refuses, exit 6, and changes nothing" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	dest=$("$BOWIMG" log --json disk.img | json '.[-1].dest')
	printf 'XXXX' | dd of=disk.img bs=1 seek=$((dest * 4096 + 100)) conv=notrunc status=none
	before=$(sum disk.img)
	refused 6 "backup of block 0" rollback --force=changed disk.img
	refused 6 "backup of block 0" verify --force=changed disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "a damaged superblock is reported, not guessed around" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	printf 'XXXX' | dd of=disk.img bs=1 seek=48 conv=notrunc status=none
	before=$(sum disk.img)
	refused 6 "superblock|checksum|damage" rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "a locked image: rollback and commit are refused, exit 4" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	flock -x disk.img sleep 60 3>&- &
	for _ in $(seq 100); do
		grep -q "FLOCK.*:$(stat -c %i disk.img) " /proc/locks && break
		sleep 0.1
	done
	refused 4 "lock|in use" rollback disk.img
	refused 4 "lock|in use" commit disk.img
	expect 0 status disk.img
}

@test "--json of verify, rollback and commit is one object, and errors are, too" {
	make_ext4 disk.img 16M
	for verb in rollback commit; do
		expect 0 prepare -q disk.img
		expect 0 verify --json disk.img
		[ "$(json '[.verb, .image, ."dry-run", .found, .format] | tojson' <<<"$output")" = \
			'["verify","disk.img",false,"checkpoint","bowimg"]' ]
		expect 0 $verb -n --json disk.img
		[ "$(json '[.verb, ."dry-run"] | tojson' <<<"$output")" = "[\"$verb\",true]" ]
		expect 0 $verb --json disk.img
		[ "$(json '[.verb, ."dry-run", .found, .exact, .committed, ."lost-entries"] | tojson' \
			<<<"$output")" = "[\"$verb\",false,\"checkpoint\",true,false,0]" ]
		[ "$(json '[.entries, ."restored-bytes", ."zeroed-bytes"] | all(type == "number")' \
			<<<"$output")" = true ]
		[ -z "$stderr" ]
		expect 3 $verb --json disk.img
		[ -z "$output" ]
		[ "$(json .error.exit <<<"$stderr")" = 3 ]
	done
}
