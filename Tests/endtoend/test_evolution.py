"""Spools of every version of a table, as the writers of then made them, into tables of every version (`Tests/Evolution`)."""
from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pipeline import ROOT, SCHEMAS, ClickHouse, Process, binary, wait_until

CORPUS = ROOT / "Tests" / "Evolution"
FILES = sorted((CORPUS / "schemas").glob("*.sql"))
VERSIONS = range(1, len(FILES) + 1)
# Of each column by its newest name: the version that brought it, the one that took it away, and what it is where nobody said.
COLUMNS: dict[str, tuple[int, int, Any]] = {
    "ts": (1, 99, None), "id": (1, 99, None), "side": (1, 99, None), "px": (1, 99, None), "qty": (1, 99, None), "fee": (1, 99, 0), "small": (1, 99, 7),
    "levels": (1, 99, []), "exchange": (1, 99, "none"), "note": (1, 6, None), "session": (2, 99, "day"), "payer": (7, 99, None)}
# Rows of a newer version that an older table takes as it is: a column that is not sent any more.
TAKEN = {(6, 5)}


class Databases:
    """One server, with a database for each pair."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = ClickHouse(directory, faults=True)
        self.server.start_and_wait()
        self.config = directory / "quick.toml"
        self.config.write_text('[loader]\ntimeout = "2s"\nbackoff = "20ms"\nbackoff_max = "300ms"\npoll = "50ms"\n')
        self.schemas = {version: self._schemas(version) for version in VERSIONS}
        self._count = 0

    def _schemas(self, version: int) -> Path:
        directory = self.directory / f"schemas-{version}"
        directory.mkdir()
        for file in FILES[:version]:
            shutil.copy(file, directory)
        return directory

    def new(self, version: int) -> str:
        self._count += 1
        name = f"pair{self._count}"
        self.server.query(f"CREATE DATABASE {name}")
        self.bring_to(name, version)
        return name

    def bring_to(self, database: str, version: int) -> None:
        self.run("migrate", "apply", "--schemas", self.schemas[version], database=database)

    def command(self, *arguments: str | Path, database: str) -> list[str | Path]:
        return [binary("spool-loader"), *arguments, "--url", self.server.url, "--database", database, "--config", self.config]

    def run(self, *arguments: str | Path, database: str, expect: int = 0) -> str:
        done = subprocess.run([str(part) for part in self.command(*arguments, database=database)], capture_output=True, text=True, timeout=60)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def places(self, spool: Path, database: str) -> list[str | Path]:
        return ["--spool", spool, "--checkpoints", self.directory / f"checkpoints-{database}"]

    def count(self, database: str) -> int:
        return int(self.server.query(f"SELECT count() FROM {database}.trades"))


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    made = Databases(tmp_path_factory.mktemp("evolution"))
    yield made
    made.server.kill()


def spool(version: int) -> Path:
    return CORPUS / f"v{version}" / "spool"


def name_in(column: str, version: int) -> str:
    return column if column != "exchange" else "venue" if version < 5 else "market" if version < 7 else "exchange"


def normal(column: str, value: Any, is_single: bool = False) -> Any:
    if column in ("qty", "small", "ts"):
        return None if value is None else int(value)
    if column == "px":
        return struct.unpack("f", struct.pack("f", value))[0] if is_single else float(value)
    if column == "fee":
        return Decimal(value)
    return [int(item) for item in value] if column == "levels" else value


def expected(recorded: int, table: int) -> list[dict[str, Any]]:
    """The events as a table of that version has them, by no code of ours."""
    rows = []
    for line in (CORPUS / f"v{recorded}" / "events.jsonl").read_text().split("\n")[:-1]:
        event = json.loads(line)
        row = {}
        for column, (since, until, absent) in COLUMNS.items():
            if since <= table < until:
                value = event.get(name_in(column, recorded), absent)
                row[column] = normal(column, value, is_single=recorded < 4)
        rows.append(row)
    return rows


def found(databases: Databases, database: str, table: int) -> list[dict[str, Any]]:
    read = {"ts": "toString(toUnixTimestamp64Nano(ts))", "px": "toFloat64(px)", "qty": "toString(qty)", "fee": "toString(fee)", "small": "toString(small)"}
    names = [column for column, (since, until, _) in COLUMNS.items() if since <= table < until]
    columns = ", ".join(read.get(column, name_in(column, table)) for column in names)
    rows = databases.server.rows(f"SELECT {columns} FROM {database}.trades ORDER BY spool_seq")
    return [{column: normal(column, value) for column, value in zip(names, row)} for row in rows]


def test_the_corpus_is_as_it_was_made() -> None:
    """The events say what they should, so that a comparison of nothing with nothing cannot pass."""
    for version in VERSIONS:
        rows = expected(version, max(VERSIONS))
        assert len(rows) == 24 and len({row["id"] for row in rows}) == 24
        assert len({str(row["qty"]) for row in rows}) >= 4 and len({row["px"] for row in rows}) == 5 and len({row["exchange"] for row in rows}) == 5
    assert {row["qty"] for row in expected(4, 7)} >= {-2 ** 63, 2 ** 63 - 1}
    assert {row["side"] for row in expected(7, 7)} == {"buy", "sell", "none", "both"}


@pytest.mark.parametrize("table", VERSIONS)
@pytest.mark.parametrize("recorded", VERSIONS)
def test_rows_of_one_version_into_a_table_of_another(databases: Databases, recorded: int, table: int) -> None:
    database = databases.new(table)
    places = databases.places(spool(recorded), database)
    if recorded <= table or (recorded, table) in TAKEN:
        databases.run("run", "--once", *places, database=database)
        assert found(databases, database, table) == expected(recorded, table)
    else:
        # It waits, names the file, and goes on by itself.
        log = databases.directory / f"{database}.log"
        loader = Process("spool-loader", databases.command("run", *places, "--schemas", databases.schemas[max(VERSIONS)], database=database), log)
        loader.start()
        try:
            assert wait_until(lambda: "run `spool-loader migrate apply`" in log.read_text(), 20), log.read_text()
            assert "RecorderFailure" in log.read_text()
            assert any(file.name in log.read_text() for file in FILES[table:recorded]), log.read_text()
            assert databases.count(database) == 0
            databases.bring_to(database, recorded)
            assert wait_until(lambda: databases.count(database) == 24, 30), log.read_text()
        finally:
            loader.stop()
        table = recorded
        assert found(databases, database, table) == expected(recorded, table)
    databases.run("audit", *places, database=database)


def test_old_rows_are_backfilled_and_what_is_there_is_not_sent_twice(databases: Databases) -> None:
    """A part of the rows comes from a table that was altered after they had been loaded."""
    database = databases.new(2)
    places = databases.places(spool(2), database)
    databases.run("run", "--once", *places, database=database)
    databases.bring_to(database, 7)
    databases.server.query(f"ALTER TABLE {database}.trades DELETE WHERE spool_seq IN (3, 4, 11, 20) SETTINGS mutations_sync = 2")
    assert databases.count(database) == 20
    said = databases.run("backfill", "--spool", spool(2), "--checkpoints", databases.directory / "backfill", database=database)
    assert found(databases, database, 7) == expected(2, 7), said
    databases.run("audit", *places, database=database)


def test_rows_that_were_refused_are_requeued_into_the_table_of_today(databases: Databases) -> None:
    database = databases.new(1)
    places = databases.places(spool(1), database)
    databases.server.query(f"ALTER TABLE {database}.trades ADD CONSTRAINT c CHECK id NOT IN ('v1-5', 'v1-17')")
    databases.run("run", "--once", *places, database=database, expect=1)
    assert databases.count(database) == 22
    databases.server.query(f"ALTER TABLE {database}.trades DROP CONSTRAINT c")
    databases.bring_to(database, 7)
    databases.run("requeue", *places, database=database)
    assert found(databases, database, 7) == expected(1, 7)
    databases.run("audit", *places, database=database)


@pytest.mark.parametrize("action", ["drop_before", "drop_after", "hang_after", "garbage_after"])
def test_translated_rows_whose_answers_are_lost_are_there_once(databases: Databases, action: str) -> None:
    database = databases.new(7)
    places = databases.places(spool(3), database)
    databases.server.plan_faults(*[{"match": "INSERT INTO `trades`", "action": action}] * 3)
    databases.run("run", "--once", *places, database=database)
    # What arrived is not sent again.
    assert len(databases.server.faults_done()) == (3 if action == "drop_before" else 1)
    assert found(databases, database, 7) == expected(3, 7)
    databases.run("audit", *places, database=database)


@pytest.mark.parametrize("action", ["hang", "hang_after"])
def test_a_table_that_is_altered_while_a_batch_is_in_doubt_gets_it_once(databases: Databases, action: str) -> None:
    """The loader is killed in the middle of its first insert; then columns are renamed and dropped, and it starts again."""
    database = databases.new(3)
    places = databases.places(spool(3), database)
    databases.server.plan_faults({"match": "INSERT INTO `trades`", "action": action})
    loader = Process("spool-loader", databases.command("run", *places, database=database), databases.directory / "killed.log")
    loader.start()
    assert wait_until(lambda: bool(databases.server.faults_done()), 20)
    loader.kill()
    databases.bring_to(database, 7)
    databases.run("run", "--once", *places, database=database)
    assert found(databases, database, 7) == expected(3, 7)
    databases.run("audit", *places, database=database)


def test_the_shipped_tables_take_what_they_took_at_first(databases: Databases, tmp_path: Path) -> None:
    """A day of all tables as the first version recorded it, into the tables of today."""
    databases.server.query("CREATE DATABASE shipped")
    databases.run("migrate", "apply", "--schemas", SCHEMAS, database="shipped")
    kept = CORPUS / "shipped-1"
    databases.run("run", "--once", "--spool", kept / "spool", "--checkpoints", tmp_path / "c", database="shipped")
    lines = [json.loads(line) for line in (kept / "events.jsonl").read_text().split("\n") if line]
    tables = {line["table"] for line in lines}
    assert len(tables) == 9
    for table in tables:
        assert int(databases.server.query(f"SELECT count() FROM shipped.{table}")) == sum(line["table"] == table for line in lines), table
    databases.run("audit", "--spool", kept / "spool", "--checkpoints", tmp_path / "c", database="shipped")
