"""Rows in quarantine, and how they come out of it."""
from __future__ import annotations

import json
from pathlib import Path

from checks import assert_exactly_once, lines_by_table, rows_by_table
from pipeline import Pipeline


def quarantined(pipeline: Pipeline) -> tuple[Path, bytes, Path]:
    """Load with one chunk of orders damaged. Returns its segment, the segment's sound bytes, and the quarantine list."""
    segment = next((pipeline.spool / "orders").glob("*.lz4"))
    sound = segment.read_bytes()
    damaged = bytearray(sound)
    damaged[len(sound) // 2] ^= 1
    segment.write_bytes(damaged)
    pipeline.load_once(expect=(1,))
    [quarantine] = pipeline.checkpoints.rglob("orders.quarantine")
    return segment, sound, quarantine


def test_a_chunk_whose_file_is_restored_comes_out_of_quarantine(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    segment, sound, _ = quarantined(pipeline)
    [entry] = json.loads(pipeline.run_loader("requeue", "--plan", "--json").stdout)
    assert rows_by_table(pipeline)["orders"] == lines_by_table(orders_file)["orders"] - entry["rows"]
    still = pipeline.run_loader("requeue", expect=(1,))
    assert "checksum of the data frame differs" in still.stdout
    pipeline.run_loader("audit", expect=(1,))
    segment.write_bytes(sound)
    pipeline.run_loader("requeue")
    assert_exactly_once(pipeline, orders_file)
    assert "nothing is in quarantine" in pipeline.run_loader("requeue").stdout


def test_rows_that_clickhouse_refuses_wait_until_it_takes_them(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    segment, sound, quarantine = quarantined(pipeline)
    segment.write_bytes(sound)
    first, end, name, offset, size, _ = quarantine.read_text().split(" ", 5)
    middle = (int(first) + int(end)) // 2
    quarantine.write_text("".join(
        f"{begin} {stop} {name} {offset} {size} refused 469 VIOLATED_CONSTRAINT: as if it were values {{\"n\":{begin}}}\n"
        for begin, stop in [(int(first), middle), (middle, int(end))]))
    assert [entry["values"] for entry in json.loads(pipeline.run_loader("requeue", "--plan", "--json").stdout)] == [
        f'{{"n":{first}}}', f'{{"n":{middle}}}']
    pipeline.clickhouse.query(f"ALTER TABLE orders ADD CONSTRAINT early CHECK spool_seq < {middle}")
    answer = pipeline.run_loader("requeue", expect=(1,))
    assert "ClickHouse refuses them still" in answer.stdout and "early" in answer.stdout
    assert rows_by_table(pipeline)["orders"] == lines_by_table(orders_file)["orders"] - (int(end) - middle)
    pipeline.clickhouse.query("ALTER TABLE orders DROP CONSTRAINT early")
    pipeline.run_loader("requeue")
    assert_exactly_once(pipeline, orders_file)


def test_a_backfill_does_not_stumble_over_rows_that_are_refused(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    segment, sound, quarantine = quarantined(pipeline)
    segment.write_bytes(sound)
    first, end, name, offset, size, _ = quarantine.read_text().split(" ", 5)
    quarantine.write_text(f"{first} {int(first) + 1} {name} {offset} {size} refused 469 X: text values {{}}\n")
    pipeline.clickhouse.query(f"ALTER TABLE orders ADD CONSTRAINT other CHECK spool_seq != {first}")
    answer = pipeline.run_loader("backfill", "--json", expect=(1,))
    result = {table["table"]: table for table in json.loads(answer.stdout)}["orders"]
    assert (result["loaded"], result["quarantined"]) == (int(end) - int(first) - 1, 1)
    assert rows_by_table(pipeline)["orders"] == lines_by_table(orders_file)["orders"] - 1
