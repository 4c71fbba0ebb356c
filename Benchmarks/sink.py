#!/usr/bin/env python3
"""A ClickHouse that throws rows away: what the loader and the network cost without a server behind them.

Takes inserts at whatever speed they come, keeps nothing of them, and answers the loader's questions as an empty ClickHouse would: the
tables of schemas/ are there, and hold no rows. The kernel discards the bodies (`MSG_TRUNC`), so that the sink takes little of a machine that it shares
with the loader. `GET /stats` tells requests and bytes since the last `GET /reset`, as JSON. Not a proof of anything: nothing is checked, parsed or stored.

With `--keep DIR` each insert is kept there as two files, `N.lz4` (the body) and `N.json` (the parameters of its URL): the loader's very batches, for
whoever wants to send them in another way.

    Benchmarks/sink.py --listen 127.0.0.1:0 --schemas schemas        prints `ready http://HOST:PORT` when it answers
"""
from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO
from urllib.parse import parse_qsl

MAX_HEAD = 64 << 10
MAX_SQL = 8 << 20
COLUMN = re.compile(r"^\s+(\w+)\s+([A-Z]\w*(?:\([^)]*\)+)?)")
ENGINE = "MergeTree PARTITION BY toYYYYMMDD(ts) ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 10000"


def layouts(schemas: Path) -> dict[str, list[tuple[str, str]]]:
    """The columns of each table, as its file names them."""
    tables: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(schemas.glob("*.sql")):
        columns: list[tuple[str, str]] | None = None
        for line in path.read_text().splitlines():
            begins = re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", line)
            if begins:
                columns = tables.setdefault(begins.group(1), [])
            elif line.startswith(")"):
                columns = None
            elif columns is not None and not line.lstrip().startswith(("INDEX", "--", "CONSTRAINT")):
                found = COLUMN.match(line)
                if found:
                    columns.append((found.group(1), found.group(2)))
    return tables


class Sink:
    def __init__(self, tables: dict[str, list[tuple[str, str]]], buffer_bytes: int, rate: int | None, keep: Path | None) -> None:
        self._tables, self._buffer_bytes, self._rate, self._keep = tables, buffer_bytes, rate, keep
        self._lock = threading.Lock()
        self._inserts = self._bytes = self._requests = 0

    def serve(self, connection: socket.socket) -> None:
        buffer = bytearray(self._buffer_bytes)
        rest = b""
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while True:
                    head, rest = _read_head(connection, rest)
                    if not head:
                        return
                    rest = self._answer(connection, head, rest, buffer)
            except (OSError, ValueError) as error:
                print(f"sink: a connection ended: {error}", file=sys.stderr)

    def _answer(self, connection: socket.socket, head: bytes, rest: bytes, buffer: bytearray) -> bytes:
        """Answers one request; gives what came behind it."""
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        with self._lock:
            self._requests += 1
        if method == "GET":
            text = self._fixed(target)
        elif "query=INSERT" in target:
            rest = self._insert(connection, target, length, rest, memoryview(buffer))
            text = ""
        else:
            if length > MAX_SQL:
                raise ValueError("a statement of more than 8 MiB")
            while len(rest) < length:
                more = connection.recv(1 << 16)
                if not more:
                    raise ValueError("cut off in the middle of a statement")
                rest += more
            text = self._question(rest[:length].decode())
            rest = rest[length:]
        body = text.encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-ClickHouse-Summary: {}\r\n"
                           + f"Connection: Keep-Alive\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return rest

    def _insert(self, connection: socket.socket, target: str, length: int, rest: bytes, buffer: memoryview) -> bytes:
        begun, taken = time.monotonic(), min(length, len(rest))
        left = length - taken
        with self._lock:
            number = self._inserts
            self._inserts += 1
        with self._kept(number, target) as kept:
            if kept:
                kept.write(rest[:taken])
            while left:
                # Of a TCP socket: taken from the queue and copied nowhere.
                count = connection.recv_into(buffer, min(left, len(buffer)), 0 if kept else socket.MSG_TRUNC)
                if not count:
                    raise ValueError("cut off in the middle of a body")
                left -= count
                if kept:
                    kept.write(buffer[:count])
                if self._rate:
                    time.sleep(max(0.0, begun + (length - left) / self._rate - time.monotonic()))
        with self._lock:
            self._bytes += length
        return rest[taken:]

    def _kept(self, number: int, target: str) -> AbstractContextManager[IO[bytes] | None]:
        if self._keep is None:
            return nullcontext()
        parameters = dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))
        (self._keep / f"{number:06}.json").write_text(json.dumps(parameters))
        return open(self._keep / f"{number:06}.lz4", "wb")

    def _fixed(self, target: str) -> str:
        with self._lock:
            if target == "/stats":
                return json.dumps({"requests": self._requests, "inserts": self._inserts, "bytes": self._bytes}) + "\n"
            if target == "/reset":
                self._requests = self._inserts = self._bytes = 0
        return "Ok.\n"

    def _question(self, sql: str) -> str:
        if "system.tables" in sql:
            found = re.search(r"name = '(\w+)'", sql)
            columns = self._tables.get(found.group(1) if found else "", [])
            lines = [f"engine\t\t{ENGINE}"] + [f"column\t{name}\t{type_}" for name, type_ in columns]
            return "\n".join(lines) + "\n" if columns else ""
        if "version()" in sql:
            return "26.9.0.0\n"
        if "count()" in sql:
            # As many zeros as are asked for: count, unique sequences, and where they begin and end.
            return ("0\t0\t0\t0\n" if "min(" in sql else "0\t0\n") if "uniqExact" in sql else "0\n"
        return ""


def _read_head(connection: socket.socket, rest: bytes) -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in rest:
        if len(rest) > MAX_HEAD:
            raise ValueError("a head of more than 64 KiB")
        more = connection.recv(1 << 16)
        if not more:
            return b"", b""
        rest += more
    head, _, rest = rest.partition(b"\r\n\r\n")
    return head, rest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--schemas", type=Path, default=Path(__file__).resolve().parent.parent / "schemas", metavar="DIR")
    parser.add_argument("--buffer", type=int, default=1 << 20, metavar="BYTES", help="what is read at a time")
    parser.add_argument("--rate", type=int, metavar="BYTES", help="take so many bytes a second of a body, as over a slow line")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep inserts there")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    sink = Sink(layouts(options.schemas), 16 << 10 if options.rate else options.buffer, options.rate, options.keep)
    with socket.create_server((host, int(port)), backlog=64) as listener:
        if options.rate:
            # Accepted connections take it over. What has left the sender is then nearly what was read here.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)
        print("ready http://%s:%d" % listener.getsockname()[:2], flush=True)
        try:
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=sink.serve, args=(connection,), daemon=True).start()
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
