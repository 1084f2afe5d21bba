#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Where FUSE is missing, as in an unprivileged container: what works there is named, and it works.
# Alone: a mount namespace that is made here would hold the mounts of other files.

load ../../lib/common
load ../../lib/e2e

setup() {
	common_setup
	requires root unshare setpriv nbdkit nbdinfo
	make_ext4 disk.img 16M
	remember
	mkdir dir
}

# without_fuse: bowimg from now on, in a mount namespace without /dev/fuse; or, in one with it, as a
# root that may not mount.
without_fuse() {
	local bowimg=$BOWIMG
	BOWIMG=$T/contained
	echo 'exec unshare -m sh -c "mount --bind /dev/null /dev/fuse && exec \"\$@\"" sh' "$bowimg" '"$@"' >"$BOWIMG"
	chmod +x "$BOWIMG"
}

without_the_right() {
	local bowimg=$BOWIMG
	BOWIMG=$T/contained
	echo "exec setpriv --bounding-set=-sys_admin '$bowimg'" '"$@"' >"$BOWIMG"
	chmod +x "$BOWIMG"
}

# hinted: the commands of the last hint, one a line, as they can be typed.
hinted() {
	sed -n 's/^  NBD works here: //p' <<<"$stderr" | sed 's/; or /\n/'
}

@test "run chooses the first way that works, and says which" {
	expect 0 run disk.img -- true
	grep -qE 'loop device \(--via=loop\)|file \(--via=fuse\)' <<<"$stderr"
	expect 0 run -q disk.img -- true
	[ -z "$stderr" ]
	without_fuse
	expect 0 run disk.img -- nbdinfo --size {}
	[ "$output" = $((16 << 20)) ]
	grep -q 'NBD export (--via=nbd), because FUSE does not work here: /dev/fuse' <<<"$stderr"
	grep -q 'rolled back' <<<"$stderr"
	same_as "$before"
}

@test "what needs FUSE is refused before anything is opened, and its hints work when pasted" {
	without_fuse
	refused 125 'FUSE does not work here' run --via=fuse disk.img -- true
	refused 125 'FUSE does not work here' run --via=loop disk.img -- true
	same_as "$before"
	expect 0 prepare -q disk.img
	refused 9 'cannot offer the disk on disk.img: FUSE does not work here' mount disk.img dir
	refused 9 'FUSE does not work here' attach disk.img
	refused 9 'FUSE does not work here' attach --fuse dir disk.img
	hinted >hints
	[ "$(wc -l <hints)" -eq 2 ]
	mkdir bin
	ln -s "$BOWIMG" bin/bowimg
	PATH=$T/bin:$PATH
	sed -n '2s/COMMAND/nbdinfo --size {}/p' hints >script
	[ "$(within 30 sh script)" = $((16 << 20)) ]
	expect 0 prepare -q disk.img
	sed -n 1p hints >script
	within 30 sh script >uri 3>&- &
	wait_until test -s uri
	[ "$(nbdinfo --size "$(cat uri)")" = $((16 << 20)) ]
	kill_own TERM
	wait $! || true
	expect 0 rollback disk.img
	same_as "$before"
}

@test "a root that may not mount is told so" {
	without_the_right
	expect 0 run disk.img -- nbdinfo --size {}
	grep -q -- '--via=nbd' <<<"$stderr"
	refused 9 'root may not mount in this container' attach --fuse dir disk.img
}

@test "without FUSE and nbdkit both are named" {
	without_fuse
	mkdir none
	printf '#!/bin/sh\nPATH=%s exec %s "$@"\n' "$T/none" "$T/inner" >outer
	sed 's/^exec unshare/exec \/usr\/bin\/unshare/; s/ sh -c "mount/ \/bin\/sh -c "\/bin\/mount/' contained >inner
	sed -i '1i#!/bin/sh' inner
	chmod +x outer inner
	BOWIMG=$T/outer refused 125 'FUSE does not work here' run disk.img -- "$(type -P true)"
	grep -q 'install nbdkit' <<<"$stderr"
	same_as "$before"
}

@test "a user is told of a way that works for him" {
	local user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	chmod 755 .
	mkdir bin
	cp "$BOWIMG" "$(dirname "$BOWIMG")/nbdkit-bowimg-plugin.so" bin/
	chown 65534:65534 disk.img
	expect 0 prepare -q disk.img
	run -1 "${user[@]}" bin/bowimg mount disk.img dir
	[[ $output == *"only root may mount"*"NBD works here: bowimg serve"* ]] ||
		[[ $output == *"only root may mount"*"bowimg attach --fuse DIR disk.img"* ]]
	mknod -m 666 fuse c 10 229
	run -1 unshare -m sh -c 'mount --bind fuse /dev/fuse && exec "$@"' sh "${user[@]}" bin/bowimg mount disk.img dir
	[[ $output == *"only root may mount"*"bowimg attach --fuse DIR disk.img"* ]]
}
