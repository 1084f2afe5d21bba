# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What every .bats file loads:   load ../lib/common
#
# Each test gets a directory of its own on disk, $T, and starts there. Afterwards everything that the
# test left behind is taken away, whatever happened: mounts, loop devices, processes, the directory.
# Found are a test's own things by $T (in /proc/self/mountinfo and in loop devices' backing files)
# and by the variable BOWIMG_TEST_ID in a process's environment; nothing else is touched.
#
#	BOWIMG			the program under test (build/bowimg)
#	BOWIMG_TEST_STRICT=1	requires() fails where it would skip
#	BOWIMG_TEST_DIR		where $T is made (/var/tmp: a disk, where /tmp may be memory)

bats_require_minimum_version 1.5.0

ROOT_DIR=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
BOWIMG=${BOWIMG:-$ROOT_DIR/build/bowimg}

common_setup() {
	T=$(mktemp -d "${BOWIMG_TEST_DIR:-/var/tmp}/bowimg-test.XXXXXX")
	export T BOWIMG
	export BOWIMG_TEST_ID=$T
	cd "$T" || return 1
}

common_teardown() {
	cd /
	[ -n "${T:-}" ] || return 0
	! anything_left || clean_up
	rm -rf --one-file-system "$T"
}

setup() { common_setup; }
teardown() { common_teardown; }

# ---- what a machine must have -------------------------------------------------------------------

have() {
	case $1 in
	root) [ "$(id -u)" -eq 0 ] ;;
	user) [ "$(id -u)" -ne 0 ] || command -v setpriv >/dev/null ;;
	loop) [ "$(id -u)" -eq 0 ] && losetup -f >/dev/null 2>&1 ;;
	fuse) [ -c /dev/fuse ] && [ -w /dev/fuse ] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# requires THING...: root, loop, fuse, or the name of a program. Skips the test, or fails it in strict
# mode: a machine that is meant to run everything must not lose tests silently.
requires() {
	local thing
	for thing in "$@"; do
		have "$thing" && continue
		[ "${BOWIMG_TEST_STRICT:-0}" != 1 ] || {
			echo "strict mode: this test needs '$thing'"
			return 1
		}
		skip "needs $thing"
	done
}

# ---- running bowimg -----------------------------------------------------------------------------

# bow ARG...: like bats' run, for the program under test: $status, $output (standard output), $stderr.
bow() {
	run --separate-stderr "$BOWIMG" "$@"
	# Shown only if the test fails.
	echo "\$ bowimg $* => $status"
	printf '%s\n' "$output" "${stderr:-}"
}

# expect STATUS ARG...: run bowimg, which must exit with this status.
expect() {
	local wanted=$1
	shift
	bow "$@"
	[ "$status" -eq "$wanted" ] || {
		echo "bowimg $*: exit $status, wanted $wanted"
		return 1
	}
}

# refused STATUS PATTERN ARG...: exits with STATUS, prints no data, says PATTERN on standard error and,
# in a line of its own, what to do next.
refused() {
	local wanted=$1 pattern=$2
	shift 2
	expect "$wanted" "$@" || return 1
	[ -z "$output" ] || {
		echo "an error, but there is data on standard output"
		return 1
	}
	grep -qiE -- "$pattern" <<<"$stderr" || {
		echo "the message does not match '$pattern'"
		return 1
	}
	grep -q '^  [^ ]' <<<"$stderr" || {
		echo "the message does not say what to do next"
		return 1
	}
}

# json FILTER < data: the value of a jq filter, raw.
json() {
	jq -r "$1"
}

sum() {
	sha256sum "$1" | cut -d' ' -f1
}

# Start a program in the background that the teardown ends; it may read what is given to it.
background() {
	# The shell would give it /dev/null for standard input.
	"$@" <&0 >background.log 2>&1 3>&- &
	disown
}

# wait_until COMMAND...: up to 10 seconds.
wait_until() {
	local end=$((SECONDS + 10))
	until "$@"; do
		[ "$SECONDS" -le "$end" ] || {
			echo "in vain: $*"
			return 1
		}
		sleep 0.05
	done
}

# ---- images -------------------------------------------------------------------------------------

# make_tree DIR [FILES]: files of several sizes with random content.
make_tree() {
	local dir=$1 i
	mkdir -p "$dir/sub"
	for ((i = 0; i < ${2:-20}; i++)); do
		head -c $((RANDOM * 8 + i)) /dev/urandom >"$dir/file$i"
		echo "small $i" >"$dir/sub/small$i"
	done
}

# make_ext4 IMAGE SIZE [MKFS-OPTION...]: an ext4 with files in it; needs no root. In a file of tests
# all that are made in the same way are the same, UUID and times included.
make_ext4() {
	local image=$1 made
	shift
	made=$BATS_FILE_TMPDIR/ext4.${*//\//_}
	[ -f "$made" ] || mkfs_ext4 "$made" "$@"
	cp --remove-destination --sparse=always "$made" "$image"
}

mkfs_ext4() {
	local image=$1 size=$2 tree=$BATS_FILE_TMPDIR/tree
	shift 2
	# One tree serves a whole file of tests.
	[ -d "$tree" ] || make_tree "$tree"
	truncate -s "$size" "$image"
	mkfs.ext4 -q -F -d "$tree" "$@" "$image" || {
		rm -f "$image"
		return 1
	}
}

# ---- examples -----------------------------------------------------------------------------------

# text_of_page PAGE...: its source, with dashes and backslashes as they are printed.
text_of_page() {
	sed 's/\\-/-/g; s/\\e/\\/g' "${@/#/$ROOT_DIR/man/}"
}

# example WORD [PAGE]...: the lines of the first example that has it, as they can be typed. Looks in
# bowimg(1) and in the pages of verbs if no page is named.
example() {
	local word=$1
	shift
	[ $# -gt 0 ] || set -- bowimg.1 bowimg-prepare.1 bowimg-serve.1 bowimg-end.1 bowimg-diff.1
	text_of_page "$@" | awk -v word="$word" '
		/^\.EX/ { text = ""; inside = 1; next }
		/^\.EE/ { if (index(text, word)) { printf "%s", text; exit } inside = 0 }
		inside { text = text $0 "\n" }'
}

# ---- clean-up -----------------------------------------------------------------------------------

# Mount points below $T, and FUSE mounts elsewhere whose source names it; the last one first.
own_mounts() {
	awk -v t="$T" '
	index($5, t "/") == 1 || $5 == t || index($0, " - fuse") && index($0, t "/") { print $5 }
	' /proc/self/mountinfo | tac
}

own_loops() {
	local file backing mount mounts
	mounts=$(own_mounts)
	for file in /sys/block/loop*/loop/backing_file; do
		{ read -r backing <"$file"; } 2>/dev/null || continue
		for mount in "$T" $mounts; do
			case $backing in "$mount"*) echo "/dev/$(basename "${file%/loop/backing_file}")" ;; esac
		done
	done | sort -u
}

# Mounted from one of the given loop devices, anywhere.
mounts_of() {
	local device
	for device in "$@"; do
		awk -v d="$device" '{ for (i = 7; i < NF; i++) if ($i == "-" && $(i + 2) == d) print $5 }' \
			/proc/self/mountinfo
	done
}

own_processes() {
	# Without the variable for themselves, or grep and tr would always find each other.
	(
		unset BOWIMG_TEST_ID
		grep -lszx "BOWIMG_TEST_ID=$T" /proc/[0-9]*/environ | tr -dc '0-9\n'
	)
}

# Most tests leave nothing behind, which can be told quickly.
anything_left() {
	grep -qsF "$T" /proc/self/mountinfo /sys/block/loop*/loop/backing_file \
		/run/bowimg/*/state.json "/tmp/bowimg-$(id -u)"/*/state.json ||
		BOWIMG_TEST_ID='' grep -qszx "BOWIMG_TEST_ID=$T" /proc/[0-9]*/environ
}

# What bowimg itself keeps about images below $T.
own_runtime_entries() {
	grep -lsF "$T/" /run/bowimg/*/state.json "/tmp/bowimg-$(id -u)"/*/state.json |
		xargs -r -n 1 dirname
}

kill_own() {
	local pid
	for pid in $(own_processes); do
		kill "-$1" "$pid" 2>/dev/null || true
	done
}

# From the top of the stack down: file systems, loop devices, processes, FUSE.
clean_up() {
	local loops mount device entries entry
	loops=$(own_loops)
	entries=$(own_runtime_entries)
	# shellcheck disable=SC2086
	for mount in $(mounts_of $loops); do
		timeout 20 umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null || true
	done
	for device in $loops; do
		losetup -d "$device" 2>/dev/null || true
	done
	kill_own TERM
	for mount in $(own_mounts); do
		timeout 20 umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null || true
	done
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -n "$(own_processes)" ] || break
		sleep 0.1
	done
	kill_own KILL
	for entry in $entries; do
		rm -rf --one-file-system "$entry"
	done
}
