#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# run: the command's status, the policies, signals.

load ../../lib/common
load ../../lib/front

setup() {
	common_setup
	requires root loop fuse jq
	make_ext4 disk.img 24M
	before=$(sum disk.img)
}

label() {
	e2label disk.img 2>/dev/null
}

@test "run opens a checkpoint, and by default rolls back whatever the command does" {
	for via in loop fuse; do
		for status_wanted in 0 3; do
			expect "$status_wanted" run --via=$via disk.img -- \
				sh -c "e2label {} changed && exit $status_wanted"
			grep -q 'rolled back' <<<"$stderr"
			[ "$(sum disk.img)" = "$before" ]
		done
	done
	nothing_left
}

@test "the command finds the disk in {} and in BOWIMG_DISK" {
	expect 0 run --via=loop disk.img -- sh -c 'echo "$1 $BOWIMG_DISK x{}{}x"' sh {}
	[[ $output =~ ^(/dev/loop[0-9]+)\ (/dev/loop[0-9]+)\ x(/dev/loop[0-9]+/dev/loop[0-9]+)x$ ]]
	[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[2]}" ]
	expect 0 run --via=fuse disk.img -- sh -c 'test -f "$BOWIMG_DISK"'
}

@test "success and failure have policies of their own" {
	expect 0 run --on-success=commit disk.img -- e2label {} good
	[ "$(label)" = good ]
	expect 3 status --json disk.img || expect 0 status disk.img
	expect 1 run --on-success=commit disk.img -- sh -c 'e2label {} bad; exit 1'
	[ "$(label)" = good ]
	expect 5 run --on-failure=commit disk.img -- sh -c 'e2label {} kept; exit 5'
	[ "$(label)" = kept ]
	expect 0 run --on-success=keep disk.img -- e2label {} open
	expect 0 rollback disk.img
	[ "$(label)" = kept ]
}

@test "other statuses than 0 can mean success, and signals never do" {
	expect 1 run --on-success=commit --success-status=0,1 disk.img -- sh -c 'e2label {} mended; exit 1'
	grep -q "committed; the command's status was 1" <<<"$stderr"
	[ "$(label)" = mended ]
	expect 24 run --on-success=commit --success-status=1,2 --success-status 24 disk.img -- \
		sh -c 'e2label {} vanished; exit 24'
	[ "$(label)" = vanished ]
	expect 0 run --on-success=commit --success-status=137 disk.img -- e2label {} zero
	[ "$(label)" = zero ]
	expect 137 run --on-success=commit --success-status=137 disk.img -- sh -c 'e2label {} killed; kill -9 $$'
	[ "$(label)" = killed ]
	for list in 2 0 11; do
		expect 1 run --on-success=commit --success-status=$list disk.img -- sh -c 'e2label {} bad; exit 1'
		grep -q "rolled back; the command's status was 1" <<<"$stderr"
		[ "$(label)" = killed ]
	done
	env --default-signal=TERM "$BOWIMG" run --on-success=commit --success-status=3 disk.img -- \
		bash -c "trap 'exit 3' TERM; e2label {} changed; touch up; for i in {1..100}; do sleep 0.1; done" \
		>out 2>err 3>&- &
	wait_until test -e up
	kill -TERM $!
	wait $! || [ $? -eq 3 ]
	grep -q 'rolled back' err
	[ "$(label)" = killed ]
}

@test "a list of statuses is numbers that a command can have" {
	for list in '' ',' '1,' ',1' x 1x -1 256 1000000000000000000000 125 126 0,127 '1 2'; do
		refused 125 'success-status needs numbers' run "--success-status=$list" disk.img -- true
	done
	run -127 --separate-stderr "$BOWIMG" run --on-success=commit --success-status=2 disk.img -- no-such-command
	[ "$(sum disk.img)" = "$before" ]
}

@test "a checkpoint with changes is not ended by a default" {
	expect 0 prepare disk.img
	expect 0 run disk.img -- true
	expect 0 run --on-success=keep disk.img -- tune2fs -L work -O ^resize_inode {}
	refused 125 'has changes since prepare' run disk.img -- true
	refused 125 'has changes since prepare' run --on-success=commit disk.img -- true
	expect 0 run --on-success=keep --on-failure=keep disk.img -- \
		sh -c 'test "$(e2label {})" = work'
	expect 0 run --on-success=commit --on-failure=keep disk.img -- true
	[ "$(label)" = work ]
}

@test "the command's status is passed on, 128 + N for a signal, 126 and 127 if it cannot start" {
	expect 42 run disk.img -- sh -c 'exit 42'
	expect 137 run disk.img -- sh -c 'kill -9 $$'
	run -127 --separate-stderr "$BOWIMG" run disk.img -- no-such-command
	expect 126 run disk.img -- /etc/passwd
	[ "$(sum disk.img)" = "$before" ]
	nothing_left
}

@test "bowimg's own failures are 125" {
	refused 125 'missing command' run disk.img
	refused 125 'no such file' run no-such-image -- true
	refused 125 "unknown value 'pigeon'" run --via=pigeon disk.img -- true
	[ "$(sum disk.img)" = "$before" ]
}

@test "a signal is passed on to the command and ends in the failure policy" {
	for signal in INT TERM HUP; do
		# A shell's background jobs ignore SIGINT.
		env --default-signal="$signal" "$BOWIMG" run --on-success=commit disk.img -- \
			bash -c "trap 'echo caught; exit 0' $signal; e2label {} changed; touch up
				for i in {1..100}; do sleep 0.1; done" >out 2>err 3>&- &
		wait_until test -e up
		kill "-$signal" $!
		wait $!
		rm up
		grep -q caught out
		grep -q 'rolled back' err
		[ "$(sum disk.img)" = "$before" ]
		nothing_left
	done
}

@test "the terminal's Ctrl-C reaches the command once" {
	requires script perl
	# Waits for the first signal, then long enough for a second one. A shell would bring
	# children of its own, which get the terminal's signal as well; and the one that script starts,
	# whichever it is, must be gone for the exit status to be ours.
	cat >count.pl <<-'P'
		my $n = 0;
		$SIG{INT} = sub { $n++ };
		open(my $up, ">", "up") or die; close($up);
		for (1 .. 200) { last if $n; select(undef, undef, undef, 0.1) }
		my $end = time + 2;
		select(undef, undef, undef, 0.1) while time < $end;
		open(my $count, ">", "count") or die; print $count "$n\n"; close($count);
		exit 7;
	P
	(
		wait_until test -e up
		printf '\003'
		wait_until test -e count
		sleep 0.5
	) | SHELL=/bin/sh run -7 script -qec "exec $BOWIMG run disk.img -- perl count.pl" typescript 3>&-
	[ "$(cat count)" = 1 ]
	[ "$(sum disk.img)" = "$before" ]
}

@test "kill -9 of run takes the disk away, and the checkpoint stays" {
	"$BOWIMG" run disk.img -- sh -c 'e2label {} changed; touch up; sleep 2' 2>/dev/null 3>&- &
	wait_until test -e up
	kill -9 $!
	wait $! || true
	wait_until quietly nothing_left
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

@test "a command that leaves the disk in use is a failure that changes nothing" {
	mkdir mnt
	refused 125 'mounted at' run --via=loop disk.img -- mount {} mnt
	grep -q 'stays open' <<<"$stderr"
	umount mnt
	wait_until quietly nothing_left
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}

# Fills the disk through a mapping, and never asks how that went.
fill_mapped() {
	cat <<-'EOF'
		import mmap, os, sys
		fd = os.open(sys.argv[1], os.O_RDWR)
		m = mmap.mmap(fd, 0)
		for at in range(1 << 20, len(m), 4096):
		    m[at:at + 4096] = os.urandom(4096)
		os._exit(0)
	EOF
}

@test "a command that writes through a mapping and finds no room has failed" {
	requires python3
	expect 0 prepare --on-full=stop disk.img
	expect 125 run --via=fuse --on-success=commit disk.img -- python3 -c "$(fill_mapped)" {}
	grep -q 'write what was mapped: no room' <<<"$stderr"
	grep -q 'rolled back' <<<"$stderr"
	[ "$(sum disk.img)" = "$before" ]
	nothing_left
}

# A program that asks neither write nor close how it went.
write_blindly() {
	cat <<-'EOF'
		import os, sys
		fd = os.open(sys.argv[1], os.O_RDWR)
		for at in range(1 << 20, 23 << 20, 4096):
		    try: os.pwrite(fd, os.urandom(4096), at)
		    except OSError: pass
		os._exit(0)
	EOF
}

@test "a command that finds no room later has failed, even if it does not notice" {
	requires python3
	expect 0 prepare --on-full=stop disk.img
	expect 125 run --via=fuse --on-success=commit disk.img -- python3 -c "$(write_blindly)" {}
	grep -q 'no room for another backup' <<<"$stderr"
	grep -q 'rolled back' <<<"$stderr"
	[ "$(sum disk.img)" = "$before" ]
	nothing_left
}

@test "a disk that is a file ends where it ends, and is read back as it was written" {
	expect 0 run --via=fuse --on-success=commit disk.img -- \
		sh -c 'dd if=/dev/zero of={} bs=4096 conv=notrunc 2>&1; dd if={} bs=4096 | cksum; dd if=/dev/zero bs=1M count=24 | cksum'
	grep -q 'No space left on device' <<<"$output"
	[ "$(grep -c ' 25165824$' <<<"$output")" = 2 ]
	[ "$(grep ' 25165824$' <<<"$output" | uniq | wc -l)" = 1 ]
	cmp -n 25165824 disk.img /dev/zero
}

@test "small writes that nobody waits for share their barriers" {
	requires python3
	expect 0 prepare disk.img
	expect 0 run --via=fuse --on-success=keep disk.img -- python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for i in range(1, 400):
    os.pwrite(fd, b"x" * 512, i * 37 % 6000 * 4096 + 512)
    assert os.pread(fd, 1024, i * 37 % 6000 * 4096 + 256)[256:768] == b"x" * 512' {}
	expect 0 log --json disk.img
	records=$(jq '[.[].sequence] | unique | length' <<<"$output")
	echo "$records records"
	[ "$records" -le 60 ]
	expect 0 rollback disk.img
	[ "$(sum disk.img)" = "$before" ]
}
