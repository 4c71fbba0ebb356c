"""`spool-loader last`: where an execution engine starts again, from ClickHouse, from the spool, from both."""
from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MakePipeline, generated
from pipeline import Pipeline, binary, run

KEYS = {"positions_intraday": ("account_id", "symbol", "strategy"), "account_state": ("account_id",)}


@pytest.fixture
def parts(make_pipeline: MakePipeline, tmp_path: Path) -> tuple[Pipeline, Callable[[int], None]]:
    """A day in three parts, each imported when it is asked for."""
    pipeline: Pipeline = make_pipeline()
    pipeline.start_clickhouse()
    lines = generated("generate_day.py", "--orders", "400", "--hours", "1", "--snapshot-seconds", "20", to=tmp_path / "day.jsonl").read_bytes().split(b"\n")[:-1]

    def bring(part: int) -> None:
        path = tmp_path / f"part{part}.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines[part * len(lines) // 3:(part + 1) * len(lines) // 3]))
        pipeline.import_files(path)

    return pipeline, bring


def last(pipeline: Pipeline, *more: str, expect: tuple[int, ...] = (0,)) -> tuple[list[str], str]:
    done = run([str(part) for part in (binary("spool-loader"), "last", "--config", pipeline.config, "--spool", pipeline.spool, "--url", pipeline.clickhouse.url, *more)], expect=expect)
    return done.stdout.splitlines(), done.stderr


def expected(pipeline: Pipeline, until: str = "9") -> dict[tuple[str, ...], str]:
    """By table and key, out of all rows that `cat` prints; times are RFC 3339, so they sort as texts."""
    newest: dict[tuple[str, ...], tuple[str, int, str]] = {}
    for table, keys in KEYS.items():
        for line in run([str(binary("spool-loader")), "cat", table, "--spool", str(pipeline.spool)]).stdout.splitlines():
            row = json.loads(line)
            key = (table, *(row[name] for name in keys))
            place = (row["ts"], row["spool_seq"], line)
            if row["ts"] <= until and (key not in newest or place[:2] > newest[key][:2]):
                newest[key] = place
    return {key: place[2] for key, place in newest.items()}


def as_read(lines: list[str]) -> dict[tuple[str, ...], str]:
    rows = {}
    for line in lines:
        row = json.loads(line)
        key = (row["table"], *(row[name] for name in KEYS[row["table"]]))
        assert key not in rows, key
        rows[key] = line
    return rows


def test_both_sources_say_the_same_at_any_time(parts: Any) -> None:
    pipeline, bring = parts
    for part in range(3):
        bring(part)
    pipeline.load_once()
    whole = expected(pipeline)
    assert len(whole) > 10
    for source in ("clickhouse", "spool", "both"):
        lines, said = last(pipeline, "--source", source)
        assert as_read(lines) == whole and said == "", source
    times = sorted({json.loads(line)["ts"] for line in whole.values()})
    assert len(times) == 1
    snapshots = sorted({json.loads(line)["ts"] for line in run([str(binary("spool-loader")), "cat", "account_state", "--spool", str(pipeline.spool)]).stdout.splitlines()})
    for until in (snapshots[len(snapshots) // 2], snapshots[0]):
        for source in ("clickhouse", "spool", "both"):
            assert as_read(last(pipeline, "--source", source, "--as-of", until)[0]) == expected(pipeline, until) != whole, (source, until)
    # One table, other keys, and not further back than is asked for.
    assert {json.loads(line)["table"] for line in last(pipeline, "account_state")[0]} == {"account_state"}
    by_symbol = [json.loads(line) for line in last(pipeline, "fills", "--by", "symbol", "--time", "ts_exchange")[0]]
    fills = [json.loads(line) for line in run([str(binary("spool-loader")), "cat", "fills", "--spool", str(pipeline.spool)]).stdout.splitlines()]
    for symbol in {fill["symbol"] for fill in fills}:
        newest = max((fill for fill in fills if fill["symbol"] == symbol), key=lambda fill: (fill["ts_exchange"], fill["spool_seq"]))
        assert [row for row in by_symbol if row["symbol"] == symbol] == [newest]
    assert last(pipeline, "--as-of", "2001-01-01")[0] == []


def test_what_is_not_loaded_comes_from_the_spool_and_what_is_pruned_from_clickhouse(parts: Any) -> None:
    pipeline, bring = parts
    bring(0)
    pipeline.load_once()
    old = expected(pipeline)
    bring(1)
    new = expected(pipeline)
    assert old != new
    assert as_read(last(pipeline, "--source", "clickhouse")[0]) == old
    assert as_read(last(pipeline)[0]) == as_read(last(pipeline, "--source", "spool")[0]) == new
    pipeline.load_once()
    for table in KEYS:
        for segment in (pipeline.spool / table).glob("*.lz4"):
            segment.unlink()
    assert last(pipeline, "--source", "spool")[0] == []
    assert as_read(last(pipeline)[0]) == new


def test_either_may_be_away_and_both_may_not(parts: Any) -> None:
    pipeline, bring = parts
    bring(0)
    pipeline.load_once()
    whole = expected(pipeline)
    pipeline.clickhouse.kill()
    lines, said = last(pipeline)
    assert as_read(lines) == whole and "ClickHouse at" in said
    assert last(pipeline, "--source", "clickhouse", expect=(74,))[0] == []
    pipeline.clickhouse.start_and_wait()
    shutil.move(pipeline.spool, pipeline.directory / "away")
    lines, said = last(pipeline)
    assert as_read(lines) and "spool" in said
    pipeline.clickhouse.kill()
    assert last(pipeline, expect=(74,))[0] == []


def test_a_server_that_hangs_is_not_waited_for(make_pipeline: MakePipeline, day_file: Path) -> None:
    pipeline: Pipeline = make_pipeline(faults=True)
    pipeline.start_clickhouse()
    pipeline.import_files(day_file)
    pipeline.clickhouse.plan_faults({"match": "LIMIT 1 BY", "action": "hang"})
    lines, said = last(pipeline, "--patience", "300ms")
    assert as_read(lines) == expected(pipeline) and "no answer within 300ms" in said


def test_damage_is_named_and_the_rest_is_read(parts: Any) -> None:
    pipeline, bring = parts
    bring(0)
    bring(1)
    first = sorted((pipeline.spool / "account_state").glob("*.lz4"))[0]
    damaged = bytearray(first.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    first.write_bytes(damaged)
    lines, said = last(pipeline, "--source", "spool", expect=(1,))
    assert "account_state" in said and len([line for line in lines if '"table":"account_state"' in line]) == 3


@pytest.mark.parametrize("more, problem", [
    (("orders",), "say with --by which columns"), (("--within", "soon"), "expected a duration"), (("--by", "a"), "--by needs exactly one table"),
    (("fills", "--by", "nothing", "--source", "spool"), "its rows have no column nothing")])
def test_what_cannot_be_asked_is_said(parts: Any, more: tuple[str, ...], problem: str) -> None:
    pipeline, bring = parts
    bring(0)
    assert problem in last(pipeline, *more, expect=(1, 64))[1]
