"""Producers that do not know that a schema has moved, and a writer that was restarted with the new one, or killed: every row is there once, as the
table is by now."""
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import clients
from conftest import QUICK, MakePipeline
from pipeline import Process, binary, run, wait_until
from rings import ATTACHED, COLUMNS, RingWriter, declaration
from send_events import Producer

QUOTES = """
CREATE TABLE IF NOT EXISTS quotes (
    ts DateTime64(9, 'UTC'), n UInt32, symbol LowCardinality(String), price Decimal(9, 2), side Enum8('buy' = 1, 'sell' = 2),
    venue String DEFAULT 'none', level Int8, ratio Float32, size Nullable(UInt16), steps Array(Int16),
    spool_writer LowCardinality(String), spool_seq UInt64, INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1)
ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (ts, spool_seq)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
"""
ADDED = """
ALTER TABLE quotes ADD COLUMN IF NOT EXISTS fee Decimal(18, 4) DEFAULT 0.25 AFTER n, ADD COLUMN IF NOT EXISTS tags Array(String),
    ADD COLUMN IF NOT EXISTS note Nullable(String) AFTER symbol;
"""
MOVED = """
ALTER TABLE quotes RENAME COLUMN IF EXISTS price TO px, DROP COLUMN IF EXISTS venue, MODIFY COLUMN n Int64,
    MODIFY COLUMN px Nullable(Decimal(38, 10)), MODIFY COLUMN side Enum16('buy' = 1, 'sell' = 2, 'short' = 300), MODIFY COLUMN level Int32,
    MODIFY COLUMN ratio Float64, MODIFY COLUMN size Nullable(UInt64), MODIFY COLUMN steps Array(Int64);
"""
START = 1_790_000_000_000_000_000
SETTINGS = QUICK.replace("chunk_rows = 100", "chunk_rows = 100\nchunk_age = \"20ms\"\nsync = \"every 10ms\"")

C_PRODUCER = """
#include "quotes.h"
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static spool_ring ring;
    long rows = argc == 3 ? atol(argv[2]) : 0;
    if (spool_ring_open(&ring, argv[1], "old-c", 1 << 16, coldpath_tables, COLDPATH_TABLE_COUNT) != 0) return 74;
    spool_name symbol = spool_intern(&ring, "BTCUSDT");
    for (long n = 0; n < rows; n++) {
        int16_t steps[] = {-32768, (int16_t)n, 32767};
        quotes_row row = {
            .ts = spool_time(1790000000000000000 + n), .n = (uint32_t)n, .symbol = symbol, .price = spool_decimal32_2(-999999999), .side = quotes_side_sell,
            .venue = SPOOL_SET(spool_text("XNYS")), .level = -128, .ratio = 0.5f, .size = SPOOL_SET(65535), .steps = {steps, (uint32_t)(n % 4)}};
        while (quotes_publish(&ring, &row) != SPOOL_PUBLISHED) usleep(1000);
        usleep(200);
    }
    if (!spool_ring_wait_durable(&ring, spool_ring_position(&ring), 30000)) return 75;
    printf("%llu refused\\n", (unsigned long long)spool_ring_refused(&ring));
    spool_ring_close(&ring);
    return 0;
}
"""
PYTHON_PRODUCER = """
import sys, time
import coldpath, quotes

with coldpath.Ring(sys.argv[1], producer="old-python", tables=quotes.TABLES, data_bytes=1 << 16, when_full="return") as ring:
    for n in range(int(sys.argv[2])):
        while not (position := quotes.quotes(
                ring, ts=1790000000000000000 + n, n=n, symbol="BTCUSDT", price="-9999999.99", side="sell", venue="XNYS", level=-128, ratio=0.5,
                size=65535, steps=[-32768, (n + 32768) % 65536 - 32768, 32767][:n % 4])):
            time.sleep(0.001)
        time.sleep(0.0002)
    assert ring.wait_durable(position, timeout=30)
    print(ring.refused_rows, "refused")
"""


class Scene:
    """A writer with schemas that move."""

    def __init__(self, work: Path, schema: str = QUOTES) -> None:
        self.work, self.spool, self.rings, self.schemas = work, work / "spool", work / "rings", work / "schemas"
        for directory in (self.rings, self.schemas):
            directory.mkdir(parents=True)
        self.move(schema)
        (work / "coldpath.toml").write_text(SETTINGS)
        self.socket = Path(os.path.relpath(work / "writer.sock"))
        self.writer = Process("spool-writer", [
            binary("spool-writer"), "run", "--config", work / "coldpath.toml", "--spool", self.spool, "--schemas", self.schemas, "--socket", self.socket,
            "--rings", self.rings], work / "writer.log")

    def move(self, sql: str) -> None:
        number = len(list(self.schemas.iterdir())) + 1
        (self.schemas / f"{number:04}_moved.sql").write_text(sql)

    def start(self) -> None:
        self.writer.start()

        def listens() -> bool:
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(self.socket)) == 0

        assert wait_until(lambda: listens() or not self.writer.is_alive, 20) and self.writer.is_alive, self.log

    @property
    def log(self) -> str:
        return self.writer.log.read_text(errors="replace") if self.writer.log.exists() else ""

    def lines(self, *texts: object) -> list[str]:
        return [line for line in self.log.splitlines() if all(str(text) in line for text in texts)]

    def rows(self, table: str = "quotes") -> list[dict[str, Any]]:
        run([binary("spool-loader"), "verify", "--spool", self.spool])
        said = run([binary("spool-loader"), "cat", table, "--spool", self.spool, "--format", "json"]).stdout
        return [json.loads(line) for line in said.splitlines()]

    def recorded(self) -> int:
        """Rows that are durable by now; the spool is being written."""
        found = subprocess.run([binary("spool-loader"), "cat", "quotes", "--spool", self.spool], capture_output=True, text=True)
        return found.stdout.count("\n")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.writer.kill()


def expected(n: int, row: dict[str, Any]) -> dict[str, Any]:
    """The row of the producers above, by the columns that its segment has."""
    same = {"table": "quotes", "ts": row["ts"], "n": n, "symbol": "BTCUSDT", "side": "sell", "level": -128, "ratio": 0.5, "size": 65535,
            "steps": [-32768, (n + 32768) % 65536 - 32768, 32767][:n % 4], "spool_writer": row["spool_writer"], "spool_seq": n + 1}
    if "fee" in row:
        same |= {"fee": "0.2500", "tags": [], "note": None}
    return same | ({"px": "-9999999.9900000000"} if "px" in row else {"price": "-9999999.99", "venue": "XNYS"})


def stage(row: dict[str, Any]) -> int:
    return 0 if "fee" not in row else 1 if "px" not in row else 2


def assert_each_once(rows: list[dict[str, Any]], count: int, stages: set[int]) -> None:
    assert len(rows) == count
    for n, row in enumerate(rows):
        assert row == expected(n, row), row
    assert [stage(row) for row in rows] == sorted(stage(row) for row in rows)
    assert {stage(row) for row in rows} == stages


# Rings


def c_producer(scene: Scene) -> list[str]:
    source = scene.work / "producer.c"
    source.write_text(C_PRODUCER)
    header = run([binary("spool-writer"), "codegen", "--lang", "c", "--schemas", scene.schemas]).stdout
    (scene.work / "quotes.h").write_text(header)
    clients.compiled([clients.C_COMPILERS[0], "-std=gnu11", *clients.C_FLAGS, f"-I{scene.work}", source, "-o", scene.work / "producer"])
    return [str(scene.work / "producer")]


def python_producer(scene: Scene) -> list[str]:
    (scene.work / "quotes.py").write_text(run([binary("spool-writer"), "codegen", "--lang", "python", "--schemas", scene.schemas]).stdout)
    (scene.work / "producer.py").write_text(PYTHON_PRODUCER)
    return [sys.executable, "-W", "error", str(scene.work / "producer.py")]


@pytest.mark.parametrize("made", [c_producer, python_producer])
def test_generated_code_of_an_old_schema_outlives_writers_and_their_schemas(scene: Scene, made: Callable[[Scene], list[str]]) -> None:
    if made is c_producer and not clients.C_COMPILERS:
        pytest.skip("no C compiler")
    command = made(scene)
    environment = os.environ | {"PYTHONPATH": f"{scene.work}:{clients.python_packages()}"} if made is python_producer else None
    scene.start()
    count = 4_000
    with subprocess.Popen([*command, str(scene.rings), str(count)], stdout=subprocess.PIPE, text=True, env=environment) as producer:
        for sql in (ADDED, MOVED):
            before = scene.recorded()
            assert wait_until(lambda: scene.recorded() > before + 300, 20), scene.log
            scene.writer.kill()
            scene.move(sql)
            scene.start()
        said, _ = producer.communicate(timeout=60)
    assert (producer.returncode, said) == (0, "0 refused\n"), scene.log
    assert wait_until(lambda: not list(scene.rings.glob("*.ring")), 20), scene.log
    assert scene.writer.stop() == 0, scene.log
    assert_each_once(scene.rows(), count, {0, 1, 2})
    assert len(scene.lines("quotes.venue was dropped", "not recorded any more", scene.rings)) == 1
    assert len(scene.lines("declares quotes as it once was", "price is px by now", "level was Int8 and is Int32")) == 1


def columns(*changed: tuple[str, str, int, int]) -> bytes:
    """A declaration of `ticks` with other columns."""
    return declaration("ticks", [*COLUMNS, *changed])


def test_a_producer_ahead_of_the_schemas_waits_for_a_writer_that_has_them(tmp_path: Path) -> None:
    writer = RingWriter(tmp_path, SETTINGS)
    try:
        writer.start()
        # A column more than the writer knows; what lies there is the row's note.
        newer = writer.ring(tables=columns(("venue", "String", 1, 20)))
        newer.publish(1, b"abc")
        writer.expect_line("ring held", newer.path, "the schema has no column venue", "spool-loader migrate apply", "restart the writer")
        assert newer.state != ATTACHED
        writer.feed()
        writer.process.kill()
        (tmp_path / "schemas" / "0002_venue.sql").write_text("ALTER TABLE ticks ADD COLUMN IF NOT EXISTS venue String DEFAULT '';")
        writer.start()
        writer.settle(newer)
        assert newer.state == ATTACHED
        # Segments of two schemas, a ring that knows the new column and one that does not.
        writer.finish([1])
    finally:
        writer.kill()


def test_hostile_declarations_of_a_dropped_column_hold_their_ring_only(tmp_path: Path) -> None:
    writer = RingWriter(tmp_path, SETTINGS)
    try:
        (tmp_path / "schemas" / "0002_old.sql").write_text("ALTER TABLE ticks ADD COLUMN IF NOT EXISTS old String DEFAULT '';")
        (tmp_path / "schemas" / "0003_old.sql").write_text("ALTER TABLE ticks DROP COLUMN IF EXISTS old;")
        writer.start()
        bad = {"beyond": ("old", "String", 1, 21), "far": ("old", "String", 1, 0xFFFFFFFF), "storage": ("old", "String", 0, 0),
               "no type": ("old", "Strin", 1, 0), "wide": ("old", "FixedString(4096)", 0, 0), "deep": ("old", "Array(" * 10_000, 3, 0)}
        for column in bad.values():
            ring = writer.ring(tables=columns(column))
            ring.publish(7)
            writer.expect_line("ring held", ring.path, "column old")
            assert ring.state != ATTACHED and not writer.lines("set aside")
        for column in (("old", "String", 1, 20), ("old", "UInt64", 0, 3), ("old", "Array(UUID)", 3, 0)):
            ring = writer.ring(tables=columns(column))
            ring.publish(8, b"note")
            writer.settle(ring)
            writer.expect_line("ticks.old was dropped", ring.path)
            ring.close()
        writer.finish([8, 8, 8])
    finally:
        writer.kill()


# JSON lines


def line(n: int) -> bytes:
    return json.dumps({"table": "quotes", "ts": START + n, "n": n, "symbol": "BTCUSDT", "price": "-9999999.99", "side": "sell", "venue": "XNYS",
                       "level": -128, "ratio": 0.5, "size": 65535, "steps": [-32768, (n + 32768) % 65536 - 32768, 32767][:n % 4]}).encode() + b"\n"


def test_json_lines_of_an_old_producer_outlive_writers_and_their_schemas(scene: Scene) -> None:
    scene.start()
    refusals: list[dict[str, Any]] = []
    producer = Producer(str(scene.socket), "engine", refusals.append)
    sent = 0

    def send(rows: int, until: int) -> None:
        nonlocal sent
        for _ in range(rows):
            producer.put(line(sent))
            sent += 1
            producer.pump(0.0)
        assert wait_until(lambda: producer.pump(0.01) is not None and producer.durable >= until, 20), scene.log

    send(1_000, 500)
    for sql in (ADDED, MOVED):
        # With lines on their way that are accepted and not durable.
        for _ in range(300):
            producer.put(line(sent))
            sent += 1
        producer.pump(0.0)
        scene.writer.kill()
        scene.move(sql)
        scene.start()
        send(1_000, sent + 500)
    assert producer.finish(20), scene.log
    assert producer.reconnects == 2 and refusals == []
    assert scene.writer.stop() == 0, scene.log
    assert_each_once(scene.rows(), sent, {0, 1, 2})
    assert len(scene.lines("quotes.venue was dropped", "socket:engine")) == 1


def test_import_takes_old_files_and_names_what_no_file_may_say(scene: Scene) -> None:
    scene.move(ADDED)
    scene.move(MOVED)
    good = [line(n) for n in range(100)]
    bad = [line(100).replace(b'"price"', b'"px": 1, "price"'), line(101).replace(b'"venue"', b'"venu"')]
    (scene.work / "old.jsonl").write_bytes(b"".join([*good, *bad]))
    rejects = scene.work / "rejects.jsonl"
    run([binary("spool-writer"), "import", scene.work / "old.jsonl", "--spool", scene.spool, "--schemas", scene.schemas, "--rejects", rejects],
        expect=(1,))
    assert_each_once(scene.rows(), 100, {2})
    said = [json.loads(text) for text in rejects.read_text().splitlines()]
    assert [(entry["line"], entry["field"], entry["reason"]) for entry in said] == [
        (101, "px", "given twice; price is an older name of it"), (102, "venu", "unknown field; table quotes has no such column")]


# Into ClickHouse


def test_columns_that_were_added_between_two_writers_are_loaded_with_their_defaults(
        make_pipeline: MakePipeline, tmp_path: Path) -> None:
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "0001_quotes.sql").write_text(QUOTES)
    pipeline = make_pipeline(settings=SETTINGS, schemas=schemas)
    pipeline.start_clickhouse()
    pipeline.start_writer()
    producer = Producer(str(pipeline.socket), "engine")
    for n in range(500):
        producer.put(line(n))
    assert producer.finish(20)
    for n in range(500, 800):
        producer.put(line(n))
    producer.pump(0.0)
    pipeline.writer.kill()
    (schemas / "0002_quotes.sql").write_text(ADDED)
    pipeline.run_loader("migrate", "apply")
    pipeline.start_writer()
    for n in range(800, 1_000):
        producer.put(line(n))
    assert producer.finish(20)
    new = json.loads(line(1_000)) | {"fee": "7.5", "tags": ["a", "b"], "note": "x"}
    producer.put(json.dumps(new).encode() + b"\n")
    assert producer.finish(20)
    assert pipeline.writer.stop() == 0
    pipeline.load_once()
    pipeline.run_loader("audit")
    count, distinct, last = pipeline.clickhouse.rows("SELECT toUInt32(count()), toUInt32(uniqExact(n)), max(n) FROM quotes")[0]
    assert (count, distinct, last) == (1_001, 1_001, 1_000)
    assert pipeline.clickhouse.rows("SELECT DISTINCT toString(fee), tags, note FROM quotes WHERE n < 1000") == [["0.25", [], None]]
    assert pipeline.clickhouse.rows("SELECT toString(fee), tags, note FROM quotes WHERE n = 1000") == [["7.5", ["a", "b"], "x"]]


# Settings


def test_check_config_refuses_a_section_about_a_table_that_is_not_there(scene: Scene) -> None:
    config = scene.work / "coldpath.toml"
    command = [binary("spool-writer"), "check-config", "--config", config, "--schemas", scene.schemas]
    assert "table quotes: 10 columns" in run(command).stdout
    config.write_text("[tables.quotes]\nchunk_rows = 10\n[tables.nosuch]\n")
    for asked in (command, [binary("spool-writer"), "run", *command[2:], "--spool", scene.spool, "--socket", scene.socket]):
        found = subprocess.run([str(part) for part in asked], capture_output=True, text=True, timeout=30)
        assert found.returncode == 64 and "[tables.nosuch]: schemas define no such table" in found.stderr and "they define quotes" in found.stderr
