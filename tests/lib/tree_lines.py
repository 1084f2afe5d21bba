#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The lines of "bowimg diff --files", found by looking at every path of two trees.

tree_lines.py list DIR > LIST          what a tree is, as it is mounted now
tree_lines.py compare BEFORE NOW       lines from two such lists; knows no renames
"""
import hashlib
import json
import os
import stat
import sys

WHAT = ["type", "content", "size", "mode", "owner", "times", "xattrs", "target", "device"]


def look(path):
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    seen = {
        "type": kind,
        "mode": st.st_mode & 0o7777,
        "owner": [st.st_uid, st.st_gid],
        "times": st.st_mtime_ns,
        "xattrs": sorted(
            [name, os.getxattr(path, name, follow_symlinks=False).hex()]
            for name in os.listxattr(path, follow_symlinks=False)
        ),
    }
    if kind == stat.S_IFREG:
        with open(path, "rb") as f:
            seen["content"] = hashlib.sha256(f.read()).hexdigest()
        seen["size"] = st.st_size
    elif kind == stat.S_IFLNK:
        seen["target"] = os.readlink(path)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        seen["device"] = st.st_rdev
    return seen


def list_tree(top):
    found = {"/": look(top)}
    for place, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(place, name)
            found["/" + os.path.relpath(path, top)] = look(path)
    return found


def differences(before, now):
    keys = set(before) & set(now)
    if before["type"] != now["type"]:
        keys -= {"xattrs"}
    return [what for what in WHAT if what in keys and before[what] != now[what]]


def lines(before, now):
    for path in sorted(set(before) | set(now), key=os.fsencode):
        seen = now.get(path, before.get(path))
        shown = path + ("/" if stat.S_ISDIR(seen["type"]) and path != "/" else "")
        if path not in before:
            yield "added     " + shown
        elif path not in now:
            yield "deleted   " + shown
        else:
            what = differences(before[path], now[path])
            if what:
                yield "modified  %s (%s)" % (shown, ", ".join(what))


if sys.argv[1] == "list":
    json.dump(list_tree(sys.argv[2]), sys.stdout)
else:
    with open(sys.argv[2]) as a, open(sys.argv[3]) as b:
        print("\n".join(lines(json.load(a), json.load(b))))
