#!/usr/bin/env python3
"""Reads a container from its start to its end with a decoder of streams, and compares it.

    streams.py (zstandard|backports.zstd) CONTAINER ORIGINAL

Exit status: 0 equal; 1 a difference; 2 wrong usage; 77 the reader's module can't be imported.
"""

import importlib
import sys


def by_zstandard(module, container):
    # Without read_across_frames, some versions end with the first frame.
    with open(container, "rb") as packed:
        decoder = module.ZstdDecompressor()
        with decoder.stream_reader(packed, read_across_frames=True) as reader:
            return reader.read()


def by_backports(module, container):
    with module.open(container, "rb") as reader:
        return reader.read()


READERS = {"zstandard": by_zstandard, "backports.zstd": by_backports}


def main(arguments):
    if len(arguments) != 3 or arguments[0] not in READERS:
        print("usage: streams.py (zstandard|backports.zstd) CONTAINER ORIGINAL", file=sys.stderr)
        return 2
    name, container, original = arguments
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        print(f"{name}: cannot be imported: {error}", file=sys.stderr)
        return 77
    with open(original, "rb") as plain:
        expected = plain.read()
    try:
        found = READERS[name](module, container)
    except Exception as error:  # Whatever a reader raises on a container is its refusal.
        print(f"{name}: {container}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if found != expected:
        print(f"{name}: {container}: {len(found)} bytes, {len(expected)} expected", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
