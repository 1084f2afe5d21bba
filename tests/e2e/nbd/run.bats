#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# run --via=nbd: what the command gets, policies, signals; and messages of serve.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd

setup() {
	nbd_setup 24M
	# Where run makes its private directory.
	export TMPDIR=$T/tmp
	mkdir "$TMPDIR"
}

nothing_left_behind() {
	[ -z "$(ls "$TMPDIR")" ]
	[ -z "$(pgrep -f "nbdkit.*$T/")" ]
}

change() {
	echo "qemu-io -f raw -c 'write -P $1 8M 1M' {} >/dev/null"
}

holds() {
	cmp -s -i $((8 << 20)):0 -n $((1 << 20)) disk.img <(head -c 1M /dev/zero | tr '\0' "\\$1")
}

@test "the command finds the disk in {} and in the environment, and nobody else does" {
	expect 0 run --via=nbd disk.img -- sh -c 'echo "{} $BOWIMG_URI $BOWIMG_DISK"
		stat -c %a "$(dirname "$BOWIMG_SOCKET")"; test -S "$BOWIMG_SOCKET"; nbdinfo --size {}'
	[[ ${lines[0]} =~ ^(nbd\+unix:[^ ]*)\ (nbd\+unix:[^ ]*)\ (nbd\+unix:[^ ]*)$ ]]
	[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[2]}" ]
	[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[3]}" ]
	[ "${lines[1]}" = 700 ]
	[ "${lines[2]}" = $((24 << 20)) ]
	nothing_left_behind
}

@test "the status is the command's, and the policies are kept" {
	expect 0 run --via=nbd disk.img -- sh -c "$(change 1)"
	same_as "$before"
	expect 3 run --via=nbd disk.img -- sh -c "$(change 1); exit 3"
	same_as "$before"
	expect 137 run --via=nbd disk.img -- sh -c "$(change 1); kill -9 \$\$"
	same_as "$before"
	expect 126 run --via=nbd disk.img -- /etc/passwd
	same_as "$before"
	expect 4 run --via=nbd --on-failure=keep disk.img -- sh -c "$(change 1); exit 4"
	[ "$(key state)" = checkpoint ]
	expect 0 rollback disk.img
	same_as "$before"
	expect 0 run --via=nbd --on-success=commit disk.img -- sh -c "$(change 2)"
	[ "$(key state)" = none ]
	holds 2
	nothing_left_behind
}

@test "a signal reaches the command and ends in the policy for failure" {
	for signal in INT TERM HUP; do
		env --default-signal="$signal" "$BOWIMG" run --via=nbd --on-success=commit disk.img -- \
			bash -c "trap 'echo caught; nbdinfo --size {}; exit 0' $signal; $(change 1); touch up
				for i in {1..100}; do sleep 0.1; done" >out 2>err 3>&- &
		wait_until test -e up
		kill "-$signal" $!
		wait $!
		rm up
		grep -q caught out
		# The disk was there until the command had ended.
		grep -qx $((24 << 20)) out
		grep -q 'rolled back' err
		same_as "$before"
		nothing_left_behind
	done
}

@test "a server that is killed under the command is started again, and one that dies always is a failure" {
	expect 0 run --via=nbd --on-success=commit disk.img -- \
		sh -c "$(change 1); kill -9 \$(pgrep -P \$PPID -x nbdkit); sleep 0.3
			qemu-io -f raw -c 'read -P 1 8M 1M' {} | grep -q 'read 1048576'"
	grep -q 'is started again' <<<"$stderr"
	[ "$(key state)" = none ]
	holds 1
	committed=$(sum disk.img)
	dying_nbdkit
	expect 125 run --via=nbd --on-success=commit disk.img -- \
		sh -c "$(change 2); touch die; kill -9 \$(pgrep -P \$PPID -x nbdkit); sleep 1"
	grep -q 'was killed' <<<"$stderr"
	grep -q 'rolled back' <<<"$stderr"
	same_as "$committed"
	nothing_left_behind
}

@test "kill -9 of run: the command is told, and the next start takes the directory away" {
	"$BOWIMG" run --via=nbd disk.img -- bash -c 'trap "touch told; exit" TERM; touch up
		for i in {1..100}; do sleep 0.1; done' 2>/dev/null 3>&- &
	wait_until test -e up
	nbdkit=$(nbdkit_of $!)
	kill -9 $!
	wait_until test -e told
	wait_until is_gone "$nbdkit"
	[ "$(key attached)" = false ]
	# The directory stays, and what is not such a directory, or in use.
	left=$(ls "$TMPDIR")
	[[ $left == bowimg-nbd.* ]]
	mkdir "$TMPDIR/bowimg-nbd.abcdef"
	touch "$TMPDIR/bowimg-nbd.abcdef/socket"
	ln -s /etc "$TMPDIR/bowimg-nbd.ghijkl"
	mkdir "$TMPDIR/bowimg-other"
	expect 0 rollback disk.img
	expect 0 run --via=nbd disk.img -- sh -c "ls '$TMPDIR' >during
		cp disk.img copy.img; $BOWIMG run --via=nbd --on-success=keep --on-failure=keep copy.img -- true
		$BOWIMG status {} >/dev/null 2>&1; nbdinfo --size {}"
	[ "$output" = $((24 << 20)) ]
	run ! grep -q "$left" during
	[ "$(ls "$TMPDIR")" = "$(printf 'bowimg-nbd.abcdef\nbowimg-nbd.ghijkl\nbowimg-other')" ]
	rm -r "${TMPDIR:?}"/*
	same_as "$before"
	nothing_left_behind
}

@test "a client that outlives the command loses its disk, and does not hold up the end" {
	expect 0 run --via=nbd disk.img -- sh -c 'sleep 30 | qemu-io -f raw {} >/dev/null 2>&1 &
		sleep 0.5'
	same_as "$before"
	nothing_left_behind
}

@test "kill -9 of run: the server ends, and the checkpoint stays" {
	"$BOWIMG" run --via=nbd disk.img -- sh -c "$(change 1); touch up; sleep 2" 2>/dev/null 3>&- &
	wait_until test -e up
	nbdkit=$(nbdkit_of $!)
	kill -9 $!
	wait_until is_gone "$nbdkit"
	[ "$(key state)" = checkpoint ]
	expect 0 rollback disk.img
	same_as "$before"
}

@test "a checkpoint with changes is not ended by a default" {
	expect 0 prepare disk.img
	expect 0 run --via=nbd --on-success=keep --on-failure=keep disk.img -- sh -c "$(change 1)"
	refused 125 'has changes since prepare' run --via=nbd disk.img -- true
	expect 0 rollback disk.img
	same_as "$before"
}

@test "both durabilities serve" {
	for durability in power process; do
		expect 0 run --via=nbd --durability=$durability disk.img -- sh -c "$(change 3)"
		same_as "$before"
	done
}

@test "what serve cannot do it says, with the exit status that tells why" {
	refused 3 'no checkpoint is open' serve --socket s disk.img
	refused 2 'socket' serve disk.img
	refused 1 'no such file' serve --socket s nowhere.img
	expect 0 prepare disk.img
	refused 1 'no such file' serve --socket nowhere/s disk.img
	touch file
	refused 1 'something else' serve --socket file disk.img
	refused 1 'too long' serve --socket "$(printf 'x%.0s' {1..120})" disk.img
	touch -d '+1 hour' disk.img
	refused 7 'changed' serve --socket s disk.img
	serve --force=changed
	unserve
	[ ! -e s ]
	expect 0 rollback disk.img
}

@test "without nbdkit or its plugin the message names the package" {
	mkdir empty bin
	printf '#!/bin/sh\nPATH=%s exec %s "$@"\n' "$T/empty" "$BOWIMG" >without
	chmod +x without
	BOWIMG=$T/without refused 9 'needs nbdkit' serve --socket s disk.img
	BOWIMG=$T/without refused 125 'needs nbdkit' run --via=nbd disk.img -- "$(type -P true)"
	grep -q 'apt-get install nbdkit' <<<"$stderr"
	cp "$BOWIMG" bin/
	if ! "$T/bin/bowimg" serve --socket s disk.img 2>err; then
		grep -qE 'nbdkit-plugin-dev|no checkpoint' err
	fi
	same_as "$before"
}

@test "the URI of a socket with an odd name works" {
	expect 0 prepare disk.img
	mkdir "a b%?&=ä"
	cd "a b%?&=ä"
	"$BOWIMG" serve --socket "#s:1" ../disk.img >uri 3>&- &
	server=$!
	wait_until test -s uri
	[ "$(nbdinfo --size "$(cat uri)")" = $((24 << 20)) ]
	kill $server
	wait $server
	[ ! -e "#s:1" ]
	expect 0 rollback ../disk.img
}

@test "nbdkit serves the plugin directly" {
	expect 0 prepare disk.img
	plugin=$(dirname "$BOWIMG")/nbdkit-bowimg-plugin.so
	run nbdkit -f -U - "$plugin" disk.img --run \
		'qemu-io -f raw -c "write -P 7 8M 1M" -c "flush" -c "read -P 7 8M 1M" "$uri"'
	[ "$status" -eq 0 ]
	[ "$(key attached)" = false ]
	run nbdkit -f "$plugin" disk.img durability=sometimes
	[ "$status" -ne 0 ]
	grep -q 'power or process' <<<"$output"
	run nbdkit -f "$plugin"
	[ "$status" -ne 0 ]
	grep -q 'image is missing' <<<"$output"
	expect 0 rollback disk.img
	same_as "$before"
	run nbdkit -f -U - "$plugin" disk.img --run true
	[ "$status" -ne 0 ]
	grep -q 'bowimg prepare' <<<"$output"
}

@test "the plugin is started by a systemd socket, and served with TLS" {
	expect 0 prepare disk.img
	plugin=$(dirname "$BOWIMG")/nbdkit-bowimg-plugin.so
	within 60 env PATH="/usr/bin:$PATH" nbdsh -c "
h.connect_systemd_socket_activation(['nbdkit', '-f', '$plugin', 'disk.img'])
h.pwrite(b'x' * 65536, 8 << 20)
h.flush()
assert h.pread(65536, 8 << 20) == b'x' * 65536
h.shutdown()"
	wait_until sh -c '! "$BOWIMG" status -v disk.img | grep -q "^  attached *yes"'
	[ "$(key attached)" = false ]
	echo "alice:$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" >keys
	# shellcheck disable=SC2016
	run nbdkit -f -U - --tls=require --tls-psk="$T/keys" "$plugin" disk.img --run \
		'nbdinfo "nbds+unix://alice@/?socket=$unixsocket&tls-psk-file=keys"'
	[ "$status" -eq 0 ]
	grep -q 'with TLS' <<<"$output"
	expect 0 rollback disk.img
	same_as "$before"
}

# many_at_a_time [FLAGS]: writes 256 blocks here and there, sixteen at a time, over one connection.
many_at_a_time() {
	cat <<-EOF
		import nbd, sys
		h = nbd.NBD()
		h.connect_uri(sys.argv[1])
		todo, flying = list(range(1, 257)), 0
		def done(error):
		    global flying
		    assert error.value == 0
		    flying -= 1
		    return 1
		while todo or flying:
		    while todo and flying < 16:
		        blk = todo.pop() * 19 % 5000 + 1
		        h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"x" * 4096)), blk * 4096, done,
		                     flags=${1:-0})
		        flying += 1
		    h.poll(-1)
		h.flush()
	EOF
}

# write_many [FLAGS]: sets $records, of the log.
write_many() {
	# A disk in use: nothing is backed up ahead, and each block needs its backup.
	head -c 24M /dev/urandom >disk.img
	expect 0 prepare --free-from=none disk.img
	expect 0 run --via=nbd --on-success=keep disk.img -- /usr/bin/python3 -c "$(many_at_a_time "$@")" {}
	records=$("$BOWIMG" log --json disk.img |
		jq '[.[] | select(.type == "copy") | .sequence] | unique | length')
	echo "$records records"
}

@test "requests of one client are served side by side only by an nbdkit that survives its hanging up" {
	write_many nbd.CMD_FLAG_FUA # the server's own cache does not answer these
	if printf '%s\n' 1.34 "$(nbdkit --version | cut -d' ' -f2)" | sort -CV; then
		[ "$records" -le 128 ]
	else
		[ "$records" -ge 256 ]
	fi
	expect 0 rollback disk.img
	nothing_left_behind
}

@test "first overwrites of one client share barriers, whatever nbdkit it is" {
	write_many
	[ "$records" -le 64 ]
	expect 0 rollback disk.img
	nothing_left_behind
}

@test "a client that is killed with requests under way does not end the disk of the next one" {
	expect 0 run --via=nbd --on-success=commit disk.img -- bash -c "
		for i in 1 2 3 4; do
			qemu-img bench -f raw -c 1000000 -d 64 -o 12M -w {} >/dev/null & bench=\$!
			sleep 0.3
			kill -9 \$bench
			wait \$bench
			nbdinfo --size {} >/dev/null || exit 1
		done
		$(change 6)"
	holds 6
	[ "$(key state)" = none ]
	nothing_left_behind
}
