"""The main job: what goes in comes out, once."""
from __future__ import annotations

from pathlib import Path

import pytest

from checks import assert_every_value_equal, assert_exactly_once, lines_by_table, rows_by_table
from pipeline import Pipeline, wait_until
from send_events import Producer


def test_every_value_of_every_row_arrives(pipeline: Pipeline, market_file: Path, day_file: Path) -> None:
    pipeline.import_files(market_file, day_file)
    pipeline.load_once()
    assert_every_value_equal(pipeline, market_file, day_file)
    assert_exactly_once(pipeline, market_file, day_file)


def test_loading_again_loads_nothing_twice(pipeline: Pipeline, day_file: Path) -> None:
    pipeline.import_files(day_file)
    pipeline.load_once()
    pipeline.load_once()
    assert_exactly_once(pipeline, day_file)


def test_rows_sent_over_the_socket_arrive_while_everything_runs(pipeline: Pipeline, day_file: Path) -> None:
    pipeline.start_writer()
    pipeline.loader.start()
    producer = Producer(str(pipeline.socket), "test")
    for line in day_file.read_bytes().splitlines(keepends=True):
        producer.put(line)
    assert producer.finish(20)
    expected = dict(lines_by_table(day_file))
    assert wait_until(lambda: rows_by_table(pipeline) == expected, 20, step=0.1), rows_by_table(pipeline)
    assert pipeline.writer.stop() == 0
    assert pipeline.loader.stop() == 0
    assert_every_value_equal(pipeline, day_file)
    assert_exactly_once(pipeline, day_file)


def test_a_checkpoint_that_was_lost_doubles_nothing(pipeline: Pipeline, orders_file: Path) -> None:
    """The same spool read again from its start with other batch limits, as a backfill over loaded rows would."""
    pipeline.import_files(orders_file)
    pipeline.load_once()
    pipeline.checkpoints.rename(pipeline.directory / "lost")
    pipeline.config.write_text(pipeline.config.read_text().replace("batch_rows = 200", "batch_rows = 700"))
    pipeline.load_once(expect=(0, 1))
    assert_exactly_once(pipeline, orders_file)


def test_a_checkpoint_that_was_set_back_doubles_nothing(pipeline: Pipeline, market_file: Path) -> None:
    """A restored backup of the checkpoints, taken in the middle of loading."""
    lines = market_file.read_bytes().splitlines(keepends=True)
    first, second = pipeline.directory / "1.jsonl", pipeline.directory / "2.jsonl"
    first.write_bytes(b"".join(lines[:1000]))
    second.write_bytes(b"".join(lines[1000:]))
    pipeline.import_files(first)
    pipeline.load_once()
    backup = {file: file.read_bytes() for file in pipeline.checkpoints.rglob("*.checkpoint")}
    pipeline.import_files(second)
    pipeline.load_once()
    for file, content in backup.items():
        file.write_bytes(content)
    pipeline.config.write_text(pipeline.config.read_text().replace("batch_rows = 200", "batch_rows = 700"))
    pipeline.load_once(expect=(0, 1))
    assert_exactly_once(pipeline, market_file)
