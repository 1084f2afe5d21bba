#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Images on an NBD server, by URI: every verb that needs no root, refusals, servers and clients that
# die. The image's file is looked at behind the server's back.

load ../lib/common
load ../lib/front
load ../lib/remote

setup() {
	common_setup
	requires nbdkit qemu-io jq
	make_ext4 disk.img 24M
	before=$(sum disk.img)
}

# The disk over NBD, written to: in used blocks and in free ones, and zeroed.
change() {
	"$BOWIMG" run --via=nbd --on-success=keep --on-failure=keep "$@" -- qemu-io -f raw \
		-c 'write -P 7 0 3M' -c 'write -P 8 9M 5M' -c 'write -z 16M 2M' -c 'write -P 9 5000 300' \
		-c flush -c 'read -P 9 5000 300' -c 'read -P 8 9M 5M' '{}'
}

# All of it, and the file is what it was.
cycle() {
	local key
	expect 0 prepare "$@" "$remote"
	expect 0 status --json "$remote"
	for key in state:checkpoint on-full:stop tail-bytes:0 exact:true in-use:false; do
		[ "$(json ".\"${key%%:*}\"" <<<"$output")" = "${key#*:}" ]
	done
	[ "$(json .image <<<"$output")" = "$remote" ]
	change "$remote"
	expect 0 verify "$remote"
	expect 0 log "$remote"
	grep -q copy <<<"$output"
	expect 0 map "$remote"
	expect 0 rollback -n "$remote"
	[ "$(sum disk.img)" != "$before" ]
	expect 0 rollback "$remote"
	[ "$(sum disk.img)" = "$before" ]
	expect 0 status "$remote"
	grep -q ': no checkpoint is open$' <<<"$output"
}

@test "an image behind a unix socket is changed and rolled back to the same checksum" {
	remote
	cycle
}

@test "an image behind a TCP port is changed and rolled back to the same checksum" {
	remote_tcp
	cycle
}

@test "a machine that goes away is noticed after 90 seconds, while reading and while writing" {
	requires strace
	remote_tcp
	strace -f -e trace=setsockopt -o calls "$BOWIMG" status "$remote"
	grep -q 'TCP_KEEPIDLE, \[30\]' calls
	grep -q 'TCP_KEEPINTVL, \[10\]' calls
	grep -q 'TCP_KEEPCNT, \[6\]' calls
	grep -q 'TCP_USER_TIMEOUT, \[90000\]' calls
}

@test "an image behind TLS is changed and rolled back to the same checksum" {
	remote_tls
	refused 1 'TLS' prepare "nbd+unix:///?socket=$T/remote.sock"
	cycle
	refused 1 'keys' prepare "${remote/alice/bob}"
}

@test "so is one on servers that take whole sectors, small pieces, cannot zero or tell holes" {
	local strict=(blocksize-error-policy=error blocksize-preferred=4096)
	remote --filter=blocksize-policy -- "${strict[@]}" blocksize-minimum=4096 blocksize-maximum=64K
	cycle
	remote_stop
	remote --filter=nozero --filter=noextents --filter=noparallel -- serialize=connections
	cycle --exact
}

@test "commit keeps what was changed" {
	remote
	expect 0 prepare "$remote"
	change "$remote"
	expect 0 commit "$remote"
	expect 0 status "$remote"
	grep -q ': no checkpoint is open$' <<<"$output"
	qemu-io -f raw -r -c 'read -P 9 5000 300' -c 'read -P 8 9M 5M' -c 'read -P 0 16M 2M' disk.img \
		>io.out
	run ! grep -i failed io.out
}

@test "run prepares, serves and rolls back by itself" {
	remote
	expect 3 run --via=nbd "$remote" -- sh -c 'qemu-io -f raw -c "write -P 7 0 8M" {} && exit 3'
	[ "$(sum disk.img)" = "$before" ]
}

@test "a checkpoint moves between the server and the file" {
	remote
	expect 0 prepare "$remote"
	change "$remote"
	remote_stop
	expect 0 verify disk.img
	change disk.img
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "an export that comes back with another size is refused, and served again with its own" {
	remote
	expect 0 prepare "$remote"
	for size in +4096 -8192; do
		remote_stop
		truncate -s "$size" disk.img
		remote
		refused 7 'bytes long' rollback "$remote"
		refused 7 'bytes long' status "$remote"
	done
	remote_stop
	truncate -s 24M disk.img
	remote
	expect 0 rollback "$remote"
	[ "$(sum disk.img)" = "$before" ]
}

@test "the socket may be named from the working directory" {
	mkdir sub
	remote
	cd sub
	expect 0 prepare 'nbd+unix:///?socket=../remote.sock'
	change 'nbd+unix:///?socket=../remote.sock'
	expect 0 rollback 'nbd+unix:///?socket=../remote.sock'
	[ "$(sum ../disk.img)" = "$before" ]
}

@test "nbdkit in the background serves the plugin on an image on a server" {
	remote
	expect 0 prepare "$remote"
	nbdkit -U mine.sock -P mine.pid "$(dirname "$BOWIMG")/nbdkit-bowimg-plugin.so" \
		'nbd+unix:///?socket=remote.sock' 3>&-
	qemu-io -f raw -c 'write -P 7 0 3M' -c flush 'nbd+unix:///?socket=mine.sock'
	kill "$(cat mine.pid)"
	wait_until is_gone "$(cat mine.pid)"
	expect 0 status -v "$remote"
	grep -q '^  attached *no$' <<<"$output"
	grep -q '^  changed *[1-9]' <<<"$output"
	expect 0 rollback "$remote"
	[ "$(sum disk.img)" = "$before" ]
}

@test "rescue finds the checkpoint of a lost first sector" {
	remote
	expect 0 prepare "$remote"
	change "$remote"
	dd if=/dev/zero of=disk.img bs=512 count=1 conv=notrunc status=none
	expect 0 rescue --write "$remote"
	expect 0 rollback "$remote"
	[ "$(sum disk.img)" = "$before" ]
}

@test "a map file and a trimming guest serve as free maps" {
	remote
	expect 0 map "$remote"
	printf '%s\n' "$output" >map
	expect 0 prepare --free-from=map:map "$remote"
	expect 0 rollback "$remote"
	expect 0 prepare --no-exact --free-from=trim "$remote" -- qemu-io -f raw -d unmap -c 'discard 12M 8M' '{}'
	expect 0 status --json "$remote"
	[ "$(json '."free-total-bytes"' <<<"$output")" = $((8 << 20)) ]
	expect 0 rollback "$remote"
}

@test "there is no tail on a server" {
	remote
	refused 9 'tail' prepare --store=tail "$remote"
	expect 0 prepare --no-exact --on-full=stop "$remote"
	run -1 "$BOWIMG" run --via=nbd --on-success=keep --on-failure=keep "$remote" -- \
		qemu-io -f raw -c 'write -P 7 0 24M' '{}'
	expect 0 rollback "$remote"
	cp disk.img after.img
	e2fsck -fn after.img
}

@test "servers that cannot do are refused, and the image stays as it is" {
	remote -r
	refused 1 'read-only' prepare "$remote"
	expect 0 status "$remote"
	refused 1 'read-only' map "$remote"
	remote_stop
	remote --filter=blocksize-policy -- blocksize-error-policy=error blocksize-minimum=64K \
		blocksize-preferred=64K
	refused 9 'more than 4096' prepare "$remote"
	remote_stop
	refused 1 'connect' prepare "$remote"
	refused 1 'connect' status "$remote"
	refused 1 'does not name a socket' prepare nbd+unix:///
	refused 9 'transport' prepare nbd+vsock://2/
	[ "$(sum disk.img)" = "$before" ]
}

# remote_of_commands [CAN-FLUSH]: a server of shell commands. A write that finds a file "slow" makes
# one of "late", and takes a second.
remote_of_commands() {
	local image=$T/disk.img
	remote="nbd+unix:///?socket=$T/remote.sock"
	nbdkit -P "$T/remote.pid" -U "$T/remote.sock" eval get_size="stat -c %s $image" \
		pread="dd if=$image skip=\$4 count=\$3 iflag=skip_bytes,count_bytes status=none" \
		pwrite="[ ! -e $T/slow ] || { touch $T/late; sleep 1; }
			dd of=$image seek=\$4 oflag=seek_bytes conv=notrunc status=none" \
		thread_model='echo parallel' can_write='exit 0' can_flush="${1:-exit 0}" \
		flush="sync $image" 3>&-
}

@test "a server without flush is refused" {
	remote_of_commands 'exit 3'
	refused 9 'cannot flush' prepare "$remote"
	expect 0 status "$remote"
	[ "$(sum disk.img)" = "$before" ]
}

@test "two bowimgs on one export exclude each other" {
	remote
	expect 0 prepare "$remote"
	"$BOWIMG" serve --socket mine.sock "$remote" >uri 2>serve.err 3>&- &
	local server=$!
	wait_until test -s uri
	refused 4 'another bowimg' rollback "$remote"
	# Another way to write the same export.
	refused 4 'another bowimg' rollback "nbd+unix:///?socket=$T/./remote.sock"
	expect 0 status --json "$remote"
	[ "$(json '."in-use"' <<<"$output")" = true ]
	refused 4 'serves it' verify "$remote"
	kill "$server"
	wait "$server"
	expect 0 rollback "$remote"
}

@test "the server is killed under load: errors, and afterwards all can be undone" {
	remote
	expect 0 prepare "$remote"
	"$BOWIMG" serve --socket mine.sock "$remote" >uri 2>serve.err 3>&- &
	local server=$! status=0
	wait_until test -s uri
	(for i in $(seq 100); do echo "write -P $((i % 250 + 1)) $((i % 20))M 1M"; done) |
		timeout 60 qemu-io -f raw "$(cat uri)" >io.out 2>&1 3>&- &
	wait_until grep -q wrote io.out
	remote_stop KILL
	wait_until grep -qi 'input/output error' io.out
	wait_until grep -q 'NBD server' serve.err
	kill "$server"
	wait "$server" || status=$?
	[ "$status" -eq 1 ]
	remote
	expect 0 status "$remote"
	grep -q 'did not end cleanly' <<<"$output"
	expect 0 verify "$remote"
	change "$remote"
	expect 0 rollback "$remote"
	[ "$(sum disk.img)" = "$before" ]
}

# scatter: a disk with a large file, which then is overwritten here and there, over NBD.
scatter() {
	local blocks args=() i
	mkdir tree
	head -c 6M /dev/urandom >tree/large
	rm disk.img
	make_ext4 disk.img 24M -d tree
	before=$(sum disk.img)
	mapfile -t blocks < <(debugfs -R 'blocks /large' disk.img 2>/dev/null | tr ' ' '\n' | grep .)
	for ((i = 0; i < ${#blocks[@]}; i += 60)); do
		args+=(-c "write -P $((i % 251 + 1)) ${blocks[i]}k 3k")
	done
	"${1:-remote}"
	expect 0 prepare "$remote"
	"$BOWIMG" run --via=nbd --on-success=keep --on-failure=keep "$remote" -- qemu-io -f raw "${args[@]}" \
		-c flush '{}' >io.out
	remote_stop
}

# slowly MILLISECONDS KIND: the server takes so long for such requests, and writes all down in remote.log.
slowly() {
	rm -f remote.log remote.sock
	"${served:-remote}" --filter=log --filter=delay -- logfile="$T/remote.log" "delay-${2,,}=$1ms"
}

asked() {
	[ "$(grep -c " $1 id=" remote.log)" -ge "$2" ]
}

# lost_in MILLISECONDS KIND N VERB...: the server, which takes so long for such requests, is killed when
# it has had N of them from the verb, and started again. Sets $status; what was said is in said.
lost_in() {
	local far=$1 kind=$2 n=$3 verb
	shift 3
	slowly "$far" "$kind"
	"$BOWIMG" "$@" >out 2>said 3>&- &
	verb=$!
	wait_until asked "$kind" "$n"
	remote_stop KILL
	slowly "$far" "$kind"
	status=0
	wait "$verb" || status=$?
	remote_stop
}

connected_again() {
	cat said
	[ "$(sort -u said)" = "bowimg: lost the connection to $T/remote.sock; connected again" ]
}

@test "the server is killed and comes back while verify and diff read, and they go on" {
	scatter
	lost_in 150 Read 6 verify "$remote"
	connected_again
	[ "$status" -eq 0 ]
	lost_in 20 Read 20 diff --files "$remote"
	connected_again
	[ "$status" -eq 1 ]
	"$BOWIMG" diff --files disk.img >at_once || [ $? -eq 1 ]
	tail -n +2 out | cmp - <(tail -n +2 at_once)
}

@test "so it is behind TLS" {
	scatter remote_tls
	served=remote_with_keys
	lost_in 150 Read 6 verify "$remote"
	connected_again
	[ "$status" -eq 0 ]
}

remote_with_keys() {
	remote_start -U "$T/remote.sock" --tls=require --tls-psk="$T/keys" "$@"
}

@test "the server is killed and comes back in a rollback: before it writes that goes on, later the next one finishes" {
	scatter
	cp disk.img changed.img
	lost_in 150 Read 6 rollback "$remote"
	connected_again
	[ "$status" -eq 0 ]
	[ "$(sum disk.img)" = "$before" ]
	mv changed.img disk.img
	lost_in 50 Write 5 rollback "$remote"
	cat said
	[ "$status" -eq 1 ]
	grep -q 'the connection was lost; it was not made again, because .* written and not flushed' said
	run ! grep 'connected again' said
	remote
	expect 0 status --json "$remote"
	[ "$(json .state <<<"$output")" = rolling-back ]
	expect 0 rollback "$remote"
	[ "$(sum disk.img)" = "$before" ]
}

@test "the server is killed and comes back under a guest that has flushed, which notices nothing" {
	remote
	expect 0 prepare "$remote"
	"$BOWIMG" serve --socket mine.sock "$remote" >uri 2>said 3>&- &
	local server=$!
	wait_until test -s uri
	for i in 1 2 3; do
		qemu-io -f raw -c "write -P $i $((i * 2))M 1M" -c flush "$(cat uri)"
		remote_stop KILL
		remote
		qemu-io -f raw -c "read -P $i $((i * 2))M 1M" -c "write -P 7 ${i}00k 64k" -c flush "$(cat uri)" >io.out
		run ! grep -i failed io.out
	done
	cat said
	[ "$(grep -c 'connected again' said)" -eq 3 ]
	kill "$server"
	wait "$server"
	expect 0 rollback "$remote"
	[ "$(sum disk.img)" = "$before" ]
}

@test "a rollback is not overtaken by what a killed bowimg had sent" {
	local server nbdkit
	remote_of_commands
	expect 0 prepare --exact "$remote"
	"$BOWIMG" serve --socket mine.sock "$remote" >uri 2>serve.err 3>&- &
	server=$!
	wait_until test -s uri
	qemu-io -f raw -c 'write -P 7 0 64k' -c flush "$(cat uri)"
	touch slow
	qemu-io -f raw -c 'write -P 8 0 64k' "$(cat uri)" >io.out 2>&1 3>&- &
	wait_until test -e late
	# Together: bowimg would start another one, and that would go on.
	nbdkit=$(pgrep -P "$server" -x nbdkit)
	kill -STOP "$nbdkit"
	kill -9 "$server" "$nbdkit"
	wait "$server" || true
	rm slow
	expect 0 rollback "$remote"
	sleep 1
	[ "$(sum disk.img)" = "$before" ]
}
