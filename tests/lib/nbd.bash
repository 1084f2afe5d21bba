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

# kill_nbdkit: kill -9, and wait until bowimg has started another one.
kill_nbdkit() {
	local old
	old=$(nbdkit_of "$server")
	kill -9 "$old"
	wait_until another_nbdkit "$old"
}

another_nbdkit() {
	local new
	new=$(nbdkit_of "$server") && [ "$new" != "$1" ]
}

# dying_nbdkit: from now on one that is killed at its start as soon as the file "die" is there.
dying_nbdkit() {
	mkdir -p "$T/bin"
	printf '#!/bin/sh\n[ ! -e "%s/die" ] || kill -9 $$\nexec %s "$@"\n' "$T" "$(command -v nbdkit)" \
		>"$T/bin/nbdkit"
	chmod +x "$T/bin/nbdkit"
	PATH=$T/bin:$PATH
}

# kill_server: kill -9 of nbdkit and of bowimg, whose status is in $status. Stopped, nbdkit does not
# notice that it is alone, and close the image.
kill_server() {
	local nbdkit
	nbdkit=$(nbdkit_of "$server")
	kill -STOP "$nbdkit"
	kill -9 "$server" "$nbdkit"
	wait_until is_gone "$nbdkit" || return 1
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
