#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Clients and servers that do not behave: beyond the end, vanishing, two at once, killed. The undo
# must survive all of it.

load ../../lib/common
load ../../lib/front
load ../../lib/e2e
load ../../lib/nbd

setup() {
	nbd_setup 64M
	expect 0 prepare disk.img
}

@test "requests beyond the end are refused, and change nothing" {
	serve
	within 60 nbdcopy "$uri" read1.img
	nbd_python '
size = h.get_size()
def refused(f, *args):
    try:
        f(*args)
    except nbd.Error as e:
        assert e.errno in ("EINVAL", "ENOSPC"), e.errno
    else:
        raise AssertionError("accepted: %r %r" % (f, args))
refused(h.pread, 4096, size)
refused(h.pread, 4096, size - 512)
refused(h.pread, 1, 2**63 - 1)
refused(h.pwrite, b"x" * 4096, size)
refused(h.pwrite, b"x" * 8192, size - 4096)
refused(h.zero, 8192, size - 4096)
refused(h.zero, 2**32 - 1, 0)
refused(h.trim, 8192, size - 4096)
refused(h.trim, 4096, 2**62)
assert len(h.pread(512, size - 512)) == 512
'
	within 60 nbdcopy "$uri" read2.img
	cmp read1.img read2.img
	unserve
	roll_back
}

@test "a client may vanish in the middle of its requests" {
	serve
	for _ in 1 2 3 4 5; do
		run nbd_python '
import os
for i in range(40):
    h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(os.urandom(1 << 20))), i << 20)
    if i > 20: h.poll(0)
os._exit(7)
'
		[ "$status" -eq 7 ]
	done
	# Half a request: the header says more data than ever comes.
	python3 - <<-'PY'
		import socket, struct
		s = socket.socket(socket.AF_UNIX)
		s.connect("nbd.sock")
		s.recv(18)
		s.send(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0))
		s.recv(10)
		s.send(struct.pack(">IHHQQI", 0x25609513, 0, 1, 1, 4096, 1 << 20) + b"x" * 5000)
	PY
	# Nothing of the protocol at all.
	head -c 100000 /dev/urandom | timeout 5 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("nbd.sock")
try: s.sendall(sys.stdin.buffer.read())
except OSError: pass
' || true
	io 'write -P 5 1M 1M' 'flush' 'read -P 5 1M 1M'
	unserve
	roll_back
}

@test "two clients see each other's writes, and one's flush covers both" {
	serve
	nbd_python "
g = nbd.NBD()
g.connect_uri('$uri')
assert h.can_multi_conn()
for i in range(100):
    off = i * 70001
    h.pwrite(bytes([i + 1]) * 5000, off)
    assert g.pread(5000, off) == bytes([i + 1]) * 5000
    g.zero(1000, off + 1000)
    assert h.pread(1000, off + 1000) == bytes(1000)
g.flush()
"
	kill_server
	[ "$status" -eq 137 ]
	serve
	grep -q 'not detached cleanly' serve.err
	nbd_python '
for i in range(100):
    off = i * 70001
    assert h.pread(1000, off) == bytes([i + 1]) * 1000
    assert h.pread(1000, off + 1000) == bytes(1000)
'
	unserve
	roll_back
}

@test "a second server on the same image or socket is refused" {
	serve
	refused 4 'in use' serve --socket other.sock disk.img
	[ ! -e other.sock ]
	make_ext4 second.img 8M
	expect 0 prepare second.img
	refused 4 'another server listens' serve --socket nbd.sock second.img
	refused 4 'in use' rollback disk.img
	refused 4 'in use' commit disk.img
	expect 0 status disk.img
	unserve
	roll_back
}

@test "the server may be killed under load, again and again, and go on" {
	requires fio
	for _ in 1 2 3; do
		serve
		timeout 30 fio --ioengine=nbd --uri="$uri" --rw=randwrite --bsrange=512-64k \
			--iodepth=32 --size=40M --numjobs=2 --time_based --runtime=20 --fsync=20 \
			--randseed="$RANDOM" --name=load >fio.out 2>&1 3>&- &
		load=$!
		sleep "0.$((RANDOM % 8 + 2))"
		kill_server
		[ "$status" -eq 137 ]
		wait "$load" || true
		[ "$(key attached)" = true ]
	done
	serve
	grep -q 'not detached cleanly' serve.err
	io 'write -P 5 1M 1M' 'flush' 'read -P 5 1M 1M'
	unserve
	roll_back
}

@test "after kill -9 of bowimg itself the server closes the image and ends" {
	serve
	io 'write -P 5 1M 1M'
	nbdkit=$(nbdkit_of "$server")
	kill -9 "$server"
	wait_until is_gone "$nbdkit"
	[ "$(key attached)" = false ]
	# The socket it left is replaced.
	[ -S nbd.sock ]
	serve
	io 'read -P 5 1M 1M'
	unserve
	roll_back
}

@test "the end comes under load, too, and nothing acknowledged is lost" {
	serve
	nbd_python "
import os, signal
for i in range(32):
    h.pwrite(bytes([i + 1]) * 100000, i * 1000000)
os.kill($server, signal.SIGTERM)
# An idle client must not keep the server; it is thrown out.
try:
    while True: h.pread(4096, 0)
except nbd.Error: pass
"
	wait "$server"
	[ "$(key attached)" = false ]
	serve
	[ ! -s serve.err ]
	nbd_python '
for i in range(32):
    assert h.pread(100000, i * 1000000) == bytes([i + 1]) * 100000
'
	unserve
	roll_back
}

@test "when free space has run out the client gets ENOSPC, and the undo is whole" {
	expect 0 rollback disk.img
	expect 0 prepare --on-full=stop --exact disk.img
	serve
	nbd_python '
import os
full = False
for i in range(64):
    try:
        h.pwrite(os.urandom(1 << 20), i << 20)
    except nbd.Error as e:
        assert e.errno == "ENOSPC", e.errno
        full = True
assert full
h.flush()
'
	[ "$(grep -c 'no .*space\|No space' serve.err)" -ge 1 ]
	unserve
	roll_back
}
