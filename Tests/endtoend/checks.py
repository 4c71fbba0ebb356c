"""What must hold after loading, asked of ClickHouse and not of the loader."""
from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from pipeline import ROOT, Pipeline


def lines_by_table(*files: Path) -> Counter[str]:
    """How many events each table has in the files."""
    return Counter(json.loads(line)["table"] for file in files for line in file.read_bytes().splitlines())


def rows_by_table(pipeline: Pipeline) -> dict[str, int]:
    """How many rows each table holds in ClickHouse; empty tables are left out."""
    tables = [name for name, in pipeline.clickhouse.rows("SELECT name FROM system.tables WHERE database = 'default' AND NOT startsWith(name, 'coldpath_') AND engine != 'View'")]
    counts = {table: int(pipeline.clickhouse.query(f"SELECT count() FROM {table}")) for table in tables}
    return {table: count for table, count in counts.items() if count}


def assert_exactly_once(pipeline: Pipeline, *files: Path) -> None:
    """Each row of the files is there once: by count, by sequences, and by the loader's own audit."""
    expected = lines_by_table(*files)
    assert rows_by_table(pipeline) == dict(expected)
    for table, count in expected.items():
        assert sequences(pipeline, table) == (count, 1, count)
    pipeline.run_loader("audit")


def sequences(pipeline: Pipeline, table: str) -> tuple[int, int, int]:
    """(number of different sequences, first, last)."""
    unique, first, last = pipeline.clickhouse.rows(
        f"SELECT toString(uniqExact(spool_writer, spool_seq)), toString(min(spool_seq)), toString(max(spool_seq)) FROM {table}")[0]
    return int(unique), int(first), int(last)


def assert_every_value_equal(pipeline: Pipeline, *files: Path) -> None:
    """By a program that shares no code with the recorder."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "demo" / "compare_with_input.py"), "--url", pipeline.clickhouse.url, "--ordered", *map(str, files)],
        capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
