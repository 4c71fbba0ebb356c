"""Other ways to one server: a relay that can be killed and brought back, and a proxy that is asked to go there."""
from __future__ import annotations

import re
import socket
import threading
from pathlib import Path


def _close(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


class Front:
    """Passes connections on to a port of this host. It listens at a TCP port, the same for all its lives, or at a unix socket."""

    def __init__(self, target: int, path: Path | None = None) -> None:
        self._target, self._path = target, path
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._heads: list[bytes] = []
        self._stalled = False
        self.reply: bytes | None = None
        """Sent instead of passing anything on."""
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self._path}" if self._path else f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._stalled = False
        if self._path:
            self._path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._path))
            listener.listen(64)
        else:
            listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
            self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def kill(self) -> None:
        """Nobody listens any more, and every connection is gone."""
        assert self._listener is not None
        _close(self._listener)
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _close(connection)

    def stall(self) -> None:
        """Take connections and bytes, and pass nothing on any more."""
        self._stalled = True

    @property
    def request_lines(self) -> list[str]:
        """What was asked for here, without headers and bodies."""
        with self._lock:
            return [line.decode() for head in self._heads for line in re.findall(rb"(?m)^(?:GET|POST) \S+ HTTP/1\.1\r$", head)]

    @property
    def insert_lengths(self) -> list[int]:
        """The lengths of the bodies of the inserts that came by."""
        with self._lock:
            return [int(length) for length in re.findall(
                rb"(?i)POST [^\r\n]*insert[^\r\n]* HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*?content-length: (\d+)\r\n", b"".join(self._heads))]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.reply is not None:
            client.recv(1 << 16)
            client.sendall(self.reply)
            return client.close()
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        except OSError:
            return client.close()
        server.settimeout(None)
        with self._lock:
            self._open |= {client, server}
        threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()
        self._pass(client, server, True)
        with self._lock:
            self._open -= {client, server}

    def _pass(self, source: socket.socket, sink: socket.socket, is_request: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if is_request:
                    with self._lock:
                        self._heads.append(data)
                if not self._stalled:
                    sink.sendall(data)
        except OSError:
            pass
        _close(source)
        _close(sink)


class Proxy:
    """An HTTP proxy: forwards requests, one a connection, and connects (`CONNECT`)."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        """The first lines of what it was asked."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = client.recv(1 << 16)
            if not more:
                return client.close()
            data += more
        line, _, rest = data.partition(b"\r\n")
        method, target, version = line.split(b" ")
        self.asked.append(line.decode())
        if method == b"CONNECT":
            host, _, port = target.decode().rpartition(":")
            server = socket.create_connection((host, int(port)))
            client.sendall(b"HTTP/1.1 200 Connection established\r\nX-ClickHouse-Exception-Code: 1\r\n\r\n")
            first = rest.partition(b"\r\n\r\n")[2]
        else:
            found = re.fullmatch(rb"http://([^/:]+):(\d+)(/.*)", target)
            assert found, target
            server = socket.create_connection((found[1].decode(), int(found[2])))
            first = method + b" " + found[3] + b" " + version + b"\r\nConnection: close\r\n" + rest
        server.sendall(first)
        threading.Thread(target=_relay, args=(client, server), daemon=True).start()
        _relay(server, client)
        _close(client)


def _relay(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
