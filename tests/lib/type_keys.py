#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""type_keys.py FILE COMMAND... <KEYS: run a shell on a terminal of its own and type keys.

Each line of standard input is typed when "ready>" has appeared, and the shell must answer it by making
FILE, whose text is printed with a line end; then the line is cleared. What has no answer after 20
seconds is a failure, and then all is printed that the terminal showed.
"""
import os
import pty
import select
import signal
import sys
import time

wanted, command = sys.argv[1], sys.argv[2:]
CLEAR = b"\x01\x0b"  # to the beginning, and cut from there


def read_until(done):
    end = time.monotonic() + 20
    while not done():
        if time.monotonic() > end:
            sys.stdout.buffer.write(b"".join(shown))
            sys.exit("type_keys.py: in vain")
        if select.select([terminal], [], [], 0.01)[0]:
            shown.append(os.read(terminal, 65536))


shown = []
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="dumb", COLUMNS="2000", LINES="100")
    os.execvp(command[0], command)
try:
    read_until(lambda: b"ready>" in b"".join(shown))
    for keys in sys.stdin.buffer:
        os.write(terminal, CLEAR + keys.rstrip(b"\n"))
        read_until(lambda: os.path.exists(wanted))
        with open(wanted) as answer:
            print(answer.read().rstrip("\n"))
        os.unlink(wanted)
finally:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
