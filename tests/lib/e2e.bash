# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# For the end-to-end tests, after common:   load ../lib/common   load ../lib/e2e
#
# The image is $T/disk.img and is mounted at $T/mnt unless a test says otherwise. A stuck mount must
# end a test, not hang it: what touches one is called through `within` or `bow`.

LIMIT=${LIMIT:-60}
# For what is not called through these: bats then ends the test, and cleans up after it.
# shellcheck disable=SC2034
BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-300}

# within SECONDS COMMAND...
within() {
	local status=0 seconds=$1
	shift
	timeout --kill-after=5 "$seconds" "$@" || status=$?
	[ "$status" -ne 124 ] && [ "$status" -ne 137 ] || echo "not done in $seconds seconds: $*"
	return "$status"
}

# As in common.bash, but it ends.
bow() {
	run --separate-stderr timeout --kill-after=5 "$LIMIT" "$BOWIMG" "$@"
	echo "\$ bowimg $* => $status"
	printf '%s\n' "$output" "${stderr:-}"
}

# up [OPTION...]: mount disk.img at mnt.
up() {
	mkdir -p "$T/mnt"
	expect 0 mount "$@" "$T/disk.img" "$T/mnt"
}

down() {
	expect 0 umount "$T/mnt"
}

# attach_loop IMAGE: sets $device.
attach_loop() {
	expect 0 attach "$1" || return 1
	# shellcheck disable=SC2034
	device=$output
	[ -b "$device" ]
}

# key NAME [IMAGE]: one value of status --json.
key() {
	timeout 20 "$BOWIMG" status --json "${2:-$T/disk.img}" | json ".\"$1\""
}

# Blocks in log entries of one type.
logged() {
	timeout 60 "$BOWIMG" log --json "${2:-$T/disk.img}" |
		json "[.[] | select(.type == \"$1\") | .count] | add // 0"
}

# The process that serves IMAGE.
daemon_of() {
	grep -lsF "\"$1\"" /run/bowimg/*/state.json | head -n 1 | xargs -r jq .pid
}

# Gone with all its threads, though perhaps nobody has collected its status yet.
ended() {
	! awk '$1 == "State:" { state = $2 } $1 == "Threads:" { threads = $2 }
	END { exit state == "Z" && threads == 1 }' "/proc/$1/status" 2>/dev/null
}

# kill_daemon IMAGE: kill -9, and wait until it is gone.
kill_daemon() {
	local pid
	pid=$(daemon_of "$1")
	[ "${pid:-0}" -gt 1 ] || {
		echo "no process serves $1"
		return 1
	}
	kill -9 "$pid"
	for _ in $(seq 500); do
		ended "$pid" && return 0
		sleep 0.01
	done
	echo "process $pid does not go away"
	return 1
}

# Checksums of all files below DIR, by name.
tree_sums() {
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0r sha256sum)
}

# remember [IMAGE]: its checksum in $before.
remember() {
	# shellcheck disable=SC2034
	before=$(sum "${1:-$T/disk.img}")
}

# same_as CHECKSUM [IMAGE]
same_as() {
	local now
	now=$(sum "${2:-$T/disk.img}")
	[ "$1" = "$now" ] || {
		echo "${2:-disk.img} is not what it was"
		return 1
	}
}

# identical A B: as cmp, but quick where both are holes.
identical() {
	[ "$(stat -c %s "$1")" = "$(stat -c %s "$2")" ] &&
		within 60 qemu-img compare -f raw -F raw "$1" "$2"
}

clean_fs() {
	within 60 e2fsck -fn "${1:-$T/disk.img}"
}

# Overwrite, delete and add: something of everything, in the file system at DIR.
change_tree() {
	local dir=$1 i
	within 60 dd if=/dev/urandom of="$dir/file0" bs=64k count=16 conv=notrunc,fsync status=none
	within 60 cp -r "$dir/sub" "$dir/copied"
	rm -f "$dir"/file1 "$dir"/file2
	rm -rf "$dir/sub"
	for i in 1 2 3; do
		head -c 700000 /dev/urandom >"$dir/new$i"
	done
	mv "$dir/file3" "$dir/moved" || true
	ln -s nowhere "$dir/link"
	within 60 sync -f "$dir"
}

# fill FILE: until no more can be written; fails if that does not happen within 2 GiB.
fill() {
	! within 90 sh -c 'yes "$1" | dd of="$1" bs=64k count=32768 iflag=fullblock conv=fsync status=none' \
		fill "$1" 2>"$T/fill.err"
	grep -qE 'No space left|Input/output error|Read-only' "$T/fill.err"
}

# used_ranges IMAGE: "OFFSET BYTES" of everything in use, for used_equal.
used_ranges() {
	"$BOWIMG" map --free-from=ext "$1" | grep -v '^#' | awk '$3 == "+" { print $1, $2 }'
}

# used_equal RANGES A B: are all bytes of the ranges the same in both?
used_equal() {
	local off bytes
	while read -r off bytes; do
		cmp -s -i $((off)) -n $((bytes)) "$2" "$3" || {
			echo "$2 and $3 differ within $bytes bytes from $off"
			return 1
		}
	done <"$1"
}

# killed_after MICROSECONDS ARG...: run bowimg and kill -9 it; returns when it is gone, in $ended its
# exit status (137 if the kill came first).
killed_after() {
	local pid micro=$1
	shift
	"$BOWIMG" "$@" &
	pid=$!
	sleep "$(printf '0.%06d' "$micro")"
	kill -9 $pid 2>/dev/null || true
	ended=0
	# shellcheck disable=SC2034
	wait $pid || ended=$?
}
