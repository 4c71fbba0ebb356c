#!/usr/bin/env python3
"""A ClickHouse server for development and tests: ClickHouse's HTTP interface in front of the embedded engine (chdb-core).

Not for production. It keeps whole bodies and results in memory, has one user, and leaves out what README.md lists.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faults
from answers import UNKNOWN_EXCEPTION, Answer, DbError, plain_answer
from engine import DataDirectoryInUse, Engine
from http_wire import Body, Disconnected, Malformed, Request, Wire, malformed_answer
from query_handler import Credentials, QueryHandler

DEFAULT_LISTEN = "127.0.0.1:8123"
KEEP_ALIVE_SECONDS = 30  # ClickHouse's default keep_alive_timeout
MAX_CONNECTIONS = 1024
ACCEPT_BACKLOG = 256
FREE_CONNECTION_SECONDS = 1.0  # how long a connection above the limit waits for another to end; then it is closed
STOP_SECONDS = 5.0  # how long running queries may finish after SIGTERM
EXIT_USAGE, EXIT_IO = 64, 74


@dataclass(frozen=True)
class Options:
    """The command line, checked."""

    data: Path
    host: str
    port: int
    port_file: Path | None
    credentials: Credentials
    faults: bool
    keep_alive_seconds: int


class Server:
    """Accepts connections and gives each a thread."""

    def __init__(self, options: Options, engine: Engine, listener: socket.socket) -> None:
        self._handler = QueryHandler(engine, options.credentials)
        self._faults = faults.FaultPlan() if options.faults else None
        self._keep_alive_seconds = options.keep_alive_seconds
        self._listener = listener
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._busy = 0
        self._idle = threading.Condition()

    def serve_until(self, stop: socket.socket) -> None:
        """Accepts until `stop` becomes readable, then lets running queries finish for a while."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(stop, selectors.EVENT_READ)
            while not any(key.fileobj is stop for key, _ in selector.select()):
                self._accept()
        self._listener.close()
        with self._idle:
            self._idle.wait_for(lambda: self._busy == 0, STOP_SECONDS)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # the client left already, or no descriptors: either must not end the server
            print(f"accept: {error}", file=sys.stderr)
            time.sleep(0.01)
            return
        if not self._free.acquire(timeout=FREE_CONNECTION_SECONDS):
            connection.close()
            return
        threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection: socket.socket) -> None:
        try:
            with connection, Body() as body:
                wire = Wire(connection, self._keep_alive_seconds)
                try:
                    while self._serve_request(wire, body):
                        pass
                except Malformed as error:
                    wire.send(malformed_answer(error), None, 0)
                    wire.linger_then_close()
        except (Disconnected, OSError):
            pass
        except Exception:  # a defect here: the client sees a closed connection, the console the cause, the others go on
            traceback.print_exc()
        finally:
            self._free.release()

    def _serve_request(self, wire: Wire, body: Body) -> bool:
        """One request. True if the connection stays open."""
        request = wire.read_request()
        if request is None:
            return False
        wire.read_body(request, body)
        with self._counted():
            answer = self._answer(request, body, wire)
            return answer is not None and wire.send(answer, request, self._keep_alive_seconds)

    def _answer(self, request: Request, body: Body, wire: Wire) -> Answer | None:
        """The answer to send, or `None` where a fault wants the connection closed."""
        if request.path == faults.PATH:
            return self._faults.answer(request, body) if self._faults else plain_answer(404, "start the server with --faults\n")
        fixed = self._handler.fixed_answer(request)
        if fixed is not None:
            return fixed
        try:
            prepared = self._handler.prepare(request, body)
        except DbError as error:
            return self._handler.refusal(error)
        fault = self._faults.take(prepared.sql) if self._faults else None
        execute = self._guarded(lambda: self._handler.run(prepared))
        return faults.perform(fault, wire, execute) if fault else execute()

    def _guarded(self, execute: Callable[[], Answer]) -> Callable[[], Answer]:
        """Turns a defect of ours into an answer that says so, without a traceback."""

        def run() -> Answer:
            try:
                return execute()
            except Exception as error:
                traceback.print_exc()
                return self._handler.refusal(DbError(UNKNOWN_EXCEPTION, f"Development server failed: {type(error).__name__}."))

        return run

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Counts a request as running, so that a stop can wait for it."""
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()


def parse_arguments(arguments: list[str]) -> Options:
    """Reads the command line; wrong use ends the process with 64."""
    parser = _Parser(
        description="ClickHouse's HTTP interface in front of the embedded engine, for development and tests.",
        epilog="Prints one line `ready http://HOST:PORT` when it answers. Ends on SIGTERM or SIGINT. Exit: 0 stopped, 64 usage, 74 I/O.",
    )
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help="data directory; created if absent, one process at a time")
    parser.add_argument("--listen", metavar="HOST:PORT", default=DEFAULT_LISTEN, help="default %(default)s; port 0 takes any free port")
    parser.add_argument("--port-file", metavar="FILE", type=Path, help="write the port here (atomically) when ready")
    parser.add_argument("--user", metavar="NAME", default="default", help="the only user (default %(default)s)")
    parser.add_argument("--password-file", metavar="FILE", type=Path, help="file with the user's password; without it any is accepted")
    parser.add_argument("--keep-alive", metavar="SECONDS", type=int, default=KEEP_ALIVE_SECONDS,
                        help="close connections idle for so long (default %(default)s)")  # fmt: skip
    parser.add_argument("--faults", action="store_true", help="allow POST /dev/faults, which makes requests fail on demand")
    given = parser.parse_args(arguments)
    host, colon, port = given.listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        parser.error(f"--listen {given.listen}: expected HOST:PORT")
    if given.keep_alive < 1:
        parser.error("--keep-alive must be at least 1")
    password = None
    if given.password_file is not None:
        try:
            password = given.password_file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            parser.error(f"--password-file: {error}")
    credentials = Credentials(given.user, password)
    return Options(given.data, host.strip("[]") or "127.0.0.1", int(port), given.port_file, credentials, given.faults, given.keep_alive)


class _Parser(argparse.ArgumentParser):
    """argparse with the project's exit code for wrong use."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. It does not answer yet, so clients wait instead of being refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=ACCEPT_BACKLOG)
    listener.setblocking(False)
    return listener


def catch_stop_signals() -> socket.socket:
    """A socket that becomes readable on SIGTERM or SIGINT. A wake-up socket, because the engine's threads may get the signal."""
    receiving, sending = socket.socketpair()
    sending.setblocking(False)
    signal.set_wakeup_fd(sending.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return receiving


def announce(options: Options, port: int) -> None:
    """Tells the caller that the server answers."""
    if options.port_file is not None:
        draft = options.port_file.with_name(options.port_file.name + ".tmp")
        draft.write_text(f"{port}\n")
        draft.replace(options.port_file)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"ready http://{host}:{port}", flush=True)


def main(arguments: list[str]) -> int:
    """Runs the server until it is told to stop."""
    options = parse_arguments(arguments)
    try:
        # The engine would read an INSERT's data from standard input if we ever failed to give it a file.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        listener = listen(options.host, options.port)
        engine = Engine(options.data)
        stop = catch_stop_signals()  # after the engine, which may set handlers of its own
        announce(options, listener.getsockname()[1])
    except (OSError, DataDirectoryInUse) as error:
        print(f"coldpath_devserver: {error}", file=sys.stderr)
        return EXIT_IO
    Server(options, engine, listener).serve_until(stop)
    engine.close()
    sys.stdout.flush()
    os._exit(0)  # without waiting for the threads of idle or hanging connections


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
