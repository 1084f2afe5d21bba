# SPDX-License-Identifier: MIT
# many_names.py FILE DIR TARGET BLOCKS: directory DIR of an ext4 with 4-KiB blocks in one group gets
# that many blocks at its end, full of names of the inode TARGET, as short as they can be.
import struct
import sys

BLOCK = 4096
ENTRY = 12  # bytes, with a name of four
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

path, directory, target, blocks = sys.argv[1], *map(int, sys.argv[2:])
names = ((a, b, c, d) for a in LETTERS for b in LETTERS for c in LETTERS for d in LETTERS)


def entries():
    block = bytearray(BLOCK)
    for at in range(0, BLOCK - ENTRY, ENTRY):
        rest = BLOCK - at if BLOCK - at < 2 * ENTRY else ENTRY
        struct.pack_into("<IHBB4s", block, at, target, rest, 4, 1, bytes(next(names)))
    return block


with open(path, "r+b") as f:
    disk = f.read(2 * BLOCK)
    total, = struct.unpack_from("<I", disk, 1024 + 4)
    inode_size, = struct.unpack_from("<H", disk, 1024 + 88)
    table, = struct.unpack_from("<I", disk, BLOCK + 8)
    f.seek(table * BLOCK + (directory - 1) * inode_size)
    inode = bytearray(f.read(inode_size))
    old, = struct.unpack_from("<I", inode, 60)
    # One extent for what it had, one for the new names.
    struct.pack_into("<HHHHI", inode, 40, 0xF30A, 2, 4, 0, 0)
    struct.pack_into("<IHHI", inode, 52, 0, 1, 0, old)
    struct.pack_into("<IHHI", inode, 64, 1, blocks, 0, total - blocks)
    struct.pack_into("<I", inode, 4, (1 + blocks) * BLOCK)
    f.seek(table * BLOCK + (directory - 1) * inode_size)
    f.write(inode)
    f.seek((total - blocks) * BLOCK)
    for _ in range(blocks):
        f.write(entries())
