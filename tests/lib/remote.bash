# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# For tests of images on an NBD server, after front:   load ../lib/remote
#
# The server is nbdkit on $T/disk.img, $remote its URI, $remote_pid its process.

# remote [FILTER-OPTION...] [-- PARAMETER...]: on the unix socket $T/remote.sock.
remote() {
	remote="nbd+unix:///?socket=$T/remote.sock"
	rm -f "$T/remote.sock"
	remote_start -U "$T/remote.sock" "$@"
}

# remote_tcp [FILTER-OPTION...] [-- PARAMETER...]: on a free port of this machine.
remote_tcp() {
	local port
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		port=$((20000 + RANDOM % 10000))
		# shellcheck disable=SC2034
		remote="nbd://127.0.0.1:$port/"
		remote_start -i 127.0.0.1 -p "$port" "$@" 2>>"$T/remote.err" && return 0
	done
	cat "$T/remote.err"
	return 1
}

# remote_tls [FILTER-OPTION...] [-- PARAMETER...]: as remote, with TLS by a shared key.
remote_tls() {
	echo "alice:$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$T/keys"
	remote --tls=require --tls-psk="$T/keys" "$@"
	# shellcheck disable=SC2034
	remote="nbds+unix://alice@/?socket=$T/remote.sock&tls-psk-file=$T/keys"
}

remote_start() {
	local options=()
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	rm -f "$T/remote.pid"
	# Comes back when clients can connect, which can be before its process has written its number.
	nbdkit -P "$T/remote.pid" "${options[@]}" file "$T/disk.img" "${@:2}" 3>&- || return 1
	wait_until test -s "$T/remote.pid"
	remote_pid=$(cat "$T/remote.pid")
}

# remote_stop [SIGNAL]
remote_stop() {
	kill "-${1:-TERM}" "$remote_pid"
	wait_until is_gone "$remote_pid"
}
