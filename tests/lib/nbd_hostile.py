#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients of an NBD server that do not behave; none of them may hurt another client.

usage: nbd_hostile.py SOCKET KIND COUNT

COUNT connections of a kind, one after the other (those that stay: all at once). Prints nothing;
ends with status 1 as soon as the server cannot be reached.
"""
import os
import random
import resource
import socket
import struct
import sys
import time

READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS = range(8)
OPT = 0x49484156454F5054  # IHAVEOPT


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(sys.argv[1])
    return s


def receive(s, count):
    data = b""
    while len(data) < count:
        piece = s.recv(count - len(data))
        if not piece:
            raise OSError("the server hung up")
        data += piece
    return data


def negotiated(flags=3):
    """Past the handshake, by the shortest way (the client's flags, then NBD_OPT_EXPORT_NAME)."""
    s = connect()
    receive(s, 18)
    s.sendall(struct.pack(">IQII", flags, OPT, 1, 0))
    receive(s, 10)
    return s


def request(kind, number, offset, length, flags=0, magic=0x25609513):
    return struct.pack(">IHHQQI", magic, flags, kind, number, offset, length)


def hang_up(n):
    """Many requests, and gone before the first answer; the last of the writes is cut short."""
    kind = (READ, WRITE, FLUSH, TRIM, ZERO, STATUS, 77)[n % 7]
    # More answers than fit into the socket; where more is sent than that, the client would wait, too.
    count = 400 if kind == READ and n % 2 else 16
    length = {READ: 65536, FLUSH: 0}.get(kind, 4096)
    s = negotiated()
    data = b"".join(
        request(kind, i, 0 if kind == FLUSH else (32 << 20) + i * 4096, length)
        + (bytes([n % 251]) * length if kind == WRITE else b"")
        for i in range(count)
    )
    s.sendall(data[:-100] if kind == WRITE else data)
    s.close()


def read_a_little(n):
    """Reads some of the answers, and goes in the middle of one."""
    s = negotiated()
    s.sendall(b"".join(request(READ, i, i * 4096, 65536) for i in range(16)))
    receive(s, 1 + n * 7919 % 400000)
    s.close()


def open_close(n):
    """Opened and closed at once, in the order of the protocol or not."""
    s = negotiated()
    if n % 2:
        s.sendall(request(DISC, 1, 0, 0))
    s.close()


def half_handshake(n):
    """Gone at any point of the handshake."""
    s = connect()
    whole = struct.pack(">IQII", 3, OPT, 7, 6) + struct.pack(">IH", 0, 0)
    if n % 3:
        receive(s, 18)
    s.sendall(whole[: n % (len(whole) + 1)])
    s.close()


def garbage(n):
    """No protocol at all, before the handshake or after it."""
    s = connect() if n % 2 else negotiated()
    try:
        s.sendall(random.Random(n).randbytes(1 + n * 97 % 20000))
    except OSError:
        pass  # it has had enough
    s.close()


def lengths(n):
    """The largest lengths of options and requests, beyond the end or not, never carried out."""
    largest = 0xFFFFFFFF
    s = connect() if n % 6 == 0 else negotiated()
    try:
        if n % 6 == 0:
            s.sendall(struct.pack(">IQII", 3, OPT, n // 6 % 11, largest) + b"x" * 5000)
        else:
            kind = (READ, WRITE, TRIM, ZERO, STATUS)[n % 6 - 1]
            for offset in (0, 1 << 63, (1 << 64) - 1):
                for length in (largest, 1 << 31, (64 << 20) + 1):
                    s.sendall(request(kind, n, offset, length))
    except OSError:
        pass
    s.close()


def silent(count):
    """They connect and say nothing, or stop in the middle of the handshake, or idle behind it."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    stay([connect if i % 3 else negotiated for i in range(count)])


def never_read(count):
    """They ask for the most that one request may, again and again, and read no answer."""

    def one():
        s = negotiated()
        s.sendall(b"".join(request(READ, i, 0, 32 << 20) for i in range(100)))
        return s

    stay([one] * count)


def half_write(count):
    """They stop in the middle of a write's data, and stay."""

    def one():
        s = negotiated()
        s.sendall(request(WRITE, 1, 32 << 20, 1 << 20) + b"x" * 5000)
        return s

    stay([one] * count)


def stay(makers):
    """Until standard input ends."""
    held = []
    for make in makers:
        held.append(make())
    open("ready", "w").close()
    sys.stdin.read()
    time.sleep(0)
    os._exit(0)


def main():
    kind, count = globals()[sys.argv[2]], int(sys.argv[3])
    if kind in (silent, never_read, half_write):
        kind(count)
    for n in range(count):
        kind(n)


try:
    main()
except OSError as error:
    sys.exit("nbd_hostile.py: %s: %s" % (sys.argv[2], error))
