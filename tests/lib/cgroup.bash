# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# A cgroup of version 2 with a limit on its memory, after common:   load ../lib/cgroup
#
# Where the memory controller is not version 2's (but version 1's, say), the limit is only a file in
# the place of the kernel's: bowimg must refuse it, and the kernel does not enforce it.

# make_limited MIB: sets $cgroup, its directory; limited_in COMMAND... then runs in it, at most so long;
# remove_limited ends it.
make_limited() {
	local top
	top=$(awk '$0 ~ / - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
	if [ -z "$top" ]; then
		own_top=$(mktemp -d) && top=$own_top
		mount -t cgroup2 cgroup2 "$top" || return 1
	fi
	cgroup=$top/bowimg-test-$$
	mkdir "$cgroup" || return 1
	# Reached through the descriptor, whatever is mounted over it.
	exec {members_fd}>"$cgroup/cgroup.procs"
	members=/proc/$$/fd/$members_fd
	[ -w "$cgroup/memory.max" ] || mount -t tmpfs -o size=64k limit "$cgroup" || return 1
	limit_mib "$1"
}

limit_mib() {
	echo $(($1 << 20)) >"$cgroup/memory.max"
}

limited_in() {
	# shellcheck disable=SC2016
	timeout --kill-after=5 100 bash -c 'echo $BASHPID >"$0" && exec "$@"' "$members" "$@" 3>&-
}

# end_cgroup DIR PROCS: with all its processes, also those that wait for memory in there.
end_cgroup() {
	local pid
	while read -r pid; do kill -9 "$pid" || true; done <"$2"
	! mountpoint -q "$1" || umount "$1"
	for _ in $(seq 100); do
		rmdir "$1" 2>/dev/null && return 0
		sleep 0.1
	done
	echo "$1 is still in use"
	return 1
}

remove_limited() {
	local status=0
	[ -n "${members:-}" ] || return 0
	end_cgroup "$cgroup" "$members" || status=1
	members=
	exec {members_fd}>&-
	[ -z "${own_top:-}" ] || { umount "$own_top" && rmdir "$own_top"; } || status=1
	return "$status"
}
