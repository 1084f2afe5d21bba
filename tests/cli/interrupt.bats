#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Ctrl-C, SIGTERM and SIGHUP in the middle of every verb that takes its time: it says what became of
# the data, leaves no file, dies by that signal, and the same command again finishes it.
#
# Images are on NBD servers that answer slowly; what is on the disk is looked at behind their backs.

load ../lib/common
load ../lib/front

SIGNALS=(INT TERM HUP)

setup() {
	common_setup
	requires nbdkit qemu-io jq python3
}

# An image, $T/orig.img, and what became of it: $T/changed.img, with an open checkpoint.
changed() {
	local made=$BATS_FILE_TMPDIR/changed zeros=() i
	# A commit has as many steps as there are ranges of zeros.
	for ((i = 0; i < 24; i++)); do zeros+=(-c "write -z $((12288 + 64 * i))k 4k"); done
	make_ext4 orig.img 24M
	if [ ! -f "$made" ]; then
		cp orig.img changed.img
		head -c 6M /dev/urandom >new
		expect 0 prepare changed.img
		expect 0 run -q --via=nbd --on-success=keep changed.img -- qemu-io -f raw \
			-c "write -s $T/new 1M 6M" "${zeros[@]}" '{}'
		cp --preserve=timestamps changed.img "$made"
	fi
	cp --preserve=timestamps "$made" changed.img
}

# slow IMAGE DELAY-OPTION...: a copy of the image as disk.img here, behind a slow server: sets $uri.
slow() {
	cp --preserve=timestamps "$1" disk.img
	nbdkit -U "$PWD/s" -P pid --filter=delay file disk.img "${@:2}" 3>&- || return 1
	wait_until test -s pid
	uri="nbd+unix:///?socket=$PWD/s"
}

# cut SIGNAL WHEN ARG...: bowimg, interrupted; it must die by that signal, with words.
cut() {
	local how
	how=$(python3 "$ROOT_DIR/tests/lib/interrupt.py" "$1" "$2" "$BOWIMG" "${@:3}" 2>said)
	echo "$3, $1: $how: $(cat said)"
	[ "$how" = "signal $1" ]
	[ "$(grep -c 'interrupted: ' said)" -eq 1 ]
	grep -qE "run '?bowimg $3 .*'? to (finish|begin again)$" said
}

# by_each FUNCTION ARG...: FUNCTION SIGNAL ARG... for each signal, side by side, each in a directory of
# its own. Most of the time is waiting.
by_each() {
	local pids=() signal pid place status=0
	for signal in "${SIGNALS[@]}"; do
		place=$(mktemp -d "$T/$signal.XXX")
		(cd "$place" && set -eE && "$1" "$signal" "${@:2}") >"$place/log" 2>&1 &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || status=1
	done
	[ "$status" -eq 0 ] || cat "$T"/*.???/log
	return "$status"
}

state() {
	"$BOWIMG" status --json "$1" | jq -r .state
}

# Verbs that only look, and those that look for long before they write.
# nothing_changed SIGNAL IMAGE ARG...: of bowimg, on a copy of the image.
nothing_changed() {
	slow "$2" delay-read=20ms
	cut "$1" 0.1 "${@:3}" "$uri"
	grep -q 'interrupted: nothing was changed' said
	cmp "$2" disk.img
	[ -z "$(find . -name '*.tar*' -o -name '.bowimg*')" ]
}

# all_end_well PID...
all_end_well() {
	local pid
	for pid in "$@"; do
		wait "$pid" || return 1
	done
}

@test "verify, export, rescue, and rollback before it begins: nothing was changed" {
	local pids=()
	changed
	cp changed.img lost.img
	dd if=/dev/zero of=lost.img bs=512 count=1 conv=notrunc status=none
	by_each nothing_changed "$T/changed.img" verify &
	pids+=($!)
	by_each nothing_changed "$T/changed.img" rollback &
	pids+=($!)
	by_each nothing_changed "$T/changed.img" export --redo -o p.tar.zst &
	pids+=($!)
	by_each nothing_changed "$T/lost.img" rescue --write --force=changed &
	pids+=($!)
	all_end_well "${pids[@]}"
	expect 0 rescue --write --force=changed lost.img
	expect 0 rollback --force=changed lost.img
	cmp orig.img lost.img
}

files_changed() {
	make_ext4 orig.img 24M
	cp orig.img files.img
	expect 0 prepare files.img
	head -c 8M /dev/urandom >large
	expect 0 run -q --via=fuse --on-success=keep files.img -- debugfs -w -R "write $T/large large" '{}'
}

@test "prepare, map, diff --files and --tar: nothing was changed, no file is left" {
	local pids=()
	requires fuse debugfs
	files_changed
	# Free space that is full of something is looked at: zeros, of which none is a hole.
	dd if=/dev/zero of=zeros bs=1M count=12 status=none
	dd if=zeros of=orig.img bs=1M seek=10 conv=notrunc status=none
	truncate -s 32M groups.img
	mkfs.ext4 -q -F -b 1024 -g 1024 groups.img
	by_each nothing_changed "$T/orig.img" prepare --exact &
	pids+=($!)
	by_each nothing_changed "$T/groups.img" map &
	pids+=($!)
	by_each nothing_changed "$T/files.img" diff --tar=l.tar.gz &
	pids+=($!)
	by_each nothing_changed "$T/files.img" diff --files &
	pids+=($!)
	all_end_well "${pids[@]}"
}

# Verbs in the middle of what they change.

# half_done SIGNAL STATE IMAGE ARG...: it is left in that state, and comes to be as IMAGE.
half_done() {
	slow "$T/changed.img" delay-write=300ms delay-zero=300ms
	cut "$1" "[ \"\$($BOWIMG status --json disk.img | jq -r .state)\" = $2 ]" "${@:4}" "$uri"
	grep -q "interrupted: the $4 is half done and nothing is lost; run bowimg .* to finish" said
	[ "$(state disk.img)" = "$2" ]
	# Again, and again interrupted.
	cut "$1" 0.4 "${@:4}" "$uri"
	kill "$(cat pid)"
	"$BOWIMG" "${@:4}" disk.img
	cmp "$3" disk.img
}

@test "rollback and commit in the middle: they say so, and the same command finishes it" {
	local pids=()
	changed
	cp changed.img end.img
	expect 0 commit --wipe --force=changed end.img
	by_each half_done rolling-back "$T/orig.img" rollback &
	pids+=($!)
	by_each half_done committing "$T/end.img" commit --wipe &
	pids+=($!)
	all_end_well "${pids[@]}"
}

# apply rolls back what it did, whenever it is interrupted.
apply_is_undone() {
	slow "$T/orig.img" delay-write=200ms
	# The superblock says that there is a checkpoint; bowimg status would take its time to say so.
	cut "$1" "! cmp -s -n 512 disk.img $T/orig.img" apply "$T/redo.tar" "$uri"
	grep -q 'interrupted: .* was rolled back and is as it was' said
	kill "$(cat pid)"
	[ "$(state disk.img)" = none ]
	cmp "$T/orig.img" disk.img
	"$BOWIMG" apply "$T/redo.tar" disk.img
	cmp "$T/end.img" disk.img
}

apply_before() {
	slow "$T/orig.img" delay-read=50ms
	cut "$1" 0.3 apply "$T/redo.tar" "$uri"
	grep -q 'interrupted: nothing was changed' said
	cmp "$T/orig.img" disk.img
}

@test "apply: nothing was changed, or it is undone" {
	local pids=()
	changed
	expect 0 export --redo -o redo.tar changed.img
	cp changed.img end.img
	expect 0 commit --wipe --force=changed end.img
	by_each apply_before &
	pids+=($!)
	by_each apply_is_undone &
	pids+=($!)
	all_end_well "${pids[@]}"
}

has_begun() {
	[ "$(state disk.img)" = rolling-back ]
}

@test "a second signal ends it at once, and what was begun can be finished" {
	changed
	slow changed.img delay-write=300ms delay-zero=300ms
	"$BOWIMG" rollback "$uri" 2>said 3>&- &
	pid=$!
	wait_until has_begun
	kill -TERM "$pid"
	kill -TERM "$pid"
	wait "$pid" || status=$?
	[ "$status" -eq 143 ]
	kill "$(cat pid)"
	expect 0 rollback disk.img
	cmp orig.img disk.img
}

@test "what is ignored stays ignored: nohup" {
	changed
	slow changed.img delay-write=100ms delay-zero=100ms
	# shellcheck disable=SC2016
	bash -c 'trap "" HUP; exec "$BOWIMG" rollback "$1"' - "$uri" >out 2>said 3>&- &
	pid=$!
	wait_until has_begun
	kill -HUP "$pid"
	wait "$pid"
	kill "$(cat pid)"
	cmp orig.img disk.img
}

@test "with --json it is an object, with the status that a shell shows" {
	make_ext4 orig.img 24M
	dd if=/dev/zero of=orig.img bs=1M seek=10 count=12 conv=notrunc status=none
	slow orig.img delay-read=15ms
	python3 "$ROOT_DIR/tests/lib/interrupt.py" TERM 0.3 "$BOWIMG" prepare --json --exact "$uri" 2>said
	[ "$(jq .error.exit said)" -eq 143 ]
	jq -r .error.message said | grep -q "^interrupted: nothing was changed; run bowimg prepare "
	cmp orig.img disk.img
}

@test "the command that is named can be pasted" {
	local command
	changed
	slow changed.img delay-read=50ms
	cut INT 0.3 export --undo -o "its name.tar" "$uri"
	command=$(sed -n 's/.*; run \(bowimg .*\) to begin again$/\1/p' said)
	kill "$(cat pid)"
	wait_until is_gone "$(cat pid)"
	rm -f pid s
	slow changed.img delay-read=0
	PATH=$(dirname "$BOWIMG"):$PATH bash -c "$command"
	[ -s "its name.tar" ]
}
