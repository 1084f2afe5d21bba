#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The lock that bowimg has on the export of an NBD server: whom it keeps out, by what name and from
# what namespace, and that nobody can have it who could not use the export.
#
# Alone: it looks at all locks on images of servers.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/remote

setup() {
	common_setup
	requires root fuse nbdkit jq
	make_ext4 disk.img 16M
	before=$(sum disk.img)
	mkdir dir
	remote
	expect 0 prepare -q "$remote"
}

teardown() {
	[ -z "${remote:-}" ] || timeout 60 "$BOWIMG" detach "$remote" >/dev/null 2>&1 || true
	rm -f /tmp/.bowimg-nbd-*-00000000deadbeef
	common_teardown
}

# Takes the lock until let_go.
hold() {
	rm -f uri
	"$BOWIMG" serve --socket mine.sock "$remote" >uri 2>serve.err 3>&- &
	holder=$!
	wait_until test -s uri
}

let_go() {
	kill "$holder"
	wait "$holder" || true
}

# The names of all locks on this export.
locks() {
	find "$T" /run/bowimg/lock -maxdepth 1 -name "$lock*"
}

roll_back() {
	expect 0 rollback -q "$remote"
	[ "$(sum disk.img)" = "$before" ]
}

# refused_in NAMESPACE... WORDS: a rollback there; unshare's options.
refused_in() {
	run within 60 unshare "${@:1:$#-1}" "$BOWIMG" rollback "$remote"
	echo "$output"
	[ "$status" -eq 4 ] && [[ $output == *"${*: -1}"* ]]
}

@test "another network namespace is no way around it, and who has it is named" {
	hold
	refused_in -n "another bowimg of root has it open: process "
	# The process that serves, which is nbdkit.
	[[ $output =~ process\ ([0-9]+)\ \(nbdkit\) ]]
	tr '\0' '\n' <"/proc/${BASH_REMATCH[1]}/cmdline" | grep -qF bowimg
	let_go
	roll_back
}

@test "a container with processes, /run and /tmp of its own is no way around it" {
	hold
	# The program itself may live under what the container hides.
	cp "$BOWIMG" program
	cat >container <<-END
		mount -t tmpfs none /run && mount -t tmpfs none /tmp && exec ./program rollback "$remote"
	END
	run within 60 unshare -mnpf --mount-proc sh container
	echo "$output"
	[ "$status" -eq 4 ]
	[[ $output == *"another bowimg of root has it open: in another container"* ]]
	let_go
	run within 60 unshare -mnpf --mount-proc sh container
	[ "$status" -eq 0 ]
	[ "$(sum disk.img)" = "$before" ]
}

@test "a socket by another name is the same socket" {
	mkdir other
	ln remote.sock other/hard.sock
	ln -s ../remote.sock other/symbolic.sock
	touch other/bound.sock
	mount --bind remote.sock other/bound.sock
	hold
	for name in hard symbolic bound; do
		refused 4 "another bowimg" rollback "nbd+unix:///?socket=$T/other/$name.sock"
	done
	let_go
	umount other/bound.sock
	roll_back
}

@test "a server that took the place of one that still serves is the same export" {
	expect 0 attach --fuse dir "$remote"
	rm remote.sock
	first=$remote_pid
	cp disk.img other.img
	rm -f remote.pid
	nbdkit -P remote.pid -U "$T/remote.sock" file other.img 3>&-
	refused 4 "another bowimg of root has it open: process [0-9]+ \(bowimg\)" rollback "$remote"
	expect 0 detach "$remote"
	expect 0 rollback -q "$remote"
	kill "$first"
}

@test "it goes with the process, and what a killed one leaves behind is cleared away" {
	expect 0 attach --fuse dir "$remote"
	lock=$(basename "$(ls -d "$T"/.bowimg-nbd-*)")
	lock=${lock%-*}
	[ "$(locks | wc -l)" -eq 2 ]
	kill_daemon "$remote"
	[ "$(locks | wc -l)" -eq 2 ]
	roll_back
	[ -z "$(locks)" ]
}

@test "of several at once one gets it" {
	for _ in 1 2 3; do
		expect 0 prepare -q "$remote" || true
		pids=()
		for _ in 1 2 3; do
			timeout 60 "$BOWIMG" rollback -q "$remote" 2>/dev/null 3>&- &
			pids+=($!)
		done
		done_by=0
		for pid in "${pids[@]}"; do
			status=0
			wait "$pid" || status=$?
			[ "$status" -eq 0 ] && done_by=$((done_by + 1))
			[[ $status == [034] ]]
		done
		[ "$done_by" -le 1 ]
		[ "$(key state "$remote")" = none ] || expect 0 rollback -q "$remote"
		[ "$(sum disk.img)" = "$before" ]
		expect 0 prepare -q "$remote"
	done
}

# squat NAME: as nobody, listen there, as one who has the lock does; the process is $squatter.
squat() {
	setpriv --reuid=65534 --regid=65534 --clear-groups nbdkit -f -U "$1" null 1M 2>squat.err 3>&- &
	squatter=$!
	wait_until test -S "$1"
}

@test "a user who may not use the export cannot keep root out of it; one who may can, and is named" {
	requires setpriv
	hold
	lock=$(basename "$(ls -d "$T"/.bowimg-nbd-*)")
	let_go
	chmod 755 "$T"
	chmod 700 remote.sock
	squat "/tmp/${lock%-*}-00000000deadbeef"
	roll_back
	expect 0 prepare -q "$remote"
	# He may write to the socket, but cannot get there.
	chmod 777 remote.sock
	chmod 700 "$T"
	roll_back
	expect 0 prepare -q "$remote"
	chmod 755 "$T"
	refused 4 "another bowimg of user number 65534 has it open: process $squatter" rollback "$remote"
	kill "$squatter"
	wait_until is_gone "$squatter"
	roll_back
}

@test "a TCP address by a name is the same address; in another network it is another server" {
	requires ip
	local port
	kill "$remote_pid"
	remote_tcp
	port=${remote##*:}
	hold
	refused 4 "another bowimg" rollback "$remote"
	refused 4 "another bowimg" rollback "nbd://0x7f000001:${port%/}/"
	cp disk.img other.img
	cat >elsewhere <<-END
		ip link set lo up && nbdkit -P elsewhere.pid -i 127.0.0.1 -p ${port%/} file other.img &&
			"$BOWIMG" rollback "$remote"
		status=\$?
		kill "\$(cat elsewhere.pid)"
		exit "\$status"
	END
	run within 60 unshare -n sh elsewhere 3>&-
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(sum other.img)" = "$before" ]
	let_go
	roll_back
}

@test "what another client writes to the first block is seen, and left alone" {
	requires qemu-io
	expect 0 attach --fuse dir "$remote"
	qemu-io -f raw -c 'write -P 0x5a 0 512' "$remote"
	refused 7 "another program wrote to block 0" detach "$remote"
	cmp <(head -c 512 disk.img) <(head -c 512 /dev/zero | tr '\0' Z)
}
