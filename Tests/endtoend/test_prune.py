"""Segments that are loaded can go, and nothing else notices."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from checks import assert_every_value_equal, rows_by_table
from conftest import QUICK, MakePipeline
from pipeline import Pipeline, wait_until
from send_events import Producer

TABLE = "orders"


def segments(pipeline: Pipeline) -> list[str]:
    return sorted(path.name for path in pipeline.spool.glob(f"{TABLE}/*.lz4"))


def import_in_parts(pipeline: Pipeline, file: Path, parts: int) -> None:
    """Each import ends with a sealed segment."""
    lines = file.read_bytes().splitlines(keepends=True)
    for part in range(parts):
        piece = pipeline.directory / f"part{part}.jsonl"
        piece.write_bytes(b"".join(lines[len(lines) * part // parts:len(lines) * (part + 1) // parts]))
        pipeline.import_files(piece)


def test_loaded_segments_go_and_loading_goes_on(pipeline: Pipeline, orders_file: Path) -> None:
    lines = orders_file.read_bytes().splitlines(keepends=True)
    first, second = pipeline.directory / "first.jsonl", pipeline.directory / "second.jsonl"
    first.write_bytes(b"".join(lines[:700]))
    second.write_bytes(b"".join(lines[700:]))
    import_in_parts(pipeline, first, 3)
    before = segments(pipeline)
    refused = pipeline.run_loader("prune", "--keep", "0s", expect=(64,))
    assert "there is no checkpoint" in refused.stderr
    pipeline.load_once()
    assert "was sealed at" in pipeline.run_loader("prune").stdout, "younger than a day"
    assert segments(pipeline) == before

    dry = pipeline.run_loader("prune", "--keep", "0s", "--dry-run")
    assert segments(pipeline) == before
    done = pipeline.run_loader("prune", "--keep", "0s")
    assert done.stdout == dry.stdout.replace("would delete", "deleted")
    left = segments(pipeline)
    assert left and left == before[-len(left):]
    assert len(before) - len(left) == done.stdout.count("deleted ") >= 1

    import_in_parts(pipeline, second, 2)
    pipeline.run_loader("verify")
    pipeline.load_once()
    pipeline.run_loader("audit")
    pipeline.run_loader("ls")
    assert_every_value_equal(pipeline, orders_file)
    report, = json.loads(pipeline.run_loader("prune", "--keep", "0s", "--json").stdout)
    assert report["table"] == TABLE and report["rows"] > 0 and len(report["segments"]) >= 2
    assert segments(pipeline)[0] == report["kept"]
    pipeline.run_loader("verify")
    pipeline.run_loader("audit")


def test_a_loader_without_a_checkpoint_begins_where_the_spool_begins(pipeline: Pipeline, orders_file: Path) -> None:
    import_in_parts(pipeline, orders_file, 4)
    pipeline.load_once()
    pipeline.run_loader("prune", "--keep", "0s")
    pipeline.checkpoints.rename(pipeline.directory / "lost")
    pipeline.load_once()
    assert_every_value_equal(pipeline, orders_file)


def test_a_checkpoint_below_the_front_is_refused(pipeline: Pipeline, orders_file: Path) -> None:
    """A restored backup that is older than what was pruned: rows may be missing, and the loader must not go on in silence."""
    import_in_parts(pipeline, orders_file, 2)
    pipeline.load_once()
    backup = {file: file.read_bytes() for file in pipeline.checkpoints.rglob("*.checkpoint")}
    more = pipeline.directory / "more.jsonl"
    more.write_bytes(orders_file.read_bytes())
    import_in_parts(pipeline, more, 3)
    pipeline.load_once()
    pipeline.run_loader("prune", "--keep", "0s")
    for file, content in backup.items():
        file.write_bytes(content)
    pipeline.clickhouse.query(f"TRUNCATE TABLE {TABLE}")
    refused = pipeline.load_once(expect=(1,))
    assert "is not in the spool" in refused.stdout + refused.stderr


def test_pruning_while_writer_and_loader_run_costs_no_row(make_pipeline: MakePipeline, orders_file: Path) -> None:
    pipeline = make_pipeline(settings=QUICK.replace("chunk_rows = 100", 'chunk_rows = 20\nsegment_bytes = "64KiB"'))
    pipeline.start_clickhouse()
    pipeline.start_writer()
    pipeline.loader.start()
    producer = Producer(str(pipeline.socket), "test")
    lines = orders_file.read_bytes().splitlines(keepends=True)
    pruned = 0
    for turn in range(12):
        for line in lines:
            producer.put(line)
        assert producer.finish(20)
        if turn % 3 == 2:
            pruned += pipeline.run_loader("prune", "--keep", "0s").stdout.count("deleted ")
            pipeline.run_loader("verify")
    expected = len(lines) * 12
    assert wait_until(lambda: rows_by_table(pipeline).get(TABLE) == expected, 30, step=0.1), rows_by_table(pipeline)
    assert pruned > 0, "nothing was pruned: the test shows nothing"
    assert pipeline.writer.is_alive and pipeline.loader.is_alive
    assert pipeline.writer.stop() == 0 and pipeline.loader.stop() == 0
    pipeline.run_loader("audit")
    pipeline.run_loader("verify")


def test_a_spool_that_cannot_be_changed_is_said(pipeline: Pipeline, orders_file: Path) -> None:
    import_in_parts(pipeline, orders_file, 3)
    pipeline.load_once()
    before = segments(pipeline)
    if not make_read_only(pipeline.spool / TABLE):
        pytest.skip("this user can write everywhere, and nothing can be mounted read-only here")
    try:
        assert "would delete" in pipeline.run_loader("prune", "--keep", "0s", "--dry-run").stdout
        refused = pipeline.run_loader("prune", "--keep", "0s", expect=(74,))
    finally:
        make_writable(pipeline.spool / TABLE)
    assert "cannot be changed from here" in refused.stderr and "--dry-run" in refused.stderr
    assert segments(pipeline) == before


def make_read_only(directory: Path) -> bool:
    import os
    import subprocess
    if os.geteuid() != 0:
        directory.chmod(0o555)
        return True
    bound = subprocess.run(["mount", "--bind", directory, directory], capture_output=True)
    if bound.returncode != 0:
        return False
    if subprocess.run(["mount", "-o", "remount,ro,bind", directory], capture_output=True).returncode == 0:
        return True
    subprocess.run(["umount", directory], check=True)
    return False


def make_writable(directory: Path) -> None:
    import os
    import subprocess
    if os.geteuid() != 0:
        directory.chmod(0o755)
    else:
        subprocess.run(["umount", directory], check=True)
