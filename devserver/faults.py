"""Faults on demand, for tests of the loader. Only with `--faults`.

`POST /dev/faults` with `{"next": [{"match": "INSERT", "action": "drop_before"}, ...]}` appends to the plan; `{"reset": true}` empties
it first. `GET /dev/faults` shows what is left and what has happened. Each item is used once, by the first request whose SQL (without
its data) contains `match`, whatever the case; an empty `match` fits every query.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from answers import PLAIN_TEXT, Answer, plain_answer
from http_wire import Body, Request, Wire, head_bytes, in_chunks

PATH = "/dev/faults"
MAX_PLANNED = 10_000
MAX_DELAY_MS = 600_000
MAX_PLAN_BYTES = 4 * 1024 * 1024
GARBAGE = b"\x16\x03\x01 this is not HTTP\r\n\x00\xff\r\n\r\n"
MISSING_BYTES = 10  # by which a truncated answer is shorter than announced

Execute = Callable[[], Answer]


@dataclass(frozen=True)
class Fault:
    """One planned fault. The fields after `action` matter to some actions only."""

    match: str
    action: str
    ms: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    reset: bool = False  # drop_*: RST instead of FIN
    framing: str = "length"  # truncate: "length" or "chunked"


class InvalidPlan(Exception):
    """The JSON is not a plan; the text says why."""


class FaultPlan:
    """The faults that are still to happen. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: list[Fault] = []
        self._done: list[dict[str, Any]] = []

    def answer(self, request: Request, body: Body) -> Answer:
        """Answers requests to `/dev/faults`."""
        if request.method == "POST":
            try:
                self._add(body.read(MAX_PLAN_BYTES))
            except InvalidPlan as error:
                return plain_answer(400, f"{error}\n")
        with self._lock:
            state = {"next": [asdict(fault) for fault in self._next], "done": self._done}
            return Answer(200, json.dumps(state).encode() + b"\n", {"Content-Type": "application/json; charset=UTF-8"})

    def take(self, sql: str) -> Fault | None:
        """Removes and returns the first fault that fits the statement."""
        lowered = sql.lower()
        with self._lock:
            for index, fault in enumerate(self._next):
                if fault.match.lower() in lowered:
                    self._done.append({"action": fault.action, "match": fault.match, "sql": sql[:1000]})
                    return self._next.pop(index)
        return None

    def _add(self, text: bytes) -> None:
        try:
            plan = json.loads(text)
        except ValueError as error:
            raise InvalidPlan(f"the body is not JSON: {error}") from error
        if not isinstance(plan, dict) or not isinstance(plan.get("next", []), list):
            raise InvalidPlan('expected {"next": [...]}')
        if unknown := set(plan) - {"next", "reset"}:
            raise InvalidPlan(f"unknown keys {sorted(unknown)}")
        faults = [_fault_from(item) for item in plan.get("next", [])]
        with self._lock:
            if plan.get("reset"):
                self._next, self._done = [], []
            if len(self._next) + len(faults) > MAX_PLANNED:
                raise InvalidPlan(f"more than {MAX_PLANNED} faults planned")
            self._next += faults


def perform(fault: Fault, wire: Wire, execute: Execute) -> Answer | None:
    """Does what the fault says. Returns an answer to be sent as usual, or `None` if the connection is to be closed."""
    return _ACTIONS[fault.action](fault, wire, execute)


def _drop_before(fault: Fault, wire: Wire, _: Execute) -> None:
    if fault.reset:
        wire.reset()


def _drop_after(fault: Fault, wire: Wire, execute: Execute) -> None:
    execute()
    _drop_before(fault, wire, execute)


def _status(fault: Fault, _: Wire, __: Execute) -> Answer:
    return Answer(fault.status, fault.body.encode(), {"Content-Type": PLAIN_TEXT} | fault.headers)


def _status_after(fault: Fault, wire: Wire, execute: Execute) -> Answer:
    execute()
    return _status(fault, wire, execute)


def _garbage(_: Fault, wire: Wire, __: Execute) -> None:
    wire.write(GARBAGE)


def _garbage_after(fault: Fault, wire: Wire, execute: Execute) -> None:
    execute()
    _garbage(fault, wire, execute)


def _truncate(fault: Fault, wire: Wire, execute: Execute) -> None:
    answer = execute()
    framing = {"Transfer-Encoding": "chunked"}
    body = in_chunks(answer.body)  # without the chunk that ends it
    if fault.framing == "length":
        framing, body = {"Content-Length": str(len(answer.body) + MISSING_BYTES)}, answer.body
    wire.write(head_bytes(answer.status, answer.reason, {"Connection": "Keep-Alive"} | answer.headers | framing) + body)


def _delay(fault: Fault, _: Wire, execute: Execute) -> Answer:
    time.sleep(fault.ms / 1000)
    return execute()


def _delay_after(fault: Fault, _: Wire, execute: Execute) -> Answer:
    answer = execute()
    time.sleep(fault.ms / 1000)
    return answer


def _hang(_: Fault, wire: Wire, __: Execute) -> None:
    wire.wait_until_client_leaves()


def _hang_after(_: Fault, wire: Wire, execute: Execute) -> None:
    execute()
    wire.wait_until_client_leaves()


def _kill_before(_: Fault, __: Wire, ___: Execute) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_during(fault: Fault, _: Wire, execute: Execute) -> Answer:
    threading.Timer(fault.ms / 1000, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return execute()


def _kill_after(_: Fault, __: Wire, execute: Execute) -> None:
    execute()
    os.kill(os.getpid(), signal.SIGKILL)


def _exception_header_200(_: Fault, __: Wire, ___: Execute) -> Answer:
    text = b"Code: 241. DB::Exception: Memory limit (total) exceeded: injected fault. (MEMORY_LIMIT_EXCEEDED)\n"
    return Answer(200, text, {"Content-Type": PLAIN_TEXT, "X-ClickHouse-Exception-Code": "241"}, chunked=True)


_ACTIONS: dict[str, Callable[[Fault, Wire, Execute], Answer | None]] = {
    "drop_before": _drop_before,
    "drop_after": _drop_after,
    "status": _status,
    "status_after": _status_after,
    "garbage": _garbage,
    "garbage_after": _garbage_after,
    "truncate": _truncate,
    "delay": _delay,
    "delay_after": _delay_after,
    "hang": _hang,
    "hang_after": _hang_after,
    "kill_before": _kill_before,
    "kill_during": _kill_during,
    "kill_after": _kill_after,
    "exception_header_200": _exception_header_200,
}

_TYPES: dict[str, type] = {"match": str, "action": str, "ms": int, "status": int, "headers": dict, "body": str, "reset": bool, "framing": str}


def _fault_from(item: Any) -> Fault:
    if not isinstance(item, dict) or "match" not in item or "action" not in item:
        raise InvalidPlan(f"an item needs match and action: {item!r}")
    for name, value in item.items():
        if name not in _TYPES:
            raise InvalidPlan(f"unknown key {name!r} in {item!r}")
        if type(value) is not _TYPES[name]:
            raise InvalidPlan(f"{name!r} must be {_TYPES[name].__name__} in {item!r}")
    fault = Fault(**item)
    if fault.action not in _ACTIONS:
        raise InvalidPlan(f"unknown action {fault.action!r}; known: {', '.join(_ACTIONS)}")
    if not 0 <= fault.ms <= MAX_DELAY_MS or not 100 <= fault.status <= 999 or fault.framing not in ("length", "chunked"):
        raise InvalidPlan(f"ms, status or framing out of range in {item!r}")
    if not all(isinstance(value, str) for value in fault.headers.values()):
        raise InvalidPlan(f"header values must be strings in {item!r}")
    return fault
