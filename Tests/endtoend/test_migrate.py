"""`spool-loader migrate`: files to tables, whatever happens in the middle."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline import SCHEMAS, ClickHouse, Process, binary, wait_until

TRADES = """
-- Trades, as every test of the writer has them.
CREATE TABLE IF NOT EXISTS {name}
(
    ts DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4) COMMENT 'When; exactly',
    symbol LowCardinality(String),
    side Enum8('buy' = 1, 'sell' = 2),
    px Float32, -- ; no end
    qty Int32 DEFAULT 0,
    venue String DEFAULT 'x;y',
    spool_writer LowCardinality(String),
    spool_seq UInt64,
    INDEX spool_seq_minmax spool_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY {partition}
ORDER BY (symbol, ts, spool_seq)
TTL toDateTime(ts) + INTERVAL 10 YEAR DELETE
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
"""

FILES = {
    "0001_trades.sql": TRADES.format(name="trades", partition="toDate(ts)"),
    "0002_note.sql": "ALTER TABLE trades ADD COLUMN IF NOT EXISTS note Nullable(String) COMMENT 'Free text' AFTER px;\n",
    "0003_wider.sql": """-- Several statements, each with its title.
-- statement: more sides
ALTER TABLE trades MODIFY COLUMN side Enum8('buy' = 1, 'sell' = 2, 'none' = 3);
-- statement: wider numbers
ALTER TABLE trades MODIFY COLUMN px Float64, MODIFY COLUMN qty Int64;
""",
    "0004_names.sql": """-- statement: venue is called exchange
ALTER TABLE trades RENAME COLUMN IF EXISTS venue TO exchange;
-- statement: no more notes
ALTER TABLE trades DROP COLUMN IF EXISTS note;
-- statement: as fast as before
ALTER TABLE trades ADD INDEX IF NOT EXISTS by_px px TYPE minmax GRANULARITY 4, MODIFY SETTING merge_with_ttl_timeout = 3600;
""",
    "0005_by_month.sql": "-- statement: the new layout\n-- derived: takes the place of trades\n"
    + TRADES.format(name="trades_by_month", partition="toYYYYMM(ts)").strip()
    .replace("venue", "exchange").replace("px Float32", "px Float64").replace("qty Int32", "qty Int64")
    .replace("'sell' = 2)", "'sell' = 2, 'none' = 3)").replace("    INDEX", "    INDEX by_px px TYPE minmax GRANULARITY 4,\n    INDEX")
    + """
-- statement: trade places
-- done if: SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'trades'
--     AND partition_key LIKE 'toYYYYMM%'
EXCHANGE TABLES trades AND trades_by_month;
-- statement: what is there
-- for each: SELECT DISTINCT toString(toDate(ts)) FROM trades_by_month ORDER BY 1
INSERT INTO trades (ts, symbol, side, px, qty, exchange, spool_writer, spool_seq)
SELECT ts, symbol, side, px, qty, exchange, spool_writer, spool_seq FROM trades_by_month
WHERE toDate(ts) = '{each}' AND (spool_writer, spool_seq) NOT IN (SELECT spool_writer, spool_seq FROM trades WHERE toDate(ts) = '{each}');
-- statement: the old one goes
-- needs: SELECT count() = 0 FROM trades_by_month
--     WHERE (spool_writer, spool_seq) NOT IN (SELECT spool_writer, spool_seq FROM trades)
DROP TABLE IF EXISTS trades_by_month;
""",
    "0006_view.sql": "CREATE OR REPLACE VIEW latest AS SELECT symbol, max(ts) AS ts FROM trades GROUP BY symbol",
}


class Databases:
    """A server for all tests of this file; each has databases of its own."""

    def __init__(self, directory: Path) -> None:
        self.server = ClickHouse(directory, faults=True)
        self.server.start_and_wait()
        self.directory = directory
        self._count = 0

    def new(self) -> str:
        self._count += 1
        name = f"db{self._count}"
        self.server.query(f"CREATE DATABASE {name}")
        return name

    def drop(self, database: str) -> None:
        self.server.query(f"DROP DATABASE {database}")

    def command(self, verb: str, schemas: Path, database: str, *more: str) -> list[str | Path]:
        return [binary("spool-loader"), "migrate", verb, "--schemas", schemas, "--url", self.server.url, "--database", database,
                "--config", self.settings(), *more]

    def settings(self) -> Path:
        path = self.directory / "quick.toml"
        path.write_text('[loader]\ntimeout = "5s"\nbackoff = "20ms"\nbackoff_max = "200ms"\n')
        return path

    def migrate(self, verb: str, schemas: Path, database: str, *more: str, expect: int = 0) -> str:
        result = subprocess.run([str(part) for part in self.command(verb, schemas, database, *more)], capture_output=True, text=True, timeout=120)
        assert result.returncode == expect, result.stdout + result.stderr
        return result.stdout + result.stderr

    def definitions(self, database: str) -> dict[str, str]:
        rows = self.server.rows(
            f"SELECT name, create_table_query FROM system.tables WHERE database = '{database}' AND NOT startsWith(name, 'coldpath_')")
        return {name: text.replace(f"{database}.", "") for name, text in rows}

    def log(self, database: str) -> list[tuple[str, int, str]]:
        rows = self.server.rows(f"SELECT file, statement, toString(state) FROM {database}.coldpath_migrations ORDER BY entry")
        return [(file, statement, state) for file, statement, state in rows]

    def fill(self, database: str, rows: int = 400) -> None:
        """Rows over some days, by columns that all versions have."""
        self.server.query(
            f"INSERT INTO {database}.trades (ts, symbol, side, px, qty, spool_writer, spool_seq) SELECT toDateTime64('2026-01-30 00:00:00', 9, 'UTC') "
            f"+ number * 1000, concat('S', toString(number % 3)), if(number % 2, 'buy', 'sell'), number / 4, number * 7 - 1000, 'w', number FROM numbers({rows})")

    def content(self, database: str) -> str:
        return self.server.query(
            f"SELECT count(), sum(cityHash64(ts, symbol, toString(side), toFloat64(px), toInt64(qty), spool_writer, spool_seq)) FROM {database}.trades")


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    made = Databases(tmp_path_factory.mktemp("migrate"))
    yield made
    made.server.kill()


@pytest.fixture
def database(databases: Databases) -> str:
    databases.server.plan_faults()
    return databases.new()


def directory(at: Path, files: dict[str, str]) -> Path:
    at.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (at / name).write_text(text)
    return at


def first(count: int) -> dict[str, str]:
    return dict(list(FILES.items())[:count])


@pytest.fixture(scope="module")
def newest(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """All files, and what they make of an empty database."""
    schemas = directory(tmp_path_factory.mktemp("schemas"), FILES)
    name = databases.new()
    databases.migrate("apply", schemas, name)
    return schemas, databases.definitions(name)


# MARK: To the newest


def test_every_statement_is_done_once_and_the_tables_are_what_the_files_say(
    databases: Databases, database: str, newest: tuple[Path, dict[str, str]]
) -> None:
    schemas, definitions = newest
    said = databases.migrate("apply", schemas, database)
    assert said.count("applied ") == 12
    assert set(definitions) == {"trades", "latest"}
    assert "PARTITION BY toYYYYMM(ts)" in definitions["trades"] and "`exchange` String DEFAULT 'x;y'" in definitions["trades"]
    log = databases.log(database)
    assert [state for _, _, state in log[:12]] == ["planned"] * 12
    assert len(log) == 12 + 2 * 12 and len(set(log)) == len(log)
    assert databases.migrate("apply", schemas, database) == "nothing to do: all 12 statements are applied\n"
    assert databases.log(database) == log
    status = databases.migrate("status", schemas, database)
    assert "all applied" in status and "no table differs" in status
    assert "nothing to do" in databases.migrate("plan", schemas, database)
    locks = databases.server.query("SELECT count() FROM system.tables WHERE startsWith(name, 'coldpath_migrator')")
    assert locks.strip() == "0"


@pytest.mark.parametrize("version", range(1, len(FILES) + 1))
def test_from_each_version_with_data_the_newest_is_the_same(
    databases: Databases, database: str, newest: tuple[Path, dict[str, str]], tmp_path: Path, version: int
) -> None:
    databases.migrate("apply", directory(tmp_path / "old", first(version)), database)
    databases.fill(database)
    before = databases.content(database)
    databases.migrate("apply", newest[0], database)
    assert databases.definitions(database) == newest[1]
    assert databases.content(database) == before
    databases.migrate("status", newest[0], database)


def test_shipped_tables_from_each_version(databases: Databases, database: str, tmp_path: Path) -> None:
    databases.migrate("apply", SCHEMAS, database)
    wanted = databases.definitions(database)
    names = sorted(path.name for path in SCHEMAS.glob("*.sql"))
    for version in range(1, len(names)):
        old = directory(tmp_path / str(version), {name: (SCHEMAS / name).read_text() for name in names[:version]})
        other = databases.new()
        databases.migrate("apply", old, other)
        databases.server.query(f"INSERT INTO {other}.market_data (ts_exchange, ts_local, symbol, event, source, spool_writer, spool_seq) "
                               "SELECT now64(9), now64(9), 'A', 'quote', 's', 'w', number FROM numbers(100)")
        databases.migrate("apply", SCHEMAS, other)
        assert databases.definitions(other) == wanted, version
        assert databases.server.query(f"SELECT count(), sum(spool_seq) FROM {other}.market_data").split() == ["100", "4950"]
        databases.drop(other)


def test_tables_that_were_made_without_a_log_are_taken_over(databases: Databases, database: str, newest: tuple[Path, dict[str, str]]) -> None:
    databases.server.query(FILES["0001_trades.sql"].strip().rstrip(";"), database=database)
    databases.fill(database)
    before = databases.content(database)
    databases.migrate("apply", newest[0], database)
    assert databases.definitions(database) == newest[1]
    assert databases.content(database) == before


# MARK: Killed, refused, unanswered


def nth_request(count: int, action: str, **more: Any) -> list[dict[str, Any]]:
    """The fault for the request that comes behind so many others."""
    return [{"match": "", "action": "delay", "ms": 0}] * count + [{"match": "", "action": action, **more}]


def killed_at(databases: Databases, schemas: Path, database: str, count: int, action: str) -> bool:
    """Starts a migration and kills it at a request. False if it ended before."""
    databases.server.plan_faults(*nth_request(count, action))
    process = Process("migrate", databases.command("apply", schemas, database), databases.directory / "migrate.log")
    process.start()

    def reached() -> bool:
        return any(fault["action"] == action for fault in databases.server.faults_done())

    assert wait_until(lambda: reached() or not process.is_alive, 30, step=0.002)
    was_reached = reached() and process.is_alive
    process.kill()
    databases.server.plan_faults()
    return was_reached


@pytest.mark.parametrize("action", ["hang", "hang_after"])
def test_killed_at_every_request_it_goes_on(
    databases: Databases, newest: tuple[Path, dict[str, str]], tmp_path: Path, action: str
) -> None:
    """Before each request is carried out, and between that and its answer. Rows come in at the third version."""
    old = directory(tmp_path / "old", first(2))
    content, count, kills = "", 0, 0
    while True:
        name = databases.new()
        databases.migrate("apply", old, name)
        databases.fill(name, 60)
        content = content or databases.content(name)
        if not killed_at(databases, newest[0], name, count, action):
            break
        kills += 1
        databases.migrate("apply", newest[0], name)
        assert databases.definitions(name) == newest[1], count
        assert databases.content(name) == content, count
        assert databases.migrate("status", newest[0], name).count(" done ") == 12
        databases.drop(name)
        # Every one of them, unless time is short: then every other, at other places for each action.
        count += 1 if os.environ.get("KILLS") == "all" else 2 if kills > 1 else 1 + (action == "hang")
    assert kills > 10


SLOW = """INSERT INTO trades (ts, symbol, side, px, spool_writer, spool_seq) SELECT now64(9), 'S', 'buy', 1, 'slow', number FROM numbers(60)
WHERE sleepEachRow(0.05) = 0 AND ('slow', number) NOT IN (SELECT spool_writer, spool_seq FROM trades)
SETTINGS max_block_size = 1"""


def slow_ones(databases: Databases, database: str) -> int:
    return int(databases.server.query(f"SELECT countIf(query LIKE 'INSERT INTO trades%sleepEachRow%') FROM system.processes WHERE current_database = '{database}'"))


def test_what_a_killed_migrator_left_running_is_not_begun_beside_it(databases: Databases, database: str, tmp_path: Path) -> None:
    schemas = directory(tmp_path / "s", {**first(1), "0002_slow.sql": SLOW})
    process = Process("migrate", databases.command("apply", schemas, database), databases.directory / "slow.log")
    process.start()
    assert wait_until(lambda: slow_ones(databases, database) == 1, 20)
    process.kill()
    said = databases.migrate("apply", schemas, database)
    assert "still works on a statement of an earlier migrate" in said
    assert databases.server.query(f"SELECT count(), uniqExact(spool_seq) FROM {database}.trades").split() == ["60", "60"]


def test_a_statement_that_is_silent_for_longer_than_the_timeout_is_waited_for(databases: Databases, database: str, tmp_path: Path) -> None:
    schemas = directory(tmp_path / "s", {**first(1), "0002_slow.sql": SLOW})
    command = [str(part) for part in databases.command("apply", schemas, database)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLDPATH_LOADER_TIMEOUT": "1s"}, timeout=60)
    assert done.returncode == 0 and "timed out" not in done.stderr, done.stderr
    assert databases.server.query(f"SELECT count(), uniqExact(spool_seq) FROM {database}.trades").split() == ["60", "60"]


def test_a_statement_whose_answer_is_lost_is_done_once(databases: Databases, database: str, newest: tuple[Path, dict[str, str]]) -> None:
    databases.server.plan_faults(*[
        {"match": match, "action": action} for match in ("EXCHANGE TABLES", "RENAME COLUMN", "INSERT INTO trades (", "DROP TABLE IF EXISTS trades", "'done'")
        for action in ("drop_after", "drop_before", "garbage_after")])
    said = databases.migrate("apply", newest[0], database)
    assert "looking whether the statement still runs" in said
    assert databases.definitions(database) == newest[1]
    assert {fault["action"] for fault in databases.server.faults_done()} == {"drop_after", "drop_before", "garbage_after"}


def test_a_statement_that_clickhouse_refuses_is_named_and_begun_again(databases: Databases, database: str, tmp_path: Path) -> None:
    bad = {**first(1), "0002_x.sql": "-- statement: fine\nALTER TABLE trades ADD COLUMN IF NOT EXISTS a Int8 DEFAULT 1\n"
           "-- statement: not fine\nALTER TABLE trades MODIFY SETTING no_such_setting = 1\n"}
    schemas = directory(tmp_path / "s", bad)
    said = databases.migrate("apply", schemas, database, expect=74)
    assert "0002_x.sql, statement 2 (not fine): ClickHouse at" in said and "no_such_setting" in said
    status = databases.migrate("status", schemas, database, expect=1)
    assert "planned" in status and "1 pending" in status
    # What ClickHouse never took may be mended.
    (schemas / "0002_x.sql").write_text(bad["0002_x.sql"].replace("no_such_setting = 1", "merge_with_ttl_timeout = 100"))
    databases.migrate("apply", schemas, database)
    assert "merge_with_ttl_timeout = 100" in databases.definitions(database)["trades"]


def test_a_statement_that_may_have_done_something_is_not_rewritten(databases: Databases, database: str, tmp_path: Path) -> None:
    """Its first send had no answer; that the second is refused says nothing about the first."""
    bad = {**first(1), "0002_x.sql": "ALTER TABLE trades MODIFY SETTING no_such_setting = 1\n"}
    schemas = directory(tmp_path / "s", bad)
    databases.server.plan_faults({"match": "no_such_setting = 1", "action": "drop_before"})
    databases.migrate("apply", schemas, database, expect=74)
    (schemas / "0002_x.sql").write_text(bad["0002_x.sql"].replace("no_such_setting = 1", "merge_with_ttl_timeout = 100"))
    said = databases.migrate("apply", schemas, database, expect=1)
    assert "- ALTER TABLE trades MODIFY SETTING no_such_setting = 1" in said and "+ ALTER TABLE trades MODIFY SETTING merge_with_ttl_timeout = 100" in said


# MARK: History


def test_changed_history_is_refused_with_the_difference(databases: Databases, database: str, tmp_path: Path) -> None:
    schemas = directory(tmp_path / "s", FILES)
    databases.migrate("apply", schemas, database)
    before = databases.definitions(database)
    (schemas / "0002_note.sql").write_text("-- Only the comment and the layout differ.\nALTER TABLE trades\n  ADD COLUMN IF NOT EXISTS note Nullable(String) COMMENT 'Free text' AFTER px")
    databases.migrate("status", schemas, database)
    (schemas / "0002_note.sql").write_text(FILES["0002_note.sql"].replace("'Free text'", "'Other'"))
    for verb in ("apply", "plan", "status"):
        said = databases.migrate(verb, schemas, database, expect=1)
        assert "0002_note.sql, statement 1 (note) was applied at 20" in said
        assert "\n- ALTER TABLE trades ADD COLUMN IF NOT EXISTS note Nullable(String) COMMENT 'Free text' AFTER px;" in said
        assert "\n+ ALTER TABLE trades ADD COLUMN IF NOT EXISTS note Nullable(String) COMMENT 'Other' AFTER px;" in said
    assert databases.definitions(database) == before


def test_files_that_are_gone_or_come_late_are_refused(databases: Databases, database: str, tmp_path: Path) -> None:
    schemas = directory(tmp_path / "s", first(4))
    databases.migrate("apply", schemas, database)
    (schemas / "0004_names.sql").rename(tmp_path / "away.sql")
    assert "0004_names.sql, statement 1 (venue is called exchange) was applied at" in databases.migrate("apply", schemas, database, expect=1)
    (tmp_path / "away.sql").rename(schemas / "0004_names.sql")
    (schemas / "0000_early.sql").write_text(TRADES.format(name="early", partition="toDate(ts)"))
    said = databases.migrate("apply", schemas, database, expect=1)
    assert "0000_early.sql, statement 1 (early) is new, and 0004_names.sql, statement 3 was applied before it" in said
    (schemas / "0000_early.sql").unlink()
    with open(schemas / "0004_names.sql", "a") as file:
        file.write("-- statement: one more\nALTER TABLE trades MODIFY SETTING merge_with_ttl_timeout = 7200\n")
    assert "statement 4 (one more) is new" in databases.migrate("apply", schemas, database, expect=1)


@pytest.mark.parametrize("name, text, problem", [
    ("0007_bad.sql", "EXCHANGE TABLES trades AND latest", "0007_bad.sql:1: a migration may be killed and begun again"),
    ("0007_bad.sql", "INSERT INTO trades SELECT * FROM trades", "0007_bad.sql:1: an INSERT that breaks off leaves a part of its rows"),
    ("0007_bad.sql", "-- done if: SELECT 0\nINSERT INTO trades SELECT * FROM trades", "0007_bad.sql:2: an INSERT that breaks off leaves a part of its rows"),
    ("0007_bad.sql", "ALTER TABLE trades ADD COLUMN IF NOT EXISTS small Int8 DEFAULT 300", "column small: DEFAULT 300: a whole number from -128 to 127"),
    ("0007_bad.sql", "-- Less.\nALTER TABLE trades MODIFY SETTING non_replicated_deduplication_window = 0", "0007_bad.sql:2: table trades: non_replicated_"),
    ("7_bad.sql", "SELECT 1", "7_bad.sql: is not named NNNN_name.sql"), ("0007-bad.sql", "SELECT 1", "0007-bad.sql: is not named NNNN_name.sql")])
def test_nothing_is_sent_of_files_that_cannot_be_applied(databases: Databases, database: str, tmp_path: Path, name: str, text: str, problem: str) -> None:
    schemas = directory(tmp_path / "s", {**FILES, name: text})
    for verb in ("plan", "apply", "status"):
        assert problem in databases.migrate(verb, schemas, database, expect=64)
    assert databases.definitions(database) == {}


def test_a_cluster_needs_a_name(databases: Databases, database: str, newest: tuple[Path, dict[str, str]]) -> None:
    assert "--cluster needs a name" in databases.migrate("apply", newest[0], database, "--cluster", "", expect=64)
    assert databases.definitions(database) == {}


# MARK: Two at once


def test_of_migrators_at_once_each_statement_is_done_by_one(databases: Databases, newest: tuple[Path, dict[str, str]]) -> None:
    for _ in range(4):
        name = databases.new()
        processes = [subprocess.Popen([str(part) for part in databases.command("apply", newest[0], name)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                     for _ in range(4)]
        outputs = [process.communicate(timeout=60)[0] for process in processes]
        statuses = [process.returncode for process in processes]
        assert 0 in statuses and set(statuses) <= {0, 1}, outputs
        assert all("another migrator is at work: process" in output for output, status in zip(outputs, statuses) if status), outputs
        log = databases.log(name)
        assert len(set(log)) == len(log) == 36
        assert databases.definitions(name) == newest[1]


def test_a_second_migrator_is_told_who_works(databases: Databases, database: str, newest: tuple[Path, dict[str, str]]) -> None:
    databases.server.plan_faults({"match": "RENAME COLUMN", "action": "delay", "ms": 3000})
    process = Process("migrate", databases.command("apply", newest[0], database), databases.directory / "migrate.log")
    process.start()
    assert wait_until(lambda: bool(databases.server.faults_done()), 20)
    said = databases.migrate("apply", newest[0], database, expect=1)
    assert f"another migrator is at work: process {process.pid} on " in said
    databases.migrate("status", newest[0], database, expect=1)
    assert wait_until(lambda: not process.is_alive, 20) and process.status == 0
    assert databases.definitions(database) == newest[1]


def sign(databases: Databases, database: str, seen: int) -> None:
    comment = f"spool-loader migrate is at work\nhost elsewhere\nprocess 1\nspace other/pid/1\nsince {seen}\nseen {seen}"
    databases.server.query(f"CREATE TABLE {database}.coldpath_migrator_x (nothing UInt8) ENGINE = Null COMMENT '{comment}'")


def test_the_lock_of_a_dead_host_ends_by_itself(databases: Databases, database: str, newest: tuple[Path, dict[str, str]]) -> None:
    now = int(time.time() * 1000)
    sign(databases, database, now - 50_000)
    assert "another migrator is at work: process 1 on elsewhere" in databases.migrate("apply", newest[0], database, expect=1)
    databases.server.query(f"DROP TABLE {database}.coldpath_migrator_x")
    sign(databases, database, now - 70_000)
    assert "the migration of process 1 on elsewhere ended in its middle" in databases.migrate("apply", newest[0], database)
    assert databases.definitions(database) == newest[1]


def test_a_frozen_migrator_does_not_go_on_beside_another(databases: Databases, database: str, newest: tuple[Path, dict[str, str]]) -> None:
    databases.server.plan_faults({"match": "RENAME COLUMN", "action": "delay", "ms": 500})
    process = Process("migrate", databases.command("apply", newest[0], database), databases.directory / "migrate.log")
    process.start()
    assert wait_until(lambda: bool(databases.server.faults_done()), 20)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        # As a minute of silence does.
        tables = databases.server.rows(f"SELECT name FROM system.tables WHERE database = '{database}' AND startsWith(name, 'coldpath_migrator_')")
        databases.server.query(f"DROP TABLE {database}.{tables[0][0]}")
        databases.migrate("apply", newest[0], database)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert wait_until(lambda: not process.is_alive, 20) and process.status == 1
    assert "took this one for dead" in (databases.directory / "migrate.log").read_text()
    assert databases.definitions(database) == newest[1]


# MARK: Plan and status


def test_plan_prints_what_is_sent_and_what_it_does(databases: Databases, database: str, newest: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    databases.migrate("apply", directory(tmp_path / "old", first(2)), database)
    databases.fill(database)
    before = databases.definitions(database)
    said = databases.migrate("plan", newest[0], database)
    assert "0003_wider.sql, statement 1: more sides\n  * trades.side: metadata only\n    ALTER TABLE trades MODIFY COLUMN side" in said
    assert "trades.px becomes Float64:" in said and "of 400 rows are rewritten (a mutation)" in said
    assert "trades.note: its values are deleted," in said
    assert "trades.venue becomes exchange:" in said
    assert "  * once for each line of: SELECT DISTINCT toString(toDate(ts)) FROM trades_by_month ORDER BY 1" in said
    assert "TRADES" not in said and "0002_note.sql" not in said
    steps = json.loads(databases.migrate("plan", newest[0], database, "--json"))
    assert [(step["file"], step["statement"]) for step in steps][:3] == [("0003_wider.sql", 1), ("0003_wider.sql", 2), ("0004_names.sql", 1)]
    assert steps[1]["sql"] == ["ALTER TABLE trades MODIFY COLUMN px Float64, MODIFY COLUMN qty Int64"]
    assert databases.definitions(database) == before
    assert ("0003_wider.sql", 1, "planned") not in databases.log(database)


DRIFTS = {
    "MODIFY COLUMN px Decimal(18, 4)": "column px is Decimal(18, 4), in the files Float32",
    "ADD COLUMN other Int8": "column other (Int8) is in no file",
    "DROP COLUMN qty": "column qty is not there",
    "MODIFY COLUMN qty DEFAULT 5": "column qty has the default 5, in the files 0",
    "MODIFY COLUMN ts CODEC(ZSTD(1))": "column ts has CODEC(ZSTD(1)), in the files CODEC(DoubleDelta, LZ4)",
    "COMMENT COLUMN ts 'when?'": "column ts has another comment: when?",
    "MODIFY SETTING non_replicated_deduplication_window = 7": "setting non_replicated_deduplication_window is 7, in the files 10000",
    "RESET SETTING ttl_only_drop_parts": "setting ttl_only_drop_parts is not set, in the files 1",
    "MODIFY TTL toDateTime(ts) + INTERVAL 9 YEAR": "its TTL is toDateTime(ts) + toIntervalYear(9), and should be toDateTime(ts) + toIntervalYear(10)",
    "REMOVE TTL": "its TTL is none, and should be toDateTime(ts) + toIntervalYear(10)",
    "DROP INDEX spool_seq_minmax": "index spool_seq_minmax is not there, in the files spool_seq TYPE minmax GRANULARITY 1",
    "ADD INDEX another px TYPE minmax": "index another is in no file",
}


@pytest.mark.parametrize("change", DRIFTS)
def test_a_table_that_somebody_altered_is_seen(databases: Databases, database: str, tmp_path: Path, change: str) -> None:
    schemas = directory(tmp_path / "s", first(1))
    databases.migrate("apply", schemas, database)
    databases.server.query(f"ALTER TABLE {database}.trades {change}")
    said = databases.migrate("status", schemas, database, expect=1)
    assert f"! trades: {DRIFTS[change]}\n" in said
    assert said.count("! trades") == 1
    report = json.loads(databases.migrate("status", schemas, database, "--json", expect=1))
    for mend in report["drift"][0]["mends"]:
        databases.server.query(mend, database=database)
    if report["drift"][0]["mends"]:
        databases.migrate("status", schemas, database)
    else:
        databases.migrate("apply", schemas, database, expect=1)


def test_a_view_that_somebody_changed_or_dropped_is_seen(databases: Databases, database: str, tmp_path: Path) -> None:
    queries = {
        "plain": "SELECT symbol, max(ts) AS ts FROM trades GROUP BY symbol",
        "cte": "WITH s AS (SELECT symbol FROM trades) SELECT symbol FROM s UNION ALL SELECT symbol FROM s",
        "rich": "/* why */ SELECT DISTINCT t.symbol,\n  toStartOfInterval(t.ts, INTERVAL 5 MINUTE) AS m,"
                " -- and so on\n  count() OVER (PARTITION BY t.symbol ORDER BY t.ts) AS n, {x:String} AS `a b` FROM trades AS t ANY LEFT JOIN (SELECT * FROM trades) AS u USING (symbol)"
                " WHERE (t.symbol, 1) IN (SELECT symbol, 1 FROM trades WHERE px > 1.5e0 AND side IN ('buy', 'sell')) OR t.symbol LIKE '%\\'%' UNION ALL SELECT '', now(), 0, ''",
    }
    schemas = directory(tmp_path / "s", {**first(1), "0002_views.sql": "".join(
        f"-- statement: {name}\nCREATE OR REPLACE VIEW {name} AS {query};\n" for name, query in queries.items())})
    databases.migrate("apply", schemas, database)
    databases.migrate("status", schemas, database)
    databases.server.query("CREATE OR REPLACE VIEW plain AS SELECT symbol, min(ts) AS ts FROM trades GROUP BY symbol", database=database)
    databases.server.query("DROP VIEW rich", database=database)
    said = databases.migrate("status", schemas, database, expect=1)
    assert "! plain: the view selects something else than the files say: SELECT symbol, min(ts) AS ts FROM" in said
    assert "! rich: the view is not in ClickHouse" in said
    for table in json.loads(databases.migrate("status", schemas, database, "--json", expect=1))["drift"]:
        databases.server.query(table["mends"][0], database=database)
    databases.migrate("status", schemas, database)


def test_a_table_of_another_engine_or_none_is_seen(databases: Databases, database: str, tmp_path: Path) -> None:
    schemas = directory(tmp_path / "s", first(1))
    databases.migrate("apply", schemas, database)
    databases.server.query(f"DROP TABLE {database}.trades")
    assert "! trades: it is not in ClickHouse" in databases.migrate("status", schemas, database, expect=1)
    text = FILES["0001_trades.sql"].strip().rstrip(";").replace("ENGINE = MergeTree", "ENGINE = ReplacingMergeTree").replace("toDate(ts)", "toYYYYMM(ts)")
    databases.server.query(text.replace("ORDER BY (symbol, ts, spool_seq)", "ORDER BY (symbol, ts)"), database=database)
    said = databases.migrate("status", schemas, database, expect=1)
    assert "its engine is ReplacingMergeTree, in the files MergeTree" in said
    assert "it is partitioned by toYYYYMM(ts), in the files toDate(ts)" in said
    assert "it is ordered by symbol, ts, in the files symbol, ts, spool_seq" in said


def test_what_a_statement_needs_is_waited_for(databases: Databases, database: str, tmp_path: Path) -> None:
    schemas = directory(tmp_path / "s", {
        **first(1), "0002_x.sql": "-- needs: SELECT count() > 0 FROM trades\nALTER TABLE trades ADD COLUMN IF NOT EXISTS a Int8 DEFAULT 1"})
    process = Process("migrate", databases.command("apply", schemas, database), databases.directory / "needs.log")
    process.start()
    assert wait_until(lambda: "waiting until this is 1: SELECT count() > 0 FROM trades" in (databases.directory / "needs.log").read_text(), 20)
    assert ("0002_x.sql", 1, "started") not in databases.log(database)
    databases.fill(database, 1)
    assert wait_until(lambda: not process.is_alive, 20) and process.status == 0
    assert "`a` Int8 DEFAULT 1" in databases.definitions(database)["trades"]


# MARK: A cluster


def test_for_a_cluster_the_same_files_are_rendered(databases: Databases, database: str, newest: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    schemas = directory(tmp_path / "s", {name: text for name, text in FILES.items() if "by_month" not in name})
    said = databases.migrate("plan", schemas, database, "--cluster", "main").replace(database, "DATABASE")
    golden = Path(__file__).parent / "golden" / "migrate_cluster.txt"
    if os.environ.get("WRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(said)
    assert said == golden.read_text()
    # ClickHouse's own parser takes each of them; what it lacks here is the cluster.
    for step in json.loads(databases.migrate("plan", schemas, database, "--cluster", "main", "--json")):
        for sql in step["sql"]:
            assert databases.server.query("SELECT length(formatQuery('" + sql.replace("\\", "\\\\").replace("'", "\\'") + "')) > 0").strip() == "1"
    said = databases.migrate("apply", schemas, database, "--cluster", "main", expect=74)
    assert "Requested cluster 'main' not found" in said
    said = databases.migrate("plan", newest[0], database, "--cluster", "main", expect=64)
    assert "rows are copied on each shard by itself" in said


def test_a_database_is_not_turned_into_a_clusters(databases: Databases, database: str, newest: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    schemas = directory(tmp_path / "s", first(3))
    databases.migrate("apply", schemas, database)
    assert "this database was migrated without --cluster, and now it is to be with --cluster main" in databases.migrate(
        "status", schemas, database, "--cluster", "main", expect=1)
