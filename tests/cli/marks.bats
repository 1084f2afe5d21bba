#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Marks: names, exit statuses, messages and JSON of every verb that takes one. The disk is 8 MiB of
# random bytes in use, and 8 MiB that are free.

load ../lib/common
load ../lib/front
load ../lib/dmbow

setup() {
	common_setup
	requires nbdkit qemu-io nbdcopy jq
	head -c 8M /dev/urandom >disk.img
	truncate -s 16M disk.img
	printf '%s\n' '0x00000000 ? 1' '0x00000000 0x00800000 +' '0x00800000 0x00800000 ?' >disk.map
}

prepared() {
	expect 0 prepare -q --free-from=map:disk.map "$@" disk.img
}

# on_disk COMMAND...: with {} for the disk, which keeps what it does.
on_disk() {
	expect 0 run -q --via=nbd --on-success=keep --on-failure=keep disk.img -- "$@"
}

# change COMMAND...: qemu-io's, on the disk.
change() {
	local args=() command
	for command in "$@"; do args+=(-c "$command"); done
	on_disk qemu-io -f raw "${args[@]}" '{}'
	run ! grep -qi failed <<<"$output"
}

# The checksum of the disk as the guest has it.
guest_sum() {
	"$BOWIMG" run -q --via=nbd --on-success=keep --on-failure=keep disk.img -- nbdcopy '{}' now.img
	sum now.img
}

names() {
	"$BOWIMG" mark --list --json disk.img | json 'map(.name) | join(" ")'
}

status_key() {
	"$BOWIMG" status --json "${2:-disk.img}" | json ".\"$1\""
}

# Served by NBD: the disk as it was, and the export of a name.
pattern_of() { # EXPORT COMMAND
	qemu-io -r -f raw -c "$2" "nbd+unix:///$1?socket=$T/s" >io.out 2>&1
	run ! grep -qiE 'failed|error' io.out
}

# ---- names --------------------------------------------------------------------------------------

@test "a name is one to 24 letters, digits, dots, underscores and dashes" {
	prepared
	for name in 0 A.b_c-d 123456789012345678901234 preparer; do
		expect 0 mark -q disk.img "$name"
	done
	[ "$(names)" = '0 A.b_c-d 123456789012345678901234 preparer' ]
	for name in .a 1234567890123456789012345 prepare 'a b' a/b a@b ä '%s' $'a\n' $'\e[2J'; do
		refused 2 "is no name for a mark|and no mark" mark disk.img "$name"
	done
	for name in ../a '$(id)'; do
		refused 2 "is no name for a mark" mark --delete disk.img "$name"
		refused 2 "is no name for a mark" rollback "--to=$name" disk.img
		refused 125 "is no name for a mark" run "--to=$name" disk.img -- touch ran
		refused 2 "is no name for a mark" diff "--from=$name" disk.img
		refused 2 "is no name for a mark" export --undo -o x.tar "--from=$name" disk.img
		refused 2 "is no name for a mark" attach "--before=$name" disk.img
		refused 2 "is no name for a mark" mount "--before=$name" disk.img .
		refused 2 "is no name for a mark" serve --socket s "--before=$name" disk.img
	done
	refused 2 'and no mark' rollback --to=prepare disk.img
	[ ! -e ran ] && [ ! -e x.tar ] && [ ! -e s ]
	expect 2 mark --json disk.img -- -a
	[ "$(json .error.exit <<<"$stderr")" = 2 ]
}

@test "an empty name is none" {
	prepared
	refused 2 'empty argument' mark disk.img ''
	refused 2 "'' is no name" rollback --to= disk.img
	refused 2 "'' is no name" diff --from= disk.img
	refused 2 "'' is no name" attach --before= disk.img
	refused 125 "'' is no name" run --to= disk.img -- true
}

@test "a name cannot control the terminal" {
	prepared
	bow mark disk.img $'x\e]0;owned\a\x9b2J'
	run ! env LC_ALL=C grep -qP '[\x00-\x09\x0b-\x1f\x7f-\x9f]' <<<"$stderr"
	grep -qF '\x1b]0;owned\x07\x9b2J' <<<"$stderr"
}

@test "what does not go together is refused before anything is done" {
	prepared
	expect 0 mark -q disk.img a
	before=$(sum disk.img)
	refused 2 'missing argument' mark
	refused 2 'missing argument; expected: IMAGE NAME' mark disk.img
	refused 2 'missing argument; expected: IMAGE NAME' mark --delete disk.img
	refused 2 "unexpected argument 'b'" mark disk.img a b
	refused 2 "unexpected argument 'a'" mark --list disk.img a
	refused 2 '--delete and --list cannot' mark --delete --list disk.img
	refused 2 '--to and --again cannot' rollback --to=a --again disk.img
	refused 2 '--to and --again cannot' rollback -n --again --to a disk.img
	refused 2 "unknown option '--to=a'" commit --to=a disk.img
	refused 2 'needs an argument' rollback disk.img --to
	[ "$(sum disk.img)" = "$before" ]
}

# ---- make, list, delete -------------------------------------------------------------------------

@test "marks are made, listed and deleted, as text and as JSON" {
	prepared
	expect 0 mark --list disk.img
	[ "$output" = 'disk.img: no marks' ]
	expect 0 mark --list --json disk.img
	[ "$(json tojson <<<"$output")" = '[]' ]
	expect 0 mark disk.img one
	[ "$output" = "disk.img: marked 'one'; back to it: bowimg rollback --to=one disk.img" ]
	change 'write -P 1 1M 64k' 'write -P 2 10M 1M' flush
	expect 0 mark --json disk.img two
	[ "$(json 'keys_unsorted | join(" ")' <<<"$output")" = 'name made-at record' ]
	[ "$(json .name <<<"$output")" = two ]
	record=$(json .record <<<"$output")
	[ "$(json '."made-at"' <<<"$output")" -ge $(($(date +%s) - 100)) ]
	expect 0 mark --list disk.img
	[ "$(awk 'NR > 1 { print $1 }' <<<"$output" | xargs)" = 'one two' ]
	expect 0 mark --list --json disk.img
	list=$output
	[ "$(json '.[0] | keys_unsorted | join(" ")' <<<"$list")" = \
		'name made-at record changed-bytes backup-bytes' ]
	[ "$(json '.[1] | [.name, .record, ."changed-bytes", ."backup-bytes"] | tojson' <<<"$list")" = \
		"[\"two\",$record,0,0]" ]
	[ "$(json '.[0]."backup-bytes" >= 65536 and .[0]."changed-bytes" >= 65536' <<<"$list")" = true ]
	[ "$("$BOWIMG" status --json disk.img | jq -c .marks)" = "$(jq -c . <<<"$list")" ]
	expect 0 status disk.img
	grep -qE '^ +marks +one: since then .* changed, backups of ' <<<"$output"
	grep -qE '^ +two: since then 0 bytes changed' <<<"$output"
	refused 3 'has a mark one already' mark disk.img one
	expect 0 mark --delete disk.img one
	grep -q "the mark 'one' is gone" <<<"$output"
	[ "$(names)" = two ]
	expect 0 mark --delete --json disk.img two
	[ "$(jq -c . <<<"$output")" = '{"deleted":"two"}' ]
	[ "$(names)" = '' ]
	expect 0 mark -q disk.img one
	[ -z "$output" ]
	[ "$(names)" = one ]
}

@test "without a checkpoint, or without that mark: exit 3, and nothing is changed" {
	before=$(sum disk.img)
	refused 3 'no checkpoint is open' mark disk.img a
	refused 3 'no checkpoint is open' mark --delete disk.img a
	refused 3 'no checkpoint is open' mark --list disk.img
	refused 3 'no checkpoint|nothing to' rollback --to=a disk.img
	refused 125 "no checkpoint, and so no mark 'a'" run --to=a disk.img -- touch ran
	[ "$(sum disk.img)" = "$before" ]
	prepared
	expect 0 mark -q disk.img b
	before=$(sum disk.img)
	refused 3 'no mark a' mark --delete disk.img a
	refused 3 'no mark a' rollback --to=a disk.img
	refused 3 'no mark a' rollback -n --to=a disk.img
	refused 3 'no mark a' diff --from=a disk.img
	refused 3 'no mark a' export --undo -o x.tar --from=a disk.img
	refused 3 'no mark a' serve --socket s --before=a disk.img
	refused 125 'no mark a' run --to=a disk.img -- touch ran
	[ ! -e ran ] && [ ! -e x.tar ] && [ ! -e s ]
	[ "$(sum disk.img)" = "$before" ]
	expect 0 rollback -q disk.img
	refused 3 'no checkpoint is open' mark disk.img b
	prepared
	[ "$(names)" = '' ]
	expect 0 commit -q disk.img
	refused 3 'no checkpoint is open' mark disk.img b
}

@test "while the image is served, marks are listed, and no more" {
	prepared
	expect 0 mark -q disk.img a
	cat >inside <<-'S'
		"$BOWIMG" mark --list --json disk.img | jq -c 'map(.name)'
		for verb in "mark disk.img b" "mark --delete disk.img a" "rollback --to=a disk.img"; do
			"$BOWIMG" $verb 2>/dev/null
			echo $?
		done
	S
	on_disk bash inside
	[ "$(xargs <<<"$output")" = '[a] 4 4 4' ]
	[ "$(names)" = a ]
}

@test "no room for a mark: exit 5, and all can be rolled back" {
	before=$(sum disk.img)
	printf '%s\n' '0x00000000 ? 1' '0x00000000 0x00fd8000 +' '0x00fd8000 0x00028000 ?' >disk.map
	prepared --on-full=stop
	for ((made = 0; made < 40; made++)); do
		"$BOWIMG" mark -q disk.img "m$made" 2>mark.err || break
	done
	refused 5 'cannot mark it: ' mark disk.img more
	[ "$(names | wc -w)" -eq "$made" ]
	expect 0 rollback -q --to=m0 disk.img
	expect 0 mark -q disk.img more
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "changed around bowimg: exit 7, unless forced" {
	prepared
	expect 0 mark -q disk.img a
	sleep 0.1
	printf x | dd of=disk.img bs=1 seek=12000000 conv=notrunc status=none
	for args in 'mark disk.img b' 'mark --delete disk.img a' 'mark --list disk.img' \
		'rollback --to=a disk.img' 'rollback -n --to=a disk.img' 'diff --from=a disk.img'; do
		# shellcheck disable=SC2086
		refused 7 'changed' $args
	done
	expect 0 mark --list --force=changed disk.img
	expect 0 mark -q --force=changed disk.img b
	[ "$(names)" = 'a b' ]
}

@test "a disk that dm-bow left has no marks: exit 9" {
	dmbow_disk disk
	refused 9 'dm-bow' mark disk a
	refused 9 'dm-bow' mark --delete disk a
	refused 9 'dm-bow' mark --list disk
	refused 9 'dm-bow' rollback --to=a disk
	[ "$(status_key marks disk | jq -c .)" = '[]' ]
	expect 0 rollback -q disk
}

# ---- back to one --------------------------------------------------------------------------------

@test "rollback --to goes back as often as one likes, and the checkpoint stays open" {
	before=$(sum disk.img)
	prepared --exact
	change 'write -P 1 1M 1M' 'write -P 2 9M 1M' flush
	expect 0 mark -q disk.img base
	marked=$(guest_sum)
	for _ in 1 2 3; do
		change 'write -P 3 512k 2M' 'write -P 4 8M 3M' 'discard 2M 1M' 'write -z 9M 256k' flush
		[ "$(guest_sum)" != "$marked" ]
		held=$(sum disk.img)
		expect 0 rollback -n --to=base disk.img
		grep -q "nothing was changed; rollback to the mark 'base' would bring back [1-9]" <<<"$output"
		[ "$(sum disk.img)" = "$held" ]
		expect 0 rollback --to=base disk.img
		grep -q "the disk is as at the mark 'base'; .* brought back; the checkpoint stays open" <<<"$output"
		[ "$(status_key state)" = checkpoint ]
		[ "$(guest_sum)" = "$marked" ]
		[ "$(status_key 'marks"[0]."changed-bytes')" -eq 0 ]
	done
	expect 0 rollback --json --to=base disk.img
	[ "$(json '[.to, .again, ."restored-bytes"] | tojson' <<<"$output")" = '["base",false,0]' ]
	[ "$(guest_sum)" = "$marked" ]
	expect 0 rollback -q disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "going back drops the marks that came later, and --delete is remembered" {
	prepared
	for name in one two three four; do
		expect 0 mark -q disk.img $name
		change "write -P 5 $((RANDOM % 7))M 64k"
	done
	expect 0 mark -q --delete disk.img one
	expect 0 rollback -q --to=three disk.img
	[ "$(names)" = 'two three' ]
	refused 3 'no mark four' rollback --to=four disk.img
	refused 3 'no mark one' rollback --to=one disk.img
	expect 0 mark -q disk.img four
	expect 0 rollback -q --to=two disk.img
	[ "$(names)" = two ]
	expect 0 verify disk.img
	expect 0 rollback -q --again disk.img
	[ "$(names)" = '' ]
}

@test "rollback --to changes nothing if a backup that it needs is damaged: exit 6" {
	prepared
	expect 0 mark -q disk.img a
	# In several records, so that none is the last.
	for at in 1 2 3 4; do
		change "write -P 6 ${at}M 128k" flush
	done
	expect 0 log --json disk.img
	dest=$(json '[.[] | select(.type == "copy" and .source == 256)][0].dest' <<<"$output")
	touch -r disk.img stamp
	printf damaged | dd of=disk.img bs=4096 seek="$dest" conv=notrunc status=none
	touch -r stamp disk.img
	held=$(sum disk.img)
	refused 6 'the image was not changed' rollback --to=a disk.img
	refused 6 '' rollback -n --to=a disk.img
	[ "$(sum disk.img)" = "$held" ]
	[ "$(names)" = a ]
}

# stopped_return: disk.img is on its way back to the mark "base", and its program is dead.
stopped_return() {
	local pid
	prepared
	expect 0 mark -q disk.img base
	marked=$(guest_sum)
	expect 0 mark -q disk.img later
	change 'write -P 7 0 6M' flush
	nbdkit -U "$T/s" -P pid --filter=delay file disk.img wdelay=100ms 3>&- || return 1
	wait_until test -s pid
	"$BOWIMG" rollback -q --to=base "nbd+unix:///?socket=$T/s" 3>&- &
	pid=$!
	wait_until on_its_way
	kill -9 "$pid"
	wait "$pid" || true
	kill "$(cat pid)"
	wait_until is_gone "$(cat pid)"
}

on_its_way() {
	[ "$("$BOWIMG" status --json --force=changed disk.img | json .state)" = rolling-back ]
}

@test "an interrupted return can only be finished: exit 8 for all else" {
	stopped_return
	expect 0 status --json disk.img
	[ "$(json '[.state, ."rolling-back-to"] | tojson' <<<"$output")" = '["rolling-back","base"]' ]
	grep -q 'rollback --to=base' <<<"$(json .next <<<"$output")"
	expect 0 status disk.img
	grep -q 'a return to the mark base was interrupted; nothing is lost' <<<"$output"
	grep -q '^next: .*rollback --to=base' <<<"$output"
	expect 0 status -v disk.img
	grep -qE '^  back to +the mark base' <<<"$output"
	for args in 'rollback --again disk.img' 'rollback --to=later disk.img' \
		'commit disk.img' 'mark disk.img x' 'mark --delete disk.img base' 'diff disk.img' \
		'serve --socket s disk.img'; do
		# shellcheck disable=SC2086
		refused 8 '' $args
	done
	refused 8 'a return to a mark was interrupted' prepare disk.img
	refused 8 'rollback --to=base. again to finish it' rollback disk.img
	refused 125 '' run --to=base disk.img -- touch ran
	[ ! -e ran ]
	expect 0 rollback --to=base disk.img
	grep -q 'finishing an interrupted run' <<<"$output"
	[ "$(status_key rolling-back-to)" = null ]
	[ "$(names)" = base ]
	expect 0 verify disk.img
	[ "$(guest_sum)" = "$marked" ]
}

@test "log shows the entries of marks, with the record that they are about" {
	prepared
	expect 0 mark --json disk.img base
	record=$(json .record <<<"$output")
	change 'write -P 1 0 1M' flush
	expect 0 mark -q disk.img gone
	expect 0 mark -q --delete disk.img gone
	expect 0 log --json disk.img
	[ "$(json '[.[] | select(.type == "mark") | .name] | join(" ")' <<<"$output")" = 'gone base' ]
	[ "$(json ".[] | select(.type == \"mark\" and .record == $record) | .name" <<<"$output")" = base ]
	[ "$(json '[.[] | select(.type == "unmark")] | length' <<<"$output")" = 1 ]
	[ "$(json '[.[] | select(.type == "copy") | has("record")] | any' <<<"$output")" = false ]
	expect 0 log disk.img
	grep -qE "^ *$record mark .* record $record base\$" <<<"$output"
	expect 0 rollback -q --to=base disk.img
	expect 0 log --json disk.img
	[ "$(json ".[] | select(.type == \"revert\") | .record" <<<"$output")" = "$record" ]
}

# ---- run ----------------------------------------------------------------------------------------

@test "run --to: each test begins at the mark, and ends there" {
	prepared --exact
	change 'write -P 1 1M 1M' flush
	expect 0 mark -q disk.img base
	marked=$(guest_sum)
	for code in 0 3; do
		expect "$code" run --via=nbd --to=base disk.img -- \
			sh -c 'qemu-io -f raw -c "write -P 9 0 4M" -c "write -P 9 9M 1M" "$1" >io.out && exit "$2"' sh '{}' "$code"
		grep -q "rolled back to the mark 'base'" <<<"$stderr"
		[ "$(guest_sum)" = "$marked" ]
		[ "$(status_key state)" = checkpoint ]
	done
	expect 0 run -q --via=nbd --to=base --on-success=commit disk.img -- qemu-io -f raw -c 'write -P 9 0 1M' '{}'
	[ "$(status_key state)" = none ]
}

@test "run --to with changes since the mark wants to be told what to do" {
	prepared
	expect 0 mark -q disk.img base
	change 'write -P 1 1M 1M' flush
	refused 125 'changes since the mark base' run --via=nbd --to=base disk.img -- touch ran
	[ ! -e ran ]
	expect 0 run -q --via=nbd --to=base --on-success=rollback --on-failure=keep disk.img -- true
	expect 0 run -q --via=nbd --to=base disk.img -- true
	[ "$(status_key 'marks"[0]."changed-bytes')" -eq 0 ]
}

# ---- the disk as it was, and what changed --------------------------------------------------------

# At "one" 1 MiB from 1M on is 1s; now it is 2s.
two_states() {
	prepared --exact
	change 'write -P 1 1M 1M' 'write -P 1 10M 64k' flush
	expect 0 mark -q disk.img one
	change 'write -P 2 1M 1M' 'write -P 2 12M 64k' flush
}

# serving COMMAND ARG...: in the background, until a client can connect.
serving() {
	rm -f uri
	"$BOWIMG" serve --socket "$T/s" "$@" >uri 2>serve.err 3>&- &
	server=$!
	wait_until test -s uri || {
		cat serve.err
		return 1
	}
}

served_no_more() {
	kill "$server"
	wait "$server"
}

@test "serve shows the disk at a mark: alone, and beside the disk" {
	two_states
	held=$(sum disk.img)
	serving --before=one disk.img
	pattern_of '' 'read -P 1 1M 1M'
	pattern_of before 'read -P 0 12M 64k'
	run ! qemu-io -r -f raw -c 'read 0 4k' "nbd+unix:///before@one?socket=$T/s"
	served_no_more
	[ "$(sum disk.img)" = "$held" ]
	serving disk.img
	qemu-io -f raw -c 'write -P 3 1M 1M' -c flush "nbd+unix:///?socket=$T/s" >io.out
	pattern_of before@one 'read -P 1 1M 1M'
	pattern_of before@one 'read -P 0 12M 64k'
	pattern_of before@one 'read -P 1 10M 64k'
	pattern_of before 'read -P 0 10M 64k'
	run ! qemu-io -f raw -c 'write 0 4k' "nbd+unix:///before@one?socket=$T/s"
	for name in before@two before@ before@prepare before@one1 one @one; do
		run ! qemu-io -r -f raw -c 'read 0 4k' "nbd+unix:///$name?socket=$T/s"
	done
	pattern_of '' 'read -P 3 1M 1M'
	served_no_more
	serving --before=prepare disk.img
	pattern_of '' 'read -P 0 10M 64k'
	served_no_more
	expect 0 rollback -q --to=one disk.img
	serving disk.img
	pattern_of '' 'read -P 1 1M 1M'
	served_no_more
}

@test "attach shows the disk at a mark: alone, and beside the disk" {
	requires fuse
	two_states
	mkdir fuse
	held=$(sum disk.img)
	expect 0 attach --fuse fuse --before=one disk.img
	[ "$output" = "$T/fuse/before" ]
	[ "$(cd fuse && echo *)" = before ]
	[ "$(dd if=fuse/before bs=1M skip=1 count=1 status=none | tr -d '\1' | wc -c)" -eq 0 ]
	run ! dd if=/dev/zero of=fuse/before bs=4k count=1 conv=notrunc
	marked=$(sum fuse/before)
	mkdir other
	refused 4 'in use|nowhere else' attach --fuse other disk.img
	grep -q "bowimg attach --fuse $T/fuse $T/disk.img" <<<"$stderr"
	refused 4 'only as it was|in use' rollback --to=one disk.img
	grep -q 'bowimg detach' <<<"$stderr"
	expect 0 detach disk.img
	[ "$(sum disk.img)" = "$held" ]
	expect 0 attach --fuse fuse --before=one disk.img
	run ! dd if=/dev/zero of=fuse/disk bs=4k count=1 conv=notrunc
	expect 0 attach --fuse fuse disk.img
	[ "$output" = "$T/fuse/disk" ]
	[ "$(cd fuse && echo *)" = 'before disk' ]
	dd if=/dev/urandom of=fuse/disk bs=1M seek=1 count=2 conv=notrunc,fsync status=none
	[ "$(sum fuse/before)" = "$marked" ]
	[ "$(sum fuse/before@one)" = "$marked" ]
	[ "$(sum fuse/before@prepare)" != "$marked" ]
	expect 0 detach disk.img
	expect 0 attach --fuse fuse disk.img
	[ "$(cd fuse && echo *)" = 'before disk' ]
	dd if=/dev/urandom of=fuse/disk bs=1M count=3 conv=notrunc,fsync status=none
	[ "$(sum fuse/before@one)" = "$marked" ]
	[ "$(stat -c '%a %s' fuse/before@one)" = '400 16777216' ]
	[ "$(sum fuse/before)" != "$marked" ]
	for name in before@two before@ before@prepare disk@one before1@one @one; do
		[ ! -e "fuse/$name" ]
	done
	run ! dd if=/dev/zero of=fuse/before@one bs=4k count=1 conv=notrunc
	expect 0 detach disk.img
	expect 0 rollback -q --to=one disk.img
	expect 0 attach --fuse fuse disk.img
	[ "$(sum fuse/disk)" = "$marked" ]
	expect 0 detach disk.img
	nothing_left
	refused 3 'no mark nix' attach --fuse fuse --before=nix disk.img
	nothing_left
}

@test "nbdkit alone serves a mark by mark=NAME" {
	two_states
	plugin=$(dirname "$BOWIMG")/nbdkit-bowimg-plugin.so
	nbdkit -U - "$plugin" disk.img mark=one --run 'qemu-io -r -f raw -c "read -P 1 1M 1M" "$uri"' >io.out 3>&-
	run ! grep -qi failed io.out
	run ! nbdkit -U - "$plugin" disk.img mark=../one --run true
	run ! nbdkit -U - "$plugin" disk.img mark=two --run true
}

@test "diff --from lists what was written since the mark" {
	two_states
	expect 1 diff --json disk.img
	[ "$(json '[.ranges[] | select(.offset <= 10485760 and .offset + .bytes > 10485760)] | length' \
		<<<"$output")" = 1 ]
	expect 1 diff --from=one --json disk.img
	[ "$(json '[.ranges[] | select(.offset <= 10485760 and .offset + .bytes > 10485760)] | length' \
		<<<"$output")" = 0 ]
	[ "$(json '[.ranges[] | select(.offset <= 1048576 and .offset + .bytes >= 2097152)] | length' \
		<<<"$output")" = 1 ]
	[ "$(json '[.ranges[] | select(.offset <= 12582912 and .offset + .bytes > 12582912) | .before] | tojson' \
		<<<"$output")" = '["free"]' ]
	ranges=$(json '.ranges | tojson' <<<"$output")
	expect 1 diff --from=prepare --json disk.img
	[ "$(json '.ranges | tojson' <<<"$output")" != "$ranges" ]
	expect 0 mark -q disk.img two
	expect 0 diff --from=two disk.img
	grep -q "nothing was written since the mark 'two'" <<<"$output"
	expect 0 rollback -q --to=one disk.img
	# What was free at the mark, and has been written to since, reads as zeros.
	expect 1 diff --from=one --json disk.img
	[ "$(json '[.ranges[] | .before + " " + .now] | unique | tojson' <<<"$output")" = '["free zero"]' ]
}

@test "export --from: a way back to the mark, and from there to now" {
	prepared --exact
	change 'write -P 1 1M 1M' 'write -P 1 10M 64k' flush
	expect 0 mark -q disk.img one
	guest_sum >marked
	cp now.img was.img
	change 'write -P 2 1M 1M' 'write -P 2 12M 64k' flush
	guest_sum >changed
	expect 0 export --undo --from=one -o undo.tar disk.img
	expect 0 export --redo --from=one -o redo.tar disk.img
	expect 0 commit -q --wipe disk.img
	[ "$(sum disk.img)" = "$(cat changed)" ]
	expect 0 apply undo.tar disk.img
	[ "$(sum disk.img)" = "$(cat marked)" ]
	expect 0 apply redo.tar was.img
	[ "$(sum was.img)" = "$(cat changed)" ]
	refused 7 '' apply redo.tar was.img || expect 0 apply redo.tar was.img
}
