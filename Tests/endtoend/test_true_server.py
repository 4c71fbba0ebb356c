"""The loader and a true ClickHouse 18.16: what only a server shows that can be killed, frozen, filled up and locked.

It knows neither LZ4 bodies nor dedup tokens nor DateTime64, so nothing but the loader's questions keeps rows from being lost or doubled. KILLS and
FREEZES repeat the two tests of it more often; SEED repeats their choices.
"""
from __future__ import annotations

import gzip
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import true_server
from checks import assert_every_value_equal, assert_exactly_once
from conftest import ROOT, MakePipeline
from pipeline import SCHEMAS, Pipeline, Process, Trouble, binary, run, wait_until
from true_server import TrueServer, old_table

pytestmark = pytest.mark.skipif(true_server.program() is None, reason="no clickhouse-server 18.16 here; scripts/setup --test installs it on Debian 12")

CODEGEN_SCHEMAS = ROOT / "Tests" / "Codegen" / "schemas"
SEED = int(os.environ.get("SEED", random.randrange(1_000_000)))
START = 1_767_323_045_000_000_000

SETTINGS = """
[writer]
chunk_rows = {chunk_rows}
[loader]
batch_rows = {batch_rows}
linger = "0ms"
poll = "20ms"
timeout = "20s"
backoff = "20ms"
backoff_max = "200ms"
"""


class OldPipeline(Pipeline):
    """A spool of one table of ticks, a loader, and a true server; `schemas` says otherwise."""

    def __init__(self, directory: Path, schemas: Path, chunk_rows: int = 100, batch_rows: int = 200, data: Path | None = None,
                 timeout: str = "20s") -> None:
        super().__init__(directory, settings=SETTINGS.format(chunk_rows=chunk_rows, batch_rows=batch_rows))
        self.schemas = schemas
        self.set_timeout(timeout)
        self.clickhouse = self.server = TrueServer(directory, data)
        self.loader = Process("spool-loader", self.loader_command("run"), directory / "loader.log")

    def set_timeout(self, timeout: str) -> None:
        """Of the programs that are started from now on."""
        self.config.write_text(re.sub(r'timeout = ".*"', f'timeout = "{timeout}"', self.config.read_text()))

    def create_tables(self) -> None:
        for file in sorted(self.schemas.glob("*.sql")):
            self.server.query(old_table(file.read_text()))

    def import_files(self, *files: Path, expect: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        return run([binary("spool-writer"), "import", "--config", self.config, "--spool", self.spool, "--schemas", self.schemas, *files], expect)

    @property
    def said(self) -> str:
        """What the loader has logged."""
        return self.loader.log.read_text() if self.loader.log.exists() else ""

    def rows(self, table: str = "ticks") -> int:
        """Rows that are there; 0 while the server cannot say."""
        try:
            return int(self.server.query(f"SELECT count() FROM {table}", timeout=2))
        except (OSError, Trouble):
            return 0


MakeOld = Callable[..., OldPipeline]


@pytest.fixture
def tick_schemas(tmp_path: Path) -> Path:
    directory = tmp_path / "schemas"
    directory.mkdir()
    (directory / "0001_ticks.sql").write_text((CODEGEN_SCHEMAS / "0002_ticks.sql").read_text())
    return directory


@pytest.fixture
def make_old(tmp_path: Path, tick_schemas: Path) -> Iterator[MakeOld]:
    made: list[OldPipeline] = []

    def make(start: bool = True, **options: object) -> OldPipeline:
        pipeline = OldPipeline(tmp_path / "old", **{"schemas": tick_schemas, **options})  # type: ignore[arg-type]
        made.append(pipeline)
        if start:
            pipeline.server.start_and_wait()
            pipeline.create_tables()
        return pipeline

    yield make
    for pipeline in made:
        pipeline.kill()


def ticks(path: Path, count: int, first: int = 0) -> Path:
    """`count` ticks whose numbers go on from `first`."""
    with open(path, "w") as file:
        for number in range(first, first + count):
            file.write(json.dumps({"table": "ticks", "ts": START + number * 1000, "symbol": f"S{number % 7}", "number": number, "note": "n" * (number % 40)}) + "\n")
    return path


def assert_all_ticks_once(old: OldPipeline, count: int) -> None:
    """By count, by sequence, by value, and by the loader's own audit."""
    found = old.server.query("SELECT count(), uniqExact(spool_writer, spool_seq), uniqExact(number), sum(number), min(spool_seq), max(spool_seq) FROM ticks").split()
    assert found == [str(value) for value in (count, count, count, count * (count - 1) // 2, 1, count)], f"SEED={SEED}\n{old.said[-4000:]}"
    old.run_loader("audit")


# Values


def every_type_lines(count: int) -> Iterator[str]:
    """Rows with a value in each column of every_type, the extremes of the types among them."""
    pick = random.Random(7)
    for row in range(count):
        low, none = row % 3 == 0, row % 4 == 0
        side = pick.choice(["buy", "sell"])

        def some(value: object) -> object:
            return None if none else value

        def integer(bits: int, signed: bool = True) -> int:
            least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
            return pick.choice([least, most, pick.randint(least, most)])

        def decimal(digits: int, scale: int) -> str:
            value = "9" * digits if low else str(pick.randrange(10 ** (digits - 1), 10 ** digits))
            return f"-{value[:-scale]}.{value[-scale:]}"

        identifier = f"{pick.randrange(1 << 32):08x}-{pick.randrange(1 << 16):04x}-4455-6677-{pick.randrange(1 << 48):012x}"
        text = pick.choice(["", "Zürich", "a\tb\nc\\d", "x" * 300])
        yield json.dumps({
            "table": "every_type", "flag": low, "ts": START + row, "i8": integer(8), "i16": integer(16), "i32": integer(32), "i64": integer(64),
            "u8": integer(8, False), "u16": integer(16, False), "u32": integer(32, False), "u64": integer(64, False), "f32": row / 8, "f64": row / 7,
            "d32": decimal(9, 2), "d64": decimal(18, 8), "d128": decimal(38, 10), "day": "2026-02-28", "sec": "2026-02-28T23:59:59Z",
            "id": identifier, "code": "EUR", "text": text, "name": f"name {row % 300}", "side": side, "kind": pick.choice(["a b", "it's", "", "default", "2d"]),
            "n_flag": some(True), "n_ts": some(START - row), "n_i64": some(integer(64)), "n_u8": some(row % 256), "n_f64": some(-row / 3), "n_d32": some(decimal(9, 2)),
            "n_d128": some(decimal(38, 10)), "n_day": some("1970-01-01"), "n_id": some(identifier), "n_code": some("ab"), "n_text": some(text),
            "n_name": some(f"n{row % 5}"), "n_side": some(side), "a_flag": [True, False][:row % 3], "a_ts": [START, START + row][:row % 3],
            "a_i16": [integer(16) for _ in range(row % 4)], "a_u64": [integer(64, False) for _ in range(row % 4)], "a_f32": [0.5, -0.25][:row % 3],
            "a_f64": [row / 3] * (row % 5), "a_d64": [decimal(18, 8)] * (row % 2), "a_d128": [decimal(38, 10)] * (row % 3), "a_day": ["2106-02-07"] * (row % 2),
            "a_id": [identifier] * (row % 3), "a_text": [text, "t"][:row % 3], "a_side": [side] * (row % 3),
        }) + "\n"


def raw_rows(url: str, table: str, columns: list[str]) -> bytes:
    """All rows in the order of their sequence, as the server's own binary form: the same for types of the same bytes."""
    names = ", ".join(f"`{name}`" for name in columns)
    request = urllib.request.Request(url, f"SELECT {names} FROM {table} ORDER BY spool_seq FORMAT RowBinary".encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def test_every_value_is_what_a_new_server_has(make_old: MakeOld, make_pipeline: MakePipeline, tmp_path: Path, day_file: Path, market_file: Path) -> None:
    schemas = tmp_path / "all"
    schemas.mkdir()
    # Those that events are recorded into, as they were made at first.
    for file in SCHEMAS.glob("000?_*.sql"):
        (schemas / file.name).write_text(file.read_text())
    (schemas / "0010_every_type.sql").write_text((CODEGEN_SCHEMAS / "0001_every_type.sql").read_text())
    every_type = tmp_path / "every_type.jsonl"
    every_type.write_text("".join(every_type_lines(1_000)))
    old = make_old(schemas=schemas, chunk_rows=300, batch_rows=2_000)
    old.import_files(day_file, market_file, every_type)
    said = old.load_once()
    assert "older than 22.2" in said.stderr
    new = make_pipeline()
    new.clickhouse.start_and_wait()
    new.spool = old.spool
    run([binary("spool-loader"), "migrate", "apply", "--schemas", schemas, "--url", new.clickhouse.url])
    new.load_once()
    old.run_loader("audit")
    tables = [name for name, in new.clickhouse.rows("SELECT name FROM system.tables WHERE database = 'default' AND name != 'coldpath_migrations'")]
    assert len(tables) == 10
    for table in tables:
        columns = [name for name, in new.clickhouse.rows(f"SELECT name FROM system.columns WHERE table = '{table}' AND database = 'default'")]
        expected = raw_rows(new.clickhouse.url, table, columns)
        assert expected and raw_rows(old.clickhouse.url, table, columns) == expected, table
    # One insert, one block, one part: else an insert could arrive in part.
    assert int(old.server.query("SELECT max(rows) FROM system.parts WHERE table = 'every_type' AND level = 0")) == 1_000


def test_plain_rows_go_into_a_new_server_too(make_pipeline: MakePipeline, day_file: Path) -> None:
    new = make_pipeline(settings=SETTINGS.format(chunk_rows=100, batch_rows=2_000) + 'wire = "plain"\n')
    new.start_clickhouse()
    new.import_files(day_file)
    new.load_once()
    assert_exactly_once(new, day_file)
    assert_every_value_equal(new, day_file)


def test_columns_that_18_16_knows_on_request_take_dictionaries(make_old: MakeOld, tmp_path: Path) -> None:
    old = make_old()
    old.server.query("DROP TABLE ticks")
    old.server.query("CREATE TABLE ticks (ts Int64, symbol LowCardinality(String), number UInt32, note String, spool_writer LowCardinality(String), "
                     "spool_seq UInt64) ENGINE = MergeTree ORDER BY ts", allow_experimental_low_cardinality_type="1")
    old.import_files(ticks(tmp_path / "t.jsonl", 1_000))
    old.load_once()
    assert_all_ticks_once(old, 1_000)
    assert old.server.query("SELECT uniqExact(symbol), min(symbol), max(symbol), any(spool_writer) != '' FROM ticks").split() == ["7", "S0", "S6", "1"]


def test_migrate_says_that_tables_are_made_by_hand(make_old: MakeOld) -> None:
    old = make_old()
    failed = run([binary("spool-loader"), "migrate", "apply", "--schemas", SCHEMAS, "--url", old.server.url], expect=(1,))
    assert "is 18.16" in failed.stderr and "docs/clickhouse.md" in failed.stderr
    assert old.server.query("SHOW TABLES").split() == ["ticks"]


def test_types_that_differ_are_said_before_anything_is_sent(make_old: MakeOld, tmp_path: Path) -> None:
    old = make_old()
    old.server.query("DROP TABLE ticks")
    old.server.query("CREATE TABLE ticks (ts DateTime, symbol String, number UInt32, note String, spool_writer String, spool_seq UInt64) ENGINE = MergeTree ORDER BY ts")
    old.import_files(ticks(tmp_path / "t.jsonl", 10))
    failed = old.load_once(expect=(74,))
    assert "column ts is DateTime64(9, 'UTC') in the spool and DateTime in ClickHouse, which must have it as Int64" in failed.stdout
    assert old.rows() == 0


# What the server does with a body that ends early: why rows are sent in a gzip stream


def native_block(values: list[int]) -> bytes:
    return bytes([1, len(values)]) + b"\x01x\x05Int64" + struct.pack(f"<{len(values)}q", *values)


def post_cut(server: TrueServer, body: bytes, declared: int, header: str = "") -> str:
    """Send a body and end the connection's sending side; the answer's status line."""
    query = urllib.parse.quote("INSERT INTO cut (x) FORMAT Native")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        head = f"POST /?query={query} HTTP/1.1\r\nHost: h\r\nContent-Length: {declared}\r\n{header}\r\n"
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").readline().decode().strip()


def test_a_body_that_ends_between_two_blocks_is_refused_only_in_a_gzip_stream(make_old: MakeOld) -> None:
    server = make_old().server
    server.query("CREATE TABLE cut (x Int64) ENGINE = MergeTree ORDER BY x")
    first, second = native_block([1, 2, 3]), native_block([4, 5, 6])
    assert post_cut(server, first, len(first + second)).endswith("200 OK")
    assert server.query("SELECT count() FROM cut").strip() == "3", "half of an insert is kept"
    packer = zlib.compressobj(0, zlib.DEFLATED, 31)
    begin = packer.compress(first) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(second) + packer.flush()
    assert gzip.decompress(begin + end) == first + second
    for cut in (0, len(begin), len(begin + end) - 8, len(begin + end) - 1):
        assert " 500 " in post_cut(server, (begin + end)[:cut], len(begin + end), "Content-Encoding: gzip\r\n"), cut
    assert server.query("SELECT count() FROM cut").strip() == "3"


# Exactly once, without tokens


def statistics(old: OldPipeline) -> str:
    """What the loader met, for those who repeat a test many times."""
    asked = re.findall(r"asked for rows .*: (\d+) of (\d+) are there", old.said)
    there = sum(present == rows for present, rows in asked)
    return (f"{len(asked)} batches asked for, {there} of them were there; {old.said.count('still works on')} inserts waited for; "
            f"{old.said.count('before anything of the rows was sent')} withheld")


def test_kills_of_server_and_loader_lose_and_double_nothing(make_old: MakeOld, tmp_path: Path) -> None:
    kills = int(os.environ.get("KILLS", "12"))
    pick = random.Random(SEED)
    count = 2_500 * kills
    old = make_old(chunk_rows=50, batch_rows=100)
    old.import_files(ticks(tmp_path / "t.jsonl", count))
    old.loader.start()
    killed = {"server": 0, "loader": 0}
    for _ in range(kills):
        before = old.rows()
        assert wait_until(lambda: old.rows() > before or before == count, 30, step=0.02), f"SEED={SEED}\n{old.said[-4000:]}"
        time.sleep(pick.random() * 0.1)
        victim = pick.choice(["server", "server", "loader"])
        killed[victim] += 1
        if victim == "server":
            old.server.kill()
            # Sometimes back at once, sometimes after connections were refused.
            time.sleep(pick.choice([0, 0.3]))
            old.server.start_and_wait()
        else:
            old.loader.kill()
            old.loader.start()
    assert wait_until(lambda: old.rows() >= count, 60 + kills, step=0.1), f"SEED={SEED}\n{old.said[-4000:]}"
    # One that was started a moment ago may not listen for the signal yet.
    assert old.loader.stop() in (0, -signal.SIGTERM)
    old.load_once()
    assert_all_ticks_once(old, count)
    print(f"SEED={SEED} {killed} " + statistics(old))


def test_a_server_that_freezes_within_inserts_gets_each_row_once(make_old: MakeOld, tmp_path: Path) -> None:
    """The dangerous case: the request has timed out, and the insert goes on once the server is thawed."""
    freezes = int(os.environ.get("FREEZES", "4"))
    pick = random.Random(SEED)
    count = 15_000 * freezes
    old = make_old(chunk_rows=500, batch_rows=3_000, timeout="1s")
    old.import_files(ticks(tmp_path / "t.jsonl", count))
    old.loader.start()
    for _ in range(freezes):
        before = old.rows()
        if before < count:
            assert wait_until(lambda: old.rows() > before, 30, step=0.001), f"SEED={SEED}\n{old.said[-4000:]}"
        time.sleep(pick.random() * 0.02)
        old.server.freeze()
        time.sleep(1.2)
        old.server.thaw()
    assert wait_until(lambda: old.rows() >= count, 60, step=0.1), f"SEED={SEED}\n{old.said[-4000:]}"
    assert old.loader.stop() == 0
    old.set_timeout("20s")
    old.load_once()
    assert_all_ticks_once(old, count)
    assert "timed out: nothing was sent or received" in old.said, old.said
    print(f"SEED={SEED} " + statistics(old))


class StallingProxy:
    """A network that stalls within the body of the first insert until it is told to go on. It holds next to nothing itself: what it has not
    taken yet waits in the sender's kernel."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._has_stalled = False
        self.stalled, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            head = client.recv(4_096)
            server.sendall(head)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            stalls = b"INSERT" in head and not self._has_stalled
            if stalls:
                self._has_stalled = True
                server.sendall(client.recv(1_024))
                self.stalled.set()
                self.go_on.wait()
            self._pump(client, server)
            back.join(20)
            if stalls:
                self.ended.set()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # Reset: the other side learns of it.
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def test_nothing_of_an_insert_that_timed_out_arrives_later(make_old: MakeOld, tmp_path: Path) -> None:
    """The loader's kernel has the whole body when the request times out; the batch is sent again; then the network works again."""
    old = make_old(chunk_rows=10_000, batch_rows=10_000, timeout="1s")
    old.import_files(ticks(tmp_path / "t.jsonl", 10_000))
    proxy = StallingProxy(old.server.port)
    try:
        old.loader = Process("spool-loader", [proxy.url if part == old.server.url else part for part in old.loader_command("run")], old.loader.log)
        old.loader.start()
        assert proxy.stalled.wait(20), old.said
        assert wait_until(lambda: old.rows() == 10_000, 30, step=0.05), old.said
        proxy.go_on.set()
        assert proxy.ended.wait(30)
        old.loader.stop()
    finally:
        proxy.close()
    old.set_timeout("20s")
    old.load_once()
    assert_all_ticks_once(old, 10_000)


# What an operator meets


def test_a_server_that_is_down_is_waited_for(make_old: MakeOld, tmp_path: Path) -> None:
    old = make_old(start=False)
    old.import_files(ticks(tmp_path / "t.jsonl", 1_000))
    old.loader.start()
    assert wait_until(lambda: "ouldn't connect" in old.said, 10), old.said
    assert "tries again, nothing is lost" in old.said
    old.server.start_and_wait()
    # Not there either, at first.
    assert wait_until(lambda: "table ticks is not in ClickHouse" in old.said, 10), old.said
    old.create_tables()
    assert wait_until(lambda: old.rows() == 1_000, 10, step=0.05), old.said
    old.loader.stop()
    assert_all_ticks_once(old, 1_000)


def test_a_password_that_is_wrong_for_a_while(make_old: MakeOld, tmp_path: Path) -> None:
    old = make_old(start=False)
    old.server.set_password("battery staple")
    old.server.start_and_wait()
    old.create_tables()
    old.import_files(ticks(tmp_path / "t.jsonl", 1_000))
    (tmp_path / "password").write_text("correct horse\n")
    old.loader = Process("spool-loader", old.loader_command("run", "--user", "recorder", "--password-file", tmp_path / "password"), old.loader.log)
    old.loader.start()
    assert wait_until(lambda: "Wrong password for user recorder" in old.said, 10), old.said
    assert old.rows() == 0 and old.loader.is_alive
    old.server.set_password("correct horse")
    assert wait_until(lambda: old.rows() == 1_000, 20, step=0.05), old.said
    old.loader.stop()
    assert "horse" not in old.said
    assert_all_ticks_once(old, 1_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of its own, of 32 MB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(directory)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here (it takes root): {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def test_rows_arrive_once_there_is_room_again(make_old: MakeOld, tmp_path: Path, small_disk: Path) -> None:
    old = make_old(data=small_disk / "data", chunk_rows=500, batch_rows=2_000)
    old.import_files(ticks(tmp_path / "t.jsonl", 20_000))
    filler = small_disk / "filler"
    with open(filler, "wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    old.loader.start()
    assert wait_until(lambda: "tries again, nothing is lost" in old.said, 20), old.said
    time.sleep(1)
    assert old.rows() < 20_000 and old.loader.is_alive
    filler.unlink()
    assert wait_until(lambda: old.rows() == 20_000, 30, step=0.05), old.said
    old.loader.stop()
    assert_all_ticks_once(old, 20_000)
