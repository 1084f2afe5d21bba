#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The disk as it was, over NBD: beside the disk, and alone.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd

setup() {
	nbd_setup 64M
	"$BOWIMG" prepare -q disk.img
}

# uri_of EXPORT
uri_of() {
	echo "nbd+unix:///$1?socket=$T/nbd.sock"
}

@test "both exports are offered, and only one can be written" {
	serve
	within 20 nbdinfo --json --list "$uri" >list
	[ "$(json '[.exports[]."export-name"] | sort | join(",")' <list)" = ,before ]
	[ "$(json '.exports[] | select(."export-name" == "before") | .is_read_only' <list)" = true ]
	[ "$(json '.exports[] | select(."export-name" == "") | .is_read_only' <list)" = false ]
	run ! within 20 qemu-io -f raw -c 'write 0 4k' "$(uri_of before)"
	run ! within 20 nbdinfo "$(uri_of befor)"
	unserve
	grep -q "no export 'befor'" serve.err
}

@test "what a client asks for is shown to the terminal of serve, not obeyed" {
	serve
	run ! within 20 nbdinfo "$(uri_of '%1B%5B2J%07%0A%C2%9B2J%7F')"
	unserve
	cat -v serve.err
	grep -qF "no export '\x1b[2J\x07\x0a\xc2\x9b2J\x7f'" serve.err
	run ! env LC_ALL=C grep -aqP '[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' serve.err
}

@test "the disk as it was is copied out while the disk is written" {
	serve
	(for i in 1 2 3 4 5 6; do
		qemu-io -f raw -c "write -P $i 0 24M" -c "discard $((i * 8))M 3M" \
			-c "write -z 40M ${i}M" -c flush "$uri"
	done) >io.out 2>&1 3>&- &
	writer=$!
	for _ in 1 2 3; do
		within 60 nbdcopy "$(uri_of before)" copy.img
		same_as "$before" copy.img
	done
	wait $writer
	within 60 nbdcopy "$(uri_of before)" copy.img
	same_as "$before" copy.img
	io 'read -P 6 0 24M'
	unserve
	roll_back
}

@test "serve --before serves it alone, changes nothing, and keeps others from writing" {
	serve
	io 'write -P 7 0 20M' flush
	unserve
	now=$(sum disk.img)
	chmod 444 disk.img
	serve --before
	within 60 nbdcopy "$uri" copy.img
	same_as "$before" copy.img
	within 60 nbdcopy "$(uri_of before)" copy.img
	same_as "$before" copy.img
	run ! within 20 qemu-io -f raw -c 'write 0 4k' "$uri"
	refused 4 'in use' serve --socket "$T/other.sock" disk.img
	refused 4 'in use' rollback disk.img
	unserve
	same_as "$now" disk.img
	roll_back
}

@test "serve --before is refused where somebody writes, or nothing was prepared" {
	serve
	refused 4 'in use' serve --before --socket "$T/other.sock" disk.img
	unserve
	expect 0 commit disk.img
	refused 3 'nothing to view' serve --before --socket "$T/other.sock" disk.img
	[ ! -e other.sock ]
}

@test "a killed server of what was leaves the checkpoint as it is" {
	now=$(sum disk.img)
	serve --before
	kill_server
	[ "$status" -ne 0 ]
	same_as "$now" disk.img
	serve --before
	within 60 nbdcopy "$uri" copy.img
	same_as "$before" copy.img
	unserve INT
	roll_back
}

@test "an ordinary user serves what was" {
	requires root setpriv
	mkdir bin
	cp "$BOWIMG" "$(dirname "$BOWIMG")/nbdkit-bowimg-plugin.so" bin/
	chmod 755 . bin
	chown 65534:65534 . disk.img
	cat >as-user <<-'S'
		bin/bowimg serve --before --socket nbd.sock disk.img >uri & server=$!
		while ! test -s uri; do sleep 0.05; done
		nbdcopy "$(cat uri)" copy.img && kill $server && wait $server
	S
	within 60 env -i PATH="$PATH" BOWIMG_TEST_ID="$T" setpriv --reuid=65534 --regid=65534 \
		--clear-groups --no-new-privs -- sh as-user
	same_as "$before" copy.img
}
