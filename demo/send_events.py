#!/usr/bin/env python3
"""Send JSON lines to spool-writer and end when all of them are durable. Also the reference for clients in other languages.

The protocol, on a unix stream socket:

* A client that wants to lose nothing names itself in its first line, `{"client":"NAME","resume":true,"from":F}`. F is the
  first line that it can still send, of all lines that this name ever sent, counted from 0; it may have forgotten those that
  it was told are durable. The answer is `{"client":"NAME","durable":D}`: the lines below D are durable or were refused, and D
  is at least F. It sends line number D next.
* `{"accepted":A,"refused":R,"durable":D}` comes as things move on. A and R count the lines of this connection; D is a
  line number as above.
* `{"refused":{"line":L,"table":...,"field":...,"reason":...}}` names a refused line, L counted from 1.
* `{"error":...}` refuses the connection itself.

After any interruption the client connects again under its name, is told D, and goes on from there. So neither a killed
writer nor a killed client that can read its input again loses a line or records one twice.

Exit status: 0 all lines are durable, 1 lines were refused, 64 usage, 74 the writer cannot be reached or does not go on.
"""
from __future__ import annotations

import argparse
import itertools
import json
import select
import socket
import sys
import time
from collections import deque
from typing import Any, Callable, Iterable, Iterator

EXIT_REFUSED, EXIT_USAGE, EXIT_INPUT = 1, 64, 74
SEND_BYTES = 256 * 1024
"""How much is joined for one send; a send for each line would cost a system call for each."""


class ProtocolError(Exception):
    """The writer refuses the connection for a reason that stays, or contradicts itself; going on could lose lines."""


class Producer:
    """One named client of spool-writer. It keeps each line until it is durable, and resends after an interruption.

    Nothing here waits unless it is asked to, so one thread can drive many producers: `put` queues lines, `pump` does what
    can be done now.
    """

    def __init__(self, path: str, name: str, refused: Callable[[dict[str, Any]], None] = lambda refusal: None) -> None:
        """`refused` is called once for each refused line, with what the writer says about it."""
        self.durable = 0
        """All lines below this number are durable or were refused."""
        self.reconnects = -1
        self._path, self._name, self._on_refused = path, name, refused
        self._socket: socket.socket | None = None
        self._greeted = False
        # Lines from number _first on: those that were sent, then those that were not.
        self._first = 0
        self._sent: deque[bytes] = deque()
        self._unsent: deque[bytes] = deque()
        self._queued = 0  # number of the line that `put` takes next
        self._sending = memoryview(b"")
        self._received = b""
        self._refused: set[int] = set()  # those from _first on

    @property
    def pending(self) -> int:
        """Lines that are not known to be durable."""
        return max(0, self._queued - self.durable)

    @property
    def queued(self) -> int:
        """Lines that were put."""
        return self._queued

    def put(self, line: bytes) -> None:
        """Queue a line, which ends in a newline. A line that an earlier life of this client made durable is passed over."""
        if self._queued >= self._first:
            self._unsent.append(line)
        self._queued += 1

    def pump(self, timeout: float) -> bool:
        """Connect, send and receive what is possible now; wait at most `timeout` seconds for something to do.

        Returns:
            Whether there is a connection.

        Raises:
            ProtocolError: the writer refuses this client, or asks for lines that it called durable.
        """
        try:
            if self._socket is None:
                self._connect()
            self._exchange(timeout)
        except (OSError, EOFError):
            self._disconnect()
        return self._socket is not None

    def finish(self, timeout: float) -> bool:
        """Pump until all lines are durable.

        Returns:
            False if for `timeout` seconds nothing moved.
        """
        moved, patience = self.durable, time.monotonic() + timeout
        while self.pending > 0:
            if not self.pump(0.05):
                time.sleep(0.02)
            if self.durable != moved:
                moved, patience = self.durable, time.monotonic() + timeout
            elif time.monotonic() > patience:
                return False
        return True

    def close(self) -> None:
        """End the connection; what was sent is recorded all the same."""
        self._disconnect()

    def _connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        connection.setblocking(False)
        self._socket = connection
        introduction = {"client": self._name, "resume": True, "from": self._first}
        self._sending = memoryview(json.dumps(introduction, separators=(",", ":")).encode() + b"\n")
        self.reconnects += 1

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._greeted, self._received, self._sending = None, False, b"", memoryview(b"")

    def _exchange(self, timeout: float) -> None:
        assert self._socket is not None
        self._prepare()
        readable, writable, _ = select.select([self._socket], [self._socket] if self._sending else [], [], timeout)
        if readable:
            self._receive(self._socket)
        if writable:
            self._send(self._socket)

    def _prepare(self) -> None:
        """Join the next lines, once the answer to the introduction has said which they are."""
        if self._sending or not self._greeted:
            return
        parts, size = [], 0
        while self._unsent and size < SEND_BYTES:
            line = self._unsent.popleft()
            parts.append(line)
            size += len(line)
        self._sent.extend(parts)
        self._sending = memoryview(b"".join(parts))

    def _send(self, connection: socket.socket) -> None:
        while self._sending:
            try:
                self._sending = self._sending[connection.send(self._sending):]
            except BlockingIOError:
                return
            self._prepare()

    def _receive(self, connection: socket.socket) -> None:
        data = connection.recv(65_536)
        if not data:
            raise EOFError
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, answer: dict[str, Any]) -> None:
        if "error" in answer:
            # A connection that is still being drained holds the name for a moment; any other refusal stays.
            if "connected already" in answer["error"]:
                raise EOFError
            raise ProtocolError(answer["error"])
        if "client" in answer:
            self._resume_at(answer["durable"])
        elif "durable" in answer:
            self._advance(answer["durable"])
        elif "refused" in answer:
            self._note_refusal(answer["refused"])

    def _resume_at(self, durable: int) -> None:
        if durable < self._first:
            raise ProtocolError(f"the writer asks for line {durable} of {self._name}, and had called those below {self._first} durable")
        self._advance(durable)
        again = list(itertools.islice(self._sent, durable - self._first, None))
        self._unsent.extendleft(reversed(again))
        for _ in again:
            self._sent.pop()
        self._greeted = True

    def _advance(self, durable: int) -> None:
        """Forget what is durable."""
        self.durable = max(self.durable, durable)
        while self._first < durable:
            # Neither has lines if an earlier life of this client sent them; `put` passes them over.
            if self._sent:
                self._sent.popleft()
            elif self._unsent:
                self._unsent.popleft()
            self._refused.discard(self._first)
            self._first += 1

    def _note_refusal(self, refusal: dict[str, Any]) -> None:
        """Tell of each refused line once, however often it was sent."""
        number = refusal["line"] - 1
        if number not in self._refused:
            self._refused.add(number)
            self._on_refused(refusal)


# Command


def lines_of(paths: Iterable[str]) -> Iterator[bytes]:
    """The lines of all files; blank ones are no events. The last may lack its newline."""
    for path in paths:
        with (sys.stdin.buffer if path == "-" else open(path, "rb")) as file:
            yield from (line if line.endswith(b"\n") else line + b"\n" for line in file if line.strip())


def send(producer: Producer, lines: Iterator[bytes], rate: float, window: int, timeout: float) -> bool:
    """Send all lines, at most `rate` a second and with at most `window` of them not yet durable.

    Returns:
        False if nothing moved for `timeout` seconds.
    """
    started, moved, patience = time.monotonic(), 0, time.monotonic() + timeout
    while True:
        due = int((time.monotonic() - started) * rate) if rate else sys.maxsize
        room = min(window - producer.pending, due - producer.queued)
        batch = list(itertools.islice(lines, max(0, min(room, 2_000))))
        for line in batch:
            producer.put(line)
        if room > 0 and not batch:
            return producer.finish(timeout)
        if not producer.pump(0.0 if batch else 0.01):
            time.sleep(0.05)
        if producer.durable != moved:
            moved, patience = producer.durable, time.monotonic() + timeout
        elif producer.pending == 0:
            patience = time.monotonic() + timeout
        elif time.monotonic() > patience:
            return False


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--socket", required=True, help="unix socket of spool-writer")
    parser.add_argument("--client", required=True, help="this client's name; the same name and input resume where they ended")
    parser.add_argument("--rate", type=float, default=0, help="lines a second at most (default: as fast as they are taken)")
    parser.add_argument("--window", type=int, default=100_000, help="lines that may be undurable at a time (default 100000)")
    parser.add_argument("--timeout", type=float, default=30, help="seconds without progress after which to give up (default 30)")
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl", help="- is standard input")
    try:
        return parser.parse_args()
    except SystemExit as stop:
        raise SystemExit(EXIT_USAGE if stop.code else 0) from None


def main() -> int:
    options = arguments()
    refusals = 0

    def print_refusal(refusal: dict[str, Any]) -> None:
        nonlocal refusals
        refusals += 1
        print(f"refused: {json.dumps(refusal, ensure_ascii=False)}", file=sys.stderr)

    producer = Producer(options.socket, options.client, print_refusal)
    try:
        if not send(producer, lines_of(options.files), options.rate, options.window, options.timeout):
            print(f"send_events: no progress for {options.timeout:g} s; {producer.durable} lines are durable", file=sys.stderr)
            return EXIT_INPUT
    except (ProtocolError, OSError) as error:
        print(f"send_events: {error}", file=sys.stderr)
        return EXIT_INPUT
    print(f"{producer.queued} lines: {producer.queued - refusals} durable, {refusals} refused", file=sys.stderr)
    return EXIT_REFUSED if refusals else 0


if __name__ == "__main__":
    sys.exit(main())
