"""Many parts in ClickHouse: batches become fewer and larger before inserts are delayed, and a person is told."""
from __future__ import annotations

import time
from pathlib import Path

from checks import assert_exactly_once
from pipeline import Pipeline, wait_until
from send_events import Producer


def count(pipeline: Pipeline, what: str) -> int:
    return int(pipeline.clickhouse.query(f"SELECT count() FROM {what}"))


def test_parts_that_do_not_merge_alarm_and_make_batches_larger(pipeline: Pipeline, market_file: Path, tmp_path: Path) -> None:
    lines = market_file.read_bytes().splitlines(keepends=True)
    first = tmp_path / "first.jsonl"
    first.write_bytes(b"".join(lines[:2900]))
    pipeline.config.write_text(pipeline.config.read_text().replace("batch_rows = 200", "batch_rows = 100").replace(
        "chunk_rows = 100", 'chunk_rows = 100\nchunk_age = "10ms"'))
    pipeline.clickhouse.query("ALTER TABLE market_data MODIFY SETTING parts_to_delay_insert = 36")
    pipeline.clickhouse.query("SYSTEM STOP MERGES market_data")
    pipeline.import_files(first)
    pipeline.loader.start()
    log, active = pipeline.loader.log, "system.parts WHERE table = 'market_data' AND active"
    assert wait_until(lambda: "parts_to_delay_insert is 36: merges do not keep up (none is running)" in log.read_text(), 15), log.read_text()
    assert "RecorderFailure: market_data has 29 active parts" in log.read_text()
    # Rows that come one by one would be a batch each; they wait for one another.
    pipeline.start_writer()
    producer = Producer(str(pipeline.socket), "p")
    for line in lines[2900:]:
        producer.put(line)
        producer.pump(0)
        time.sleep(0.02)
    assert producer.finish(15)
    assert wait_until(lambda: count(pipeline, "market_data") == 3000, 20), log.read_text()
    # A hundred rows by themselves would be up to a hundred parts.
    assert 29 < count(pipeline, active) <= 36
    # It says when it is over.
    pipeline.clickhouse.query("SYSTEM START MERGES market_data")
    pipeline.clickhouse.query("OPTIMIZE TABLE market_data FINAL")
    assert wait_until(lambda: "merges keep up again" in log.read_text(), 25), log.read_text()
    pipeline.writer.stop()
    pipeline.loader.stop()
    assert_exactly_once(pipeline, market_file)


def test_a_user_that_may_not_see_parts_loads_all_the_same(pipeline: Pipeline, orders_file: Path) -> None:
    # As a server without the table answers; the question is the only one that names it.
    pipeline.clickhouse.plan_faults({
        "match": "system.parts", "action": "status", "status": 500, "headers": {"X-ClickHouse-Exception-Code": "497"},
        "body": "Code: 497. DB::Exception: u: Not enough privileges. (ACCESS_DENIED) (version 26.5.1.1)"})
    pipeline.import_files(orders_file)
    pipeline.loader.start()
    assert wait_until(lambda: "parts and merges are not watched" in pipeline.loader.log.read_text(), 20), pipeline.loader.log.read_text()
    pipeline.loader.stop()
    assert_exactly_once(pipeline, orders_file)
