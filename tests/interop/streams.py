#!/usr/bin/env python3
"""Reads Zstandard files from their start to their end by a module.

    streams.py READER FILE...

The content of FILE, as far as it was read, is written to FILE.content. For each file a line is
printed: the error that the reader raised, or nothing.

The readers of tables (pandas, polars, duckdb, pyarrow) need a file whose content is a CSV of one
column, without a header and quotes, with lines that end in a line feed. They write it row by row.

Exit status: 0 each file was tried; 2 wrong usage; 77 the reader's module can't be imported.
"""

import importlib
import io
import sys

MISSING = 77


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def zstandard_decompress(zstandard, path):
    yield zstandard.ZstdDecompressor().decompress(contents(path))


def zstandard_stream_reader(zstandard, path):
    with open(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        yield reader.read()


def zstandard_stream_reader_across(zstandard, path):
    decompressor = zstandard.ZstdDecompressor()
    with open(path, "rb") as file:
        with decompressor.stream_reader(file, read_across_frames=True) as reader:
            yield reader.read()


def zstandard_open(zstandard, path):
    with zstandard.open(path, "rb") as reader:
        yield reader.read()


def zstandard_read_to_iter(zstandard, path):
    with open(path, "rb") as file:
        yield from zstandard.ZstdDecompressor().read_to_iter(file)


def zstandard_decompressobj(zstandard, path):
    yield zstandard.ZstdDecompressor().decompressobj().decompress(contents(path))


def zstandard_decompressobj_across(zstandard, path):
    decompressobj = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    yield decompressobj.decompress(contents(path))


def zstandard_copy_stream(zstandard, path):
    target = io.BytesIO()
    with open(path, "rb") as file:
        zstandard.ZstdDecompressor().copy_stream(file, target)
    yield target.getvalue()


def zstd_decompress(zstd, path):
    yield zstd.decompress(contents(path))


def decompress(module, path):
    yield module.decompress(contents(path))


def decompressor(module, path):
    yield module.ZstdDecompressor().decompress(contents(path))


def endless_decompressor(pyzstd, path):
    yield pyzstd.EndlessZstdDecompressor().decompress(contents(path))


def opened(module, path):
    with module.open(path, "rb") as reader:
        yield reader.read()


def pandas_read_csv(pandas, path):
    options = {"header": None, "dtype": str, "keep_default_na": False}
    frame = pandas.read_csv(path, compression="zstd", **options)
    yield from lines(frame[0])


def polars_scan_csv(polars, path):
    frame = polars.scan_csv(path, has_header=False, infer_schema=False).collect()
    yield from lines(frame.to_series())


def polars_read_csv(polars, path):
    frame = polars.read_csv(path, has_header=False, infer_schema=False)
    yield from lines(frame.to_series())


def duckdb_read_csv(duckdb, path):
    query = "SELECT * FROM read_csv(?, header = false, all_varchar = true, compression = 'zstd')"
    yield from lines(row[0] for row in duckdb.execute(query, [path]).fetchall())


def pyarrow_read_csv(pyarrow, path):
    csv = importlib.import_module("pyarrow.csv")
    table = csv.read_csv(path, csv.ReadOptions(autogenerate_column_names=True))
    yield from lines(table.column(0).to_pylist())


def pyarrow_input_stream(pyarrow, path):
    with pyarrow.input_stream(path, compression="zstd") as stream:
        yield stream.read()


def lines(rows):
    for row in rows:
        yield f"{row}\n".encode()


READERS = {
    "zstandard.decompress": zstandard_decompress,
    "zstandard.stream_reader": zstandard_stream_reader,
    "zstandard.stream_reader_across": zstandard_stream_reader_across,
    "zstandard.open": zstandard_open,
    "zstandard.read_to_iter": zstandard_read_to_iter,
    "zstandard.decompressobj": zstandard_decompressobj,
    "zstandard.decompressobj_across": zstandard_decompressobj_across,
    "zstandard.copy_stream": zstandard_copy_stream,
    "zstd.decompress": zstd_decompress,
    "pyzstd.decompress": decompress,
    "pyzstd.open": opened,
    "pyzstd.ZstdDecompressor": decompressor,
    "pyzstd.EndlessZstdDecompressor": endless_decompressor,
    "backports.zstd.decompress": decompress,
    "backports.zstd.open": opened,
    "backports.zstd.ZstdDecompressor": decompressor,
    "pandas.read_csv": pandas_read_csv,
    "polars.scan_csv": polars_scan_csv,
    "polars.read_csv": polars_read_csv,
    "duckdb.read_csv": duckdb_read_csv,
    "pyarrow.read_csv": pyarrow_read_csv,
    "pyarrow.input_stream": pyarrow_input_stream,
}


def main(arguments):
    if len(arguments) < 2 or arguments[0] not in READERS:
        print("usage: streams.py READER FILE...", file=sys.stderr)
        return 2
    reader, *paths = arguments
    name = reader.rpartition(".")[0]
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        print(f"{name}: cannot be imported: {error}", file=sys.stderr)
        return MISSING
    for path in paths:
        with open(path + ".content", "wb") as target:
            try:
                for part in READERS[reader](module, path):
                    target.write(part)
                print()
            except Exception as error:  # A reader may raise anything.
                print(type(error).__name__, *str(error).split())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
