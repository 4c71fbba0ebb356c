"""What an operator meets: wrong passwords, servers that are down, spools that are copies, two loaders."""
from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from checks import assert_exactly_once, rows_by_table
from conftest import MakePipeline
from pipeline import Pipeline, Process, run, wait_until
from send_events import Producer


def test_a_wrong_password_is_said_and_loses_nothing(make_pipeline: MakePipeline, tmp_path: Path, orders_file: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse\n")
    wrong.write_text("battery staple\n")
    pipeline = make_pipeline(server_options=["--user", "recorder", "--password-file", str(right)])
    pipeline.clickhouse.log_in("recorder", "correct horse")
    pipeline.clickhouse.start_and_wait()
    refused = pipeline.run_loader("migrate", "apply", "--user", "recorder", "--password-file", wrong, expect=(74,))
    assert "AUTHENTICATION_FAILED" in refused.stderr or "516" in refused.stderr
    assert "battery" not in refused.stderr
    pipeline.run_loader("migrate", "apply", "--user", "recorder", "--password-file", right)
    pipeline.import_files(orders_file)
    refused = pipeline.run_loader("run", "--once", "--user", "recorder", "--password-file", wrong, expect=(1, 74))
    assert "recorder" in refused.stdout + refused.stderr
    assert rows_by_table(pipeline) == {}
    pipeline.run_loader("run", "--once", "--user", "recorder", "--password-file", right)
    pipeline.run_loader("audit", "--user", "recorder", "--password-file", right)


def test_rows_arrive_when_clickhouse_comes_up_later(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.clickhouse.stop()
    pipeline.start_writer()
    pipeline.loader.start()
    producer = Producer(str(pipeline.socket), "test")
    for line in orders_file.read_bytes().splitlines(keepends=True):
        producer.put(line)
    assert producer.finish(10), "the writer must not wait for ClickHouse"
    assert not wait_until(lambda: not pipeline.loader.is_alive, 1.0), "the loader must wait for ClickHouse"
    pipeline.clickhouse.start_and_wait()
    assert wait_until(lambda: rows_by_table(pipeline).get("orders", 0) == producer.queued, 10, step=0.05)
    pipeline.writer.stop()
    pipeline.loader.stop()
    assert_exactly_once(pipeline, orders_file)


def test_once_gives_up_when_clickhouse_stays_down(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    pipeline.clickhouse.stop()
    failed = pipeline.load_once(expect=(74,))
    assert pipeline.clickhouse.url in failed.stdout + failed.stderr
    pipeline.clickhouse.start_and_wait()
    pipeline.load_once()
    assert_exactly_once(pipeline, orders_file)


def test_tables_that_are_missing_are_said_and_loaded_once_created(make_pipeline: MakePipeline, orders_file: Path) -> None:
    pipeline = make_pipeline()
    pipeline.clickhouse.start_and_wait()
    pipeline.import_files(orders_file)
    failed = pipeline.load_once(expect=(1, 74))
    assert "migrate apply" in failed.stdout + failed.stderr
    pipeline.run_loader("migrate", "apply")
    pipeline.load_once()
    assert_exactly_once(pipeline, orders_file)


def test_a_read_only_spool_is_loaded_and_left_as_it_is(pipeline: Pipeline, day_file: Path) -> None:
    pipeline.import_files(day_file)
    for path in [pipeline.spool, *pipeline.spool.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = snapshot(pipeline.spool)
    pipeline.load_once()
    pipeline.run_loader("ls")
    pipeline.run_loader("verify")
    pipeline.run_loader("cat", "fills")
    assert_exactly_once(pipeline, day_file)
    # Root may write in spite of the modes, so that is looked at too.
    assert snapshot(pipeline.spool) == before
    for path in [pipeline.spool, *pipeline.spool.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in directory.rglob("*")}


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_a_segment_that_is_not_wholly_copied_yet_is_waited_for(share: float, pipeline: Pipeline, orders_file: Path) -> None:
    """A copy whose durable mark came before the bytes that it speaks of."""
    pipeline.start_writer()
    producer = Producer(str(pipeline.socket), "test")
    for line in orders_file.read_bytes().splitlines(keepends=True):
        producer.put(line)
    assert producer.finish(10)
    pipeline.writer.kill()
    whole = pipeline.directory / "whole"
    pipeline.spool.rename(whole)
    shutil.copytree(whole, pipeline.spool)
    segment, = pipeline.spool.glob("orders/*.lz4")
    content = segment.read_bytes()
    segment.write_bytes(content[:int(len(content) * share)])
    waiting = pipeline.load_once(expect=(1,))
    assert segment.name in waiting.stdout + waiting.stderr, waiting.stdout + waiting.stderr
    partly = rows_by_table(pipeline).get("orders", 0)
    assert partly < producer.queued
    assert partly > 0 or share < 0.5
    segment.write_bytes(content)
    pipeline.load_once()
    assert_exactly_once(pipeline, orders_file)


def test_a_second_loader_on_the_same_checkpoint_is_refused(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    pipeline.loader.start()
    assert wait_until(lambda: rows_by_table(pipeline).get("orders", 0) > 0, 10, step=0.05)
    second = pipeline.load_once(expect=(74,))
    assert "another loader" in second.stderr
    assert pipeline.loader.is_alive
    pipeline.loader.stop()
    # It may have been stopped between two inserts.
    pipeline.load_once()
    assert_exactly_once(pipeline, orders_file)


def test_a_second_writer_on_the_same_spool_is_refused(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.start_writer()
    refused = run(pipeline.writer_command("import", orders_file), expect=(74, 64))
    assert str(pipeline.spool) in refused.stderr
    assert pipeline.writer.is_alive


def test_a_spool_that_is_not_there_is_a_clear_error(pipeline: Pipeline) -> None:
    failed = pipeline.load_once(expect=(64, 74))
    assert str(pipeline.spool) in failed.stderr


def test_a_killed_import_can_be_run_again_under_its_name(pipeline: Pipeline, day_file: Path) -> None:
    command = pipeline.writer_command("import", "--name", "day", day_file)
    for seconds in (0.005, 0.01, 0.02, 0.03, 0.05):
        importer = Process("import", [str(part) for part in command], pipeline.directory / "import.log")
        importer.start()
        wait_until(lambda: not importer.is_alive, seconds, step=0.001)
        importer.kill()
    run(command)
    pipeline.load_once()
    assert_exactly_once(pipeline, day_file)


def test_a_spool_that_goes_away_for_a_while_is_waited_for_by_the_loader(pipeline: Pipeline, orders_file: Path) -> None:
    lines = orders_file.read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    for name, part in (("first", lines[:half]), ("second", lines[half:])):
        (pipeline.directory / f"{name}.jsonl").write_bytes(b"".join(part))
    run(pipeline.writer_command("import", pipeline.directory / "first.jsonl"))
    pipeline.loader.start()
    assert wait_until(lambda: rows_by_table(pipeline).get("orders", 0) == half, 20), pipeline.loader.log.read_text()
    # As when a network file system is not mounted for a moment.
    aside = pipeline.spool.with_name("aside")
    pipeline.spool.rename(aside)
    assert wait_until(lambda: "RecorderFailure: list" in pipeline.loader.log.read_text(), 20), pipeline.loader.log.read_text()
    assert pipeline.loader.is_alive
    aside.rename(pipeline.spool)
    run(pipeline.writer_command("import", pipeline.directory / "second.jsonl"))
    assert wait_until(lambda: rows_by_table(pipeline).get("orders", 0) == len(lines), 20), pipeline.loader.log.read_text()
    assert pipeline.loader.stop() == 0
    assert pipeline.loader.log.read_text().count("RecorderFailure: list") == 1
    assert "stopped" not in pipeline.loader.log.read_text()
    assert_exactly_once(pipeline, orders_file)
