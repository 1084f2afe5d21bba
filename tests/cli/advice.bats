#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What messages advise: it is true, it is said once, and it is about this case.

load ../lib/common

setup() {
	common_setup
	make_ext4 disk.img 16M
}

next_of() {
	"$BOWIMG" status --json "$1" | json .next
}

# as_prepare IMAGE PATTERN: status says what prepare then says.
as_prepare() {
	expect 0 status "$1"
	grep -qE "^next: 'bowimg prepare' would refuse it: .*$2" <<<"$output"
	run "$BOWIMG" prepare -n "$1"
	[ "$status" -ne 0 ]
	grep -qE "$2" <<<"$output"
}

@test "status of an image without a checkpoint says what prepare would say" {
	[ "$(next_of disk.img)" = "'bowimg prepare' opens a checkpoint" ]
	for format in qcow2 vmdk; do
		qemu-img create -q -f $format other.img 16M
		as_prepare other.img 'not a raw image: it is'
	done
	truncate -s 4096 small.img
	as_prepare small.img 'too small: 4096 bytes'
	head -c 1M /dev/urandom >noise.img
	as_prepare noise.img 'no known file system'
	debugfs -w -R 'set_super_value state 0' disk.img
	as_prepare disk.img 'not cleanly unmounted'
}

@test "status of a disk with partitions knows an unclean one, and takes unknown ones" {
	requires sfdisk
	truncate -s 40M vm.img
	printf 'start=2048,size=32768,type=83\nstart=34816,size=32768,type=83\n' | sfdisk -q vm.img
	dd if=disk.img of=vm.img bs=1M seek=1 conv=notrunc,sparse status=none
	head -c 1M /dev/urandom | dd of=vm.img bs=1M seek=17 conv=notrunc status=none
	[ "$(next_of vm.img)" = "'bowimg prepare' opens a checkpoint" ]
	debugfs -w -R 'set_super_value state 0' disk.img
	dd if=disk.img of=vm.img bs=1M seek=1 conv=notrunc status=none
	as_prepare vm.img 'partition 1: .*not cleanly unmounted'
}

@test "a dry run begins with these words, and its figures are those of the real one" {
	requires nbdkit qemu-io
	for mode in --exact --no-exact; do
		make_ext4 disk.img 16M
		expect 0 prepare -n $mode disk.img
		[[ ${lines[0]} == "dry run: disk.img: nothing was changed; prepare would open"* ]]
		planned=$(sed 1d <<<"$output")
		expect 0 prepare $mode disk.img
		[ "$(sed '1d; /^From now on/,$d' <<<"$output")" = "$planned" ]
		expect 0 run -q --via=nbd --on-success=keep --on-failure=keep disk.img -- \
			qemu-io -f raw -c 'write -P 7 0 3M' -c 'write -P 8 5M 100k' -c 'write -z 9M 1M' {}
		cp --preserve=timestamps disk.img kept.img
		for verb in rollback commit; do
			cp --preserve=timestamps kept.img disk.img
			expect 0 $verb -n disk.img
			[[ $output == "dry run: disk.img: nothing was changed; $verb would "* ]]
			planned=$(grep -oE '[0-9.]+ [KMG]?i?B|[0-9]+ bytes' <<<"$output")
			if [ $verb = rollback ]; then
				changed=$("$BOWIMG" status disk.img | sed -n 's/^ *changed *\(.*\) overwritten.*/\1/p')
				[ "$changed" = "$(head -n 1 <<<"$planned")" ]
				expect 0 verify disk.img
				grep -q "$changed to bring back" <<<"$output"
			fi
			expect 0 $verb -n --json disk.img
			planned=$(jq -c 'del(."dry-run")' <<<"$output")
			expect 0 $verb --json disk.img
			[ "$(jq -c 'del(."dry-run")' <<<"$output")" = "$planned" ]
		done
	done
	make_ext4 disk.img 16M
	expect 0 prepare -q disk.img
	expect 0 run -q --via=nbd --on-success=keep --on-failure=keep disk.img -- \
		qemu-io -f raw -c 'write -P 7 0 3M' {}
	expect 0 export --redo -o redo.tar disk.img
	expect 0 rollback -q disk.img
	expect 0 apply -n redo.tar disk.img
	[[ $output == "dry run: disk.img: nothing was changed; the patch"* ]]
}

# once ARG...: fails, and names disk.img once in its message.
once() {
	if "$BOWIMG" "$@" >said 2>err; then return 1; fi
	cat err
	[ "$(head -n 1 err | grep -o 'disk\.img:' | wc -l)" -le 1 ]
	[ "$(grep -c 'no checkpoint is open' err)" -le 1 ]
}

@test "a message names the image once, and says once that no checkpoint is open" {
	for verb in rollback commit verify log diff; do once $verb disk.img; done
	once export --undo -o undo.tar disk.img
	once serve --socket s disk.img
	once map --free-from=map:nowhere disk.img
	once prepare --free-from=map:nowhere disk.img
	debugfs -w -R 'set_super_value state 0' disk.img
	for verb in prepare map 'run --via=nbd'; do
		# shellcheck disable=SC2086
		once $verb disk.img -- true
	done
	printf 'start=2048,size=4096,type=83\n' | sfdisk -q --force disk.img
	once prepare disk.img
	head -c 1M /dev/urandom >disk.img
	once prepare disk.img
	once prepare --free-from=ext disk.img
	once rescue disk.img
	printf 'QFI\373' | dd of=disk.img conv=notrunc status=none
	once prepare disk.img
	: >disk.img
	once prepare disk.img
	mkdir -p dir/disk.img
	once prepare dir/disk.img
}

@test "a source of free maps that does not exist is wrong use, before the image is opened" {
	for verb in prepare map; do
		refused 2 "unknown source 'foo' for --free-from; the sources are auto, ext, .*map:FILE and none" \
			$verb --free-from=foo nowhere.img
	done
	refused 2 "unknown source 'map'" apply --free-from=map patch.tar disk.img
	refused 1 'nowhere' prepare --free-from=map:nowhere disk.img
}

@test "without free space the report does not speak of holes" {
	expect 0 prepare -n -v --free-from=none disk.img
	grep -q 'rollback *exact: .*(all of it counts as used)' <<<"$output"
	expect 0 prepare -n -v --free-from=none --no-exact disk.img
	grep -q 'rollback *not exact' <<<"$output"
}

@test "a command without -- in front of it is told so" {
	for command in 'true' 'e2fsck -fy {}' 'e2fsck --help-me {}'; do
		# shellcheck disable=SC2086
		refused 125 'missing -- before the command .*IMAGE -- COMMAND' run disk.img $command
	done
	refused 125 "unknown option '--bogus'" run --bogus disk.img
	refused 125 'missing command' run disk.img
	refused 2 'missing -- before the command' prepare --free-from=trim disk.img qemu-system-x86_64
}

@test "a command that is not there is said before the image is touched" {
	run -127 --separate-stderr "$BOWIMG" run disk.img -- no-such-command {}
	grep -q 'cannot start no-such-command' <<<"$stderr"
	grep -q '^  is it installed' <<<"$stderr"
	run ! grep -q 'rolled back' <<<"$stderr"
}

@test "the UUID of a checkpoint is one of RFC 4122, version 4" {
	for _ in 1 2 3 4; do
		expect 0 prepare -q disk.img
		"$BOWIMG" status --json disk.img | json .uuid |
			grep -qE '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'
		expect 0 rollback -q disk.img
	done
}

@test "a report that could not be printed is told apart from a failure" {
	[ -c /dev/full ] || skip "needs /dev/full"
	expect 0 prepare -q disk.img
	run --separate-stderr bash -c '"$BOWIMG" rollback disk.img >/dev/full'
	[ "$status" -eq 1 ]
	grep -q 'the command is done, but its report is incomplete' <<<"$stderr"
	[ "$("$BOWIMG" status --json disk.img | json .state)" = none ]
}
