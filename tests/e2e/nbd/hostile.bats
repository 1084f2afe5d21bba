#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Clients that die, stop or talk nonsense, beside one that goes on: it must notice nothing.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd

setup() {
	nbd_setup 64M
	hostile=$BATS_TEST_DIRNAME/../../lib/nbd_hostile.py
	expect 0 prepare disk.img
}

# beside KIND COUNT [SOCKET]: such clients, and one that stays connected, writes, reads back, flushes.
beside() {
	nbd_python "
import subprocess
hostile = subprocess.Popen(['python3', '$hostile', '${3:-nbd.sock}', '$1', '$2'])
n = 0
while hostile.poll() is None or n < 20:
    data, off = bytes([n % 251 + 1]) * 8192, n % 500 * 8192
    h.pwrite(data, off)
    assert h.pread(8192, off) == data
    if n % 50 == 0: h.flush()
    n += 1
assert hostile.returncode == 0
for i in range(max(0, n - 500), n):
    assert h.pread(8192, i % 500 * 8192) == bytes([i % 251 + 1]) * 8192
print('$1: the other client wrote', n, 'times')
"
}

# stay KIND COUNT: they are connected until leave.
stay() {
	rm -f ready in
	mkfifo in
	python3 "$hostile" nbd.sock "$1" "$2" <in 3>&- &
	staying=$!
	exec 9>in
	wait_until test -e ready
}

leave() {
	exec 9>&-
	wait "$staying"
}

@test "10,000 connections of clients that hang up end no other client's service" {
	serve
	nbdkit=$(nbdkit_of "$server")
	beside hang_up 7000
	beside read_a_little 500
	beside open_close 1000
	beside half_handshake 1000
	beside garbage 250
	beside lengths 250
	# It is the same process, and nothing of theirs is left in it.
	[ "$(nbdkit_of "$server")" = "$nbdkit" ]
	wait_until sh -c "[ \$(ls /proc/$nbdkit/task | wc -l) -lt 22 ]"
	[ "$(find "/proc/$nbdkit/fd" -mindepth 1 | wc -l)" -lt 30 ]
	unserve
	roll_back
}

@test "QEMU may be killed with 64 requests under way, beside a client that goes on" {
	serve
	nbdkit=$(nbdkit_of "$server")
	nbd_python "
import random, signal, subprocess, time
for n in range(30):
    write = ['-w'] if n % 2 else []
    qemu = subprocess.Popen(['qemu-img', 'bench', '-f', 'raw', '-c', '1000000', '-d', '64', '-o', '32M',
        *write, '$uri'], stdout=subprocess.DEVNULL)
    end = time.monotonic() + random.uniform(0.02, 0.15)
    while time.monotonic() < end:
        h.pwrite(bytes([n + 1]) * 4096, n * 4096)
        assert h.pread(4096, n * 4096) == bytes([n + 1]) * 4096
    qemu.send_signal(signal.SIGKILL)
    qemu.wait()
h.flush()
for n in range(30):
    assert h.pread(4096, n * 4096) == bytes([n + 1]) * 4096
"
	[ "$(nbdkit_of "$server")" = "$nbdkit" ]
	unserve
	roll_back
}

@test "clients that say nothing, read nothing, or stop in the middle stop nobody" {
	serve
	for who in 'silent 300' 'never_read 4' 'half_write 20'; do
		# shellcheck disable=SC2086
		stay $who
		within 10 qemu-io -f raw -c 'write -P 5 1M 1M' -c flush -c 'read -P 5 1M 1M' "$uri"
		leave
	done
	# Nor do they hold up the end.
	stay silent 20
	before_end=$SECONDS
	unserve
	[ $((SECONDS - before_end)) -lt 5 ]
	leave
	roll_back
}

@test "more clients than there are descriptors are turned away, and nothing spins" {
	(ulimit -n 128 && "$BOWIMG" serve --socket nbd.sock disk.img >uri 2>serve.err 3>&-) &
	wait_until test -s uri
	uri=$(cat uri)
	server=$(pgrep -P $! -x bowimg || echo $!)
	nbdkit=$(nbdkit_of "$server")
	beside open_close 10
	ticks=$(cut -d' ' -f14,15 "/proc/$nbdkit/stat" | tr ' ' +)
	# Those that are turned away see the end at once.
	run python3 "$hostile" nbd.sock silent 400 </dev/null
	sleep 1
	[ $(($(cut -d' ' -f14,15 "/proc/$nbdkit/stat" | tr ' ' +) - (ticks))) -lt 100 ]
	[ "$(wc -l <serve.err)" -lt 1000 ]
	grep -q 'too many clients' serve.err
	beside open_close 10
	kill "$server"
	wait_until is_gone "$server"
	[ "$(key attached)" = false ]
	roll_back
}

@test "run and prepare with a guest that trims are served the same way" {
	expect 0 rollback disk.img
	expect 0 run --via=nbd disk.img -- sh -c "python3 $hostile \"\$BOWIMG_SOCKET\" hang_up 1000 &&
		qemu-io -f raw -c 'write -P 5 1M 1M' -c flush -c 'read -P 5 1M 1M' {}"
	same_as "$before"
	expect 0 prepare --free-from=trim disk.img -- sh -c "qemu-io -f raw -c 'read 0 1M' {} &&
		cp disk.img copy.img && python3 $hostile \"\$BOWIMG_SOCKET\" hang_up 1000 &&
		nbdcopy copy.img {} && qemu-io -f raw -c 'discard 40M 8M' {}"
	roll_back
}
