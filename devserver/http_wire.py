"""HTTP/1.1 on a socket: requests in, answers out. Knows nothing of SQL.

Bodies are spooled whole before anything is executed, so a body that the client cuts off inserts nothing. They go to an anonymous
memory file (`memfd`), which the engine reads through /proc/self/fd: it has no name that could stay behind after kill -9.
"""

from __future__ import annotations

import mmap
import os
import re
import socket
import struct
import time
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import parse_qsl

from answers import PLAIN_TEXT, Answer

MAX_HEAD_BYTES = 1024 * 1024 + 128 * 1024  # the request line (ClickHouse takes URIs up to 1 MiB) and all headers
MAX_HEADERS = 200
MAX_PARAMETERS = 2000
MAX_BODY_BYTES = 1024 * 1024 * 1024  # lies in memory while it is inserted
KEPT_BODY_BYTES = 64 * 1024 * 1024  # what a connection keeps of memory between two bodies
MIN_BODY_BYTES = 64 * 1024
MAX_CHUNK_LINE_BYTES = 4096
MAX_TRAILER_LINES = 100
HEAD_SECONDS = 30.0  # from a request's first byte to the end of its headers
RECEIVE_SECONDS = 30.0  # between two reads of a body; ClickHouse's http_receive_timeout
SEND_SECONDS = 30.0
RECEIVE_BYTES = 1024 * 1024
ANSWER_CHUNK_BYTES = 64 * 1024  # small enough that clients meet answers of several chunks

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([A-Z]{1,20}) (\S+) HTTP/1\.([01])\Z")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f]*?)[ \t]*\Z")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[^\r\n]*)?\r?\n\Z")


class Malformed(Exception):
    """The client does not speak HTTP as we do: answered with a status, then the connection is closed."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Disconnected(Exception):
    """The client has gone or is silent for too long: nothing to answer."""


@dataclass(frozen=True)
class Request:
    """A request without its body. Header names are in lower case."""

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    minor_version: int

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants the connection to stay."""
        wish = self.headers.get("connection", "").lower()
        return wish != "close" if self.minor_version else wish == "keep-alive"

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "transfer-encoding" in self.headers

    @property
    def content_length(self) -> int | None:
        """The announced body size."""
        text = self.headers.get("content-length")
        return None if text is None else int(text)


class Body:
    """The spooled body of one request after another. Closing it frees the memory.

    Bytes are received straight into the mapped file, and its pages are kept for the next body: allocating them anew costs more
    than receiving does.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("request-body", os.MFD_CLOEXEC)
        self._map: mmap.mmap | None = None
        self.byte_count = 0

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._unmap()
        os.close(self._file)

    @property
    def path(self) -> str:
        """A path by which this process, and so the engine in it, can open the body."""
        return f"/proc/self/fd/{self._file}"

    def clear(self) -> None:
        """Forgets the bytes; a large file is given back."""
        self.byte_count = 0
        if self._map is not None and len(self._map) > KEPT_BODY_BYTES:
            self._unmap()
            os.ftruncate(self._file, 0)

    def room(self, count: int) -> memoryview:
        """Room for `count` more bytes, to be filled and released."""
        end = self.byte_count + count
        if end > MAX_BODY_BYTES:
            raise Malformed(f"the body is larger than {MAX_BODY_BYTES} bytes", 413)
        if self._map is None or len(self._map) < end:
            size = max(end, MIN_BODY_BYTES, 2 * len(self._map or b""))
            self._unmap()
            os.ftruncate(self._file, size)
            self._map = mmap.mmap(self._file, size)
        elif os.fstat(self._file).st_size < end:
            os.ftruncate(self._file, len(self._map))
        room = memoryview(self._map)[self.byte_count : end]
        self.byte_count = end
        return room

    def end(self) -> None:
        """The body is whole: who reads the file finds its end there."""
        os.ftruncate(self._file, self.byte_count)

    def replace(self, data: bytes) -> None:
        """Discards what was there."""
        self.byte_count = 0
        if data:
            with self.room(len(data)) as room:
                room[:] = data
        self.end()

    def read(self, limit: int, offset: int = 0) -> bytes:
        """Up to `limit` bytes from `offset`."""
        return os.pread(self._file, limit, offset)

    def _unmap(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None


class Wire:
    """One client's connection."""

    def __init__(self, connection: socket.socket, idle_seconds: float) -> None:
        self._socket = connection
        self._idle_seconds = idle_seconds
        self._buffer = bytearray()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_request(self) -> Request | None:
        """The next request, or `None` if the client has left or been idle for too long."""
        if not self._buffer and not self._receive(self._idle_seconds, at_end_ok=True):
            return None
        deadline = time.monotonic() + HEAD_SECONDS
        while True:
            while self._buffer.startswith((b"\r", b"\n")):  # empty lines before a request are allowed
                del self._buffer[0]
            self._reject_early()
            if found := _END_OF_HEAD.search(self._buffer):
                head = bytes(self._buffer[: found.start()])
                del self._buffer[: found.end()]
                return _parse_head(head)
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise Malformed("the request line and headers are too large")
            if not self._receive(max(0.001, deadline - time.monotonic()), at_end_ok=True):
                if not self._buffer:
                    return None
                raise Malformed("the request ended within its headers")

    def read_body(self, request: Request, body: Body) -> None:
        """Spools the request's body in place of the one before. Raises `Disconnected` if it is cut off."""
        body.clear()
        self._read_whole(request, body)
        body.end()

    def _read_whole(self, request: Request, body: Body) -> None:
        if not request.chunked and not request.content_length:
            return
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise Malformed(f"the body is larger than {MAX_BODY_BYTES} bytes", 413)
        if request.headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.chunked:
            self._read_chunks(body)
        else:
            self._read_exactly(request.content_length or 0, body)

    def send(self, answer: Answer, request: Request | None, keep_alive_seconds: int) -> bool:
        """Sends an answer. True if the connection stays open."""
        stays = bool(request and request.keep_alive and not answer.close)
        chunked = answer.chunked and request is not None and request.minor_version == 1
        headers = {"Date": formatdate(usegmt=True), "Connection": "Keep-Alive" if stays else "Close"}
        headers |= answer.headers
        if stays:
            headers["Keep-Alive"] = f"timeout={keep_alive_seconds}, max=9999"
        headers |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(answer.body))}
        head = head_bytes(answer.status, answer.reason, headers)
        if request is not None and request.method == "HEAD":
            self.write(head)
        else:
            self.write(head + (in_chunks(answer.body) + b"0\r\n\r\n" if chunked else answer.body))
        return stays

    def write(self, data: bytes) -> None:
        """Sends raw bytes."""
        self._socket.settimeout(SEND_SECONDS)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Disconnected from error

    def reset(self) -> None:
        """Makes the next close send RST instead of FIN."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wait_until_client_leaves(self) -> None:
        """Returns when the other side has closed."""
        self._socket.settimeout(None)
        while True:
            try:
                if not self._socket.recv(RECEIVE_BYTES):
                    return
            except OSError:
                return

    def linger_then_close(self) -> None:
        """Stops sending and reads what the client still sends, else its last bytes could turn our answer into a reset."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(1.0)
            for _ in range(64):
                if not self._socket.recv(RECEIVE_BYTES):
                    return
        except OSError:
            return

    def _reject_early(self) -> None:
        """Refuses what cannot be a request without waiting for its end (TLS hello, a line of chatter)."""
        if self._buffer and not self._buffer[:1].isalpha():
            raise Malformed("this is not an HTTP request")
        end = self._buffer.find(b"\n")
        if end >= 0:
            _parse_request_line(_text(bytes(self._buffer[:end])).rstrip("\r"))

    def _receive(self, seconds: float, at_end_ok: bool = False) -> bool:
        """Reads more into the buffer; False at the end of the stream or after `seconds`."""
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except TimeoutError:
            data = b""
        except OSError as error:
            raise Disconnected from error
        if not data and not at_end_ok:
            raise Disconnected
        self._buffer += data
        return bool(data)

    def _read_exactly(self, count: int, body: Body) -> None:
        with body.room(count) as room:
            done = min(count, len(self._buffer))
            room[:done] = self._buffer[:done]
            del self._buffer[:done]
            while done < count:
                done += self._receive_into(room[done : done + RECEIVE_BYTES])

    def _receive_into(self, room: memoryview) -> int:
        """Reads into `room`; at least one byte."""
        self._socket.settimeout(RECEIVE_SECONDS)
        try:
            count = self._socket.recv_into(room)
        except OSError as error:
            raise Disconnected from error
        if not count:
            raise Disconnected
        return count

    def _read_chunks(self, body: Body) -> None:
        while True:
            line = self._read_line()
            match = _CHUNK_LINE.match(line)
            if not match:
                raise Malformed("a chunk does not begin with its size")
            size = int(match[1], 16)
            if size == 0:
                break
            self._read_exactly(size, body)
            if self._read_line().strip(b"\r\n"):
                raise Malformed("a chunk is longer than its size")
        for _ in range(MAX_TRAILER_LINES):
            if not self._read_line().strip(b"\r\n"):
                return
        raise Malformed("too many trailers")

    def _read_line(self) -> bytes:
        while True:
            end = self._buffer.find(b"\n")
            if end > MAX_CHUNK_LINE_BYTES or (end < 0 and len(self._buffer) > MAX_CHUNK_LINE_BYTES):
                raise Malformed("a line within the body is too long")
            if end >= 0:
                line = bytes(self._buffer[: end + 1])
                del self._buffer[: end + 1]
                return line
            self._receive(RECEIVE_SECONDS)


def head_bytes(status: int, reason: str, headers: dict[str, str]) -> bytes:
    """Status line and headers. Line ends within a value become spaces: a header must not be able to forge another."""
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {re.sub(r'[^ -~]', ' ', value)}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def in_chunks(body: bytes) -> bytes:
    """The body in chunks, without the last, empty one."""
    parts = (body[start : start + ANSWER_CHUNK_BYTES] for start in range(0, len(body), ANSWER_CHUNK_BYTES))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def malformed_answer(error: Malformed) -> Answer:
    """What a client gets that does not speak HTTP."""
    return Answer(error.status, f"{error}\n".encode(), {"Content-Type": PLAIN_TEXT}, close=True)


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _parse_request_line(line: str) -> re.Match[str]:
    match = _REQUEST_LINE.match(line)
    if not match:
        raise Malformed("the request line is not METHOD TARGET HTTP/1.x")
    return match


def _parse_head(head: bytes) -> Request:
    lines = [line.rstrip("\r") for line in _text(head).split("\n")]
    method, target, minor = _parse_request_line(lines[0]).groups()
    headers = _parse_headers(lines[1:])
    path, _, query = target.partition("?")
    if path.startswith("http://"):  # the absolute form, which proxies use
        path = "/" + path.split("/", 3)[3] if path.count("/") > 2 else "/"
    try:
        parameters = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise Malformed("the URL's parameters are not valid UTF-8 or too many") from error
    return Request(method, path, tuple(parameters), headers, int(minor))


def _parse_headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > MAX_HEADERS:
        raise Malformed("too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.match(line)
        if not match:
            raise Malformed("a header line is not NAME: VALUE")
        name, value = match[1].lower(), match[2]
        if name in ("content-length", "transfer-encoding") and headers.get(name, value) != value:
            raise Malformed(f"two different headers {name}")
        headers[name] = value
    _check_framing(headers)
    return headers


def _check_framing(headers: dict[str, str]) -> None:
    """Where a body ends must be beyond doubt, or the next request would be read from its middle."""
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None and (coding.lower() != "chunked" or length is not None):
        raise Malformed("Transfer-Encoding must be chunked, without Content-Length")
    if length is not None and not re.fullmatch(r"[0-9]{1,15}", length):
        raise Malformed("Content-Length is not a number")
