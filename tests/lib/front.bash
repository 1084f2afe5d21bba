# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# For tests of mount, attach and run:   load ../lib/common; load ../lib/front

# The runtime entry's state of an image.
state_of() {
	grep -lF "\"$PWD/$1\"" /run/bowimg/*/state.json 2>/dev/null
}

daemon_of() {
	jq .pid "$(state_of "$1")"
}

# A killed process whose first thread has ended keeps its files open until the others have.
is_gone() {
	! kill -0 "$1" 2>/dev/null ||
		{ grep -q '^State:.*Z' "/proc/$1/status" && [ "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 | wc -l)" -le 1 ]; }
}

kill_daemon() {
	local pid
	pid=$(daemon_of "$1")
	kill "-${2:-KILL}" "$pid"
	[ "${2:-KILL}" != KILL ] || wait_until is_gone "$pid"
}

# Nothing is left of this image: no mount, loop device, FUSE, runtime entry.
nothing_left() {
	[ -z "$(own_mounts)" ] || {
		echo "still mounted: $(own_mounts)"
		return 1
	}
	! losetup -nO BACK-FILE -a | grep -F "$T/" || return 1
	[ -z "$(own_runtime_entries)" ] || {
		echo "still in the runtime directory: $(own_runtime_entries)"
		return 1
	}
}

quietly() {
	"$@" >/dev/null 2>&1
}
