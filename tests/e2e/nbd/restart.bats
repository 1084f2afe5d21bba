#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# nbdkit is killed under its clients: it is started again, and nothing that was acknowledged is lost.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd

setup() {
	nbd_setup 64M
	expect 0 prepare disk.img
}

@test "writes, zeros and trims that were acknowledged, but not flushed, survive nbdkit's death" {
	serve
	nbd_python "
import os, random, signal, subprocess, threading, time
BLOCK = 4096
rng = random.Random($RANDOM)
known = {}          # block: its byte, once it was acknowledged
under_way = set()   # the request that was not

def nbdkit():
    return int(subprocess.check_output(['pgrep', '-P', '$server', '-x', 'nbdkit']))

def connect():
    end = time.monotonic() + 10
    while True:
        try:
            g = nbd.NBD()
            g.set_strict_mode(0)
            g.connect_uri('$uri')
            return g
        except nbd.Error:
            assert time.monotonic() < end

def check(g):
    disk = g.pread(32 << 20, 0) + g.pread(32 << 20, 32 << 20)
    for block, byte in known.items():
        if block not in under_way:
            got = disk[block * BLOCK : (block + 1) * BLOCK]
            assert got == bytes([byte]) * BLOCK, (block, byte, got[:16])
    for block in under_way:
        known.pop(block, None)
    under_way.clear()

def work(g):
    what, first = rng.choice(('write', 'write', 'zero', 'zero', 'trim', 'flush')), rng.randrange(1, 8000)
    blocks = range(first, first + rng.choice((1, 1, 7, 300)))
    if what == 'flush':
        if rng.random() < 0.2: g.flush()
        return
    under_way.update(blocks)
    byte = rng.randrange(1, 256) if what == 'write' else 0
    if what == 'write': g.pwrite(bytes([byte]) * len(blocks) * BLOCK, first * BLOCK)
    if what == 'zero': g.zero(len(blocks) * BLOCK, first * BLOCK)
    if what == 'trim': g.trim(len(blocks) * BLOCK, first * BLOCK)
    for block in blocks:
        if what == 'trim': known.pop(block, None)
        else: known[block] = byte
    under_way.clear()

done, slowest = 0, 0
for life in range(4):
    check(h)
    pid, stop = nbdkit(), time.monotonic() + rng.uniform(0.05, 0.4)
    killer = threading.Timer(stop - time.monotonic(), os.kill, (pid, signal.SIGKILL))
    killer.start()
    try:
        while True:
            work(h)
            done += 1
    except nbd.Error: pass
    killer.join()
    since = time.monotonic()
    h = connect()
    slowest = max(slowest, time.monotonic() - since)
check(h)
print(done, 'requests; at the longest', slowest, 'seconds without a server')
assert done > 100 and slowest < 5
"
	[ "$(grep -c 'nothing that was acknowledged is lost' serve.err)" -eq 4 ]
	run ! grep -q 'not detached cleanly' serve.err
	unserve
	roll_back
}

@test "of sixteen writes in flight, those that were acknowledged survive" {
	serve
	nbd_python "
import os, random, signal, subprocess, threading, time
BLOCK = 4096
rng = random.Random($RANDOM)
known = {}         # block: its byte, once it was acknowledged
under_way = set()

def nbdkit():
    return int(subprocess.check_output(['pgrep', '-P', '$server', '-x', 'nbdkit']))

def connect():
    end = time.monotonic() + 10
    while True:
        try:
            g = nbd.NBD()
            g.connect_uri('$uri')
            return g
        except nbd.Error:
            assert time.monotonic() < end

def check(g):
    for block in under_way: known.pop(block, None)
    under_way.clear()
    disk = g.pread(32 << 20, 0) + g.pread(32 << 20, 32 << 20)
    for block, byte in known.items():
        got = disk[block * BLOCK : (block + 1) * BLOCK]
        assert got == bytes([byte]) * BLOCK, (block, byte, got[:16])

def submit(g):
    block, byte = rng.randrange(1, 8000), rng.randrange(1, 256)
    if block in under_way: return
    under_way.add(block)
    def done(error):
        if error.value == 0:
            known[block] = byte
            under_way.discard(block)
        return 1
    g.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([byte]) * BLOCK), block * BLOCK, done)

done = 0
for life in range(6):
    check(h)
    killer = threading.Timer(rng.uniform(0.02, 0.3), os.kill, (nbdkit(), signal.SIGKILL))
    killer.start()
    try:
        while True:
            while h.aio_in_flight() < 16:
                submit(h)
                done += 1
            h.poll(-1)
            if rng.random() < 0.001: h.flush()
    except nbd.Error: pass
    killer.join()
    h = connect()
check(h)
print(done, 'requests')
assert done > 1000
"
	[ "$(grep -c 'nothing that was acknowledged is lost' serve.err)" -eq 6 ]
	run ! grep -qE 'not detached cleanly|are lost' serve.err
	unserve
	roll_back
}

@test "if bowimg is killed, nbdkit writes what was acknowledged, and ends" {
	serve
	nbdkit=$(nbdkit_of "$server")
	nbd_python "
import os
for i in range(100): h.pwrite(bytes([7]) * 4096, i * 40960)
os.kill($server, 9)
"
	wait_until is_gone "$nbdkit"
	wait "$server" || true
	[ "$(key attached)" = false ]
	serve
	run ! grep -q 'not detached cleanly' serve.err
	nbd_python 'for i in range(100): assert h.pread(4096, i * 40960) == bytes([7]) * 4096'
	unserve
	roll_back
}

@test "a QEMU that may reconnect does not notice" {
	serve
	disk="driver=nbd,server.type=unix,server.path=$T/nbd.sock,reconnect-delay=20"
	within 60 qemu-img bench --image-opts -c 6000 -d 16 -w "$disk" >bench.out &
	bench=$!
	for _ in 1 2 3; do
		sleep 0.3
		kill_nbdkit
	done
	wait "$bench"
	grep -q 'Run completed' bench.out
	unserve
	roll_back
}

@test "a server that dies always stays dead, and the message says so" {
	dying_nbdkit
	serve
	io 'write -P 5 1M 1M' 'flush'
	touch die
	kill -9 "$(nbdkit_of "$server")"
	wait_until is_gone "$server"
	status=0
	wait "$server" || status=$?
	[ "$status" -eq 1 ]
	grep -q 'was killed 11 times within 60 seconds' serve.err
	grep -q 'state of .* now: checkpoint' serve.err
	[ ! -e nbd.sock ]
	rm die
	serve
	grep -q 'not detached cleanly' serve.err
	io 'read -P 5 1M 1M'
	unserve
	roll_back
}

@test "what cannot be opened again ends the server with the reason" {
	serve
	kill -STOP "$server"
	kill -9 "$(nbdkit_of "$server")"
	wait_until sh -c "! '$BOWIMG' status --json disk.img | grep -q '\"in-use\": true'"
	expect 0 rollback disk.img
	kill -CONT "$server"
	wait_until is_gone "$server"
	status=0
	wait "$server" || status=$?
	[ "$status" -eq 3 ]
	grep -q 'no checkpoint is open' serve.err
	same_as "$before"
}

@test "somebody who has the image for a moment meanwhile is waited for" {
	serve
	kill -STOP "$server"
	kill -9 "$(nbdkit_of "$server")"
	wait_until sh -c "! '$BOWIMG' status --json disk.img | grep -q '\"in-use\": true'"
	flock disk.img sh -c 'touch locked; sleep 1' &
	wait_until test -e locked
	kill -CONT "$server"
	io 'write -P 5 1M 1M' 'read -P 5 1M 1M'
	[ "$(grep -c 'is started again' serve.err)" -ge 2 ]
	unserve
	roll_back
}

@test "a signal ends a server that is being started again" {
	serve
	for _ in 1 2 3; do
		kill -9 "$(nbdkit_of "$server")"
		kill -TERM "$server"
		wait_until is_gone "$server"
		wait "$server"
		[ "$(key attached)" = false ]
		serve
	done
	unserve
	roll_back
}

@test "while a guest trims, what it wrote stays and what it had trimmed counts as used" {
	expect 0 rollback disk.img
	expect 0 prepare --free-from=trim disk.img -- sh -c "
		qemu-io -f raw -c 'discard 20M 8M' -c 'write -P 9 40M 1M' {}
		kill -9 \$(pgrep -P \$PPID -x nbdkit); sleep 0.5
		qemu-io -f raw -c 'read -P 9 40M 1M' -c 'discard 48M 8M' {}"
	grep -q 'counts as used again' <<<"$stderr"
	[ "$(key free-total-bytes)" -le $((8 << 20)) ]
	expect 0 rollback disk.img
	cmp -s -i $((40 << 20)):0 -n $((1 << 20)) disk.img <(head -c 1M /dev/zero | tr '\0' '\11')
}
