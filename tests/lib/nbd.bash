# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# For the tests of serve and run --via=nbd, after common, front and e2e:   load ../lib/nbd
#
# The image is $T/disk.img, the socket $T/nbd.sock. $before is the image's checksum.

# nbd_setup SIZE [MKFS-OPTION...]
nbd_setup() {
	common_setup
	requires nbdkit nbdsh qemu-io qemu-img nbdcopy nbdinfo jq
	make_ext4 disk.img "$@"
	before=$(sum disk.img)
}

# serve [OPTION...]: sets $server (of bowimg) and $uri.
serve() {
	rm -f "$T/uri"
	"$BOWIMG" serve --socket "$T/nbd.sock" "$@" "$T/disk.img" >"$T/uri" 2>"$T/serve.err" 3>&- &
	server=$!
	wait_until test -s "$T/uri" || {
		cat "$T/serve.err"
		return 1
	}
	uri=$(cat "$T/uri")
}

# unserve [SIGNAL]: it must end well, and soon.
unserve() {
	local status=0
	kill "-${1:-TERM}" "$server"
	wait_until is_gone "$server" || return 1
	wait "$server" || status=$?
	cat "$T/serve.err"
	[ "$status" -eq 0 ] || {
		echo "serve ended with status $status"
		return 1
	}
	[ ! -e "$T/nbd.sock" ]
	[ "$(key attached)" = false ]
}

# The nbdkit below our serve or run.
nbdkit_of() {
	pgrep -P "$1" -x nbdkit
}

# kill_server: kill -9 of nbdkit, then wait for bowimg; its status in $status.
kill_server() {
	kill -9 "$(nbdkit_of "$server")"
	wait_until is_gone "$server" || return 1
	status=0
	wait "$server" || status=$?
}

# io COMMAND...: qemu-io on the served disk; a pattern that does not match is an error.
io() {
	local args=() command
	for command in "$@"; do args+=(-c "$command"); done
	within 60 qemu-io -f raw "${args[@]}" "$uri" >"$T/io.out" 2>&1 || {
		cat "$T/io.out"
		return 1
	}
	! grep -qiE 'failed|error' "$T/io.out" || {
		cat "$T/io.out"
		return 1
	}
}

# nbd_python CODE: with a connected client h that checks nothing itself.
nbd_python() {
	# The module belongs to the system's Python, which need not be the first in PATH.
	within 60 env PATH="/usr/bin:$PATH" nbdsh -c 'h.set_strict_mode(0)' -c "h.connect_uri('${2:-$uri}')" -c "$1"
}

# The checkpoint as it is can be undone, and everything is as before.
roll_back() {
	expect 0 verify disk.img
	expect 0 rollback disk.img
	same_as "$before" disk.img
}
