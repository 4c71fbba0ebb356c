"""Read a spool into Arrow, and from there into pandas or polars: no server, no program of Coldpath's, only the files.

    import coldpath.spool

    spool = coldpath.spool.Spool("/var/lib/coldpath/spool")
    fills = spool.table("fills", since="2026-11-25", until="2026-11-26")       # pyarrow.Table
    fills.to_pandas();  polars.from_arrow(fills)
    for batch in spool.batches("market_data", columns=["ts_exchange", "symbol", "bid_px1"]):
        ...                                                                     # pyarrow.RecordBatch, some ten thousand rows each

Needs pyarrow, numpy and lz4 (`pip install coldpath[spool]`). Only durable rows are read, each with the checksum of its frame; a writer may go on meanwhile.
The format is docs/spool-format.md. Types: DateTime64 is timestamp[ns, UTC], Decimal(P, S) decimal128, LowCardinality(String) and Enum a dictionary of
strings, UUID and FixedString fixed_size_binary, Array a list, Nullable a column with nulls.
"""
from __future__ import annotations

import datetime
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import lz4.frame
import numpy as np
import pyarrow as pa

__all__ = ["Damage", "Lost", "Spool", "Time"]

Time = Union[int, str, datetime.datetime]
"""Nanoseconds since 1970, `2026-11-25`, RFC 3339, or a datetime with a time zone."""

_SEGMENT = re.compile(r"(\d{10})-(\d{20})\.lz4")
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_HEADER, _CHUNK, _DATA, _INDEX = 0x184D2A50, 0x184D2A51, 0x184D2204, 0x184D2A52
_MARK_BYTES = 128


class Damage(Exception):
    """Bytes of the spool that are not what they should be: table, segment and offset stand in the message."""


@dataclass(frozen=True)
class Lost:
    """Rows that had their sequences, and that the spool has no more."""

    first: int
    end: int
    shed: bool
    """Given up on purpose for want of room, and counted in system_events; else a damage took them."""


@dataclass(frozen=True)
class _Segment:
    path: Path
    number: int
    first: int


@dataclass(frozen=True)
class _Header:
    columns: list[tuple[str, str]]
    first: int
    lost_from: int
    is_shed: bool
    time_column: int
    end: int
    """Where the first chunk begins in the file."""


class Spool:
    """A spool's directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        text = (self.path / "spool.id").read_text()
        found = re.fullmatch(r"coldpath-spool 1\nwriter ([A-Za-z0-9._-]{1,47})\n", text)
        if not found:
            raise Damage(f"{self.path}/spool.id is not that of a spool of format 1: {text[:80]!r}")
        self.writer = found[1]

    def tables(self) -> list[str]:
        """Tables that have a directory here."""
        return sorted(entry.name for entry in self.path.iterdir() if entry.is_dir() and _TABLE.fullmatch(entry.name))

    def batches(self, table: str, columns: Sequence[str] | None = None, since: Time | None = None, until: Time | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of a table in the order of their sequences, a batch a chunk.

        columns     these only; a segment that has not one of them (written by older schemas) leaves it out
        since       event times from here on
        until       event times before this
        """
        since_ns, until_ns = _nanoseconds(since), _nanoseconds(until)
        for segment, header, limit in self._segments(table):
            with segment.path.open("rb") as file:
                yield from _Chunks(table, segment, header, file, limit).batches(columns, since_ns, until_ns)

    def table(self, table: str, columns: Sequence[str] | None = None, since: Time | None = None, until: Time | None = None) -> pa.Table:
        """All of it as one table. Where segments have other columns, what they lack is null."""
        batches = list(self.batches(table, columns, since, until))
        if not batches:
            return pa.table({})
        runs: list[list[pa.RecordBatch]] = []
        for batch in batches:
            if runs and runs[-1][0].schema.equals(batch.schema):
                runs[-1].append(batch)
            else:
                runs.append([batch])
        return pa.concat_tables([pa.Table.from_batches(run) for run in runs], promote_options="permissive").unify_dictionaries()

    def lost(self, table: str) -> list[Lost]:
        """What the segments say is gone, the oldest first."""
        return [Lost(header.lost_from, header.first, header.is_shed) for _, header, _ in self._segments(table) if header.lost_from < header.first]

    def _segments(self, table: str) -> Iterator[tuple[_Segment, _Header, int]]:
        """Segments with how many bytes of each are durable."""
        directory = self.path / table
        # The mark first: the segment that it names was there before it.
        mark = self._mark(table)
        found: dict[int, _Segment] = {}
        for entry in directory.iterdir():
            if name := _SEGMENT.fullmatch(entry.name):
                number, first = int(name[1]), int(name[2])
                # A tombstone stands beside its segment for a moment, with a higher first sequence.
                if number not in found or found[number].first < first:
                    found[number] = _Segment(entry, number, first)
        end: int | None = None
        for number in sorted(found):
            segment = found[number]
            if mark is not None and number > mark[0]:
                return
            size = segment.path.stat().st_size
            trailer = _trailer(segment.path, size)
            if mark is not None and number == mark[0]:
                limit = mark[1]
                if size < limit:
                    raise Damage(f"{table}/{segment.path.name} has {size} bytes, and the durable mark promises {limit}: a copy that is not complete?")
            elif trailer is not None:
                limit = size
            elif mark is None:
                return
            else:
                raise Damage(f"{table}/{segment.path.name} has no index, and is not the segment that is written to")
            with segment.path.open("rb") as file:
                header = _header(table, segment, file)
            if end is not None and header.lost_from != end:
                raise Damage(f"{table}/{segment.path.name} begins at {header.lost_from}, and the segment before it ends at {end}: one is missing")
            yield segment, header, limit
            end = mark[2] if mark is not None and number == mark[0] else trailer[1] if trailer is not None else None

    def _mark(self, table: str) -> tuple[int, int, int] | None:
        """Segment number, durable bytes and durable end; nil if there is no mark."""
        path = self.path / table / "durable"
        for attempt in range(5):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                return None
            tag, version = struct.unpack_from("<4sH", text.ljust(6, b"\0"))
            if len(text) == _MARK_BYTES and tag == b"CPHW" and version == 1 and _is_sound(text, 8):
                number, _, size, end = struct.unpack_from("<QQQQ", text, 16)
                return number, size, end
        raise Damage(f"{table}/durable: {len(text)} bytes that are no durable mark of format 1")


class _Chunks:
    """The chunks of one segment."""

    def __init__(self, table: str, segment: _Segment, header: _Header, file: Any, limit: int) -> None:
        self._table, self._segment, self._header, self._file, self._limit = table, segment, header, file, limit

    def batches(self, columns: Sequence[str] | None, since: int | None, until: int | None) -> Iterator[pa.RecordBatch]:
        offset, next_sequence = self._header.end, self._header.first
        while offset + 8 <= self._limit:
            head = self._read(offset, 8)
            magic, size = struct.unpack("<II", head)
            if magic == _INDEX:
                return
            if magic != _CHUNK:
                raise self._damage(offset, f"a frame with magic {magic:#x} instead of a chunk")
            frame = head + self._read(offset + 8, size)
            if len(frame) < 88 or frame[8:12] != b"CPCH" or not _is_sound(frame, 16):
                raise self._damage(offset, "a chunk header whose checksum is wrong")
            data_bytes, block_bytes, first, rows = struct.unpack_from("<IIQI", frame, 24)
            earliest, latest = struct.unpack_from("<qq", frame, 56)
            if first != next_sequence:
                raise self._damage(offset, f"the chunk begins at {first}, and {next_sequence} is next")
            start = offset + len(frame)
            if (since is None or latest >= since) and (until is None or earliest < until):
                batch = self._batch(start, self._read(start, data_bytes), block_bytes, rows)
                yield from self._cut(batch, since is not None and earliest < since, until is not None and latest >= until, since, until, columns)
            offset, next_sequence = start + data_bytes, first + rows

    def _batch(self, offset: int, frame: bytes, block_bytes: int, rows: int) -> pa.RecordBatch:
        try:
            # It checks the frame's own checksum.
            block = lz4.frame.decompress(frame)
        except RuntimeError as error:
            raise self._damage(offset, f"the data frame cannot be unpacked: {error}") from error
        if len(block) != block_bytes:
            raise self._damage(offset, f"a block of {len(block)} bytes instead of {block_bytes}")
        try:
            batch = _Block(block).batch()
        except (IndexError, ValueError, struct.error, UnicodeDecodeError, pa.ArrowInvalid) as error:
            raise self._damage(offset, f"the block cannot be read: {error}") from error
        if batch.num_rows != rows:
            raise self._damage(offset, f"a block of {batch.num_rows} rows instead of {rows}")
        return batch

    def _cut(self, batch: pa.RecordBatch, cut_front: bool, cut_back: bool, since: int | None, until: int | None, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        if cut_front or cut_back:
            times = batch.column(self._header.time_column).cast(pa.int64()).to_numpy()
            wanted = np.ones(len(times), bool)
            if since is not None:
                wanted &= times >= since
            if until is not None:
                wanted &= times < until
            batch = batch.filter(pa.array(wanted))
        if columns is not None:
            batch = batch.select([name for name in columns if name in batch.schema.names])
        if batch.num_rows:
            yield batch

    def _read(self, offset: int, count: int) -> bytes:
        if offset + count > self._limit:
            raise self._damage(offset, f"{count} bytes are promised, and {max(self._limit - offset, 0)} are durable")
        self._file.seek(offset)
        return self._file.read(count)

    def _damage(self, offset: int, why: str) -> Damage:
        return Damage(f"{self._table}/{self._segment.path.name} at {offset}: {why}")


# MARK: Headers


def _header(table: str, segment: _Segment, file: Any) -> _Header:
    def fail(why: str) -> Damage:
        return Damage(f"{table}/{segment.path.name}: {why}")

    head = file.read(8)
    if len(head) < 8 or struct.unpack_from("<I", head)[0] != _HEADER:
        raise fail("it does not begin with a segment header")
    frame = head + file.read(struct.unpack_from("<I", head, 4)[0])
    if len(frame) < 68 or frame[8:12] != b"CPSH" or not _is_sound(frame, 16):
        raise fail("a segment header whose checksum is wrong")
    version, flags = struct.unpack_from("<HH", frame, 12)
    if version != 1 or flags & ~2:
        raise fail(f"format {version} with flags {flags:#x}: a newer version wrote it")
    count, number, first, lost_from = struct.unpack_from("<IQQQ", frame, 20)
    if (number, first) != (segment.number, segment.first):
        raise fail(f"its header is that of {number:010d}-{first:020d}")
    reader = _Bytes(frame, 67)
    its_table, _ = reader.text(1), reader.text(1)
    if its_table != table:
        raise fail(f"its header is of table {its_table}")
    columns = [(reader.text(2), reader.text(2)) for _ in range(count)]
    return _Header(columns, first, lost_from, bool(flags & 2), struct.unpack_from("<H", frame, 64)[0], len(frame))


def _trailer(path: Path, size: int) -> tuple[int, int] | None:
    """First and end sequence of a sealed segment; None if it has no index."""
    if size < 80:
        return None
    with path.open("rb") as file:
        file.seek(size - 80)
        trailer = file.read(80)
    if trailer[76:] != b"CPEN" or _crc32c(trailer[:72]) != struct.unpack_from("<I", trailer, 72)[0]:
        return None
    return struct.unpack_from("<QQ", trailer)


def _nanoseconds(time: Time | None) -> int | None:
    if time is None or isinstance(time, int):
        return time
    if isinstance(time, str):
        text = time.replace("Z", "+00:00").replace("z", "+00:00")
        # Python reads six digits of a fraction; the rest is added.
        found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([+-]\d\d:\d\d))?", text)
        if not found:
            raise ValueError(f"{time!r} is neither a date nor an RFC 3339 time")
        moment = datetime.datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00:00'}{found[4] or '+00:00'}")
        return round(moment.timestamp()) * 10 ** 9 + int((found[3] or "").ljust(9, "0"))
    if time.tzinfo is None:
        raise ValueError("a datetime without a time zone could be any moment")
    since_epoch = time - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (since_epoch.days * 86_400 + since_epoch.seconds) * 10 ** 9 + since_epoch.microseconds * 1000


_CRC32C = []
for _byte in range(256):
    for _ in range(8):
        _byte = (_byte >> 1) ^ (0x82F63B78 if _byte & 1 else 0)
    _CRC32C.append(_byte)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _is_sound(frame: bytes, at: int) -> bool:
    """Whether the checksum that stands in the frame is the frame's own, with zeros in its place."""
    return _crc32c(frame[:at] + bytes(4) + frame[at + 4:]) == struct.unpack_from("<I", frame, at)[0]


# MARK: Blocks


class _Bytes:
    """Reads on from a place."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self.data, self.offset = data, offset

    def take(self, count: int) -> bytes:
        if count < 0 or self.offset + count > len(self.data):
            raise ValueError("it ends too early")
        self.offset += count
        return self.data[self.offset - count:self.offset]

    def text(self, width: int) -> str:
        """With a length of so many bytes before it."""
        return self.take(int.from_bytes(self.take(width), "little")).decode()

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def numbers(self, dtype: str, count: int) -> np.ndarray[Any, Any]:
        return np.frombuffer(self.take(np.dtype(dtype).itemsize * count), dtype)

    def strings(self, count: int) -> pa.Array:
        """`count` texts, each with its length before it."""
        data, offset, end = self.data, self.offset, len(self.data)
        ends = np.empty(count + 1, np.int32)
        ends[0] = total = 0
        pieces = []
        for index in range(1, count + 1):
            length = data[offset]
            offset += 1
            if length >= 0x80:
                self.offset = offset - 1
                length, offset = self.varint(), self.offset
            if offset + length > end:
                raise ValueError("a text ends too late")
            pieces.append(data[offset:offset + length])
            offset += length
            total += length
            ends[index] = total
        self.offset = offset
        array = pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(b"".join(pieces)))
        array.validate(full=True)
        return array


class _Block:
    """One ClickHouse Native block."""

    _PLAIN = {"Float32": ("<f4", pa.float32()), "Float64": ("<f8", pa.float64()), "DateTime64(9, 'UTC')": ("<i8", pa.timestamp("ns", "UTC")),
              **{f"{sign}Int{bits}": (f"<{'u' if sign else 'i'}{bits // 8}", getattr(pa, f"{'u' if sign else ''}int{bits}")()) for sign in ("", "U") for bits in (8, 16, 32, 64)}}

    def __init__(self, data: bytes) -> None:
        self._bytes = _Bytes(data)

    def batch(self) -> pa.RecordBatch:
        columns, rows = self._bytes.varint(), self._bytes.varint()
        names, arrays = [], []
        for _ in range(columns):
            names.append(self._bytes.take(self._bytes.varint()).decode())
            arrays.append(self._column(self._bytes.take(self._bytes.varint()).decode(), rows))
        if self._bytes.offset != len(self._bytes.data):
            raise ValueError("bytes behind the last column")
        return pa.RecordBatch.from_arrays(arrays, names)

    def _column(self, type_text: str, rows: int, nulls: np.ndarray[Any, Any] | None = None) -> pa.Array:
        reader = self._bytes
        if type_text.startswith("Nullable("):
            return self._column(type_text[9:-1], rows, reader.numbers("u1", rows).astype(bool))
        if type_text.startswith("Array("):
            ends = reader.numbers("<u8", rows)
            values = self._column(type_text[6:-1], int(ends[-1]) if rows else 0)
            return pa.ListArray.from_arrays(pa.array(np.concatenate(([0], ends)).astype(np.int32)), values)
        if type_text in self._PLAIN:
            dtype, arrow = self._PLAIN[type_text]
            values = reader.numbers(dtype, rows)
            return pa.array(values, mask=nulls).cast(arrow) if arrow != pa.timestamp("ns", "UTC") else pa.array(values, pa.int64(), mask=nulls).cast(arrow)
        if type_text == "Bool":
            return pa.array(reader.numbers("u1", rows).astype(bool), mask=nulls)
        if type_text == "Date":
            return pa.array(reader.numbers("<u2", rows).astype(np.int32), mask=nulls).cast(pa.date32())
        if type_text.startswith("DateTime("):
            return pa.array(reader.numbers("<u4", rows).astype(np.int64), mask=nulls).cast(pa.timestamp("s", "UTC"))
        if type_text.startswith("Enum"):
            return self._enum(type_text, rows, nulls)
        if type_text.startswith("Decimal("):
            return self._decimal(type_text, rows, nulls)
        if type_text == "LowCardinality(String)":
            return self._dictionary(rows)
        if type_text == "String":
            return _with_nulls(reader.strings(rows), nulls)
        if type_text == "UUID":
            halves = reader.numbers("<u8", rows * 2).astype(">u8")
            return _with_nulls(pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(halves.tobytes())]), nulls)
        if found := re.fullmatch(r"FixedString\((\d+)\)", type_text):
            width = int(found[1])
            return _with_nulls(pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(reader.take(width * rows))]), nulls)
        raise ValueError(f"a column of type {type_text}")

    def _enum(self, type_text: str, rows: int, nulls: np.ndarray[Any, Any] | None) -> pa.Array:
        values = self._bytes.numbers("<i1" if type_text.startswith("Enum8") else "<i2", rows)
        cases = {int(value): re.sub(r"\\(.)", r"\1", name) for name, value in re.findall(r"'((?:[^'\\]|\\.)*)' = (-?\d+)", type_text)}
        ordered = sorted(cases)
        places = np.searchsorted(ordered, values)
        known = np.isin(values, ordered)
        if nulls is not None:
            known |= nulls
        if not known.all():
            raise ValueError(f"{int(values[~known][0])} is no value of {type_text}")
        return pa.DictionaryArray.from_arrays(pa.array(np.minimum(places, max(len(ordered) - 1, 0)).astype(np.int32), mask=nulls), pa.array([cases[value] for value in ordered], pa.string()))

    def _decimal(self, type_text: str, rows: int, nulls: np.ndarray[Any, Any] | None) -> pa.Array:
        precision, scale = (int(word) for word in type_text[8:-1].split(","))
        if precision > 18:
            wide = self._bytes.take(16 * rows)
        else:
            low = self._bytes.numbers("<i4" if precision <= 9 else "<i8", rows).astype("<i8")
            wide = np.stack((low, low >> 63), axis=1).astype("<i8").tobytes()
        return _with_nulls(pa.Decimal128Array.from_buffers(pa.decimal128(precision, scale), rows, [None, pa.py_buffer(wide)]), nulls)

    def _dictionary(self, rows: int) -> pa.Array:
        version, flags, count = struct.unpack("<QQQ", self._bytes.take(24))
        if version != 1 or flags & ~0x6FF or flags & 0xFF > 2:
            raise ValueError(f"a dictionary of version {version} with flags {flags:#x}")
        keys = self._bytes.strings(count)
        if struct.unpack("<Q", self._bytes.take(8))[0] != rows:
            raise ValueError("a dictionary of other rows")
        indices = self._bytes.numbers(("<u1", "<u2", "<u4")[flags & 0xFF], rows).astype(np.int32)
        if rows and not 0 <= int(indices.max()) < count:
            raise ValueError(f"index {int(indices.max())} of a dictionary with {count} texts")
        return pa.DictionaryArray.from_arrays(pa.array(indices), keys)


def _with_nulls(array: pa.Array, nulls: np.ndarray[Any, Any] | None) -> pa.Array:
    if nulls is None or not nulls.any():
        return array
    validity = pa.py_buffer(np.packbits(~nulls, bitorder="little").tobytes())
    return pa.Array.from_buffers(array.type, len(array), [validity, *array.buffers()[1:]])
