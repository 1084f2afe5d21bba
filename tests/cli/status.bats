#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# status, log, map: what they print.

load ../lib/common

KEYS="version image format state virtual-size block-size free-source exact free-total-bytes
free-left-bytes backup-bytes changed-bytes log-bytes entries gives on-full tail-bytes marks"

@test "status --json has every key, for a plain image and for a prepared one" {
	make_ext4 disk.img 16M
	for _ in 1 2; do
		expect 0 status --json disk.img
		for key in $KEYS; do
			[ "$(json "has(\"$key\")" <<<"$output")" = true ] || {
				echo "no key $key"
				return 1
			}
		done
		"$BOWIMG" prepare -q disk.img 2>/dev/null || true
	done
}

@test "status --json of a plain image: no format, state none" {
	make_ext4 disk.img 16M
	expect 0 status --json disk.img
	[ "$(json '[.format, .state, .marks, ."virtual-size"] | tojson' <<<"$output")" = \
		'[null,"none",[],16777216]' ]
}

@test "status --json of a fresh checkpoint" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	expect 0 status --json disk.img
	[ "$(json '[.format, .state, ."block-size", ."free-source", .exact, ."changed-bytes",
		.marks] | tojson' <<<"$output")" = '["bowimg","checkpoint",4096,"ext",true,0,[]]' ]
	[ "$(json '[."free-total-bytes", ."free-left-bytes", ."backup-bytes", ."log-bytes",
		.entries, .gives, ."tail-bytes"] | all(type == "number" and . == floor)' \
		<<<"$output")" = true ]
	[ "$(json '."free-left-bytes" <= ."free-total-bytes"' <<<"$output")" = true ]
}

@test "status --json and prepare --json name the budget; without a checkpoint there is none" {
	make_ext4 disk.img 16M
	expect 0 status --json disk.img
	[ "$(json '[."budget-bytes", ."budget-limit", ."host-left-bytes"] | tojson' <<<"$output")" = \
		'[null,null,null]' ]
	expect 0 prepare --json disk.img
	[ "$(json '[."budget-bytes" == ."free-left-bytes", ."budget-limit"] | tojson' <<<"$output")" = \
		'[true,"image"]' ]
	expect 0 status --json disk.img
	[ "$(json '[."budget-bytes" == ."free-left-bytes", ."budget-limit",
		(."host-left-bytes" | type)] | tojson' <<<"$output")" = '[true,"image","number"]' ]
}

@test "status for people says the state and what to do" {
	make_ext4 disk.img 16M
	expect 0 status disk.img
	grep -q '^disk.img: no checkpoint is open$' <<<"$output"
	expect 0 prepare disk.img
	expect 0 status disk.img
	grep -qE '^disk.img: checkpoint open( for [0-9]+ s)?, not in use$' <<<"$output"
	grep -q '^  undo *the whole image, byte for byte$' <<<"$output"
	grep -q '^  changed *nothing$' <<<"$output"
	grep -qE '^  space *\[-{20}\] .* of .* used; then the file grows$' <<<"$output"
	grep -q '^next: .*bowimg rollback disk.img' <<<"$output"
	[ "$(wc -l <<<"$output")" -eq 5 ]
}

@test "status -v prints all that is known" {
	make_ext4 disk.img 16M
	expect 0 status -v disk.img
	grep -q '^  state *none$' <<<"$output"
	expect 0 prepare disk.img
	expect 0 status -v disk.img
	grep -q '^  state *checkpoint (format bowimg)$' <<<"$output"
	for row in size uuid 'free map' backups log entries free 'free left' 'when full' attached; do
		grep -q "^  $row  *[^ ]" <<<"$output"
	done
}

@test "status --json says since when the checkpoint is open, what is new, and who has the image" {
	make_ext4 disk.img 16M
	expect 0 status --json disk.img
	[ "$(json '[."prepared-at", ."new-bytes", .pid, .where] | tojson' <<<"$output")" = \
		'[null,0,null,null]' ]
	early=$(date +%s)
	expect 0 prepare disk.img
	late=$(date +%s)
	expect 0 status --json disk.img
	at=$(json '."prepared-at"' <<<"$output")
	[ "$at" -ge "$early" ] && [ "$at" -le "$late" ]
	[ "$(json '[."new-bytes", .pid, .where] | tojson' <<<"$output")" = '[0,null,null]' ]
}

@test "status changes nothing, not even the times of the file" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	before=$(sum disk.img)$(stat -c %y disk.img)
	expect 0 status disk.img
	expect 0 verify disk.img
	expect 0 log disk.img
	expect 0 map disk.img
	[ "$(sum disk.img)$(stat -c %y disk.img)" = "$before" ]
}

@test "an error with --json is one object on standard error, and no data" {
	expect 1 status --json nothing.img
	[ -z "$output" ]
	[ "$(json '.error | [.exit, (.message | length > 0), has("hint")] | tojson' \
		<<<"$stderr")" = '[1,true,true]' ]
}

@test "a name that is not UTF-8 still gives valid JSON" {
	name=$'disk\xff.img'
	make_ext4 "$name" 16M
	expect 0 status --json "$name"
	[ "$(json .state <<<"$output")" = none ]
}

@test "an image written to behind bowimg's back is noticed, and force goes on" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	sleep 0.1
	printf x | dd of=disk.img bs=1 seek=9000000 conv=notrunc status=none
	refused 7 "changed" status disk.img
	refused 7 "changed" verify disk.img
	refused 7 "changed" rollback disk.img
	refused 7 "changed" commit disk.img
	expect 0 status --force=changed disk.img
	expect 0 rollback --force=changed disk.img
}

@test "log lists entries as a table and as JSON, the same ones" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	expect 0 log disk.img
	rows=$(($(wc -l <<<"$output") - 1))
	expect 0 log --json disk.img
	[ "$(json length <<<"$output")" -eq "$rows" ]
	[ "$rows" -ge 1 ]
	[ "$(json 'all(has("type") and has("source") and has("dest") and has("count")
		and (.hash | startswith("0x")))' <<<"$output")" = true ]
	# The first entry of all saves block 0, and the newest comes first.
	[ "$(json '.[-1] | [.type, .source] | tojson' <<<"$output")" = '["copy",0]' ]
}

@test "log of a plain image: nothing is open" {
	make_ext4 disk.img 16M
	refused 3 "no checkpoint|checkpoint is open" log disk.img
}

@test "map covers the whole image, and names the same blocks before and after prepare" {
	make_ext4 disk.img 16M
	expect 0 map disk.img
	plain=$(grep -v '^#' <<<"$output")
	end=$(tail -n 1 <<<"$plain" | awk '{ print $1, $2 }')
	[ $((${end% *} + ${end#* })) -eq 16777216 ]
	expect 0 prepare disk.img
	expect 0 map disk.img
	[ "$(grep -v '^#' <<<"$output")" = "$plain" ]
}

@test "the map is one that ddrescue's own tools read" {
	requires ddrescuelog
	make_ext4 disk.img 16M
	expect 0 map disk.img
	printf '%s\n' "$output" >disk.map
	run ddrescuelog --show-status disk.map
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "a foreign write into block 0 is noticed, and a forced rollback puts block 0 back" {
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	expect 0 prepare disk.img
	touch -r disk.img stamp
	printf 'x' | dd of=disk.img bs=1 seek=700 conv=notrunc status=none
	touch -r stamp disk.img
	refused 7 "block 0 was changed" status disk.img
	refused 7 "block 0 was changed" rollback disk.img
	expect 0 rollback --force=changed disk.img
	[ "$(sum disk.img)" = "$before" ]
}
