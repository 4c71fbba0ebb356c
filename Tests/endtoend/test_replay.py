"""`spool-loader replay`: what a spool has, published again into another writer's socket and rings."""
from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import clients
from conftest import QUICK, MakePipeline
from pipeline import Pipeline, Process, binary, run, wait_until
from test_producers_evolve import ADDED, MOVED, QUOTES

START = 1_790_000_000_000_000_000
ADDED_BY_WRITER = ("spool_writer", "spool_seq")
KINDS = ["socket", "ring"]


class Target:
    """A writer that takes lines and rows from rings."""

    def __init__(self, directory: Path, schemas: Path, settings: str = QUICK) -> None:
        directory.mkdir(parents=True)
        self.directory, self.spool, self.rings = directory, directory / "spool", directory / "rings"
        self.socket = Path(os.path.relpath(directory / "w.sock"))
        (directory / "coldpath.toml").write_text(settings)
        self.process = Process("spool-writer", [
            binary("spool-writer"), "run", "--config", directory / "coldpath.toml", "--spool", self.spool, "--schemas", schemas,
            "--socket", self.socket, "--rings", self.rings], directory / "writer.log")

    def start(self) -> None:
        self.process.start()
        assert wait_until(self.listens, 20)

    def listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def place(self, kind: str) -> list[str | Path]:
        return ["--socket", self.socket] if kind == "socket" else ["--rings", self.rings]

    def rings_left(self) -> list[str]:
        return sorted(path.name for path in self.rings.iterdir() if ".ring" in path.name)


@pytest.fixture
def make_target(tmp_path: Path) -> Iterator[Any]:
    made: list[Target] = []

    def make(schemas: Path, name: str = "target", settings: str = QUICK) -> Target:
        target = Target(tmp_path / name, schemas, settings)
        made.append(target)
        target.start()
        return target

    yield make
    for target in made:
        target.process.kill()


def replay(spool: Path, *arguments: str | Path, expect: tuple[int, ...] = (0,)) -> tuple[dict[str, Any], str]:
    """The report, and what was said on standard error."""
    order = [] if "--order" in arguments else ["--order", "time"]
    done = run([binary("spool-loader"), "replay", "--spool", spool, "--json", *order, *arguments], expect=expect)
    return json.loads(done.stdout) if done.stdout else {}, done.stderr


def tables(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.iterdir() if path.is_dir() and list(path.glob("*.lz4")))


def rows(spool: Path, table: str, expect: tuple[int, ...] = (0,)) -> list[dict[str, Any]]:
    """In the order of sequences, without the names that the writer gives them."""
    found = [json.loads(line) for line in run([binary("spool-loader"), "cat", table, "--spool", spool], expect=expect).stdout.split("\n")[:-1]]
    assert [row["spool_seq"] for row in found] == sorted(row["spool_seq"] for row in found)
    return [{name: value for name, value in row.items() if name not in ADDED_BY_WRITER} for row in found]


def is_own(row: dict[str, Any]) -> bool:
    return row["table"] == "system_events" and row["component"] == "spool-writer"


def by_time(found: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """As `--order time` must publish them: Python's sort keeps the order of equal times."""
    return sorted((row for row in found if not is_own(row)), key=lambda row: row[column])


def time_column(table: str) -> str:
    return {"orders": "ts_intent", "market_data": "ts_exchange", "fills": "ts_exchange"}.get(table, "ts")


def nanoseconds(text: str) -> int:
    return int(datetime.fromisoformat(text[:19] + "+00:00").timestamp()) * 1_000_000_000 + int(text[20:29] if text[19] == "." else 0)


def moved(value: Any, by: int) -> Any:
    """Everything that is a moment, later by so many nanoseconds; one at the end of time stays there."""
    if isinstance(value, list):
        return [moved(item, by) for item in value]
    if isinstance(value, str) and len(value) in (20, 30) and value[10] == "T" and value.endswith("Z"):
        sum = min(nanoseconds(value) + by, 3_786_912_000_000_000_000)
        text = datetime.fromtimestamp(sum // 1_000_000_000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        return text + (f".{sum % 1_000_000_000:09}Z" if len(value) == 30 else "Z")
    return value


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, market_file: Path, day_file: Path) -> Path:
    """A spool of a day and some market data."""
    directory = tmp_path_factory.mktemp("recorded")
    (directory / "coldpath.toml").write_text(QUICK)
    spool = directory / "spool"
    run([binary("spool-writer"), "import", "--config", directory / "coldpath.toml", "--spool", spool, "--schemas", clients.ROOT / "schemas", market_file, day_file])
    return spool


# Values


@pytest.mark.parametrize("order", ["time", "recorded"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_value_comes_again_in_order(kind: str, order: str, recorded: Path, make_target: Any) -> None:
    target = make_target(clients.ROOT / "schemas")
    report, _ = replay(recorded, *target.place(kind), "--speed", "max", "--recorded-times", "--order", order)
    expected = {table: [row for row in rows(recorded, table) if not is_own(row)] for table in tables(recorded)}
    if order == "time":
        expected = {table: by_time(found, time_column(table)) for table, found in expected.items()}
    assert set(tables(target.spool)) == set(expected) and len(expected) == 9
    for table, found in expected.items():
        assert rows(target.spool, table) == found, table
    assert report["published"] == sum(map(len, expected.values())) and report["complete"] and report["durable"]
    assert report["own_rows"] == sum(is_own(row) for row in rows(recorded, "system_events")) > 0
    assert (report["refused"], report["dropped"], report["problems"], report["shift_nanoseconds"]) == (0, 0, [], 0)
    assert {one["table"]: one["published"] for one in report["tables"]} == {table: len(found) for table, found in expected.items()}
    # A drained ring is removed.
    assert wait_until(lambda: target.rings_left() == [], 20)


def random_row(random_: random.Random, number: int) -> dict[str, Any]:
    """A line for a column of every type, with what is hard in each."""
    def text() -> str:
        return random_.choice(["", "x", "Zürich", "a\"b\\c\n\t\x00\x7f", "名前" * random_.randint(1, 90), "n" * random_.choice([1, 31, 32, 33, 255, 256, 3_000])])

    def whole(bits: int, signed: bool) -> int:
        low, high = (-2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (0, 2 ** bits - 1)
        return random_.choice([low, high, 0, random_.randint(low, high)])

    def decimal(digits: int, scale: int) -> str:
        value = random_.choice([0, 10 ** digits - 1, 1 - 10 ** digits, random_.randint(-(10 ** digits) + 1, 10 ** digits - 1)])
        return f"{'-' if value < 0 else ''}{abs(value) // 10 ** scale}.{abs(value) % 10 ** scale:0{scale}}"

    makes: dict[str, Any] = {
        "flag": lambda: random_.random() < 0.5, "ts": lambda: START + number, "f32": lambda: random_.choice([0.0, -0.5, 1.5e30]),
        "f64": lambda: random_.choice([0.1, -1e300, 5e-324, random_.random()]), "d32": lambda: decimal(9, 2), "d64": lambda: decimal(18, 8),
        "d128": lambda: decimal(38, 10), "day": lambda: random_.choice(["1970-01-01", "2024-02-29", "2149-06-06"]),
        "sec": lambda: random_.choice(["1973-03-04T00:00:00Z", "2026-01-02T03:04:05Z", "2089-12-31T23:59:59Z"]),
        "id": lambda: str(uuid.UUID(int=random_.getrandbits(128))), "code": lambda: random_.choice(["", "a", "ab", "abc", "é"]),
        "text": text, "name": text, "side": lambda: random_.choice(["buy", "sell"]), "kind": lambda: random_.choice(["a b", "it's", "", "default", "2d"]),
    }
    for name, bits in (("i8", 8), ("i16", 16), ("i32", 32), ("i64", 64), ("u8", -8), ("u16", -16), ("u32", -32), ("u64", -64)):
        makes[name] = lambda bits=bits: whole(abs(bits), bits > 0)
    row = {name: make() for name, make in makes.items()}
    for name in ("flag", "ts", "i64", "u8", "f64", "d32", "d128", "day", "id", "code", "text", "name", "side"):
        if random_.random() < 0.7:
            row[f"n_{name}"] = random_.choice([None, makes[name]()])
    for name in ("flag", "ts", "i16", "u64", "f32", "f64", "d64", "d128", "day", "id", "text", "side"):
        if random_.random() < 0.7:
            row[f"a_{name}"] = [makes[name]() for _ in range(random_.choice([0, 1, 3]))]
    for name in ("o_zero", "o_i32", "o_text", "o_name", "o_empty", "n_o_name"):
        if random_.random() < 0.3:
            row[name] = {"o_zero": 7, "o_i32": 0}.get(name, text())
    return {"table": "every_type", **row}


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_comes_again(kind: str, tmp_path: Path, make_target: Any) -> None:
    seed = random.randrange(1 << 30)
    random_ = random.Random(seed)
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps(random_row(random_, number)) + "\n" for number in range(600)))
    run([binary("spool-writer"), "import", "--spool", tmp_path / "spool", "--schemas", clients.SCHEMAS, lines])
    target = make_target(clients.SCHEMAS)
    replay(tmp_path / "spool", *target.place(kind), "--speed", "max", "--recorded-times")
    expected = rows(tmp_path / "spool", "every_type")
    assert len(expected) == 600 and rows(target.spool, "every_type") == expected, f"seed {seed}"
    # And moved by the same for all that is a moment, down to arrays; a day is none.
    report, _ = replay(tmp_path / "spool", *target.place(kind), "--speed", "max")
    shift = report["shift_nanoseconds"]
    again = rows(target.spool, "every_type")[600:]
    assert len(again) == 600
    for was, is_ in zip(expected, again):
        for name, value in was.items():
            if name == "sec":
                assert is_[name] == moved(value, shift) or nanoseconds(value) + shift > 3_786_000_000_000_000_000, (seed, name)
            else:
                assert is_[name] == moved(value, shift), (seed, name)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_older_schemas_come_into_todays(kind: str, tmp_path: Path, make_target: Any) -> None:
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    event = {"table": "quotes", "symbol": "X", "price": "1.25", "side": "sell", "venue": "XNYS", "level": -3, "ratio": 0.5, "size": 7, "steps": [1, -2]}
    later = {"fee": "0.5", "tags": ["a", ""], "note": "n"}
    for version, (ddl, more) in enumerate([(QUOTES, {}), (ADDED, later), (MOVED, later)]):
        (schemas / f"{version + 1:04}_v.sql").write_text(ddl)
        line = event | more | {"ts": START + version * 10, "n": version}
        if version == 2:
            line["px"] = line.pop("price")
            del line["venue"]
        lines = tmp_path / f"{version}.jsonl"
        lines.write_text("".join(json.dumps(line | {"ts": line["ts"] + number}) + "\n" for number in range(3)))
        run([binary("spool-writer"), "import", "--spool", tmp_path / "spool", "--schemas", schemas, lines])
    target = make_target(schemas)
    report, _ = replay(tmp_path / "spool", *target.place(kind), "--speed", "max", "--recorded-times")
    assert report["published"] == 9 and report["refused"] == 0 and len(report["tables"]) == 1
    found = sorted(rows(target.spool, "quotes"), key=lambda row: row["ts"])
    assert [row["n"] for row in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for row in found:
        assert (row["px"], row["side"], row["level"], row["ratio"], row["size"], row["steps"]) == ("1.2500000000", "sell", -3, 0.5, 7, [1, -2])
        assert (row["fee"], row["tags"], row["note"]) == (("0.2500", [], None) if row["n"] == 0 else ("0.5000", ["a", ""], "n"))
        assert "venue" not in row


# Ranges, times, pace


def test_a_range_and_some_tables(recorded: Path, make_target: Any) -> None:
    target = make_target(clients.ROOT / "schemas")
    times = sorted(row["ts_intent"] for row in rows(recorded, "orders"))
    since, until = times[len(times) // 4], times[len(times) // 2]
    report, _ = replay(recorded, "orders", "risk_decisions", *target.place("ring"), "--speed", "max", "--recorded-times", "--since", since, "--until", until)
    assert tables(target.spool) == ["orders", "risk_decisions"]
    for table in ("orders", "risk_decisions"):
        column = time_column(table)
        assert rows(target.spool, table) == by_time([row for row in rows(recorded, table) if since <= row[column] < until], column)
    assert report["recorded_seconds"] <= (nanoseconds(until) - nanoseconds(since)) / 1e9
    empty, _ = replay(recorded, *target.place("ring"), "--until", "1999-01-01")
    assert (empty["published"], empty["complete"], empty["tables"]) == (0, True, [])


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_rows_time_is_the_moment_of_its_publication(kind: str, recorded: Path, make_target: Any) -> None:
    target = make_target(clients.ROOT / "schemas")
    before = time.time_ns()
    report, _ = replay(recorded, "orders", "fills", *target.place(kind), "--speed", "max")
    shift = report["shift_nanoseconds"]
    for table in ("orders", "fills"):
        was, is_ = by_time(rows(recorded, table), time_column(table)), rows(target.spool, table)
        assert len(was) == len(is_) > 100
        for old, new in zip(was, is_):
            assert {name: moved(value, shift) for name, value in old.items()} == new
    newest = max(nanoseconds(row[time_column(table)]) for table in ("orders", "fills") for row in rows(target.spool, table))
    assert before <= newest <= time.time_ns()


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_comes_before_it_is_due(kind: str, tmp_path: Path, make_target: Any) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(
        json.dumps({"table": "system_events", "ts": START + number * 40_000_000, "component": "engine", "event": "tick", "detail": str(number)}) + "\n" for number in range(51)))
    run([binary("spool-writer"), "import", "--spool", tmp_path / "spool", "--schemas", clients.ROOT / "schemas", lines])
    target = make_target(clients.ROOT / "schemas")
    began = time.monotonic()
    report, _ = replay(tmp_path / "spool", *target.place(kind), "--speed", "4")
    assert report["recorded_seconds"] == 2.0 and report["published"] == 51
    assert time.monotonic() - began >= report["seconds"] >= 0.5
    # At the recorded speed an event's time is the moment at which it came, so no chunk has rows of a later moment than it was written at.
    report, _ = replay(tmp_path / "spool", *target.place(kind), "--speed", "1", "--until", str(START + 1_000_000_001))
    assert report["published"] == 26 and report["seconds"] >= 1.0
    assert max(nanoseconds(row["ts"]) for row in rows(target.spool, "system_events")) <= time.time_ns()


def test_what_was_recorded_as_it_happened_comes_as_it_was_recorded(make_target: Any) -> None:
    """An order whose changes come over more than a second, all under one event time, between ticks."""
    source, target = make_target(clients.ROOT / "schemas", "source"), make_target(clients.ROOT / "schemas")
    intent = time.time_ns()
    order = {"table": "orders", "ts_intent": intent, "client_order_id": "C", "strategy": "s", "symbol": "X", "side": "buy", "qty": "1", "order_type": "limit", "tif": "day"}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(source.socket))
        for number, status in enumerate(["new", "sent", "acked", "filled"]):
            tick = {"table": "system_events", "ts": time.time_ns(), "component": "engine", "event": "tick", "detail": str(number)}
            connection.sendall((json.dumps(tick) + "\n" + json.dumps(order | {"status": status}) + "\n").encode())
            time.sleep(0.4)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    report, _ = replay(source.spool, *target.place("socket"), "--order", "auto", "--speed", "2")
    assert report["order"] == "recorded" and report["recorded_seconds"] >= 1.2 and report["seconds"] >= 0.6
    assert [row["status"] for row in rows(target.spool, "orders")] == ["new", "sent", "acked", "filled"]
    # By event time all changes are due at once, before the second tick.
    report, _ = replay(source.spool, "orders", *target.place("socket"), "--order", "time")
    assert report["recorded_seconds"] == 0.0


# Trouble


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_that_is_killed_again_and_again_has_each_row_once(kind: str, recorded: Path, make_target: Any) -> None:
    target = make_target(clients.ROOT / "schemas")
    times = sorted(nanoseconds(row["ts_intent"]) for row in rows(recorded, "orders"))
    # Some four seconds.
    speed = max(1.0, (times[-1] - times[0]) / 4e9)
    done: dict[str, Any] = {}

    def work() -> None:
        done["report"], done["said"] = replay(recorded, "orders", "fills", *target.place(kind), "--speed", f"{speed:.3f}", "--recorded-times")

    thread = threading.Thread(target=work)
    thread.start()
    kills = 0
    while thread.is_alive():
        time.sleep(random.uniform(0.1, 0.6))
        if thread.is_alive():
            target.process.kill()
            kills += 1
            time.sleep(random.uniform(0, 0.3))
            target.start()
    thread.join()
    assert done["report"]["complete"] and done["report"]["durable"] and kills > 2
    for table in ("orders", "fills"):
        assert rows(target.spool, table) == by_time(rows(recorded, table), time_column(table)), f"{kills} kills"


@pytest.mark.parametrize("kind", KINDS)
def test_the_spools_own_writer_is_not_accepted(kind: str, make_target: Any, orders_file: Path) -> None:
    target = make_target(clients.ROOT / "schemas")
    other = make_target(clients.ROOT / "schemas", "other")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(target.socket))
        connection.sendall(orders_file.read_bytes())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    before = rows(target.spool, "orders")
    assert len(before) > 1_000
    report, said = replay(target.spool, *target.place(kind), "--speed", "max", expect=(64,))
    assert "would stand there twice" in said and report["published"] == 0
    assert rows(target.spool, "orders") == before
    assert wait_until(lambda: target.rings_left() == [], 20)
    # Another one may have them while this one goes on.
    replay(target.spool, *other.place(kind), "--speed", "max", "--recorded-times")
    assert rows(other.spool, "orders") == by_time(before, "ts_intent")


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_writer_it_says_so_and_leaves_nothing(kind: str, recorded: Path, make_target: Any) -> None:
    target = make_target(clients.ROOT / "schemas")
    target.process.kill()
    report, said = replay(recorded, *target.place(kind), "--patience", "300ms", expect=(74,))
    assert ("no writer looks after the rings in" if kind == "ring" else "Connection refused") in said
    assert (report["published"], report["complete"]) == (0, False) and target.rings_left() == []
    shutil.rmtree(target.rings)
    target.socket.unlink()
    _, said = replay(recorded, *target.place(kind), "--patience", "300ms", expect=(74,))
    assert "No such file or directory" in said and str(target.rings if kind == "ring" else target.socket) in said


def test_a_ring_that_the_writer_holds_is_taken_back(recorded: Path, make_target: Any) -> None:
    target = make_target(clients.SCHEMAS)
    report, said = replay(recorded, *target.place("ring"), expect=(74,))
    assert "do not fit its schemas" in said and "orders" in said and report["published"] == 0
    assert wait_until(lambda: target.rings_left() == [], 20)


@pytest.mark.parametrize("kind", KINDS)
def test_refused_rows_are_counted_and_named(kind: str, tmp_path: Path, make_target: Any) -> None:
    narrow, wide = tmp_path / "narrow", tmp_path / "wide"
    for schemas, type_ in ((narrow, "Decimal(9, 2)"), (wide, "Decimal(18, 4)")):
        schemas.mkdir()
        (schemas / "0001_t.sql").write_text(QUOTES.replace("Decimal(9, 2)", type_))
    event = {"table": "quotes", "n": 1, "symbol": "X", "side": "sell", "level": 1, "ratio": 0.5}
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps(event | {"ts": START + number, "price": "1.5" if number % 5 else "1.0001"}) + "\n" for number in range(100)))
    run([binary("spool-writer"), "import", "--spool", tmp_path / "spool", "--schemas", wide, lines])
    target = make_target(narrow)
    if kind == "ring":
        # Not by rows, but as a whole: the column does not fit.
        _, said = replay(tmp_path / "spool", *target.place(kind), expect=(74,))
        assert "do not fit its schemas (quotes)" in said
        return
    report, _ = replay(tmp_path / "spool", *target.place(kind), "--speed", "max", expect=(1,))
    assert (report["published"], report["refused"]) == (100, 20)
    assert report["problems"][0].startswith("quotes 1: price: ") and len(report["problems"]) == 10
    assert len(rows(target.spool, "quotes")) == 80


def test_two_replays_need_two_names(recorded: Path, make_target: Any) -> None:
    target = make_target(clients.ROOT / "schemas")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(target.socket))
        connection.sendall(b'{"client":"replay","resume":true,"from":0}\n')
        assert b'"durable":0' in connection.recv(4096)
        _, said = replay(recorded, "orders", *target.place("socket"), "--patience", "300ms", expect=(74,))
        assert "connected already" in said
        assert "give another --client" in said
        replay(recorded, "orders", *target.place("socket"), "--client", "second", "--speed", "max")
    # And one name may come as often as it likes: each run's rows are new ones, even if the run before was killed with lines that were not durable.
    for _ in range(2):
        replay(recorded, "orders", *target.place("socket"), "--speed", "max")
    assert len(rows(target.spool, "orders")) == 3 * len(rows(recorded, "orders"))
    process = subprocess.Popen([str(part) for part in (binary("spool-loader"), "replay", "--spool", recorded, "--order", "time", "market_data", *target.place("socket"), "--speed", "max")],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_until(lambda: (target.spool / "market_data").exists(), 20)
    process.kill()
    process.wait()
    target.process.kill()
    target.start()
    before = len(rows(target.spool, "market_data"))
    replay(recorded, "market_data", *target.place("socket"), "--speed", "max")
    assert len(rows(target.spool, "market_data")) == before + 3_000


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"{}\n" * 50_000, b"\x00\xff\n", b'{"client":"replay","durable":18446744073709551615}\n{"client":"replay","durable":1}\n',
                                    b'{"client":"replay","durable":5}\n{"accepted":1,"refused":0,"durable":18446744073709551615}\n',
                                    b'{"client":"replay","durable":5}\n{"refused":{"line":18446744073709551615,"reason":"x"}}\n{"refused":{"line":0,"reason":"x"}}\n', b'{"error":"go away"}\n',
                                    b'{"durable":3}\n', b'{"client":7}\n', b"[" * 100_000 + b"\n"])
def test_a_peer_that_talks_nonsense_ends_in_a_message(answer: bytes, recorded: Path, tmp_path: Path) -> None:
    path = Path(os.path.relpath(tmp_path / "fake.sock"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        listener.settimeout(0.2)
        ended = threading.Event()

        def serve() -> None:
            kept = []
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                kept.append(connection)
                try:
                    connection.sendall(answer)
                except OSError:
                    pass

        server = threading.Thread(target=serve)
        server.start()
        try:
            done = subprocess.run([binary("spool-loader"), "replay", "--spool", recorded, "--socket", path, "--speed", "max", "--patience", "500ms"],
                                  capture_output=True, text=True, timeout=60)
        finally:
            ended.set()
            server.join()
    assert done.returncode in (1, 74), (done.returncode, done.stderr)
    assert done.stderr.count("spool-loader: ") == 1 or done.returncode == 1


@pytest.mark.parametrize("first", [18446744073709551615, 5])
def test_a_peer_that_comes_back_with_less_ends_in_a_message(first: int, recorded: Path, tmp_path: Path) -> None:
    path = Path(os.path.relpath(tmp_path / "fake.sock"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)

        def serve() -> None:
            for durable in (first, 1):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b'{"client":"replay","durable":%d}\n{"accepted":1,"refused":0,"dropped":18446744073709551615,"durable":%d}\n' % (durable, durable))
                    connection.recv(1 << 16)
                    if durable == first:
                        # Until lines have come.
                        connection.recv(1 << 16)

        server = threading.Thread(target=serve)
        server.start()
        _, said = replay(recorded, "--socket", path, "--speed", "max", "--patience", "5s", expect=(74,))
        server.join(20)
    assert f"asks producer replay for line 1, and {first} to" in said and not server.is_alive()


def test_a_peer_without_end_ends_in_a_message(recorded: Path, tmp_path: Path) -> None:
    path = Path(os.path.relpath(tmp_path / "fake.sock"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    while True:
                        connection.sendall(b"x" * 65_536)
                except OSError:
                    pass

        server = threading.Thread(target=serve)
        server.start()
        _, said = replay(recorded, "--socket", path, "--speed", "max", expect=(74,))
        server.join(20)
    assert "without an end" in said and not server.is_alive()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_keeps_what_was_published(kind: str, recorded: Path, make_target: Any) -> None:
    target = make_target(clients.ROOT / "schemas")
    process = subprocess.Popen([str(part) for part in (binary("spool-loader"), "replay", "--spool", recorded, "--json", "--order", "time", "orders", *target.place(kind), "--speed", "300", "--recorded-times")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: (target.spool / "orders").exists() and len(rows(target.spool, "orders")) > 20, 30)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    report = json.loads(out)
    assert process.returncode == 1 and not report["complete"] and report["durable"]
    found = rows(target.spool, "orders")
    assert found == by_time(rows(recorded, "orders"), "ts_intent")[:report["published"]] and 20 < len(found) < len(rows(recorded, "orders"))


def test_rows_that_find_no_room_are_dropped_and_counted_only_if_asked(tmp_path: Path, make_target: Any) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(
        json.dumps({"table": "system_events", "ts": START + number, "component": "engine", "event": "tick", "detail": "x" * 500}) + "\n" for number in range(5_000)))
    schemas = clients.ROOT / "schemas"
    run([binary("spool-writer"), "import", "--spool", tmp_path / "spool", "--schemas", schemas, lines])
    target = make_target(schemas)
    report, _ = replay(tmp_path / "spool", *target.place("ring"), "--speed", "max", "--ring-size", "64KiB")
    assert (report["published"], report["dropped"]) == (5_000, 0) and len(rows(target.spool, "system_events")) == 5_000
    dropping, _ = replay(tmp_path / "spool", *target.place("ring"), "--speed", "max", "--ring-size", "64KiB", "--drop-when-full")
    assert dropping["dropped"] > 0 and dropping["published"] + dropping["dropped"] == 5_000 and dropping["complete"]
    assert wait_until(lambda: sum(row["component"] == "engine" for row in rows(target.spool, "system_events")) == 5_000 + dropping["published"], 20)


def test_a_row_that_is_too_long_for_the_ring_is_named(tmp_path: Path, make_target: Any) -> None:
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps({"table": "system_events", "ts": START + number, "component": "engine", "event": "tick", "detail": "x" * size}) + "\n"
                             for number, size in enumerate([10, 20_000, 10])))
    schemas = clients.ROOT / "schemas"
    run([binary("spool-writer"), "import", "--spool", tmp_path / "spool", "--schemas", schemas, lines])
    target = make_target(schemas)
    report, _ = replay(tmp_path / "spool", *target.place("ring"), "--speed", "max", "--ring-size", "64KiB", expect=(1,))
    assert (report["published"], report["unfit"]) == (2, 1) and report["problems"][0].startswith("system_events 2: ")
    replay(tmp_path / "spool", *target.place("ring"), "--speed", "max")
    assert len(rows(target.spool, "system_events")) == 5


def test_damage_is_named_and_the_rest_comes(recorded: Path, tmp_path: Path, make_target: Any) -> None:
    shutil.copytree(recorded, tmp_path / "copy")
    segment = sorted((tmp_path / "copy" / "orders").glob("*.lz4"))[0]
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    target = make_target(clients.ROOT / "schemas")
    report, _ = replay(tmp_path / "copy", "orders", *target.place("socket"), "--speed", "max", "--recorded-times", expect=(1,))
    assert len(report["problems"]) == 1 and str(segment) in report["problems"][0]
    assert rows(target.spool, "orders") == by_time(rows(tmp_path / "copy", "orders", expect=(1,)), "ts_intent")


@pytest.mark.parametrize("arguments, problem", [
    ((), "either --socket or --rings"), (("--socket", "a", "--rings", "b"), "either --socket or --rings"), (("--socket", "a", "--drop-when-full"), "--drop-when-full is for --rings"),
    (("--socket", "a", "--speed", "fast"), "speed"), (("--socket", "a", "--since", "2026-01-02", "--until", "2026-01-02"), "--since is not before --until"),
    (("--rings", "/nowhere", "--ring-size", "3MiB"), "a power of two"), (("--rings", "/nowhere", "--ring-size", "big"), "expected a size"), (("--socket", "a", "--patience", "0s"), "expected a duration"),
    (("--socket", "a", "nothing"), "has no table nothing; it has account_state"), (("--rings", "/tmp", "--client", "a/b"), "the producer's name may have")])
def test_wrong_use_is_said(arguments: tuple[str, ...], problem: str, recorded: Path) -> None:
    done = run([binary("spool-loader"), "replay", "--spool", recorded, *arguments], expect=(64,))
    assert problem in done.stderr


# What only ClickHouse has


def test_what_only_clickhouse_has_comes_by_way_of_json(make_pipeline: MakePipeline, day_file: Path, make_target: Any) -> None:
    """As docs/replay.md says it."""
    pipeline: Pipeline = make_pipeline()
    pipeline.start_clickhouse()
    pipeline.import_files(day_file)
    pipeline.load_once()
    page = (clients.ROOT / "docs" / "replay.md").read_text()
    query = page.split("```sql\n")[1].split("```")[0]
    assert "orders" in query
    lines = pipeline.directory / "exported.jsonl"
    lines.write_text(pipeline.clickhouse.query(query))
    run([binary("spool-writer"), "import", "--spool", pipeline.directory / "again", "--schemas", pipeline.schemas, lines])
    assert sorted(map(json.dumps, rows(pipeline.directory / "again", "orders"))) == sorted(map(json.dumps, rows(pipeline.spool, "orders")))
