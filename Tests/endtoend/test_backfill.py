"""Backfill: what a spool has and ClickHouse does not, whoever loaded the rest."""
from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from pathlib import Path

from checks import assert_every_value_equal, assert_exactly_once, lines_by_table, rows_by_table
from pipeline import Pipeline, wait_until


def nanoseconds(text: str) -> int:
    """Of an RFC 3339 time in UTC with nine digits after the second."""
    seconds = int(time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))) - time.timezone
    return seconds * 1_000_000_000 + int(text[20:29])


def plan(pipeline: Pipeline, *options: str) -> dict[str, dict[str, object]]:
    answer = pipeline.run_loader("backfill", "--plan", "--json", *options)
    return {table["table"]: table for table in json.loads(answer.stdout)}


def fingerprint(directory: Path) -> dict[str, str]:
    return {str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(directory.rglob("*"))
            if file.is_file()}


def test_rows_that_were_lost_in_clickhouse_come_back(pipeline: Pipeline, day_file: Path) -> None:
    pipeline.import_files(day_file)
    pipeline.load_once()
    for table in ("orders", "fills"):
        pipeline.clickhouse.query(f"ALTER TABLE {table} DELETE WHERE cityHash64(spool_seq) % 3 = 0 OR spool_seq < 150", mutations_sync="2")
    assert rows_by_table(pipeline) != dict(lines_by_table(day_file))
    answer = pipeline.run_loader("backfill")
    assert_every_value_equal(pipeline, day_file)
    assert_exactly_once(pipeline, day_file)
    assert "NOT FINISHED" not in answer.stdout


def test_ranges_of_time_load_their_rows_and_together_everything(pipeline: Pipeline, day_file: Path) -> None:
    pipeline.import_files(day_file)
    everything = plan(pipeline)
    assert {name: table["rows"] for name, table in everything.items()} == dict(lines_by_table(day_file))
    orders = everything["orders"]
    middle = (nanoseconds(str(orders["earliest"])) + nanoseconds(str(orders["latest"]))) // 2
    assert plan(pipeline, "--until", str(middle))["orders"]["isUpperBound"], "the cut is meant to go through a chunk"
    pipeline.run_loader("backfill", "--until", str(middle))
    wrong = f"SELECT count() FROM orders WHERE toUnixTimestamp64Nano(ts_intent) >= {middle}"
    assert pipeline.clickhouse.query(wrong).strip() == "0"
    first = rows_by_table(pipeline)["orders"]
    assert 0 < first < lines_by_table(day_file)["orders"]
    pipeline.run_loader("backfill", "--since", str(middle), "--table", "orders")
    assert rows_by_table(pipeline)["orders"] == lines_by_table(day_file)["orders"]
    pipeline.run_loader("backfill", "--since", str(middle))
    assert_every_value_equal(pipeline, day_file)
    assert_exactly_once(pipeline, day_file)


def test_the_spool_is_only_read_and_a_plan_changes_nothing(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    before = fingerprint(pipeline.spool)
    plan(pipeline)
    assert not pipeline.checkpoints.exists()
    pipeline.run_loader("backfill")
    assert fingerprint(pipeline.spool) == before
    assert_exactly_once(pipeline, orders_file)


def test_what_a_live_loader_has_is_left_alone(pipeline: Pipeline, orders_file: Path) -> None:
    lines = orders_file.read_bytes().splitlines(keepends=True)
    for number, part in enumerate([lines[:500], lines[500:]]):
        file = pipeline.directory / f"{number}.jsonl"
        file.write_bytes(b"".join(part))
        pipeline.import_files(file)
        if number == 0:
            pipeline.load_once()
    live = fingerprint(pipeline.checkpoints)
    pipeline.clickhouse.query("TRUNCATE TABLE orders")
    pipeline.run_loader("backfill")
    assert rows_by_table(pipeline) == {"orders": 500}
    after = fingerprint(pipeline.checkpoints)
    assert {name: after[name] for name in live} == live
    pipeline.load_once()
    assert_exactly_once(pipeline, orders_file)


def test_a_spool_that_is_still_being_copied_is_waited_for(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.config.write_text(pipeline.config.read_text() + '\n[tables.orders]\nchunk_rows = 100\n')
    lines = orders_file.read_bytes().splitlines(keepends=True)
    for number, part in enumerate([lines[:400], lines[400:800], lines[800:]]):
        file = pipeline.directory / f"{number}.jsonl"
        file.write_bytes(b"".join(part))
        pipeline.import_files(file)
    copy = pipeline.directory / "copy"
    shutil.copytree(pipeline.spool, copy)
    segments = sorted((copy / "orders").glob("*.lz4"))
    assert len(segments) == 3
    late = segments[2].rename(pipeline.directory / segments[2].name)
    command = [str(word) for word in pipeline.loader_command("backfill")] + ["--spool", str(copy), "--wait", "60s"]
    impatient = subprocess.run([*command, "--wait", "1s"], capture_output=True, text=True, timeout=60)
    assert impatient.returncode == 1 and "rows before" in impatient.stdout, impatient.stdout + impatient.stderr
    assert rows_by_table(pipeline) == {"orders": 800}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        time.sleep(1.5)
        assert waiting.poll() is None
        shutil.copy(late, segments[2])
        output, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, output + errors
    assert "waiting for a copy in progress" in errors
    assert_exactly_once(pipeline, orders_file)


def test_killed_and_stopped_it_goes_on_where_it_was(pipeline: Pipeline, day_file: Path) -> None:
    pipeline.import_files(day_file)
    total = sum(lines_by_table(day_file).values())
    command = [str(word) for word in pipeline.loader_command("backfill")] + ["--rate", "1000"]
    for end in ("kill", "terminate"):
        before = sum(rows_by_table(pipeline).values())
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert wait_until(lambda: sum(rows_by_table(pipeline).values()) > before + 200, 60, step=0.05)
            getattr(running, end)()
            output, errors = running.communicate(timeout=30)
        assert sum(rows_by_table(pipeline).values()) < total
    assert running.returncode == 1 and "stopped; the same command goes on" in output, output + errors
    answer = pipeline.run_loader("backfill")
    assert "were in flight" not in answer.stdout
    assert_every_value_equal(pipeline, day_file)
    assert_exactly_once(pipeline, day_file)


def test_clickhouse_killed_and_started_again_in_between(pipeline: Pipeline, day_file: Path) -> None:
    pipeline.import_files(day_file)
    command = [str(word) for word in pipeline.loader_command("backfill")] + ["--rate", "3000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert wait_until(lambda: sum(rows_by_table(pipeline).values()) > 200, 60, step=0.05)
        pipeline.clickhouse.kill()
        time.sleep(0.5)
        pipeline.clickhouse.start_and_wait()
        output, errors = running.communicate(timeout=60)
    assert running.returncode == 0, output + errors
    assert_exactly_once(pipeline, day_file)


def test_a_table_that_stopped_for_a_lost_checkpoint_goes_on_as_the_runbook_says(pipeline: Pipeline, orders_file: Path) -> None:
    """docs/operations.md, RecorderStandstill, step 3."""
    pipeline.import_files(orders_file)
    pipeline.load_once()
    pipeline.clickhouse.query("ALTER TABLE orders DELETE WHERE spool_seq = 40", mutations_sync="2")
    shutil.rmtree(pipeline.checkpoints)
    pipeline.loader.start()
    assert wait_until(lambda: "stopped: the checkpoint says that sequence" in pipeline.loader.log.read_text(), 30)
    pipeline.loader.stop()
    # A backfill with the loader's checkpoints ends where the one that stopped stands.
    pipeline.run_loader("backfill", "--table", "orders")
    assert pipeline.clickhouse.query("SELECT count() FROM orders WHERE spool_seq = 40").strip() == "0"
    own, pipeline.checkpoints = pipeline.checkpoints, pipeline.directory / "mend"
    pipeline.run_loader("backfill", "--table", "orders")
    pipeline.checkpoints = own
    assert pipeline.clickhouse.query("SELECT count() FROM orders WHERE spool_seq = 40").strip() == "1"
    pipeline.loader.start()
    assert wait_until(lambda: "LOADED" in (said := pipeline.run_loader("ls").stdout) and " 0.0 s" in said, 30)
    pipeline.loader.stop()
    pipeline.run_loader("audit")
    assert_exactly_once(pipeline, orders_file)
