#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# All of the NBD road as an ordinary user: no root, no loop device, no /dev/fuse, no home.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd

setup() {
	common_setup
	requires root setpriv nbdkit qemu-io jq
	make_ext4 disk.img 24M
	before=$(sum disk.img)
	# The build tree may be where only root can go.
	mkdir bin
	cp "$BOWIMG" "$(dirname "$BOWIMG")/nbdkit-bowimg-plugin.so" bin/
	as_user "$T" id >/dev/null || skip_or_fail
	BOWIMG=$T/bin/bowimg
	chown 65534:65534 . disk.img
}

as_user() {
	(cd "$1" && shift && env -i PATH="$PATH" BOWIMG_TEST_ID="$T" T="$T" BOWIMG="$BOWIMG" \
		setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs -- "$@")
}

skip_or_fail() {
	echo "nobody cannot enter $T"
	return 1
}

# user STATUS COMMAND...
user() {
	local wanted=$1
	shift
	run --separate-stderr as_user "$T" timeout 60 "$@"
	printf '%s\n' "$output" "${stderr:-}"
	[ "$status" -eq "$wanted" ]
}

@test "an ordinary user prepares, serves and rolls back" {
	user 0 bin/bowimg prepare disk.img
	user 0 sh -c 'bin/bowimg serve --socket nbd.sock disk.img >uri & server=$!
		while ! test -s uri; do sleep 0.05; done
		qemu-io -f raw -c "write -P 7 8M 1M" -c flush -c "read -P 7 8M 1M" "$(cat uri)" &&
		kill $server && wait $server'
	user 0 bin/bowimg status -v disk.img
	grep -q '^  attached *no' <<<"$output"
	user 0 bin/bowimg verify disk.img
	user 0 bin/bowimg rollback disk.img
	same_as "$before"
}

@test "an ordinary user runs a command on the disk, and commits" {
	user 3 bin/bowimg run --via=nbd disk.img -- \
		sh -c 'qemu-io -f raw -c "write -P 7 8M 1M" {} && exit 3'
	same_as "$before"
	user 0 bin/bowimg run --via=nbd --on-success=commit disk.img -- \
		qemu-io -f raw -c 'write -P 7 8M 1M' '{}'
	user 0 bin/bowimg status disk.img
	grep -q '^disk.img: no checkpoint is open$' <<<"$output"
	[ "$(sum disk.img)" != "$before" ]
}

@test "nothing asks for root: no loop device, no FUSE" {
	requires strace
	user 0 strace -f -qq -e trace=open,openat,ioctl,mount -o trace bin/bowimg run --via=nbd disk.img -- \
		qemu-io -f raw -c 'write -P 7 8M 1M' '{}'
	# Loop devices of others, whose files lie outside a changed root, are asked whether it is this one.
	sed -i '/"\/dev\/loop[0-9]*", O_RDONLY|/d' trace
	run ! grep -E '/dev/(loop|fuse)|LOOP_|^[0-9]+ mount' trace
	same_as "$before"
}
