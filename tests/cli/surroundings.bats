#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a process inherits: closed descriptors, limits, a reader that goes away, a umask, TMPDIR.

load ../lib/common

MIB=$((1 << 20))

# limited KIB ARG...: bowimg under a limit on the size of files.
limited() {
	local kib=$1
	shift
	run --separate-stderr bash -c 'ulimit -f "$1"; shift; exec "$BOWIMG" "$@"' - "$kib" "$@"
	echo "\$ (ulimit -f $kib) bowimg $* => $status"
	printf '%s\n' "$output" "$stderr"
}

# limited_away PATTERN: exit 5, and the words are about a limit.
limited_away() {
	[ "$status" -eq 5 ]
	grep -q "$1" <<<"$stderr"
	grep -q 'File too large' <<<"$stderr"
	grep -q '^  .*limit' <<<"$stderr"
	! grep -qi 'make room\|no space' <<<"$stderr"
}

# changed IMAGE: a checkpoint, and 2 MiB of other data.
changed() {
	make_ext4 "$1" 32M
	cp "$1" orig.img
	head -c 2M /dev/urandom >new
	expect 0 prepare "$1"
	expect 0 run --via=nbd --on-success=keep "$1" -- \
		qemu-io -f raw -c "write -s $T/new 8M 2M" '{}'
}

@test "closed standard streams never become the image, and the report goes nowhere else" {
	local how
	make_ext4 disk.img 16M
	cp disk.img orig.img
	for how in '<&-' '>&-' '2>&-' '<&- >&-' '<&- 2>&-' '<&- >&- 2>&-'; do
		bash -c "exec \"\$BOWIMG\" prepare disk.img $how" || true
		[ "$("$BOWIMG" status --json disk.img | tr -d ' \n' | grep -c '"state":"checkpoint"')" -eq 1 ]
		expect 0 verify disk.img
		bash -c "exec \"\$BOWIMG\" rollback disk.img $how" || true
		cmp disk.img orig.img
	done
}

@test "a report that cannot be written is a failure, and says that the work is done" {
	make_ext4 disk.img 16M
	cp disk.img orig.img
	run -1 --separate-stderr bash -c '"$BOWIMG" prepare disk.img >/dev/full'
	grep -q 'the command is done, but .*No space left' <<<"$stderr"
	run -1 --separate-stderr bash -c '"$BOWIMG" status disk.img >/dev/full'
	run -1 --separate-stderr bash -c '"$BOWIMG" rollback disk.img >&-'
	grep -q 'the command is done, but .*Bad file descriptor' <<<"$stderr"
	cmp disk.img orig.img
}

@test "a limit on the size of files: prepare refuses, and nothing was changed" {
	make_ext4 disk.img 32M
	cp disk.img orig.img
	# Below the image's size; the image's size, which leaves no room for the last step.
	for kib in 1024 16384 32768; do
		limited "$kib" prepare --free-from=none disk.img
		limited_away 'disk.img: '
		limited "$kib" prepare --store=tail disk.img
		limited_away 'disk.img: '
		cmp disk.img orig.img
		[ "$(stat -c %s disk.img)" -eq $((32 * MIB)) ]
	done
	limited 65536 prepare disk.img
	[ "$status" -eq 0 ]
}

@test "a limit on the size of files: rollback and commit begin nothing" {
	requires nbdkit qemu-io
	changed disk.img
	cp --preserve=timestamps disk.img saved.img
	for verb in rollback commit; do
		limited 16384 "$verb" disk.img
		limited_away 'nothing was changed'
		cmp disk.img saved.img
	done
	expect 0 rollback disk.img
	cmp disk.img orig.img
}

@test "a limit on the size of files: the guest's write fails, the tail is as it was, and all comes back" {
	requires nbdkit qemu-io
	head -c 16M /dev/urandom >disk.img
	cp disk.img orig.img
	expect 0 prepare --free-from=none disk.img
	# Room for some MiB of backups.
	limited 22528 run --via=nbd --on-success=keep --on-failure=keep disk.img -- \
		bash -c 'for i in {0..11}; do qemu-io -f raw -c "write -P $i ${i}M 1M" "$1" || exit 7; done' - '{}'
	[ "$status" -eq 7 ]
	grep -qi 'no space left' <<<"$output$stderr"
	[ "$(stat -c %s disk.img)" -le $((22 * MIB)) ]
	expect 0 verify disk.img
	expect 0 rollback disk.img
	cmp disk.img orig.img
}

@test "a limit on the size of files: export and diff --tar leave no file, and say why" {
	requires nbdkit qemu-io fuse debugfs
	changed disk.img
	mkdir out
	make_ext4 files.img 16M
	expect 0 prepare files.img
	head -c 100000 /dev/urandom >fresh
	expect 0 run --via=fuse --on-success=keep files.img -- debugfs -w -R 'write fresh fresh' '{}'
	for suffix in tar tar.zst; do
		limited 1 export --redo -o "out/p.$suffix" disk.img
		limited_away 'write '
		limited 1 diff --tar="out/l.$suffix" files.img
		limited_away 'files.img: '
		[ -z "$(ls -A out)" ]
	done
}

@test "a limit on the size of files is no reason to die for the user's command, either way" {
	make_ext4 disk.img 16M
	requires nbdkit
	# The command gets the signals as they are by default: 153 is SIGXFSZ, 141 SIGPIPE.
	limited 32768 run -q --via=nbd disk.img -- sh -c 'ulimit -f 1; exec head -c 100000 /dev/zero >big'
	[ "$status" -eq 153 ]
	expect 141 run -q --via=nbd disk.img -- bash -c 'kill -PIPE $$; sleep 5'
}

@test "a reader that goes away ends neither a rollback nor a commit, nor what is served" {
	make_ext4 disk.img 16M
	cp disk.img orig.img
	for verb in rollback commit; do
		"$BOWIMG" prepare disk.img | true
		[ "$("$BOWIMG" status --json disk.img | grep -c '"checkpoint"')" -eq 1 ]
		"$BOWIMG" "$verb" disk.img | true
		[ "$("$BOWIMG" status --json disk.img | grep -c '"none"')" -eq 1 ]
	done
	requires nbdkit
	"$BOWIMG" run --via=nbd disk.img -- true 2>&1 | true
	[ "$("$BOWIMG" status --json disk.img | grep -c '"none"')" -eq 1 ]
}

@test "what only looks dies quietly with its reader" {
	make_ext4 disk.img 16M
	expect 0 prepare disk.img
	for verb in status verify diff log map; do
		run --separate-stderr bash -c 'set -o pipefail; trap - PIPE; { sleep 0.05; exec "$BOWIMG" "$@"; } | true' - "$verb" disk.img
		[ "$status" -eq 141 ]
		[ -z "$stderr" ]
	done
}

@test "a umask of 0777 is no obstacle to bowimg's own directories" {
	requires root setpriv nbdkit
	make_ext4 disk.img 16M
	# The build tree may be where only root can go.
	mkdir bin
	cp "$BOWIMG" "$(dirname "$BOWIMG")/nbdkit-bowimg-plugin.so" bin/
	chown 65534:65534 . disk.img
	export XDG_RUNTIME_DIR=$T
	run -0 setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs -- \
		bash -c 'umask 0777; bin/bowimg run -q --via=nbd disk.img -- true'
	run setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs -- \
		bash -c 'umask 0777; bin/bowimg run -q --via=fuse disk.img -- true'
	# That device may not be everybody's, and without new privileges fusermount3 cannot mount.
	[ "$status" -eq 0 ] || grep -qE '/dev/fuse|fusermount3: mount failed' <<<"$output"
	[ "$(stat -c %a bowimg)" = 700 ]
}

@test "TMPDIR that is not there, or cannot be written to: said, and nothing was changed" {
	requires nbdkit qemu-io
	changed disk.img
	expect 0 export --undo -o undo.tar disk.img
	expect 0 commit disk.img
	cp disk.img saved.img
	run --separate-stderr bash -c 'TMPDIR=$T/none exec "$BOWIMG" apply - disk.img < <(cat undo.tar)'
	[ "$status" -eq 1 ]
	grep -q "$T/none" <<<"$stderr"
	grep -q 'TMPDIR' <<<"$stderr"
	cmp disk.img saved.img
	# A socket's directory is looked for there, too.
	run --separate-stderr env TMPDIR="$T/none" "$BOWIMG" run --via=nbd disk.img -- true
	[ "$status" -eq 125 ]
	grep -q 'TMPDIR' <<<"$stderr"
	[ "$("$BOWIMG" status --json disk.img | grep -c '"none"')" -eq 1 ]
}

@test "few descriptors, little memory: refused in words, or done; never half" {
	local n
	make_ext4 disk.img 16M
	cp disk.img orig.img
	for n in 4 6 8 10; do
		run --separate-stderr bash -c 'ulimit -n "$1"; exec "$BOWIMG" prepare -q disk.img' - "$n"
		[ "$status" -eq 0 ] || [ -n "$stderr" ]
		[ "$status" -lt 128 ]
		run --separate-stderr bash -c 'ulimit -n "$1"; exec "$BOWIMG" rollback -q disk.img' - "$n"
		[ "$status" -lt 128 ]
		[ "$("$BOWIMG" status --json disk.img | grep -c '"none"')" -eq 1 ] || expect 0 rollback disk.img
		cmp disk.img orig.img
	done
	for n in 20000 60000 100000; do
		run --separate-stderr bash -c 'ulimit -v "$1"; exec "$BOWIMG" prepare -q disk.img' - "$n"
		[ "$status" -lt 128 ]
		run --separate-stderr bash -c 'ulimit -v "$1"; exec "$BOWIMG" rollback -q disk.img' - "$n"
		[ "$status" -lt 128 ]
		[ "$("$BOWIMG" status --json disk.img | grep -c '"none"')" -eq 1 ] || expect 0 rollback disk.img
		cmp disk.img orig.img
	done
}
