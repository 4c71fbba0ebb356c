"""An HTTP server that lies: it stands before a true ClickHouse, and for the first requests does what a test says.

A lie is a function that is given the `Exchange`: it may execute the request behind, or not, and say what it likes. Requests for which no
lie is left are passed on, and answered truthfully.
"""
from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

SECONDS = 20.0  # for anything that the other side has to do
MAX_HEAD = 1 << 20
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Gone(Exception):
    """The other side has closed the connection."""


@dataclass(frozen=True)
class Answer:
    """An answer as it came, byte by byte, but for the connection header."""

    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    @property
    def query_id(self) -> bytes:
        """The header line that says which request this answers."""
        found = re.search(rb"\r\n(x-clickhouse-query-id:[^\r]*)", self.head, re.IGNORECASE)
        return found[1] + b"\r\n" if found else b""


class Exchange:
    """One request and what is said to it."""

    def __init__(self, client: socket.socket, upstream: int, head: bytes, begun: bytearray) -> None:
        self._client, self._upstream = client, upstream
        self.head, self._begun = head, begun
        self.is_open = True
        length = _LENGTH.search(head)
        self.length = int(length[1]) if length else 0
        self._body: bytes | None = None
        query = parse_qs(urlsplit(head.split(b" ", 2)[1].decode()).query)
        self.query_id = query.get("query_id", [""])[0]
        self.is_insert = query.get("query", [""])[0].startswith("INSERT INTO")
        self.sql = query["query"][0] if self.is_insert else self.body().decode()

    def body(self, most: int | None = None) -> bytes:
        """The request's body, or as much of it as is wanted."""
        if self._body is not None:
            return self._body
        wanted = self.length if most is None else min(most, self.length)
        while len(self._begun) < wanted:
            part = self._client.recv(1 << 16)
            if not part:
                raise Gone
            self._begun += part
        part = bytes(self._begun[:wanted])
        if wanted == self.length:
            self._body = part
            del self._begun[:wanted]
        return part

    def execute(self) -> Answer:
        """Passes the request on, as it is, and gives the true answer."""
        body = self.body()
        head = re.sub(rb"\r\nconnection:[^\r]*", b"", self.head, flags=re.IGNORECASE)[:-2] + b"Connection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._upstream), SECONDS) as server:
            server.sendall(head + body)
            answer = bytearray()
            while part := server.recv(1 << 16):
                answer += part
        head, separator, body = bytes(answer).partition(b"\r\n\r\n")
        return Answer(re.sub(rb"\r\nconnection:[^\r]*", b"", head, flags=re.IGNORECASE) + separator, body)

    def send(self, data: bytes) -> None:
        self._client.sendall(data)

    def close(self, reset: bool = False) -> None:
        """Ends the connection; with `reset` so that what was sent may be lost on the way."""
        if reset:
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.is_open = False

    def wait_for_end(self) -> None:
        """Waits until the client goes away."""
        self.body()
        try:
            while self._client.recv(1 << 16):
                pass
        except OSError:
            pass
        self.is_open = False


Lie = Callable[[Exchange], None]
ID = b"@query-id@"  # stands in an answer for the id that the request carried: without it a loader would see through the best of lies


class LyingServer:
    """Listens at a free port of the loopback address."""

    def __init__(self, upstream: int, lies: Iterable[tuple[str, Lie]], tls: ssl.SSLContext | None = None) -> None:
        """
        Args:
            upstream: port of the true server.
            lies: what each applies to (a part of the SQL), and the lie. Each is used once, in order.
        """
        self._upstream, self._lies, self._tls = upstream, list(lies), tls
        self.planned = len(self._lies)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.faults: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> LyingServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @property
    def told(self) -> int:
        """How many lies were told."""
        with self._lock:
            return self.planned - len(self._lies)

    def _next(self, sql: str) -> Lie | None:
        with self._lock:
            for index, (match, lie) in enumerate(self._lies):
                if match in sql:
                    del self._lies[index]
                    return lie
        return None

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connections.add(connection)
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            begun = bytearray()
            while exchange := self._exchange(connection, begun):
                lie = self._next(exchange.sql)
                (lie or truth)(exchange)
                if not exchange.is_open:
                    return
                exchange.body()
        except (OSError, Gone):
            pass
        except Exception as error:  # a lie that is wrong itself must fail its test, not look like a broken connection
            self.faults.append(repr(error))
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _exchange(self, connection: socket.socket, begun: bytearray) -> Exchange | None:
        while b"\r\n\r\n" not in begun:
            if len(begun) > MAX_HEAD:
                return None
            part = connection.recv(1 << 16)
            if not part:
                return None
            begun += part
        end = begun.index(b"\r\n\r\n") + 4
        head = bytes(begun[:end])
        del begun[:end]
        return Exchange(connection, self._upstream, head, begun)


def truth(exchange: Exchange) -> None:
    exchange.send(exchange.execute().raw)


def says(raw: bytes, executed: bool = False, then: str = "close") -> Lie:
    """Answers these bytes, whatever was executed.

    Args:
        then: `close` or `reset` the connection, or keep it `open`.
    """
    def lie(exchange: Exchange) -> None:
        exchange.body()
        if executed:
            exchange.execute()
        exchange.send(raw.replace(ID, exchange.query_id.encode()))
        if then != "open":
            exchange.close(reset=then == "reset")
    return lie


def status(code: int, headers: Iterable[str] = (), body: bytes = b"", executed: bool = False, then: str = "open") -> Lie:
    """Answers correctly framed HTTP."""
    lines = [f"HTTP/1.1 {code} Status", *([f"X-ClickHouse-Query-Id: {ID.decode()}"] if code == 200 else []), *headers, *([] if code in (204, 304) else [f"Content-Length: {len(body)}"])]
    return says("\r\n".join(lines).encode() + b"\r\n\r\n" + body, executed, then)


def cut(count: int, executed: bool, reset: bool = False) -> Lie:
    """Sends the first bytes of a good answer, and closes."""
    def lie(exchange: Exchange) -> None:
        raw = exchange.execute().raw if executed else good(exchange)
        exchange.send(raw[:count])
        exchange.close(reset)
    return lie


def good(exchange: Exchange) -> bytes:
    """What a success looks like, without one."""
    exchange.body()
    return (b"HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: " + exchange.query_id.encode()
            + b"\r\nX-ClickHouse-Summary: {\"written_rows\":\"200\"}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


def slowly(count: int, seconds: float, executed: bool) -> Lie:
    """Sends a good answer a byte at a time; goes silent after some of them, for that long, and closes."""
    def lie(exchange: Exchange) -> None:
        raw = exchange.execute().raw if executed else good(exchange)
        for byte in raw[:count]:
            exchange.send(bytes([byte]))
        time.sleep(seconds)
        exchange.close()
    return lie


def silent(executed: bool) -> Lie:
    """Never answers."""
    def lie(exchange: Exchange) -> None:
        if executed:
            exchange.execute()
        exchange.wait_for_end()
    return lie


def closes(executed: bool, reset: bool = False) -> Lie:
    """Closes without a word."""
    return says(b"", executed, "reset" if reset else "close")


def reads_only(share: float, reset: bool = False, first: bytes = b"") -> Lie:
    """Reads a part of the body, says something or nothing, and closes: what else was sent is met by a reset."""
    def lie(exchange: Exchange) -> None:
        exchange.body(min(int(exchange.length * share), exchange.length - 1))
        exchange.send(first.replace(ID, exchange.query_id.encode()))
        exchange.close(reset)
    return lie


def floods(part: bytes, times: int, executed: bool) -> Lie:
    """Says something many times before the true answer, or before it closes."""
    def lie(exchange: Exchange) -> None:
        exchange.body()
        for _ in range(times):
            exchange.send(part)
        if executed:
            exchange.send(exchange.execute().raw)
        else:
            exchange.close()
    return lie


def rewrites(change: Callable[[Answer], bytes], then: str = "close") -> Lie:
    """Executes, and spoils the true answer."""
    def lie(exchange: Exchange) -> None:
        exchange.send(change(exchange.execute()).replace(ID, exchange.query_id.encode()))
        if then != "open":
            exchange.close(then == "reset")
    return lie


def followed_by(extra: Callable[[Exchange], bytes], after: float) -> Lie:
    """The true answer, and a while later one that nobody asked for: the next request on this connection finds it waiting."""
    def lie(exchange: Exchange) -> None:
        exchange.send(exchange.execute().raw)
        time.sleep(after)
        exchange.send(extra(exchange))
    return lie
