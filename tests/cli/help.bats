#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Help, version, usage errors.

load ../lib/common

VERBS="prepare status mount umount attach detach serve run rollback commit verify diff log map"
VERBS="$VERBS export apply list"

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
	refused 2 "unknown verb 'snap'" snap
	refused 2 "unknown verb 'snap'" help snap
}

@test "a word that is nearly right is answered with the one that is meant" {
	refused 2 "did you mean 'bowimg rollback'" rolback disk.img
	refused 2 "did you mean 'bowimg umount'" umuont disk.img
	refused 2 "did you mean 'bowimg status'" stats disk.img
	refused 2 "did you mean 'bowimg prepare'" prep disk.img
	refused 2 "unknown option '--dryrun'; did you mean '--dry-run'" rollback --dryrun disk.img
	refused 2 "did you mean '--free-from'" prepare --freefrom=ext disk.img
	for word in xyzzy a "$(printf '%0500d' 1)"; do
		refused 2 "unknown verb" "$word"
		if grep 'did you mean' <<<"$stderr"; then return 1; fi
	done
}

@test "undo is rollback, info is status, -V is the version" {
	make_ext4 disk.img 8M
	before=$(sum disk.img)
	expect 0 prepare -q disk.img
	expect 0 info disk.img
	grep -q '^disk.img: checkpoint open' <<<"$output"
	expect 0 undo disk.img
	[ "$(sum disk.img)" = "$before" ]
	expect 0 undo --help
	grep -q '^usage: bowimg rollback ' <<<"$output"
	expect 0 help info
	grep -q '^usage: bowimg status ' <<<"$output"
	refused 2 'see bowimg rollback --help' undo --bogus
	expect 0 -V
	[ "$output" = "$("$BOWIMG" --version)" ]
}

@test "-V prints the version after every verb, too, but not behind --" {
	for verb in $VERBS; do
		expect 0 "$verb" -V
		[ "$output" = "$("$BOWIMG" --version)" ]
	done
	expect 0 undo disk.img --version
	refused 1 "No such file" status -- -V
}

@test "-v says more of verify and apply" {
	make_ext4 disk.img 8M
	cp disk.img other.img
	expect 0 prepare -q disk.img
	expect 0 verify disk.img
	[ "$(wc -l <<<"$output")" -eq 1 ]
	expect 0 verify -v disk.img
	grep -q 'the image was found in state checkpoint' <<<"$output"
	uuid=$("$BOWIMG" status --json disk.img | json .uuid)
	expect 0 export -q --redo -o redo.tar disk.img
	expect 0 apply -v redo.tar other.img
	grep -q "from the checkpoint $uuid of a disk of 8.0 MiB" <<<"$output"
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

@test "a missing argument is a usage error for every verb" {
	for verb in prepare status mount umount attach detach serve rollback commit verify log map; do
		refused 2 "see bowimg $verb --help" "$verb"
	done
}

@test "an argument too many is a usage error" {
	for verb in prepare status detach rollback commit verify log map; do
		refused 2 "unexpected argument 'two'" "$verb" one two
	done
}

@test "an unknown option, a missing argument, an unknown choice are usage errors" {
	refused 2 "unknown option '--bogus'" prepare --bogus disk.img
	refused 2 "unknown option '-z'" status -z disk.img
	refused 2 "needs an argument" prepare --free-from
	refused 2 "takes no argument" prepare --exact=yes disk.img
	refused 2 "free, tail" prepare --store=elsewhere disk.img
	refused 2 "stop, tail" prepare --on-full=commit disk.img
	refused 2 "changed" rollback --force=everything disk.img
}

@test "an empty argument is a usage error" {
	refused 2 "empty" status ""
}

@test "run keeps usage errors apart from the command's status" {
	refused 125 "unknown option" run --bogus disk.img -- true
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
