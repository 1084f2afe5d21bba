#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Names of images are any bytes: a terminal is told none that it would obey, and a hint that is pasted
# into a shell means this image and no other.

load ../lib/common

# Blanks, quotes, what shells expand, a line's end, ESC, DEL, C1 as a byte and as UTF-8.
names=(
	$'two  words, it\'s "so" $HOME `id` $(id) *;&|#!\\\nesc\e[2J\x9b2J\x7f'
	$'t\xc3\xa4st c1\xc2\x9b2J\nesc\e]0;x\a\x7f'
)

# Is this valid UTF-8 without control characters but ends of lines?
harmless() {
	iconv -f UTF-8 -t UTF-8 <<<"$1" >/dev/null || return 1
	! LC_ALL=C grep -aqP '[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' <<<"$1"
}

# says STATUS ARG...: bowimg exits so (a pattern), and all it prints is harmless.
says() {
	local wanted=$1
	shift
	bow "$@"
	# shellcheck disable=SC2053
	if [[ $status == $wanted ]] && harmless "$output" && harmless "$stderr"; then
		return 0
	fi
	printf 'wanted: %s\n' "$wanted"
	printf '%q\n' "$output" "$stderr"
	return 1
}

# The command in the last hint, and in the last line of a report.
paste_hint() {
	local hint
	hint=$(grep '^  ' <<<"$stderr" | tail -n 1)
	echo "pasting: ${hint##*: }"
	PATH="${BOWIMG%/*}:$PATH:/usr/sbin:/sbin" bash -c "${hint##*: }"
}

@test "no verb lets a terminal obey the name of an image" {
	for name in "${names[@]}"; do
		for verb in prepare status verify rollback mount detach; do
			says '[1-9]' "$verb" -- "$name"
		done
		printf 'x' >"$name"
		says 9 prepare -- "$name"
		says 9 prepare --json -- "$name"
		says 2 "$name"
		says 2 status "--$name"
		says 2 prepare --free-from= "--force=$name" x
		make_ext4 "$name" 16M
		says 0 prepare -- "$name"
		says 3 prepare -- "$name"
		says 0 status -- "$name"
		says 0 status --json -- "$name"
		says 0 log -- "$name"
		says 0 diff -- "$name"
		says 0 diff --json -- "$name"
		says 0 diff --files --json -- "$name"
		says 0 map -- "$name"
		says 0 export --redo -o patch.tar -- "$name"
		says 0 rollback -v -- "$name"
		says 3 commit -- "$name"
		says '[1-9]' rescue -- "$name"
		says '[1-9]' apply -- "$name" "$name"
		says 125 run -- "$name" "--"
		rm -f -- "$name" patch.tar
	done
}

@test "JSON is exact for every name that is UTF-8" {
	for name in "${names[@]}"; do
		iconv -f UTF-8 -t UTF-8 <<<"$name" >/dev/null 2>&1 || continue
		truncate -s 1M -- "$name"
		says 0 status --json -- "$name"
		[ "$(json .image <<<"$output")" = "$name" ]
	done
}

@test "the commands that prepare prints can be pasted" {
	for name in "${names[@]}" -dash; do
		make_ext4 "./$name" 16M
		original=$(sum "./$name")
		says 0 prepare -- "$name"
		PATH="${BOWIMG%/*}:$PATH" bash -c "$(grep '^  bowimg rollback ' <<<"$output")"
		[ "$(sum "./$name")" = "$original" ]
	done
}

@test "the hint for an unclean file system can be pasted" {
	requires e2fsck debugfs
	for name in "${names[@]}" -dash; do
		make_ext4 plain 16M
		debugfs -w -R 'ssv state 0' plain 2>/dev/null
		mv plain "./$name"
		says 6 prepare -- "$name"
		paste_hint || [ $? -eq 1 ]
		says 0 prepare -- "$name"
	done
}

@test "the hint for an image of another format can be pasted" {
	requires qemu-img
	for name in "${names[@]}" -dash; do
		qemu-img create -q -f qcow2 made 1M
		mv made "./$name"
		says 9 prepare -- "$name"
		paste_hint
		[ "$(stat -c %s disk.img)" -eq $((1 << 20)) ]
		rm disk.img
	done
}

@test "a name that is too long for a hint is left out of it, not cut" {
	requires qemu-img
	dir=$(printf 'd%.0s' {1..100})
	mkdir -p "$dir/$dir"
	qemu-img create -q -f qcow2 "$dir/$dir/made" 1M
	says 9 prepare "$dir/$dir/made"
	grep -q 'raw PATH disk.img$' <<<"$stderr"
}
