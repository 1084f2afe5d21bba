#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""free_used.py KIND IMAGE CONTENT: make the file system's own map call a piece of a file free.

CONTENT is what one of its files holds, in one piece, and random. The counts that belong to the map
are changed with it, so that it agrees with itself, and nothing is marked dirty: what a bug, a bad
repair or a hostile hand leaves. Prints the offset of the piece on the image, and its size in bytes.
"""
import re
import struct
import subprocess
import sys
import zlib


PIECE = 8192  # where clusters are small: one of 4 KiB is inside of it, wherever it begins


def le(raw, at, size):
    return int.from_bytes(raw[at:at + size], 'little')


def read(f, at, size):
    f.seek(at)
    return f.read(size)


def write(f, at, raw):
    f.seek(at)
    f.write(raw)


def add(f, at, size, change):
    value = le(read(f, at, size), 0, size)
    write(f, at, (value + change).to_bytes(size, 'little'))


def clear_bit(f, at, bit):
    """A set bit of the bitmap at byte `at`."""
    byte = read(f, at + bit // 8, 1)[0]
    assert byte >> bit % 8 & 1
    write(f, at + bit // 8, bytes([byte & ~(1 << bit % 8)]))


def output(*argv, **options):
    return subprocess.run(argv, text=True, capture_output=True, check=True, **options).stdout


def place(f, content, at):
    """Where on the image what stands at byte `at` of the file is."""
    f.seek(0)
    found = f.read().find(content[at:at + 4096])
    assert found > 0
    return found


def ext4(f, image, content):
    """Without checksums of descriptors (mke2fs -O ^metadata_csum,^uninit_bg): debugfs keeps others."""
    head = output('debugfs', '-R', 'show_super_stats', image)

    def value(name):
        return int(re.search(rf'^ *{name}: *(\d+)', head, re.M)[1])
    size = value('Block size')
    block = place(f, content, 65536) // size
    group = (block - value('First block')) // value('Blocks per group')
    free = [int(n) for n in re.findall(r'(\d+) free blocks?, ', head)]
    count = PIECE // size
    output('debugfs', '-w', '-f', '-', image, input=f'''freeb {block} {count}
        set_bg {group} free_blocks_count {free[group] + count}
        set_super_value free_blocks_count {value('Free blocks') + count}''')
    return block * size, count * size


def xfs(f, image, content):
    """The block before the group's last free run joins it, in both trees and all counts."""
    last = place(f, content, 0) // 4096 + (len(content) - 1) // 4096

    def db(*commands):
        return output('xfs_db', '-x', *sum((['-c', c] for c in commands), []), image)
    for root in ('bnoroot', 'cntroot'):
        runs = re.findall(r'(\d+):\[(\d+),(\d+)\]', db('agf 0', f'addr {root}', 'p recs'))
        at, _, count = next(run for run in runs if int(run[1]) == last + 1)
        db('agf 0', f'addr {root}', f'write recs[{at}].startblock {last}',
           f'write recs[{at}].blockcount {int(count) + 1}')
    for where, name in (('agf 0', 'freeblks'), ('agf 0', 'longest'), ('sb 0', 'fdblocks')):
        now = int(db(where, f'p {name}').split('=')[1])
        db(where, f'write {name} {now + 1}')
    return last * 4096, 4096


def crc32c(raw):
    crc = 0xffffffff
    for byte in raw:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (crc & 1 and 0x82f63b78)
    return crc ^ 0xffffffff


def btrfs(f, image, content):
    """The extent tree knows the first half of the file only, in both copies of the leaf."""
    def dump(tree):
        return output('btrfs', 'inspect-internal', 'dump-tree', '-t', tree, image)
    chunks = [(int(a), int(b), re.findall(r'stripe \d+ devid 1 offset (\d+)', rest)) for a, b, rest in
              re.findall(r'CHUNK_ITEM (\d+)\).*?length (\d+)(.*?)(?=\n\titem|\Z)', dump('chunk'), re.S)]

    def places(logical):
        return [int(s) + logical - a for a, b, stripes in chunks if a <= logical < a + b for s in stripes]
    start = place(f, content, 0)
    for leaf, items in re.findall(r'^leaf (\d+) items(.*?)(?=^leaf \d+ items|\Z)', dump('extent'), re.S | re.M):
        for at, logical, size in re.findall(r'item (\d+) key \((\d+) EXTENT_ITEM (\d+)\)', items):
            if start not in places(int(logical)):
                continue
            half = int(size) // 8192 * 4096
            for copy in places(int(leaf)):
                raw = bytearray(read(f, copy, 16384))
                struct.pack_into('<Q', raw, 101 + int(at) * 25 + 9, half)
                struct.pack_into('<I', raw, 0, crc32c(raw[32:]))
                write(f, copy, raw)
            return start + half, int(size) - half
    raise SystemExit('no such extent')


def fat32_chain(f, _, content, at=65536):
    """In all copies of the table, and in the hint of what is free: from the middle of a chain."""
    boot = read(f, 0, 512)
    sector, per, reserved, copies, table = le(boot, 11, 2), boot[13], le(boot, 14, 2), boot[16], le(boot, 36, 4)
    data, size = (reserved + copies * table) * sector, boot[13] * sector
    cluster = (place(f, content, at) - data) // size
    count = PIECE // size
    for i in range(copies):
        write(f, (reserved + i * table) * sector + (cluster + 2) * 4, bytes(4 * count))
    add(f, sector + 488, 4, count)
    return data + cluster * size, count * size


def fat32(f, image, content):
    """Its beginning, to which no entry of the table leads."""
    return fat32_chain(f, image, content, 0)


def exfat(f, _, content):
    boot = read(f, 0, 512)
    sector, size = 1 << boot[108], 1 << boot[108] + boot[109]
    heap = le(boot, 88, 4) * sector
    root = read(f, heap + (le(boot, 96, 4) - 2) * size, size)
    bitmap = next(le(root, at + 20, 4) for at in range(0, size, 32) if root[at] == 0x81)
    cluster = (place(f, content, 65536) - heap) // size
    clear_bit(f, heap + (bitmap - 2) * size, cluster)
    return heap + cluster * size, size


def ntfs(f, image, content):
    boot = read(f, 0, 512)
    size = le(boot, 11, 2) * boot[13]
    run = output('ntfsinfo', '-i', '6', '-v', image).split('0x80')[1].split('Length\n')[1].split()
    cluster = place(f, content, 65536) // size
    clear_bit(f, int(run[1], 16) * size, cluster)
    return cluster * size, size


def f2fs(f, _, content):
    """In both copies of the segment's entry, and in both checkpoints' counts."""
    def crc(raw):
        return zlib.crc32(raw, 0xf2f52010 ^ 0xffffffff) ^ 0xffffffff
    head = read(f, 1024, 128)
    packs, sit, segments, main = le(head, 76, 4), le(head, 80, 4), le(head, 56, 4), le(head, 92, 4)
    block = place(f, content, 65536) // 4096
    segment, bit = divmod(block - main, 512)
    for copy in range(2):
        at = (sit + copy * (segments // 2) * 512 + segment // 55) * 4096 + segment % 55 * 74
        if le(read(f, at, 2), 0, 2) & 1023:
            add(f, at, 2, -1)
            # bits count from the top
            clear_bit(f, at + 2, bit ^ 7)
    for pack in (packs, packs + 512):
        count = le(read(f, pack * 4096 + 136, 4), 0, 4)
        for at in (pack, pack + count - 1) if 2 <= count <= 512 else ():
            raw = bytearray(read(f, at * 4096, 4096))
            struct.pack_into('<Q', raw, 16, le(raw, 16, 8) - 1)
            where = le(raw, 164, 4)
            struct.pack_into('<I', raw, where, crc(raw[:where]))
            write(f, at * 4096, raw)
    return block * 4096, 4096


def main():
    kind, image, content = sys.argv[1:4]
    with open(content, 'rb') as c, open(image, 'r+b', buffering=0) as f:
        print(*globals()[kind](f, image, c.read()))


if __name__ == '__main__':
    main()
