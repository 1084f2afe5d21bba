#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# run: the command's status, the policies, signals.

load ../lib/common
load ../lib/front

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

@test "a checkpoint with changes is not ended by a default" {
	expect 0 prepare disk.img
	expect 0 run disk.img -- true
	expect 0 run --on-success=keep disk.img -- tune2fs -L work -O ^resize_inode {}
	refused 125 'was changed since' run disk.img -- true
	refused 125 'was changed since' run --on-success=commit disk.img -- true
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
	refused 125 'command is missing' run disk.img
	refused 125 'no such file' run no-such-image -- true
	refused 125 'not known' run --via=pigeon disk.img -- true
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
