#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Reports as JSON: one object, with the keys of the manual. (Those of status, diff, log, list and mark are
# tested where these verbs are.)

load ../lib/common

# keys <REPORT: the keys of the object, sorted.
keys() {
	jq -r 'keys | join(" ")'
}

changed_image() {
	make_ext4 disk.img 8M
	cp disk.img other.img
	expect 0 prepare -q disk.img
	expect 0 run --via=nbd -q --on-success=keep disk.img -- \
		qemu-io -f raw -c "write -P 0x78 4M 64k" {} >/dev/null
}

@test "export and apply report as one object" {
	requires nbdkit qemu-io
	changed_image
	expect 0 export --json --redo -o redo.tar disk.img
	[ -z "$stderr" ]
	[ "$(keys <<<"$output")" = "bytes data-bytes direction file from image runs verb version" ]
	[ "$(json '"\(.verb) \(.direction) \(.file) \(.from)"' <<<"$output")" = "export redo redo.tar null" ]
	bytes=$(json .bytes <<<"$output")
	[ "$bytes" -gt 0 ]

	for word in --json --output=json; do
		expect 0 apply -n "$word" redo.tar other.img
		[ "$(json '"\(.verb) \(."dry-run") \(.already) \(.bytes)"' <<<"$output")" = "apply true false $bytes" ]
	done
	expect 0 apply --json redo.tar other.img
	[ "$(keys <<<"$output")" = \
		"already bytes data-bytes direction dry-run exact image runs uuid verb version virtual-size" ]
	[ "$(json '."virtual-size"' <<<"$output")" = $((8 << 20)) ]
	expect 0 apply --json redo.tar other.img
	[ "$(json .already <<<"$output")" = true ]
}

@test "export to standard output reports on standard error" {
	requires nbdkit qemu-io
	changed_image
	"$BOWIMG" export --json --undo -o - disk.img >undo.tar 2>report
	[ "$(wc -l <report)" -eq 1 ]
	[ "$(json '"\(.direction) \(.file)"' <report)" = "undo -" ]
	tar -tf undo.tar
}

@test "the output of export is a file, whatever it is called" {
	make_ext4 disk.img 8M
	expect 0 prepare -q disk.img
	expect 0 export --redo --compress=none --output=json disk.img
	tar -tf json
}

@test "rescue reports as one object" {
	make_ext4 disk.img 8M
	expect 0 prepare -q disk.img
	uuid=$("$BOWIMG" status --json disk.img | json .uuid)
	dd if=/dev/urandom of=disk.img bs=4096 count=1 conv=notrunc status=none
	expect 0 rescue --json --force=changed disk.img
	[ "$(keys <<<"$output")" = "backup-bytes changed-bytes entries exact image only-rollback prepared-at \
segment-offset uuid verb version virtual-size written" ]
	[ "$(json '"\(.verb) \(.written) \(.uuid)"' <<<"$output")" = "rescue false $uuid" ]
	expect 0 rescue --write --output=json --force=changed disk.img
	[ "$(json .written <<<"$output")" = true ]
	expect 0 rollback --output=json disk.img
	[ "$(json .verb <<<"$output")" = rollback ]
}

@test "run reports in one line of standard error, beside what its command prints" {
	requires nbdkit qemu-io
	make_ext4 disk.img 8M
	expect 0 run --via=nbd --json disk.img -- sh -c 'echo out; echo err >&2'
	[ "$output" = out ]
	[ "$(head -n 1 <<<"$stderr")" = err ]
	report=$(tail -n 1 <<<"$stderr")
	[ "$(wc -l <<<"$stderr")" -eq 2 ]
	[ "$(keys <<<"$report")" = \
		"action exact image opened restored-bytes status success to verb version via zeroed-bytes" ]
	[ "$(json '"\(.verb) \(.via) \(.opened) \(.status) \(.success) \(.action) \(.to)"' <<<"$report")" = \
		"run nbd true 0 true rollback null" ]

	expect 3 run --via=nbd --output=json --on-failure=keep disk.img -- sh -c 'exit 3'
	[ "$(json '"\(.status) \(.success) \(.action)"' <<<"$stderr")" = "3 false keep" ]
	expect 0 mark -q disk.img here
	expect 0 run --via=nbd --json --to=here disk.img -- \
		qemu-io -f raw -c "write -P 0x78 4M 64k" {}
	[ "$(json '"\(.opened) \(.action) \(.to)"' <<<"$stderr")" = "false rollback here" ]
	expect 0 run --via=nbd --json --on-success=commit --on-failure=rollback disk.img -- true
	[ "$(json .action <<<"$stderr")" = commit ]
}

@test "if bowimg fails, run --json reports an error in place of a result" {
	requires nbdkit
	expect 125 run --via=nbd --json missing.img -- true
	[ "$(json .error.exit <<<"$stderr")" = 125 ]
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
}

@test "--output=json is another spelling of --json, and no other output is known" {
	make_ext4 disk.img 8M
	for words in "status disk.img" "prepare -n disk.img" "list"; do
		# shellcheck disable=SC2086
		expect 0 $words --output=json
		jq -e . <<<"$output" >/dev/null
		# shellcheck disable=SC2086
		expect 0 $words --output json
		jq -e . <<<"$output" >/dev/null
	done
	expect 2 status --output=xml disk.img
	grep -q "unknown value 'xml' for --output; use one of: json" <<<"$stderr"
	expect 2 status --output=json --bogus disk.img
	[ "$(json .error.exit <<<"$stderr")" = 2 ]
	refused 2 "unknown option '--output=json'" detach --output=json disk.img
}
