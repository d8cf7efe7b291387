#!/usr/bin/env python3
"""An independent reader of ringpack containers, written from FORMAT.md alone.

It shares no code with ringpack. It needs the standard library, and the `zstd` program for frames that
hold more than raw blocks. It is made to be compared with the page, not to be fast.

    reader.py check FILE             check everything; prints `ok CONTENT_SIZE`
    reader.py cat FILE               the content, of several files in a row too
    reader.py range FILE START LEN   a part of the content
    reader.py members FILE           kind, size and path of each member
    reader.py write INPUT OUTPUT     pack with codec store, placement dense, chunks of 64 KiB

Exit status: 0, or 1 damaged, 2 no container, 3 written by a newer version.
"""
import argparse
import mmap
import struct
import subprocess
import sys
from collections import namedtuple

ALIGN = 4096
COPY_ABOVE = 64 << 20          # contents longer than this have a header copy
HEADER_LEN = 256
HEADER_START = bytes.fromhex("5C2A4D18F8000000") + b"RINGPACK"
OUR_FRAME = bytes.fromhex("5C2A4D18")
TABLE_FRAME = bytes.fromhex("5E2A4D18")
TABLE_END = bytes.fromhex("80B1EA928F")
TABLE_MAX_ENTRIES = 1 << 27
KIND_INDEX, KIND_PAD, KIND_MEMBERS = 1, 2, 4
PAYLOAD_MAX = 1 << 30
INDEX_OVERHEAD = 28            # magic, first chunk, count and checksum in an index frame's payload
STORE, ZSTD = 0, 1
DENSE, SLOTS = 0, 1
FLAG_MEMBERS = 1
ZSTD_MAGIC = bytes.fromhex("28B52FFD")
BLOCK_MAX = 1 << 17
WINDOW_MAX = 1 << 27
SEGMENT_MAX = 256 << 10
NO_CONTENT_XXH64 = 0x51D8E999  # low half of the XXH64 of nothing
MEMBER_KINDS = ("file", "directory", "symlink", "hardlink", "fifo", "chardev", "blockdev")


class Refused(Exception):
    """The file was refused: what is wrong, and at which offset of the file."""

    def __init__(self, what, offset):
        super().__init__(f"{what}, at offset {offset}")


class Damaged(Refused):
    status = 1


class NoContainer(Refused):
    status = 2


class Newer(Refused):
    """The container is intact, but needs a reader that knows more than this page says."""

    status = 3


def require(condition, what, offset, error=Damaged):
    if not condition:
        raise error(what, offset)


# ---------------------------------------------------------------- checksums


def _crc32c_tables():
    """Two tables that advance the checksum by 16 bits at once: for the high and the low half of a word."""
    by_byte = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        by_byte.append(value)
    high = []
    for value in range(1 << 16):
        value = by_byte[value & 255] ^ value >> 8
        high.append(by_byte[value & 255] ^ value >> 8)
    low = [high[value & 0xFFFF] ^ value >> 16 for value in high]
    return by_byte, high, low


CRC_BYTE, CRC_HIGH, CRC_LOW = _crc32c_tables()


def crc32c(data, crc=0):
    """CRC32C of `data`, continued from the `crc` of what stands before it."""
    crc ^= 0xFFFFFFFF
    whole_words = len(data) // 4
    high, low = CRC_HIGH, CRC_LOW
    for word in struct.unpack_from(f"<{whole_words}I", data):
        crc ^= word
        crc = low[crc & 0xFFFF] ^ high[crc >> 16]
    for byte in data[4 * whole_words:]:
        crc = CRC_BYTE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


XXH_P1, XXH_P2, XXH_P3, XXH_P4, XXH_P5 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
M64 = (1 << 64) - 1


def _rotl64(value, bits):
    return (value << bits | value >> (64 - bits)) & M64


def _xxh_round(lane, value):
    lane = lane + value * XXH_P2 & M64
    return (lane << 31 | lane >> 33) * XXH_P1 & M64


def xxh64_low(data):
    """The low half of the XXH64 of `data` with seed 0."""
    stripes = len(data) // 32
    if stripes:
        words = struct.unpack_from(f"<{4 * stripes}Q", data)
        lanes = [XXH_P1 + XXH_P2 & M64, XXH_P2, 0, -XXH_P1 & M64]
        for start, lane in enumerate(lanes):
            for value in words[start::4]:
                lane = lane + value * XXH_P2 & M64
                lane = ((lane << 31 | lane >> 33) & M64) * XXH_P1 & M64
            lanes[start] = lane
        result = sum(_rotl64(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & M64
        for lane in lanes:
            result = (result ^ _xxh_round(0, lane)) * XXH_P1 + XXH_P4 & M64
    else:
        result = XXH_P5
    result = result + len(data) & M64
    rest = data[32 * stripes:]
    while len(rest) >= 8:
        value = _xxh_round(0, int.from_bytes(rest[:8], "little"))
        result = _rotl64(result ^ value, 27) * XXH_P1 + XXH_P4 & M64
        rest = rest[8:]
    if len(rest) >= 4:
        result ^= int.from_bytes(rest[:4], "little") * XXH_P1 & M64
        result = _rotl64(result, 23) * XXH_P2 + XXH_P3 & M64
        rest = rest[4:]
    for byte in rest:
        result = _rotl64(result ^ byte * XXH_P5 & M64, 11) * XXH_P1 & M64
    result = (result ^ result >> 33) * XXH_P2 & M64
    result = (result ^ result >> 29) * XXH_P3 & M64
    return (result ^ result >> 32) & 0xFFFFFFFF


# BLAKE3 compresses many nodes at once: an integer holds one 32-bit word of each node, in lanes of 64 bits.
BLAKE3_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
BLAKE3_ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
BLAKE3_MIXES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
BLAKE3_LEAF = 1024
LEAF_START, LEAF_END, PARENT, ROOT = 1, 2, 4, 8


def _to_lanes(words):
    return int.from_bytes(struct.pack(f"<{len(words)}Q", *words), "little")


def _from_lanes(value, lanes):
    return struct.unpack(f"<{lanes}Q", value.to_bytes(8 * lanes, "little"))


def _blake3_compress(lanes, chain, block, counters, block_len, flags):
    """BLAKE3's compression of one block in each lane; gives the eight words of the new chaining values."""
    one = _to_lanes([1] * lanes)
    mask = one * 0xFFFFFFFF
    state = list(chain) + [one * word for word in BLAKE3_IV[:4]]
    state += [_to_lanes([count & 0xFFFFFFFF for count in counters]),
              _to_lanes([count >> 32 for count in counters]), one * block_len, one * flags]
    for _ in range(7):
        for number, (ia, ib, ic, id_) in enumerate(BLAKE3_MIXES):
            a, b, c, d = state[ia], state[ib], state[ic], state[id_]
            for word, right_d, right_b in ((block[2 * number], 16, 12), (block[2 * number + 1], 8, 7)):
                a = a + b + word & mask
                d ^= a
                d = (d >> right_d | d << 32 - right_d) & mask
                c = c + d & mask
                b ^= c
                b = (b >> right_b | b << 32 - right_b) & mask
            state[ia], state[ib], state[ic], state[id_] = a, b, c, d
        block = [block[index] for index in BLAKE3_ORDER]
    return [state[index] ^ state[index + 8] for index in range(8)]


def _blake3_leaves(data, counter, root):
    """Chaining values of leaves of the same length: full ones, or a single short one."""
    leaf_len = min(len(data), BLAKE3_LEAF)
    lanes = max(1, len(data) // BLAKE3_LEAF)
    blocks = max(1, -(-leaf_len // 64))
    words = struct.unpack(f"<{lanes * blocks * 16}I", data.ljust(lanes * blocks * 64, b"\0"))
    one = _to_lanes([1] * lanes)
    chain = [one * word for word in BLAKE3_IV]
    for number in range(blocks):
        last = number == blocks - 1
        flags = (LEAF_START if number == 0 else 0) | (LEAF_END | root if last else 0)
        block = [_to_lanes(words[16 * number + index::16 * blocks]) for index in range(16)]
        block_len = leaf_len - 64 * number if last else 64
        chain = _blake3_compress(lanes, chain, block, range(counter, counter + lanes), block_len, flags)
    return list(zip(*(_from_lanes(word, lanes) for word in chain)))


def _blake3_merge(values, root):
    """The chaining value of the tree above `values`. An odd last node moves up as it is."""
    while len(values) > 1:
        pairs = [left + right for left, right in zip(values[::2], values[1::2])]
        flags = PARENT | (root if len(values) == 2 else 0)
        chain = [_to_lanes([word] * len(pairs)) for word in BLAKE3_IV]
        block = [_to_lanes(words) for words in zip(*pairs)]
        merged = _blake3_compress(len(pairs), chain, block, [0] * len(pairs), 64, flags)
        odd = values[len(pairs) * 2:]
        values = list(zip(*(_from_lanes(word, len(pairs)) for word in merged))) + odd
    return struct.pack("<8I", *values[0])


def blake3_subtree(data, start, is_root):
    """The chaining value of `data` as the subtree at byte `start`; the digest itself if it is the root."""
    full = len(data) // BLAKE3_LEAF * BLAKE3_LEAF
    counter = start // BLAKE3_LEAF
    leaf_root = ROOT if is_root and len(data) <= BLAKE3_LEAF else 0
    values = _blake3_leaves(data[:full], counter, leaf_root) if full else []
    if full < len(data) or not data:
        values += _blake3_leaves(data[full:], counter + full // BLAKE3_LEAF, leaf_root)
    return _blake3_merge(values, ROOT if is_root else 0)


def blake3_digest(chaining_values):
    """The digest of a content whose chunks have these chaining values."""
    return _blake3_merge([struct.unpack("<8I", value) for value in chaining_values], ROOT)


# ---------------------------------------------------------------- Zstandard frames

Frame = namedtuple("Frame", "start end content_size window dictionary has_checksum blocks")
Block = namedtuple("Block", "kind start size")  # of the block header, and the size it states
RAW, RLE, RESERVED = 0, 1, 3


def parse_frame(data, start, end):
    """Finds the parts of the Zstandard frame at `start`, which must not reach beyond `end`."""
    position = start

    def take(length):
        nonlocal position
        require(position + length <= end, "a Zstandard frame is cut off", start)
        position += length
        return data[position - length:position]

    require(take(4) == ZSTD_MAGIC, "here should be a Zstandard frame", start)
    descriptor = take(1)[0]
    require(not descriptor & 8, "a reserved bit of a Zstandard frame is set", start)
    single_segment = descriptor & 0x20
    window = None
    if not single_segment:
        window_byte = take(1)[0]
        base = 1 << 10 + (window_byte >> 3)
        window = base + base // 8 * (window_byte & 7)
    dictionary = int.from_bytes(take((0, 1, 2, 4)[descriptor & 3]), "little")
    size_len = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    content_size = int.from_bytes(take(size_len), "little") if size_len else None
    if size_len == 2:
        content_size += 256
    if single_segment:
        window = content_size
    blocks, last = [], False
    while not last:
        block_start = position
        header = int.from_bytes(take(3), "little")
        last, block = header & 1, Block(header >> 1 & 3, block_start, header >> 3)
        require(block.kind != RESERVED, "a block has the reserved type", block_start)
        require(block.size <= min(window, BLOCK_MAX), "a block is too long", block_start)
        take(1 if block.kind == RLE else block.size)
        blocks.append(block)
    has_checksum = bool(descriptor & 4)
    take(4 if has_checksum else 0)
    return Frame(start, position, content_size, window, dictionary, has_checksum, blocks)


def run_zstd(arguments, data, what, offset):
    """What the zstd program makes of `data`; where it fails, the file is damaged at `offset`."""
    done = subprocess.run(["zstd", *arguments], input=data, capture_output=True)
    require(done.returncode == 0, f"{what}: {done.stderr.decode(errors='replace').strip()}", offset)
    return done.stdout


def decode_frame(data, frame, offset):
    """The content of a frame. Raw blocks are taken as they are; the caller compares the checksum."""
    if frame.has_checksum and all(block.kind == RAW for block in frame.blocks):
        return b"".join(data[block.start + 3:block.start + 3 + block.size] for block in frame.blocks)
    return run_zstd(["-dcq"], data[frame.start:frame.end], "a frame can't be decoded", offset)


# ---------------------------------------------------------------- header and layout

HEADER_STRUCT = struct.Struct("<16sHHIIBBHiIHHI10QII32s84s")
Header = namedtuple("Header", (
    "start major minor required_flags optional_flags chunk_power codec placement level libzstd extent_chunks "
    "zero align content_size chunk_count data_end index_offset index_len table_offset file_size slot_len "
    "members_len member_count content_crc digest_kind digest zeros"))


def pack_header(header):
    """The 256 bytes of a header."""
    packed = HEADER_STRUCT.pack(*header)
    return packed + struct.pack("<I", crc32c(packed))


def read_header(data, at):
    """The header at `at`, with its checksum and its values checked, but not yet its sizes."""
    packed = data[at:at + HEADER_LEN]
    require(packed.startswith(HEADER_START) and len(packed) == HEADER_LEN, "no container: no header", at, NoContainer)
    require(crc32c(packed[:-4]) == int.from_bytes(packed[-4:], "little"), "the header's checksum is wrong", at)
    header = Header(*HEADER_STRUCT.unpack(packed[:-4]))
    for known, what, offset in (
            (header.major == 2, f"unknown version {header.major}", 16),
            (not header.required_flags & ~FLAG_MEMBERS, f"unknown flags {header.required_flags:#x}", 20),
            (header.codec in (STORE, ZSTD), f"unknown codec {header.codec}", 29),
            (header.placement in (DENSE, SLOTS), f"unknown placement {header.placement}", 30),
            (header.align == ALIGN, f"unknown alignment {header.align}", 44),
            (header.digest_kind in (0, 1), f"unknown digest {header.digest_kind}", 132)):
        require(known, what, at + offset, Newer)
    return header


def round_up(value, step):
    return -(-value // step) * step


def store_frame_header(length):
    """The header of the store frame of a chunk."""
    if length <= 255:
        return ZSTD_MAGIC + struct.pack("<BB", 0x24, length)
    if length <= 65791:
        return ZSTD_MAGIC + struct.pack("<BH", 0x64, length - 256)
    if length <= 1 << 23:
        return ZSTD_MAGIC + struct.pack("<BI", 0xA4, length)
    return ZSTD_MAGIC + struct.pack("<BBI", 0x84, 0x68, length)


def store_frame_len(length):
    return len(store_frame_header(length)) + 3 * max(1, -(-length // BLOCK_MAX)) + length + 4


class Layout:
    """What follows from a header's settings: the chunks' lengths, and where each part behind them stands."""

    def __init__(self, header):
        self.header = header
        self.chunk_len = 1 << header.chunk_power
        self.chunk_count = max(1, -(-header.content_size // self.chunk_len))
        self.slot_len = round_up(store_frame_len(self.chunk_len), ALIGN) if header.placement == SLOTS else 0
        self.fill_tail = 2732 if self.chunk_len > 1 << 23 else 1367
        entry_len = 56 if header.digest_kind else 24
        per_frame = (PAYLOAD_MAX - INDEX_OVERHEAD) // entry_len
        self.index_frames = []         # (first chunk, chunks, length of the frame)
        for first in range(0, self.chunk_count, per_frame):
            count = min(per_frame, self.chunk_count - first)
            self.index_frames.append((first, count, 8 + INDEX_OVERHEAD + count * entry_len))
        self.has_copy = header.content_size > COPY_ABOVE
        self.index_offset = header.data_end + (HEADER_LEN if self.has_copy else 0)
        self.index_len = sum(length for _, _, length in self.index_frames)
        self.members_offset = self.index_offset + self.index_len
        self.header_offset = self.members_offset + header.members_len
        behind = self.header_offset + HEADER_LEN
        self.frames_behind_content = (
            [HEADER_LEN] * self.has_copy + [length for _, _, length in self.index_frames]
            + [header.members_len] * bool(header.members_len) + [HEADER_LEN])
        entries = self.chunk_count + len(self.frames_behind_content)
        self.table_len = 8 + 12 * entries + 9 if entries <= TABLE_MAX_ENTRIES else 0
        self.table_offset = behind if self.table_len else 0
        self.file_size = behind + self.table_len

    def length_of_chunk(self, number):
        return min(self.chunk_len, self.header.content_size - number * self.chunk_len)

    def is_filled(self, number):
        """Whether the chunk is the last one of a full extent, whose frame the writer fills."""
        return (self.header.placement == DENSE and (number + 1) % self.header.extent_chunks == 0
                and (number + 1) * self.chunk_len <= self.header.content_size)

    def longest_frame(self, number):
        longest = store_frame_len(self.length_of_chunk(number))
        return longest + 14 + 3 * self.fill_tail if self.is_filled(number) else longest

    def offset_behind(self, number, offset, frame_len):
        """Where the frame behind this one starts, or `data_end` behind the last."""
        return (number + 1) * self.slot_len if self.slot_len else offset + frame_len


def check_sizes(header, at):
    """Compares the sizes that a header at `at` states with the ones that the layout gives."""
    def check(condition, what, offset):
        require(condition, f"the header states a wrong {what}", at + offset)

    check(16 <= header.chunk_power <= 26, "chunk length", 28)
    most = max(4 << 20, 1 << header.chunk_power)
    check(1 <= header.extent_chunks and header.extent_chunks << header.chunk_power <= most, "extent length", 40)
    check(header.placement == DENSE or header.extent_chunks == 1, "extent length", 40)
    check(header.content_size < 1 << 63, "content size", 48)
    chunks = max(1, -(-header.content_size // (1 << header.chunk_power)))
    check(header.chunk_count == chunks and 13 * chunks <= header.data_end <= at, "number of chunks", 56)
    layout = Layout(header)
    check(header.slot_len == layout.slot_len, "slot length", 104)
    check(not layout.slot_len or header.data_end == chunks * layout.slot_len, "end of the data", 64)
    check(header.index_offset == layout.index_offset, "index offset", 72)
    check(header.index_len == layout.index_len, "index length", 80)
    check(header.table_offset == layout.table_offset, "seek table offset", 88)
    check(header.file_size == layout.file_size, "file size", 96)
    if header.required_flags & FLAG_MEMBERS:
        check(28 <= header.members_len <= PAYLOAD_MAX + 8, "member index length", 112)
        check(header.member_count >= 1, "number of members", 120)
    else:
        check(header.members_len == 0, "member index length", 112)
        check(header.member_count == 0, "number of members", 120)
    return layout


# ---------------------------------------------------------------- a container

Entry = namedtuple("Entry", "offset frame_len chunk_len frame_crc raw_crc")
Member = namedtuple("Member", "kind flags path_len link_len mode uid gid mtime_ns mtime size stored header data")
MEMBER_STRUCT = struct.Struct("<BBHHIIIIqQQQQ")


class Container:
    """An opened container that ends at `end` in the file. Its index and seek table are checked."""

    def __init__(self, data, end):
        self.data = data
        header_end = end
        if end >= 9 and data[end - 5:end] == TABLE_END:
            header_end = end - 8 - 12 * int.from_bytes(data[end - 9:end - 5], "little") - 9
        header_at = header_end - HEADER_LEN
        require(header_at >= 0, "no container: no header", max(0, header_end), NoContainer)
        self.header = read_header(data, header_at)
        self.layout = check_sizes(self.header, header_at)
        self.start = end - self.layout.file_size
        require(self.start >= 0 and self.start + self.layout.header_offset == header_at,
                "the file's length isn't the one in the header", header_at + 96)
        self.size = self.header.content_size
        self.entries, self.chaining_values = [], []
        self._read_index()
        self._check_table()

    def _checked_payload(self, at, frame_len, name):
        """The payload of one of our skippable frames, which begins with `name` and ends with its checksum."""
        frame = self.data[at:at + frame_len]
        require(frame.startswith(OUR_FRAME + struct.pack("<I", frame_len - 8) + name),
                f"here should be a frame {name[1:].decode()}", at)
        require(crc32c(frame[8:-4]) == int.from_bytes(frame[-4:], "little"),
                f"the checksum of the frame {name[1:].decode()} is wrong", at)
        return frame[8 + len(name):-4]

    def _read_index(self):
        at = self.start + self.layout.index_offset
        offset = 0
        for first, count, frame_len in self.layout.index_frames:
            payload = self._checked_payload(at, frame_len, bytes([KIND_INDEX]) + b"RPINDEX")
            require(struct.unpack_from("<QQ", payload) == (first, count), "an index frame names other chunks", at + 16)
            for number in range(first, first + count):
                place = 16 + 24 * (number - first)
                entry = Entry(*struct.unpack_from("<QIIII", payload, place))
                offset = self._check_entry(number, entry, offset, at + 16 + place)
                self.entries.append(entry)
            values = payload[16 + 24 * count:]
            self.chaining_values += [values[place:place + 32] for place in range(0, len(values), 32)]
            at += frame_len
        require(offset == self.header.data_end, "the frames don't end where the header says", self.start + offset)

    def _check_entry(self, number, entry, offset, at):
        """Checks an index entry, whose frame must start at `offset`; gives the offset of the next frame."""
        layout = self.layout
        require(entry.offset == offset, f"the index gives chunk {number} a wrong offset", at)
        require(entry.chunk_len == layout.length_of_chunk(number), f"the index gives chunk {number} a wrong length", at)
        require(13 <= entry.frame_len <= layout.longest_frame(number), f"frame {number} has an impossible length", at)
        require(not layout.is_filled(number) or (offset + entry.frame_len) % ALIGN == 0,
                f"the full extent that ends with chunk {number} doesn't end on {ALIGN}", at)
        return layout.offset_behind(number, offset, entry.frame_len)

    def _check_table(self):
        """Checks the seek table; the checksums of the chunks are compared when the chunks are read."""
        if not self.layout.table_len:
            return
        self.table_at = self.start + self.layout.table_offset
        table = self.data[self.table_at:self.table_at + self.layout.table_len]
        require(table.startswith(TABLE_FRAME + struct.pack("<I", self.layout.table_len - 8)),
                "here should be the seek table", self.table_at)
        behind = self.layout.frames_behind_content
        sizes = [(self.layout.offset_behind(number, entry.offset, entry.frame_len) - entry.offset, entry.chunk_len)
                 for number, entry in enumerate(self.entries)]
        expected = [(*size, None) for size in sizes] + [(length, 0, NO_CONTENT_XXH64) for length in behind]
        for number, (compressed, length, checksum) in enumerate(expected):
            entry = struct.unpack_from("<III", table, 8 + 12 * number)
            require(entry[:2] == (compressed, length) and checksum in (None, entry[2]),
                    f"entry {number} of the seek table differs from the index", self.table_at + 8 + 12 * number)
        require(table[-9:] == struct.pack("<I", len(expected)) + TABLE_END, "the seek table's footer is wrong",
                self.table_at + len(table) - 9)

    def chunk(self, number):
        """The content of a chunk, after all that the page asks for was compared."""
        entry = self.entries[number]
        at = self.start + entry.offset
        frame_bytes = self.data[at:at + entry.frame_len]
        frame_crc = crc32c(frame_bytes, crc32c(struct.pack("<QQ", number, entry.offset)))
        require(frame_crc == entry.frame_crc, f"frame {number}: frame_crc32c is wrong", at)
        frame = parse_frame(frame_bytes, 0, len(frame_bytes))
        require(frame.end == len(frame_bytes), f"frame {number} ends early", at + frame.end)
        require(frame.content_size == entry.chunk_len, f"frame {number} states a wrong content size", at)
        require(frame.has_checksum, f"frame {number} has no checksum", at)
        require(frame.dictionary == 0, f"frame {number} needs a dictionary", at)
        require(frame.window <= WINDOW_MAX, f"frame {number} needs too large a window", at)
        content = decode_frame(frame_bytes, frame, at)
        require(len(content) == entry.chunk_len, f"frame {number} decodes to a wrong length", at)
        checksum = frame_bytes[-4:]
        require(struct.pack("<I", xxh64_low(content)) == checksum, f"frame {number}: XXH64 is wrong", at)
        if self.layout.table_len:
            place = self.table_at + 8 + 12 * number + 8
            require(self.data[place:place + 4] == checksum, f"seek table: the XXH64 of chunk {number} is wrong", place)
        require(crc32c(content) == entry.raw_crc, f"chunk {number}: raw_crc32c is wrong", at)
        if self.header.digest_kind:
            value = blake3_subtree(content, number * self.layout.chunk_len, len(self.entries) == 1)
            require(value == self.chaining_values[number], f"chunk {number}: the chaining value is wrong", at)
        return content

    def read(self, start, length):
        """Gives the content from `start` in pieces; decodes only the chunks that it lies in."""
        end = min(start + length, self.size)
        while start < end:
            number, inside = divmod(start, self.layout.chunk_len)
            piece = self.chunk(number)[inside:inside + end - start]
            yield piece
            start += len(piece)

    def check(self):
        """Checks everything behind what opening checked."""
        header, layout = self.header, self.layout
        if layout.has_copy:
            copy_at, header_at = self.start + header.data_end, self.start + layout.header_offset
            require(self.data[copy_at:copy_at + HEADER_LEN] == self.data[header_at:header_at + HEADER_LEN],
                    "the header copy differs from the header", copy_at)
        content_crc = 0
        for number in range(len(self.entries)):
            content_crc = crc32c(self.chunk(number), content_crc)
            if layout.slot_len:
                self._check_pad(number)
        header_at = self.start + layout.header_offset
        require(content_crc == header.content_crc, "the CRC32C of the content is wrong", header_at + 128)
        digest = bytes(32)
        if header.digest_kind:
            values = self.chaining_values
            digest = values[0] if len(values) == 1 else blake3_digest(values)
        require(digest == header.digest, "the digest of the content is wrong", header_at + 136)
        for _ in self.members():
            pass

    def _check_pad(self, number):
        """Checks the skippable frame of zeros that fills the rest of a slot."""
        entry = self.entries[number]
        at = self.start + entry.offset + entry.frame_len
        length = self.layout.slot_len - entry.frame_len
        expected = OUR_FRAME + struct.pack("<IB", length - 8, KIND_PAD) + bytes(length - 9)
        require(self.data[at:at + length] == expected, f"the rest of slot {number} is wrong", at)

    def members(self):
        """Gives (member, path, link target) for each entry of the member index, with its bounds checked."""
        if not self.header.members_len:
            return
        at = self.start + self.layout.members_offset
        payload = self._checked_payload(at, self.header.members_len, bytes([KIND_MEMBERS]) + b"RPMEMBR")
        base = at + 16             # where the payload behind its name stands in the file
        require(len(payload) >= 8, "the member index is cut off", at)
        total = int.from_bytes(payload[:8], "little")
        require(total == self.header.member_count, "the member index has another number of members", base)
        position, seen, free_from = 8, 0, 0
        while position < len(payload):
            segment_at = base + position
            require(position + 12 <= len(payload), "a segment of the member index is cut off", segment_at)
            raw_len, frame_len, count = struct.unpack_from("<III", payload, position)
            position += 12
            require(count >= 1 and raw_len <= SEGMENT_MAX, "a segment has impossible lengths", segment_at)
            require(position + frame_len <= len(payload), "a segment of the member index is cut off", segment_at)
            frame = parse_frame(payload, position, position + frame_len)
            require(frame.end == position + frame_len, "a segment's frame ends early", segment_at)
            raw = run_zstd(["-dcq"], payload[frame.start:frame.end], "a segment can't be decoded", segment_at)
            require(len(raw) == raw_len, "a segment has another length", segment_at)
            place = 0
            for _ in range(count):
                member, path, link, place = self._parse_member(raw, place, segment_at)
                self._check_member(member, path, link, free_from, segment_at)
                free_from = member.data + member.stored
                yield member, path, link
            require(place == raw_len, "a segment has bytes behind its members", segment_at)
            seen += count
            position += frame_len
        require(seen == total, "the segments have another number of members", base)

    @staticmethod
    def _parse_member(raw, place, at):
        """The member at `place` of a segment, its path, its link target, and the place behind it."""
        require(place + MEMBER_STRUCT.size <= len(raw), "a member is cut off", at)
        member = Member(*MEMBER_STRUCT.unpack_from(raw, place))
        path_at = place + MEMBER_STRUCT.size
        link_at = path_at + member.path_len
        end = link_at + member.link_len
        require(end <= len(raw), "a member is cut off", at)
        return member, raw[path_at:link_at], raw[link_at:end], end

    def _check_member(self, member, path, link, free_from, at):
        """Checks the bounds of a member, which must lie at `free_from` or behind it."""
        require(member.kind < len(MEMBER_KINDS), f"unknown kind {member.kind} of a member", at)
        require(member.flags == (member.stored != member.size), "the flags of a member are wrong", at)
        require(member.mode <= 0o7777, "the mode of a member is wrong", at)
        require(not path.endswith(b"/") and b"\0" not in path + link, "the path of a member is wrong", at)
        require(member.header % 512 == 0 and member.data % 512 == 0, "a member isn't on the grid of tar", at)
        require(free_from <= member.header < member.data and member.data + member.stored <= self.size,
                "a member lies where it can't", at)


# ---------------------------------------------------------------- several files in a row


class PlainFrame:
    """A Zstandard frame that belongs to no container."""

    def __init__(self, data, frame):
        self.data, self.frame = data, frame
        self.start = frame.start
        self._content = None
        self.size = len(self._decode()) if frame.content_size is None else frame.content_size

    def _decode(self):
        if self._content is None:
            frame_bytes = self.data[self.frame.start:self.frame.end]
            self._content = run_zstd(["-dcq"], frame_bytes, "a frame can't be decoded", self.frame.start)
        return self._content

    def read(self, start, length):
        """Gives the content from `start` in one piece."""
        piece = self._decode()[start:start + length]
        self._content = None
        yield piece


def parts_of(data):
    """The containers and plain frames of a file, in order.

    Containers are peeled off from the end, where each says how long it is. What is left in front of them is
    walked through frame by frame, since a plain Zstandard file says nothing about its length.
    """
    end, containers = len(data), []
    while end:
        try:
            container = Container(data, end)
        except NoContainer:
            break
        containers.insert(0, container)
        end = container.start
    return _walk(data, end) + containers


def _walk(data, end):
    """The parts of the first `end` bytes, which don't end with a container."""
    parts, position = [], 0
    while position < end:
        frame_head = data[position:min(position + 8, end)]
        if frame_head[:4] == ZSTD_MAGIC:
            frame = parse_frame(data, position, end)
            parts.append(PlainFrame(data, frame))
            position = frame.end
            continue
        magic, length = struct.unpack("<II", frame_head.ljust(8, b"\0"))
        require(len(frame_head) == 8 and magic >> 4 == 0x184D2A5, "neither a frame nor a container", position)
        behind = position + 8 + length
        require(behind <= end, "a skippable frame is cut off", position)
        # Behind a header copy stands the index; behind a header the seek table, another file, or nothing.
        is_header = data[position:position + 16] == HEADER_START
        if is_header and data[behind:behind + 4] != OUR_FRAME:
            header = read_header(data, position)
            container_end = behind + (header.file_size - header.table_offset if header.table_offset else 0)
            require(behind <= container_end <= end, "a container is cut off", position)
            container = Container(data, container_end)
            while parts and parts[-1].start >= container.start:
                parts.pop()
            parts.append(container)
            behind = container_end
        position = behind
    return parts


# ---------------------------------------------------------------- the writer

WRITER = Header(
    start=HEADER_START, major=2, minor=0, required_flags=0, optional_flags=0, chunk_power=16, codec=STORE,
    placement=DENSE, level=0, libzstd=10507, extent_chunks=64, zero=0, align=ALIGN, content_size=0, chunk_count=0,
    data_end=0, index_offset=0, index_len=0, table_offset=0, file_size=0, slot_len=0, members_len=0,
    member_count=0, content_crc=0, digest_kind=0, digest=bytes(32), zeros=bytes(84))


def block_header(length, last):
    return (length << 3 | last).to_bytes(3, "little")


def store_frame(chunk):
    """The frame that the codec store makes of a chunk: raw blocks, or libzstd's level 1 for zeros.

    With its whole input in one buffer, the program gives the frame of libzstd's one-shot call. That was
    compared for chunks of up to 128 KiB, with libzstd 1.5.4 and 1.5.7.
    """
    if chunk and not chunk.strip(b"\0"):
        size = f"--stream-size={len(chunk)}"
        return run_zstd(["-1", "-qc", "--single-thread", "--check", size], chunk, "zstd failed", 0)
    blocks = b""
    for start in range(0, max(1, len(chunk)), BLOCK_MAX):
        block = chunk[start:start + BLOCK_MAX]
        blocks += block_header(len(block), start + BLOCK_MAX >= len(chunk)) + block
    return store_frame_header(len(chunk)) + blocks + struct.pack("<I", xxh64_low(chunk))


def filled_frame(chunk, offset, tail_len):
    """The frame of a full extent's last chunk, which starts at `offset` and must end on `ALIGN`."""
    inner = store_frame(chunk[:-tail_len])
    parsed = parse_frame(inner, 0, len(inner))
    last = parsed.blocks[-1].start
    blocks = bytearray(inner[parsed.blocks[0].start:-4])
    blocks[last - parsed.blocks[0].start] &= 0xFE
    n = len(chunk)
    window = min(n.bit_length() - 1, 23) - 10 << 3
    forms = [struct.pack("<BBI", 0x84, window, n), struct.pack("<BBQ", 0xC4, window, n)]
    if n <= 1 << 23:
        forms += [struct.pack("<BI", 0xA4, n), struct.pack("<BQ", 0xE4, n)]
    fixed = len(ZSTD_MAGIC) + len(blocks) + tail_len + 4
    fits = [(count, form) for form in forms for count in range(1, tail_len + 1)
            if (offset + len(form) + fixed + 3 * count) % ALIGN == 0]
    count, form = min(fits)
    tail = chunk[-tail_len:]
    first_len = tail_len - count + 1
    tail_blocks = block_header(first_len, count == 1) + tail[:first_len]
    for place in range(first_len, tail_len):
        tail_blocks += block_header(1, place == tail_len - 1) + tail[place:place + 1]
    return ZSTD_MAGIC + form + bytes(blocks) + tail_blocks + struct.pack("<I", xxh64_low(chunk))


def write_container(content, output):
    """Writes `content` as a container: store, dense, chunks of 64 KiB, no digest, no members."""
    header = WRITER._replace(content_size=len(content))
    layout = Layout(header)
    offset, content_crc, entries, table = 0, 0, b"", b""
    for number in range(layout.chunk_count):
        chunk = content[number * layout.chunk_len:(number + 1) * layout.chunk_len]
        frame = filled_frame(chunk, offset, layout.fill_tail) if layout.is_filled(number) else store_frame(chunk)
        output.write(frame)
        frame_crc = crc32c(frame, crc32c(struct.pack("<QQ", number, offset)))
        entries += struct.pack("<QIIII", offset, len(frame), len(chunk), frame_crc, crc32c(chunk))
        table += struct.pack("<II", len(frame), len(chunk)) + frame[-4:]
        content_crc = crc32c(chunk, content_crc)
        offset += len(frame)
    layout = Layout(header._replace(data_end=offset))
    header = header._replace(
        chunk_count=layout.chunk_count, data_end=offset, index_offset=layout.index_offset,
        index_len=layout.index_len, table_offset=layout.table_offset, file_size=layout.file_size,
        content_crc=content_crc)
    if layout.has_copy:
        output.write(pack_header(header))
    for first, count, frame_len in layout.index_frames:
        payload = bytes([KIND_INDEX]) + b"RPINDEX" + struct.pack("<QQ", first, count)
        payload += entries[24 * first:24 * (first + count)]
        output.write(OUR_FRAME + struct.pack("<I", frame_len - 8) + payload + struct.pack("<I", crc32c(payload)))
    output.write(pack_header(header))
    if layout.table_len:
        for length in layout.frames_behind_content:
            table += struct.pack("<III", length, 0, NO_CONTENT_XXH64)
        output.write(TABLE_FRAME + struct.pack("<I", layout.table_len - 8) + table)
        output.write(struct.pack("<I", len(table) // 12) + TABLE_END)


# ---------------------------------------------------------------- command line


def load(path):
    with open(path, "rb") as file:
        file.seek(0, 2)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""


def single_container(path):
    """The container that is the whole file."""
    data = load(path)
    container = Container(data, len(data))
    require(container.start == 0, "the container isn't as long as the file", container.start)
    return container


def print_range(path, start, length):
    """Writes a part of the content of all files in a row to stdout; what lies behind the end is left out."""
    for part in parts_of(load(path)):
        if start < part.size and length > 0:
            for piece in part.read(start, length):
                sys.stdout.buffer.write(piece)
                length -= len(piece)
        start = max(0, start - part.size)


def main():
    parser = argparse.ArgumentParser(description="independent reader of ringpack containers")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, arguments in (("check", ["file"]), ("cat", ["file"]), ("members", ["file"]),
                            ("range", ["file", "start", "length"]), ("write", ["file", "output"])):
        command = commands.add_parser(name)
        for argument in arguments:
            command.add_argument(argument, type=int if argument in ("start", "length") else str)
    options = parser.parse_args()
    if options.command == "range" and (options.start < 0 or options.length < 0):
        parser.error("START and LEN must not be negative")
    try:
        if options.command == "check":
            container = single_container(options.file)
            container.check()
            print("ok", container.size)
        elif options.command == "cat":
            print_range(options.file, 0, 1 << 63)
        elif options.command == "range":
            print_range(options.file, options.start, options.length)
        elif options.command == "members":
            for member, path, _ in single_container(options.file).members():
                name = path.decode("latin-1").encode("unicode_escape").decode()
                print(MEMBER_KINDS[member.kind], member.size, name)
        else:
            with open(options.output, "wb") as output:
                write_container(load(options.file), output)
    except Refused as refused:
        sys.stdout.flush()
        print(f"refused: {refused}", file=sys.stderr)
        return refused.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
