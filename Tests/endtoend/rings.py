"""Rings made by hand, from docs/ring.md alone: what a producer does, and what one must not do."""
from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import Process, binary, run, wait_until

DATA_BYTES = 64 << 10
PRODUCER_PAGE, CONSUMER_PAGE, TABLES = 4096, 8192, 12288
WRITE, DURABLE, REFUSED, STATE, TABLE_STATE = PRODUCER_PAGE, CONSUMER_PAGE, CONSUMER_PAGE + 144, CONSUMER_PAGE + 160, CONSUMER_PAGE + 168
ATTACHED, SET_ASIDE = 1, 2
NAME_BYTES = 4096
BASE = 1_767_323_045_000_000_000

SCHEMA = """
CREATE TABLE ticks (ts DateTime64(9, 'UTC'), n UInt64, symbol LowCardinality(String), note String DEFAULT '',
                    spool_writer LowCardinality(String), spool_seq UInt64)
ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts;
"""
COLUMNS = [("ts", "DateTime64(9, 'UTC')", 0, 0), ("n", "UInt64", 0, 8), ("symbol", "LowCardinality(String)", 2, 16),
           ("note", "String", 1, 20)]
ROW_BYTES = 28


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def declaration(table: str = "ticks", declared: list[tuple[str, str, int, int]] = COLUMNS) -> bytes:
    def text(value: str, size: str) -> bytes:
        return struct.pack(size, len(value.encode())) + value.encode()

    columns = b"".join(text(name, "<B") + text(kind, "<H") + struct.pack("<BII", storage, offset, 0xFFFFFFFF)
                       for name, kind, storage, offset in declared)
    return text(table, "<B") + struct.pack("<QIH", 0, ROW_BYTES, len(declared)) + columns


def header(ring_id: int, *, tables: bytes | None = None, **changes: int) -> tuple[bytes, bytes, dict[str, int]]:
    """(identity, declarations, fields); `changes` are fields of §2, the checksum fits unless it is one of them."""
    tables = declaration() if tables is None else tables
    names_offset = TABLES + (len(tables) + 63) // 64 * 64
    fields = {"magic": 0x31474E4952445043, "version": 1, "header_bytes": (names_offset + NAME_BYTES + 4095) // 4096 * 4096,
              "data_bytes": DATA_BYTES, "ring_id": ring_id, "created": time.time_ns(), "process": os.getpid(), "table_count": 1,
              "tables_bytes": len(tables), "names_offset": names_offset, "names_bytes": NAME_BYTES, "checksum": 0} | changes
    identity = struct.pack("<QIIQQQIIIIII64s", *fields.values(), b"hand")
    if "checksum" not in changes:
        identity = identity[:60] + struct.pack("<I", crc32c(identity + tables)) + identity[64:]
    return identity, tables, fields


class Ring:
    """A ring and its producer, in this process."""

    def __init__(self, directory: Path, names: tuple[str, ...] = ("BTC", "ETH"), **changes: int) -> None:
        self.id = secrets.randbits(63)
        identity, tables, fields = header(self.id, **changes)
        self.header_bytes, self.names_offset = fields["header_bytes"], fields["names_offset"]
        self.path = directory / f"hand-{os.getpid()}-{self.id:016x}.ring"
        self.aside = Path(f"{self.path}.bad")
        hidden = directory / f".{self.id:016x}.tmp"
        self.file = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o660)
        fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.size = self.header_bytes + DATA_BYTES
        os.posix_fallocate(self.file, 0, self.size)
        self.map = mmap.mmap(self.file, self.size)
        self.map[:len(identity)] = identity
        self.map[TABLES:TABLES + len(tables)] = tables
        self.names = 0
        self.names_end = self.names_offset + 4
        for name in names:
            self.intern(name.encode())
        self.position = 0
        self.ends: list[int] = []
        """Where each row ended."""
        os.rename(hidden, self.path)

    def intern(self, name: bytes) -> None:
        self.map[self.names_end:self.names_end + 2 + len(name)] = struct.pack("<H", len(name)) + name
        self.names_end += 2 + len(name)
        self.names += 1
        self.put(self.names_offset, self.names, ctypes.c_uint32)

    def put(self, offset: int, value: int, kind: Any = ctypes.c_uint64) -> None:
        """In one store: struct.pack_into would show the other side a zero first."""
        kind.from_buffer(self.map, offset).value = value

    def get(self, offset: int, kind: Any = ctypes.c_uint64) -> int:
        return int(kind.from_buffer(self.map, offset).value)

    @property
    def durable(self) -> int:
        return self.get(DURABLE)

    @property
    def state(self) -> int:
        return self.get(STATE, ctypes.c_uint32)

    def durable_rows(self) -> int:
        durable = self.durable
        return sum(end <= durable for end in self.ends)

    def has_room(self) -> bool:
        return self.position + 256 <= self.durable + DATA_BYTES

    def publish(self, n: int, note: bytes = b"", symbol: int = 1) -> None:
        """A row; the caller sees to it that there is room."""
        row = struct.pack("<qQIII", BASE + n, n, symbol, ROW_BYTES, len(note)) + note
        self.publish_raw(struct.pack("<IHH", (len(row) + 15) // 8 * 8, 0, 0) + row.ljust((len(row) + 7) // 8 * 8, b"\0"))
        self.ends.append(self.position)

    def publish_raw(self, record: bytes, moved: int | None = None) -> None:
        """Any bytes; `moved` is how far the write position goes, if not behind them."""
        for index, byte in enumerate(record):
            self.map[self.header_bytes + (self.position + index) % DATA_BYTES] = byte
        self.position += len(record) if moved is None else moved
        self.put(WRITE, self.position & 0xFFFFFFFFFFFFFFFF)

    def truncate(self, size: int) -> None:
        os.ftruncate(self.file, size)

    def close(self) -> None:
        """Die: the lock goes, the file stays."""
        try:
            # A file that was cut: this process would die of a look at its pages.
            os.ftruncate(self.file, self.size)
            self.map.close()
        except (OSError, BufferError, ValueError):
            pass
        os.close(self.file)


class RingWriter:
    """A spool-writer with a directory of rings, and a healthy ring that it must never neglect."""

    def __init__(self, work: Path, settings: str = "", prefix: list[str] | None = None) -> None:
        self.spool, self.rings = work / "spool", work / "rings"
        schemas = work / "schemas"
        for directory in (self.rings, schemas):
            directory.mkdir(parents=True)
        (schemas / "0001_ticks.sql").write_text(SCHEMA)
        config = work / "coldpath.toml"
        config.write_text(settings)
        self.socket = Path(os.path.relpath(work / "writer.sock"))
        self.process = Process("spool-writer", [
            *(prefix or []), binary("spool-writer"), "run", "--config", config, "--spool", self.spool, "--schemas", schemas,
            "--socket", self.socket, "--rings", self.rings], work / "writer.log")
        self.made: list[Ring] = []
        self.healthy = self.ring()
        self.sent = 0
        """Rows of the healthy ring; their numbers begin at a million."""

    def ring(self, **options: object) -> Ring:
        self.made.append(Ring(self.rings, **options))  # type: ignore[arg-type]
        return self.made[-1]

    def start(self) -> None:
        self.process.start()
        assert wait_until(lambda: self.healthy.state == ATTACHED or not self.process.is_alive, 20), self.log
        assert self.process.is_alive, self.log

    @property
    def log(self) -> str:
        return self.process.log.read_text(errors="replace") if self.process.log.exists() else ""

    def lines(self, *texts: object) -> list[str]:
        return [line for line in self.log.splitlines() if all(str(text) in line for text in texts)]

    def feed(self, rows: int = 200) -> None:
        """Rows through the healthy ring, until they are durable."""
        for _ in range(rows):
            assert wait_until(self.healthy.has_room, 20), self.log
            self.healthy.publish(1_000_000 + self.sent, b"x" * (self.sent % 50))
            self.sent += 1
        self.settle(self.healthy)

    def settle(self, ring: Ring) -> None:
        assert wait_until(lambda: ring.durable == ring.position or not self.process.is_alive, 20), self.log
        assert self.process.is_alive, self.log

    def expect_line(self, *texts: object) -> None:
        assert wait_until(lambda: bool(self.lines(*texts)) or not self.process.is_alive, 20), f"{texts} not in:\n{self.log}"

    def numbers(self) -> list[int]:
        result = run([binary("spool-loader"), "cat", "ticks", "--spool", self.spool, "--format", "json"])
        return [int(json.loads(line)["n"]) for line in result.stdout.splitlines()]

    def finish(self, expected: list[int] | Callable[[list[int]], bool]) -> None:
        """The writer lives, every row of the healthy ring is recorded once and in order, so are these, and nothing else; the spool is
        whole. And all of it once more for a writer that starts beside what is there now."""
        self.feed()
        self.process.kill()
        self.start()
        self.feed()
        assert self.healthy.state == ATTACHED
        assert self.process.is_alive, self.log
        self.healthy.close()
        assert wait_until(lambda: not self.healthy.path.exists(), 20), self.log
        assert self.process.stop() == 0, self.log
        found = self.numbers()
        assert [n for n in found if n >= 1_000_000] == list(range(1_000_000, 1_000_000 + self.sent))
        others = [n for n in found if n < 1_000_000]
        assert expected(others) if callable(expected) else others == expected
        run([binary("spool-loader"), "verify", "--spool", self.spool])

    def kill(self) -> None:
        self.process.kill()
        for ring in self.made:
            try:
                ring.close()
            except OSError:
                pass
