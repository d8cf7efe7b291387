#!/usr/bin/env python3
"""Reads a container by range with an independent reader and compares it with the original.

    ranges.py (pyzstd|indexed_zstd) CONTAINER ORIGINAL

The two readers share no code with ringpack: pyzstd goes by the standard seek table, indexed_zstd
by a scan of the frames. Each is asked for the content's length, for its first and last byte, for
ranges over the chunks' boundaries, and for ranges drawn by a fixed seed: the same at every run.

Exit status: 0 all equal; 1 a difference, with the range on standard error; 2 wrong usage;
77 the reader's module can't be imported.
"""

import os
import random
import sys

RANGES = 50
SEED = 20
# The chunk sizes that a container may have are the powers of two from 64 KiB to 64 MiB.
CHUNK_LOG2_MIN = 16
CHUNK_LOG2_MAX = 26
# Drawn ranges have up to about 4 MiB, several chunks of the default size.
RANGE_LOG2_MAX = 22


def open_pyzstd(path):
    import pyzstd

    return pyzstd.SeekableZstdFile(path, "r")


def open_indexed_zstd(path):
    import indexed_zstd

    return indexed_zstd.IndexedZstdFile(path)


READERS = {"pyzstd": open_pyzstd, "indexed_zstd": open_indexed_zstd}


def ranges(length):
    """The ranges to compare, as (offset, length), each within the content."""
    if length == 0:
        return [(0, 0)]
    chosen = [(0, 1), (length - 1, 1)]
    # Whatever the chunk size, its first and its last boundary are among these.
    for log2 in range(CHUNK_LOG2_MIN, CHUNK_LOG2_MAX + 1):
        chunk = 1 << log2
        for boundary in (chunk, (length - 1) // chunk * chunk):
            if 0 < boundary < length:
                chosen.append((boundary - 1, 2))
    source = random.Random(SEED)
    for index in range(RANGES):
        count = min(length, 1 << source.randrange(RANGE_LOG2_MAX))
        count = min(length, count + source.randrange(count + 1))
        offset = source.randrange(length - count + 1)
        if index % 2 == 1:
            # Moved to begin at a boundary or shortly before one.
            boundary = offset >> CHUNK_LOG2_MIN << CHUNK_LOG2_MIN
            offset = max(0, boundary - source.randrange(count))
        chosen.append((offset, count))
    source.shuffle(chosen)
    return chosen


def read(file, offset, length):
    """Reads exactly the range, or what there is of it: a reader may give fewer bytes at a time."""
    file.seek(offset)
    parts = []
    while length > 0:
        part = file.read(length)
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def first_difference(got, expected):
    for index, (a, b) in enumerate(zip(got, expected)):
        if a != b:
            return index
    return min(len(got), len(expected))


def compare(reader, container, original):
    """Returns what differs, or None."""
    length = os.path.getsize(original)
    with reader(container) as packed, open(original, "rb") as plain:
        packed_length = packed.seek(0, os.SEEK_END)
        if packed_length is None:
            packed_length = packed.tell()
        if packed_length != length:
            return f"length {packed_length}, expected {length}"
        for offset, count in ranges(length):
            got = read(packed, offset, count)
            expected = read(plain, offset, count)
            if got != expected:
                at = offset + first_difference(got, expected)
                return (
                    f"range {offset}+{count}: {len(got)} bytes, "
                    f"differing first at offset {at}"
                )
    return None


def main(arguments):
    if len(arguments) != 3 or arguments[0] not in READERS:
        print("usage: ranges.py (pyzstd|indexed_zstd) CONTAINER ORIGINAL", file=sys.stderr)
        return 2
    name, container, original = arguments
    try:
        __import__(name)
    except ImportError as error:
        print(f"{name}: cannot be imported: {error}", file=sys.stderr)
        return 77
    try:
        difference = compare(READERS[name], container, original)
    except Exception as error:  # Whatever a reader raises on a container is its refusal.
        difference = f"{type(error).__name__}: {error}"
    if difference:
        print(f"{name}: {container}: {difference}", file=sys.stderr)
        return 1
    print(f"{name}: {container}: equal")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
