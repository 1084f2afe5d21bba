#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An NBD server that lists 100,000 contexts of 4000 bytes where it is asked for one.

usage: talkative_nbd.py SOCKET
"""
import socket
import struct
import sys


def main():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(1)
    listener.settimeout(20)
    client = listener.accept()[0]
    take = client.makefile("rb").read
    client.sendall(b"NBDMAGIC" + b"IHAVEOPT" + struct.pack(">H", 3))
    take(4)
    while True:
        head = take(16)
        if len(head) < 16:
            return
        _, option, length = struct.unpack(">QII", head)
        take(length)

        def reply(kind, data=b""):
            magic = 0x3E889045565A9
            client.sendall(struct.pack(">QIII", magic, option, kind, len(data)) + data)

        if option == 8:  # structured replies
            reply(1)
        elif option == 10:  # set meta contexts
            for i in range(100000):
                reply(4, struct.pack(">I", i + 1) + b"x" * 4000)
            reply(1)
        else:
            reply(0x80000001)


try:
    main()
except (BrokenPipeError, ConnectionResetError):
    pass
