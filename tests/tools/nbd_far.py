#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A link to an NBD server that is far away: every answer comes later, none waits for another.

usage: nbd_far.py MILLISECONDS LISTEN SERVER LOG

LISTEN is ADDRESS:PORT or the path of a socket to make, SERVER the path of a socket. LOG gets a line for
each request of a client, "SECONDS + KIND BYTES", and one when its answer is passed on, "SECONDS - KIND
BYTES"; whoever reads it may cut it. Many clients at once; no TLS. Ends by a signal.
"""
import collections
import os
import socket
import struct
import sys
import threading
import time

KINDS = {0: "Read", 1: "Write", 2: "Disconnect", 3: "Flush", 4: "Trim", 5: "Cache", 6: "Zero", 7: "Extents"}
PIECE = 1 << 20


class Client:
    """What a client and its server say to each other, in two threads and one that delays."""

    def __init__(self, near, far, delay, log):
        self.near, self.far, self.delay, self.log = near, far, delay, log
        self.asked = {}  # by cookie: kind, bytes
        self.late = collections.deque()  # when, what, what to note then
        self.more = threading.Condition()

    def start(self):
        for body in (self.requests, self.answers, self.deliver):
            threading.Thread(target=self.until_lost, args=(body,), daemon=True).start()

    def until_lost(self, body):
        try:
            body()
        except OSError:
            pass
        self.put(None)
        for s in (self.far,) if body == self.answers else (self.near, self.far):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def note(self, sign, kind, count):
        os.write(self.log, b"%.6f %s %s %d\n" % (time.monotonic(), sign, kind.encode(), count))

    # ---- from the client to the server

    def pass_on(self, count):
        data = receive(self.near, count)
        self.far.sendall(data)
        return data

    def pass_data(self, count):
        while count:
            count -= len(self.pass_on(min(count, PIECE)))

    def requests(self):
        self.pass_on(4)
        while True:
            head = receive(self.near, 4)
            if head == b"IHAV":
                head += receive(self.near, 12)
                self.far.sendall(head)
                self.pass_data(struct.unpack(">12xI", head)[0])
                continue
            head += receive(self.near, 24)
            kind, cookie, count = struct.unpack(">6xH8s8xI", head)
            name = KINDS.get(kind, "Other")
            if name != "Disconnect":
                self.asked[cookie] = name, count
                self.note(b"+", name, count)
            self.far.sendall(head)
            if name == "Write":
                self.pass_data(count)

    # ---- from the server to the client

    def put(self, data, done=None):
        with self.more:
            self.late.append((time.monotonic() + self.delay, data, done))
            self.more.notify()

    def take(self, count, done=None):
        data = receive(self.far, count)
        self.put(data, done)
        return data

    def take_data(self, count, done):
        while count > PIECE:
            self.take(PIECE)
            count -= PIECE
        self.take(count, done)

    def answers(self):
        self.take(18)
        self.handshake()
        while True:
            head = receive(self.far, 16)
            if head[:4] == b"\x67\x44\x66\x98":
                self.simple(head)
            else:
                self.chunk(head + receive(self.far, 4))

    def handshake(self):
        while True:
            option, answer, count = struct.unpack(">8xIII", self.take(20))
            if count:
                self.take(count)
            if option == 7 and answer == 1:
                return

    def simple(self, head):
        error, cookie = struct.unpack(">4xI8s", head)
        done = self.asked.pop(cookie)
        if done[0] == "Read" and not error:
            self.put(head)
            self.take_data(done[1], done)
        else:
            self.put(head, done)

    def chunk(self, head):
        flags, cookie, count = struct.unpack(">4xH2x8sI", head)
        done = self.asked.pop(cookie) if flags & 1 else None
        self.put(head, None if count else done)
        if count:
            self.take_data(count, done)

    def deliver(self):
        while True:
            with self.more:
                while not self.late:
                    self.more.wait()
                when, data, done = self.late.popleft()
            if data is None:
                return
            time.sleep(max(0, when - time.monotonic()))
            if done:
                self.note(b"-", *done)
            self.near.sendall(data)


def receive(s, count):
    data = bytearray()
    while len(data) < count:
        piece = s.recv(min(count - len(data), PIECE))
        if not piece:
            raise OSError("it hung up")
        data += piece
    return bytes(data)


def listen(where):
    if "/" in where:
        s = socket.socket(socket.AF_UNIX)
        s.bind(where)
    else:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address, port = where.rsplit(":", 1)
        s.bind((address, int(port)))
    s.listen(16)
    return s


def main():
    delay, where, server, log = float(sys.argv[1]) / 1000, *sys.argv[2:]
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    listener = listen(where)
    while True:
        near = listener.accept()[0]
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(server)
        except OSError:
            near.close()
            continue
        if near.family == socket.AF_INET:
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Client(near, far, delay, log).start()


main()
