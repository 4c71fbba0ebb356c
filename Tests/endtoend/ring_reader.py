"""Reads a ring's file as docs/ring.md describes it, and plays the writer: an independent second opinion on what producers write."""
from __future__ import annotations

import datetime
import mmap
import os
import re
import struct
import uuid
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

PRODUCER, CONSUMER, TABLES = 4096, 8192, 12288
FIXED, STRING, NAME, ARRAY = range(4)
NOT_NULLABLE = 0xFFFFFFFF
INLINE = 0x80000000
SCALARS = {"Int8": "b", "Int16": "h", "Int32": "i", "Int64": "q", "UInt8": "B", "UInt16": "H", "UInt32": "I", "UInt64": "Q", "Float32": "f",
           "Float64": "d", "DateTime64(9, 'UTC')": "q", "DateTime('UTC')": "I", "Date": "H"}


@dataclass
class Column:
    name: str
    type: str
    storage: int
    offset: int
    null_offset: int


@dataclass
class Table:
    name: str
    fingerprint: int
    row_bytes: int
    columns: list[Column]


@dataclass
class Row:
    table: str
    position: int
    """Behind the record."""
    values: dict[str, Any]
    inline_names: set[str]


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class RingFile:
    """A ring, mapped: what a producer wrote can be read, and the durable position be moved as the writer moves it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        descriptor = os.open(self.path, os.O_RDWR)
        self.map = mmap.mmap(descriptor, 0)
        os.close(descriptor)
        self._identity()
        self.tables = self._declarations()

    def close(self) -> None:
        self.map.close()

    def _at(self, form: str, offset: int) -> Any:
        return struct.unpack_from("<" + form, self.map, offset)[0]

    # §2

    def _identity(self) -> None:
        (magic, version, self.header_bytes, self.data_bytes, self.ring_id, self.created, self.process, self.table_count, self.tables_bytes,
         self.names_offset, self.names_bytes, checksum, producer) = struct.unpack_from("<8sIIQQQIIIIII64s", self.map, 0)
        assert magic == b"CPDRING1" and version == 1
        assert self.header_bytes % mmap.PAGESIZE == 0 and self.data_bytes & self.data_bytes - 1 == 0
        assert len(self.map) == self.header_bytes + self.data_bytes
        self.producer = producer.rstrip(b"\0").decode()
        identity = bytearray(self.map[:128])
        identity[60:64] = bytes(4)
        assert crc32c(bytes(identity) + self.map[TABLES:TABLES + self.tables_bytes]) == checksum
        assert self.path.name == f"{self.producer}-{self.process}-{self.ring_id:016x}.ring"

    # §3

    @property
    def write_position(self) -> int:
        return self._at("Q", PRODUCER)

    def full_rows(self, table: int) -> int:
        return self._at("Q", PRODUCER + 128 + 8 * table)

    @property
    def too_long_rows(self) -> int:
        return self._at("Q", PRODUCER + 640)

    @property
    def closed(self) -> bool:
        return bool(self._at("I", PRODUCER + 648))

    @property
    def durable_position(self) -> int:
        return self._at("Q", CONSUMER)

    @durable_position.setter
    def durable_position(self, position: int) -> None:
        struct.pack_into("<Q", self.map, CONSUMER, position)

    def set_state(self, ring: int, table: int, state: int) -> None:
        struct.pack_into("<I", self.map, CONSUMER + 160, ring)
        struct.pack_into("<B", self.map, CONSUMER + 168 + table, state)

    # §4

    def _declarations(self) -> list[Table]:
        at = TABLES
        end = TABLES + self.tables_bytes

        def take(form: str) -> Any:
            nonlocal at
            value = self._at(form, at)
            at += struct.calcsize("<" + form)
            return value

        def text(length: int) -> str:
            nonlocal at
            at += length
            return self.map[at - length:at].decode()

        tables = []
        for _ in range(self.table_count):
            name, fingerprint, row_bytes = text(take("B")), take("Q"), take("I")
            columns = [Column(text(take("B")), text(take("H")), take("B"), take("I"), take("I")) for _ in range(take("H"))]
            tables.append(Table(name, fingerprint, row_bytes, columns))
        assert at == end
        return tables

    # §5

    @property
    def names(self) -> list[str]:
        names = []
        at = self.names_offset + 4
        for _ in range(self._at("I", self.names_offset)):
            length = self._at("H", at)
            assert 1 <= length <= 255
            names.append(self.map[at + 2:at + 2 + length].decode())
            at += 2 + length
        assert at <= self.names_offset + self.names_bytes
        return names

    # §6

    def rows(self) -> list[Row]:
        """All rows that are committed and not durable yet."""
        position, end = self.durable_position, self.write_position
        assert end - position <= self.data_bytes
        rows = []
        while position < end:
            header = self._bytes(position, 8)
            count, table, zero = struct.unpack("<IHH", header)
            assert position % 8 == 0 and count % 8 == 0 and 8 < count <= min(1 << 20, self.data_bytes // 4) and zero == 0
            row = self._bytes(position + 8, count - 8)
            position += count
            rows.append(self._row(self.tables[table], row, position))
        assert position == end
        return rows

    def _bytes(self, position: int, count: int) -> bytes:
        at = position % self.data_bytes
        data = self.map[self.header_bytes + at:self.header_bytes + min(at + count, self.data_bytes)]
        rest = count - len(data)
        return data + self.map[self.header_bytes:self.header_bytes + rest] if rest else data

    def _row(self, table: Table, row: bytes, position: int) -> Row:
        tail = Tail(table, row)
        values: dict[str, Any] = {}
        inline: set[str] = set()
        for column in table.columns:
            nullable = re.fullmatch(r"Nullable\((.*)\)", column.type)
            assert (column.null_offset != NOT_NULLABLE) == bool(nullable)
            if nullable:
                mark = row[column.null_offset]
                assert mark in (0, 1) and column.null_offset < table.row_bytes
                if mark:
                    values[column.name] = None
                    continue
            kind = nullable[1] if nullable else column.type
            if column.storage == FIXED:
                values[column.name] = scalar(kind, row[column.offset:column.offset + width(kind)])
            elif column.storage == STRING:
                values[column.name] = tail.string(column.offset)
            elif column.storage == NAME:
                word = struct.unpack_from("<I", row, column.offset)[0]
                if word >= INLINE:
                    inline.add(column.name)
                    values[column.name] = tail.inline(word - INLINE)
                else:
                    values[column.name] = self.names[word - 1] if word else ""
            else:
                element = re.fullmatch(r"Array\((.*)\)", column.type)
                assert element
                values[column.name] = tail.array(column.offset, element[1])
        tail.check()
        return Row(table.name, position, values, inline)


class Tail:
    """What slots point to. No byte may be used twice."""

    def __init__(self, table: Table, row: bytes) -> None:
        self.table, self.row = table, row
        self.used: list[tuple[int, int]] = []

    def _take(self, offset: int, count: int) -> bytes:
        assert offset + count <= len(self.row)
        if count:
            assert offset >= self.table.row_bytes
            self.used.append((offset, offset + count))
        return self.row[offset:offset + count]

    def string(self, slot: int) -> str:
        return self._take(*struct.unpack_from("<II", self.row, slot)).decode()

    def inline(self, offset: int) -> str:
        length = struct.unpack("<I", self._take(offset, 4))[0]
        return self._take(offset + 4, length).decode()

    def array(self, slot: int, element: str) -> list[Any]:
        offset, count = struct.unpack_from("<II", self.row, slot)
        if element == "String":
            self._take(offset, 8 * count)
            return [self.string(offset + 8 * i) for i in range(count)]
        size = width(element)
        data = self._take(offset, size * count)
        return [scalar(element, data[i * size:(i + 1) * size]) for i in range(count)]

    def check(self) -> None:
        self.used.sort()
        assert all(a[1] <= b[0] for a, b in zip(self.used, self.used[1:])), "two values share bytes"
        used = sum(end - start for start, end in self.used)
        assert len(self.row) - self.table.row_bytes - used < 8, "bytes that nothing points to"


def width(kind: str) -> int:
    if kind in SCALARS:
        return struct.calcsize("<" + SCALARS[kind])
    if match := re.fullmatch(r"Decimal\((\d+), \d+\)", kind):
        return 4 if int(match[1]) <= 9 else 8 if int(match[1]) <= 18 else 16
    if match := re.fullmatch(r"FixedString\((\d+)\)", kind):
        return int(match[1])
    return {"Bool": 1, "UUID": 16}.get(kind) or int(re.match(r"Enum(\d+)", kind)[1]) // 8  # type: ignore[index]


def scalar(kind: str, data: bytes) -> Any:
    """A value: times as integer nanoseconds, FixedString as bytes, the rest as Python says it."""
    if kind in SCALARS:
        value = struct.unpack("<" + SCALARS[kind], data)[0]
        return datetime.date(1970, 1, 1) + datetime.timedelta(days=value) if kind == "Date" else value
    if match := re.fullmatch(r"Decimal\(\d+, (\d+)\)", kind):
        units = int.from_bytes(data, "little", signed=True)
        return Decimal((int(units < 0), tuple(map(int, str(abs(units)))), -int(match[1])))  # scaleb would round to 28 digits
    if kind == "Bool":
        assert data in (b"\0", b"\1")
        return data == b"\1"
    if kind == "UUID":
        return uuid.UUID(bytes=data[7::-1] + data[:7:-1])
    if kind.startswith("FixedString"):
        return data
    members = re.findall(r"'((?:[^'\\]|\\.)*)' = (-?\d+)", kind)
    value = int.from_bytes(data, "little", signed=True)
    return next(re.sub(r"\\(.)", r"\1", name) for name, number in members if int(number) == value)
