#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trees and archives with everything that is hard to tell.

odd_tree.py make DIR      files of every kind, names, times, numbers, attributes
odd_tree.py read TAR DIR  is the archive, as Python's tarfile reads it, the tree?
"""
import os
import stat
import struct
import sys
import tarfile
from decimal import Decimal

NAMES = [
    b"new\nline", b"not utf8 \xff\xe4", "\u00e4\u4e2d\U0001f600".encode(), b" blanks ", b"-dash",
    b"back\\slash", b"100%", b"%41", b"a=b", b"tab\t", b"\x01\x1b[31m", b"n" * 255,
    b"overlong \xc0\xaf", b"surrogate \xed\xa0\x80", b"cut \xe4\xb8", b"123 path=x", b"quote'\"",
]
# Seconds and nanoseconds.
TIMES = [
    (-1500000001, 500000000), (-1, 500000000), (-1, 0), (0, 0), (0, 1), (-1, 999999999),
    (-2147483648, 1), (-2147483648, 0), (1, 123456789), (8589934591, 999999999),
    (8589934592, 0), (10413792000, 100), (15032385535, 0), (1700000000, 10), (-2, 1),
]
ATTRS = [
    ("user.plain", b"1"), ("user.\u00e4", b"2"), ("user.a b", b"3"), ("user.bytes", bytes(range(256))),
    ("user.empty", b""), ("user.%41", b"4"), ("user.%3d", b"5"), ("user.100%", b"6"), ("user.nl\n", b"7"),
    ("user." + "n" * 250, b"8"), ("user.long", b"x" * 3000), ("trusted.t", b"9"),
    ("security.capability", struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)),
]
NOT_UTF8 = b"user.\xff\xe4"


def acl(entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


NOBODY = 0xFFFFFFFF
ACL = acl([(1, 6, NOBODY), (2, 4, 1234), (2, 7, 2000000000), (4, 5, NOBODY), (8, 2, 77),
           (16, 7, NOBODY), (32, 0, NOBODY)])


def touch(path, data=b""):
    with open(path, "wb") as f:
        f.write(data)
    return path


def make(top):
    os.chdir(top)
    for d in (b"names", b"times", b"owners", b"links", b"kinds", b"sparse", b"attrs"):
        os.mkdir(d)
    for name in NAMES:
        touch(b"names/" + name, b"content of " + name)
    deep = b"names/" + b"/".join([b"d" * 200] * 15)
    os.makedirs(deep)
    touch(deep + b"/\xfe", b"deep")
    for i, (s, ns) in enumerate(TIMES):
        os.utime(touch("times/%d" % i), ns=(0, s * 1000000000 + ns))
    for i, (u, g) in enumerate([(2097151, 2097152), (3000000000, 4294967294), (0, 65536)]):
        os.chown(touch("owners/%d" % i), u, g)
    for i, target in enumerate([b"x" * 100, b"y" * 101, b"z" * 4095, b"\xff\n", "\u00e4".encode(), b"/a=b"]):
        os.symlink(target, b"links/s%d" % i)
    touch("links/first", b"one inode")
    for name in (b"second", b"\xff", b"l" * 200):
        os.link(b"links/first", b"links/" + name)
    os.mkfifo("kinds/fifo")
    os.mknod("kinds/char", stat.S_IFCHR | 0o640, os.makedev(4095, 1048575))
    os.mknod("kinds/block", stat.S_IFBLK | 0o600, os.makedev(259, 262144))
    os.chmod(touch("kinds/suid"), 0o7755)
    for name, pieces, size in [
        (b"end", [(1 << 20, b"x")], 1 << 20 | 1), (b"hole", [], 40 << 20), (b"\xff both", [(0, b"a" * 5000), (80 << 20, b"b" * 5000)], 100 << 20),
        (b"many", [(i << 20, b"c") for i in range(200)], 201 << 20), (b"s" * 200, [(1 << 16, b"d")], 1 << 17),
    ]:
        with open(b"sparse/" + name, "wb") as f:
            for off, data in pieces:
                os.pwrite(f.fileno(), data, off)
            f.truncate(size)
    for i, (name, value) in enumerate(ATTRS):
        os.setxattr(touch("attrs/%d" % i), name, value)
    all_of_them = touch("attrs/all")
    for name, value in ATTRS[:4]:
        os.setxattr(all_of_them, name, value)
    os.setxattr(touch("attrs/bytes"), NOT_UTF8, b"v")
    os.setxattr(touch("attrs/acl"), "system.posix_acl_access", ACL)
    os.mkdir("attrs/dir")
    os.setxattr("attrs/dir", "system.posix_acl_default", ACL)
    os.setxattr("attrs/dir", "user.a b", b"1")


def compare(tar, top):
    wrong = 0
    seen = set()
    for m in tarfile.open(tar):
        path = os.path.join(os.fsencode(top), os.fsencode(m.name))
        st = os.lstat(path)
        seen.add(os.path.normpath(path))
        found = {"mode": (m.mode, stat.S_IMODE(st.st_mode)), "uid": (m.uid, st.st_uid), "gid": (m.gid, st.st_gid)}
        text = m.pax_headers.get("mtime", str(int(m.mtime)))
        found["mtime"] = (int(Decimal(text) * 1000000000), st.st_mtime_ns)
        if m.isreg():
            found["size"] = (m.size, st.st_size)
        if m.issym():
            found["target"] = (os.fsencode(m.linkname), os.readlink(path))
        if m.islnk():
            found["link"] = (os.lstat(os.path.join(os.fsencode(top), os.fsencode(m.linkname))).st_ino, st.st_ino)
        if m.ischr() or m.isblk():
            found["device"] = ((m.devmajor, m.devminor), (os.major(st.st_rdev), os.minor(st.st_rdev)))
        prefix = "SCHILY.xattr."
        if not m.islnk():
            attrs = {os.fsencode(k[len(prefix):]): v.encode("utf-8", "surrogateescape") for k, v in m.pax_headers.items() if k.startswith(prefix)}
            real = {os.fsencode(k): os.getxattr(path, k, follow_symlinks=False) for k in os.listxattr(path, follow_symlinks=False)}
            found["attrs"] = (attrs, {k: v for k, v in real.items() if not k.startswith(b"system.")})
        for what, (got, want) in found.items():
            if got != want:
                wrong += 1
                print("%r: %s is %r, not %r" % (m.name, what, got, want))
    for place, dirs, files in os.walk(os.fsencode(top)):
        for name in dirs + files:
            path = os.path.normpath(os.path.join(place, name))
            if path not in seen and name != b"lost+found":
                wrong += 1
                print("%r is not there" % path)
    return wrong


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    sys.exit(compare(sys.argv[2], sys.argv[3]) != 0)
