#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Help, version, usage errors.

load ../lib/common

VERBS="prepare status mount umount attach detach serve run rollback commit verify diff log map"
VERBS="$VERBS export apply"

@test "the version is that of the header" {
	expect 0 --version
	version=$(sed -n 's/^#define BOWIMG_VERSION "\(.*\)"/\1/p' "$ROOT_DIR/include/bowimg.h")
	[ "$output" = "bowimg $version" ]
}

@test "--help lists every verb on standard output" {
	expect 0 --help
	for verb in $VERBS; do
		grep -q "^  $verb " <<<"$output"
	done
	[ -z "$stderr" ]
}

@test "without a verb the overview goes to standard error, exit 2" {
	expect 2
	[ -z "$output" ]
	grep -q '^usage:' <<<"$stderr"
}

@test "an unknown verb is a usage error that says where help is" {
	refused 2 "no verb 'snap'" snap
	refused 2 "no verb 'snap'" help snap
}

@test "every verb has help, by --help, by -h and by 'help VERB', the same text" {
	for verb in $VERBS; do
		expect 0 "$verb" --help
		long=$output
		[ -z "$stderr" ]
		grep -q "^usage: bowimg $verb " <<<"$long"
		expect 0 "$verb" -h
		[ "$output" = "$long" ]
		expect 0 help "$verb"
		[ "$output" = "$long" ]
	done
}

@test "--help wins over everything else on the line" {
	expect 0 rollback --bogus disk.img --help
	grep -q '^usage: bowimg rollback' <<<"$output"
}

@test "help fits 79 columns" {
	for verb in $VERBS; do
		expect 0 "$verb" --help
		long=$(awk 'length > 79' <<<"$output")
		[ -z "$long" ]
	done
}

@test "a missing operand is a usage error for every verb" {
	for verb in prepare status mount umount attach detach serve rollback commit verify log map; do
		refused 2 "see bowimg $verb --help" "$verb"
	done
}

@test "one operand too many is a usage error" {
	for verb in prepare status detach rollback commit verify log map; do
		refused 2 "'two'" "$verb" one two
	done
}

@test "an unknown option, a missing argument, an unknown choice are usage errors" {
	refused 2 "no option '--bogus'" prepare --bogus disk.img
	refused 2 "no option '-z'" status -z disk.img
	refused 2 "needs an argument" prepare --free-from
	refused 2 "takes no argument" prepare --exact=yes disk.img
	refused 2 "free, tail" prepare --store=elsewhere disk.img
	refused 2 "stop, tail" prepare --on-full=commit disk.img
	refused 2 "changed" rollback --force=everything disk.img
}

@test "an empty operand is a usage error" {
	refused 2 "empty" status ""
}

@test "run keeps usage errors apart from the command's status" {
	refused 125 "no option" run --bogus disk.img -- true
	refused 125 "see bowimg run --help" run
}

@test "with --json a usage error is JSON as well" {
	expect 2 status --json --bogus disk.img
	[ -z "$output" ]
	[ "$(json .error.exit <<<"$stderr")" = 2 ]
	[ "$(json .error.hint <<<"$stderr")" = "see bowimg status --help" ]
}

@test "options may stand after the image, and -- ends them" {
	make_ext4 ./-n 8M
	expect 0 status --json -- -n
	[ "$(json .image <<<"$output")" = -n ]
	make_ext4 disk.img 8M
	expect 0 status disk.img --json
	[ "$(json .state <<<"$output")" = none ]
}

@test "a full disk behind standard output is an error" {
	make_ext4 disk.img 8M
	run --separate-stderr bash -c '"$BOWIMG" status disk.img >/dev/full'
	[ "$status" -eq 1 ]
	grep -q "standard output" <<<"$stderr"
}
