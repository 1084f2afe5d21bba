#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""interrupt.py SIGNAL WHEN COMMAND...: run it, send it the signal, and tell how it ended.

It is not sent before the command has set its handlers. WHEN is a number of seconds after that, or a shell command that is tried until it succeeds. Prints
"signal NAME", or "exit N". Standard error of the command passes through.
"""
import signal
import subprocess
import sys
import time

signo = getattr(signal, "SIG" + sys.argv[1])
when, command = sys.argv[2], sys.argv[3:]


def defaults():
    # What a shell starts in the background ignores SIGINT, and its children inherit that.
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, signal.SIG_DFL)


def catches(pid):
    try:
        with open("/proc/%d/status" % pid) as f:
            mask = next(line for line in f if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return False
    return int(mask.split()[1], 16) >> (signo - 1) & 1


process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=defaults)
while process.poll() is None and not catches(process.pid):
    time.sleep(0.01)
if when.replace(".", "", 1).isdigit():
    time.sleep(float(when))
else:
    while process.poll() is None and subprocess.call(["bash", "-c", when]) != 0:
        time.sleep(0.05)
process.send_signal(signo)
status = process.wait(timeout=30)
print("exit %d" % status if status >= 0 else "signal " + signal.Signals(-status).name[3:])
