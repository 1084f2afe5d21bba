#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# prepare --free-from=trim -- COMMAND: the disk over NBD before the checkpoint. (That a real guest's
# trims make a right map is tried in boot.bats.)

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd

setup() {
	nbd_setup 64M
	export TMPDIR=$T/tmp
	mkdir "$TMPDIR"
}

# trim_in_guest STATUS QEMU-IO-COMMAND...
trim_in_guest() {
	local wanted=$1 args=() command
	shift
	for command in "$@"; do args+=(-c "$command"); done
	expect "$wanted" prepare -v --no-exact --free-from=trim disk.img -- qemu-io -f raw "${args[@]}" '{}'
}

free_runs() {
	"$BOWIMG" map disk.img | awk '$3 == "?" && $2 ~ /^0x/ { print $1 "+" $2 }' | tr '\n' ' '
}

@test "what is trimmed is free, what is zeroed or written afterwards is not" {
	trim_in_guest 0 'discard 40M 8M' 'write -z -u 41M 1M' 'write -P 0 45000000 1' 'flush'
	grep -q 'from trim' <<<"$output"
	[ "$(key free-source)" = trim ]
	[ "$(key state)" = checkpoint ]
	[ "$(free_runs)" = "0x02800000+0x00100000 0x02A00000+0x000EA000 0x02AEB000+0x00515000 " ]
	expect 0 verify disk.img
	expect 0 rollback disk.img
	[ -z "$(ls "$TMPDIR")" ]
}

@test "what the command writes is there before the checkpoint, and stays" {
	trim_in_guest 0 'write -P 7 50M 1M' 'discard 40M 8M'
	serve
	io 'read -P 7 50M 1M' 'write -P 8 50M 1M' 'write -P 9 40M 8M'
	unserve
	expect 0 rollback disk.img
	cmp -n $((1 << 20)) -i $((50 << 20)):0 disk.img <(head -c 1M /dev/zero | tr '\0' '\7')
}

@test "a command that fails, or trims nothing, leaves no checkpoint" {
	refused 1 'ended with status 3' prepare --free-from=trim disk.img -- sh -c 'exit 3'
	refused 5 'nothing was trimmed' prepare --free-from=trim disk.img -- true
	trim_in_guest 5 'discard 100 3000' 'write -z -u 1M 4096'
	refused 1 'ended with status 127' prepare --free-from=trim disk.img -- no-such-command
	refused 2 'missing command after --' prepare --free-from=trim disk.img --
	[ "$(key state)" = none ]
	[ -z "$(ls "$TMPDIR")" ]
}

@test "a dry run opens no checkpoint" {
	expect 0 prepare -v -n --free-from=trim disk.img -- qemu-io -f raw -c 'discard 40M 8M' '{}'
	grep -q '8.0 MiB free' <<<"$output"
	same_as "$before"
}

@test "a signal, or the end of the server, leaves no checkpoint" {
	"$BOWIMG" prepare --free-from=trim disk.img -- \
		sh -c 'qemu-io -f raw -c "discard 40M 8M" {} && touch up; sleep 5' 2>err 3>&- &
	wait_until test -e up
	kill -TERM $!
	status=0
	wait $! || status=$?
	[ "$status" -eq 1 ]
	grep -q 'signal' err
	expect 5 prepare --free-from=trim disk.img -- \
		sh -c 'qemu-io -f raw -c "discard 40M 8M" {}; kill -9 $(pgrep -P $PPID -x nbdkit)'
	expect 1 prepare --free-from=trim disk.img -- \
		sh -c 'qemu-io -f raw -c "discard 40M 8M" {}; kill $(pgrep -P $PPID -x nbdkit); sleep 0.5'
	same_as "$before"
}

@test "nobody else may have the image meanwhile, and no checkpoint may be open" {
	expect 0 prepare -q --free-from=trim disk.img -- \
		sh -c "! $BOWIMG prepare disk.img 2>err && qemu-io -f raw -c 'discard 40M 8M' {} >/dev/null"
	grep -q 'in use' err
	refused 3 'open' prepare --free-from=trim disk.img -- true
	roll_back
}
