# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# For tests of a disk that is far away, after common and front; root:   load ../lib/far
#
# The client and the server's end of the link are two network namespaces, joined by a pair of virtual
# devices; the server itself listens on a socket. tools/nbd_far.py, at the server's end, delays.

FAR_TOOLS=(root ip nsenter python3)
FAR_ADDRESS=10.0.0.2

# far_start MILLISECONDS SOCKET: the disk of that server, so far away, at $far, for what runs in far.
far_start() {
	requires "${FAR_TOOLS[@]}"
	far_net="bow-$$-$RANDOM"
	# shellcheck disable=SC2034
	far="nbd://$FAR_ADDRESS/"
	ip netns add "$far_net-c"
	ip netns add "$far_net-s"
	ip -n "$far_net-c" link add link0 type veth peer name link0 netns "$far_net-s"
	ip -n "$far_net-c" address add 10.0.0.1/24 dev link0
	ip -n "$far_net-s" address add "$FAR_ADDRESS/24" dev link0
	ip -n "$far_net-c" link set link0 up
	ip -n "$far_net-s" link set link0 up
	: >far.log
	nsenter --net="/run/netns/$far_net-s" python3 "${BASH_SOURCE[0]%/*}/../tools/nbd_far.py" "$1" \
		"$FAR_ADDRESS:10809" "$2" far.log >>far.out 2>&1 3>&- </dev/null &
	far_proxy=$!
	wait_until far_answers
}

far_answers() {
	in_far timeout 10 nbdinfo --size "$far"
}

# in_far COMMAND...: at the client's end.
in_far() {
	nsenter --net="/run/netns/$far_net-c" "$@"
}

# Also what a test that fails calls.
far_stop() {
	[ -z "${far_proxy:-}" ] || kill "$far_proxy" 2>/dev/null || true
	far_proxy=
	[ -z "${far_net:-}" ] || {
		ip netns delete "$far_net-c" 2>/dev/null || true
		ip netns delete "$far_net-s" 2>/dev/null || true
	}
	far_net=
}

# far_flight KIND...: of the requests of these kinds (Read, Write, Zero, Flush, Extents) since far.log was
# cut: the most that were in flight at once, how many on average from the first one to the last answer, and
# all of them.
far_flight() {
	awk -v kinds="^($(tr ' ' '|' <<<"$*"))\$" '
	$3 ~ kinds {
		if (!all)
			began = $1
		sum += now * ($1 - last)
		last = $1
		now += $2 == "+" ? 1 : -1
		all += $2 == "+"
		if (now > most)
			most = now
	}
	END { printf "%d %.1f %d\n", most, (last > began) ? sum / (last - began) : 0, all }' far.log
}
