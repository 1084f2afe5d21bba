#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Images on an NBD server: mounted, attached and run as loop device and FUSE file, with servers and
# daemons that are killed, and as an ordinary user.
#
# Alone: it kills the one daemon there is that serves an image of a server.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/remote

setup() {
	common_setup
	requires root loop fuse nbdkit
	make_ext4 disk.img 48M
	remember
}

# A URI without $T in it is not found by the common clean-up.
teardown() {
	[ -z "${remote:-}" ] || timeout 60 "$BOWIMG" umount "$remote" >/dev/null 2>&1 ||
		timeout 60 "$BOWIMG" detach "$remote" >/dev/null 2>&1 || true
	common_teardown
}

@test "the file system on a server is mounted, changed, and rolled back" {
	remote_tcp
	expect 0 prepare "$remote"
	mkdir mnt
	expect 0 mount "$remote" mnt
	change_tree mnt
	refused 4 'in use' mount "$remote" mnt
	refused 4 'in use|another bowimg' rollback "$remote"
	cd mnt/copied
	refused 4 '' umount "$remote"
	cd "$T"
	expect 0 umount "$remote"
	expect 0 verify "$remote"
	expect 0 mount "$remote" mnt
	[ -e mnt/new1 ]
	expect 0 umount mnt
	expect 0 rollback "$remote"
	same_as "$before"
	nothing_left
}

@test "a loop device on it is detached by the URI, from wherever one stands" {
	remote
	expect 0 prepare "$remote"
	mkdir sub
	cd sub
	expect 0 attach 'nbd+unix:///?socket=../remote.sock'
	device=$output
	within 60 e2fsck -fn "$device"
	within 60 dd if=/dev/urandom of="$device" bs=64k seek=3 count=40 oflag=direct status=none
	cd "$T"
	expect 0 status --json "$remote"
	[ "$(json '."in-use"' <<<"$output")" = true ]
	expect 0 detach 'nbd+unix:///?socket=remote.sock'
	refused 3 'not attached' detach "$remote"
	expect 0 rollback "$remote"
	same_as "$before"
	nothing_left
}

@test "a FUSE file on it, and run in both ways" {
	remote
	mkdir dir
	expect 0 prepare "$remote"
	expect 0 attach --fuse dir "$remote"
	within 60 dd if=/dev/urandom of=dir/disk bs=64k seek=3 count=40 conv=notrunc,fsync status=none
	expect 0 detach dir
	expect 0 rollback "$remote"
	same_as "$before"
	for via in loop fuse; do
		expect 7 run --via=$via "$remote" -- sh -c \
			'dd if=/dev/urandom of={} bs=64k seek=3 count=40 conv=notrunc,fsync; exit 7'
		same_as "$before"
	done
	nothing_left
}

@test "the server is killed under a mounted file system" {
	remote
	expect 0 prepare "$remote"
	mkdir mnt
	expect 0 mount "$remote" mnt
	cp mnt/file0 kept
	cp kept mnt/flushed
	within 60 sync -f mnt
	(while cp -r mnt/sub "mnt/copy$((i++))"; do :; done) 2>/dev/null 3>&- &
	sleep 0.5
	remote_stop KILL
	run ! within 60 sh -c 'cp kept mnt/lost && sync -f mnt'
	bow umount "$remote"
	[ "$status" -eq 1 ]
	grep -q 'ended badly' <<<"$stderr"
	[ -z "$(own_mounts)" ]
	remote
	expect 0 verify "$remote"
	expect 0 mount "$remote" mnt
	cmp kept mnt/flushed
	expect 0 umount mnt
	expect 0 rollback "$remote"
	same_as "$before"
	nothing_left
}

@test "the daemon is killed under a mounted file system" {
	remote
	expect 0 prepare "$remote"
	mkdir mnt
	expect 0 mount "$remote" mnt
	change_tree mnt
	kill -9 "$(jq .pid /run/bowimg/nbd-*/state.json)"
	expect 0 umount "$remote"
	grep -q 'had been killed' <<<"$stderr"
	expect 0 mount "$remote" mnt
	[ -e mnt/new3 ]
	expect 0 umount mnt
	expect 0 rollback "$remote"
	same_as "$before"
	nothing_left
}

@test "an ordinary user has an undo for an image on a server" {
	requires setpriv qemu-io
	mkdir bin
	cp "$BOWIMG" "$(dirname "$BOWIMG")/nbdkit-bowimg-plugin.so" bin/
	chown 65534:65534 .
	remote_tcp
	as_nobody() {
		(cd "$T" && env -i PATH="$PATH" BOWIMG_TEST_ID="$T" \
			setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs -- \
			timeout 60 "$@")
	}
	as_nobody bin/bowimg prepare "$remote"
	as_nobody bin/bowimg run --via=nbd --on-success=keep --on-failure=keep "$remote" -- \
		qemu-io -f raw -c 'write -P 7 0 9M' '{}'
	as_nobody bin/bowimg verify "$remote"
	# Users exclude each other, too.
	as_nobody sh -c 'echo $$ >pid; exec bin/bowimg serve --socket nbd.sock "$1"' sh "$remote" \
		>uri 2>serve.err 3>&- &
	wait_until test -s uri
	refused 4 'another bowimg' rollback "$remote"
	kill "$(cat pid)"
	wait $!
	as_nobody bin/bowimg rollback "$remote"
	same_as "$before"
}
