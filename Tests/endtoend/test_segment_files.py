"""A segment is a plain file: other programs read it without any code of ours."""
from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from checks import assert_every_value_equal, lines_by_table
from pipeline import Pipeline


def segments(pipeline: Pipeline) -> list[Path]:
    found = sorted(pipeline.spool.glob("*/*.lz4"))
    assert found
    return found


def test_the_lz4_tool_opens_every_segment(pipeline: Pipeline, market_file: Path, day_file: Path) -> None:
    pipeline.import_files(market_file, day_file)
    for segment in segments(pipeline):
        subprocess.run(["lz4", "-t", "-q", str(segment)], check=True, capture_output=True)
        blocks = subprocess.run(["lz4", "-dc", str(segment)], check=True, capture_output=True).stdout
        # A Native block opens with its numbers of columns and of rows; then comes the first column's name.
        assert 3 <= blocks[0] < 128, segment


def test_the_clickhouse_engine_reads_segment_files(pipeline: Pipeline, market_file: Path, day_file: Path) -> None:
    """Every table is counted and its sequences added up by the embedded engine, from the files alone."""
    pipeline.import_files(market_file, day_file)
    for table, count in lines_by_table(market_file, day_file).items():
        glob = pipeline.spool / table / "*.lz4"
        query = f"SELECT count(), sum(spool_seq), uniqExact(spool_writer) FROM file('{glob}', Native, 'auto', 'lz4')"
        assert engine_answer(query) == [count, count * (count + 1) // 2, 1], table


def test_the_engine_reads_the_values_that_were_sent(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    glob = pipeline.spool / "orders" / "*.lz4"
    ids = engine_answer(f"SELECT groupArray(client_order_id) FROM (SELECT * FROM file('{glob}', Native, 'auto', 'lz4') ORDER BY spool_seq)")
    assert ids[0] == [json.loads(line)["client_order_id"] for line in orders_file.read_bytes().splitlines()]


def engine_answer(query: str) -> list[object]:
    """One row, from an engine in a process of its own: there can be one in each."""
    program = "import sys, chdb; sys.stdout.write(str(chdb.query(sys.argv[1], 'JSONCompactEachRow')))"
    settings = " SETTINGS output_format_json_quote_64bit_integers = 0"
    answer = subprocess.run([sys.executable, "-c", program, query + settings], check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def test_a_segment_can_be_posted_to_clickhouse_by_hand(pipeline: Pipeline, market_file: Path, day_file: Path) -> None:
    """Recovery without the loader: `curl --data-binary @SEGMENT -H 'Content-Encoding: lz4' URL`."""
    pipeline.import_files(market_file, day_file)
    for segment in segments(pipeline):
        table = segment.parent.name
        columns = [name for name, in pipeline.clickhouse.rows(
            f"SELECT name FROM system.columns WHERE database = 'default' AND table = '{table}' ORDER BY position")]
        query = f"INSERT INTO {table} ({', '.join(columns)}) FORMAT Native"
        target = f"{pipeline.clickhouse.url}/?{urllib.parse.urlencode({'query': query, 'async_insert': 0})}"
        with urllib.request.urlopen(urllib.request.Request(target, segment.read_bytes(), {"Content-Encoding": "lz4"})) as answer:
            assert answer.status == 200
    assert_every_value_equal(pipeline, market_file, day_file)


def test_cat_prints_every_row_in_order(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    printed = [json.loads(line) for line in pipeline.run_loader("cat", "orders").stdout.splitlines()]
    sent = [json.loads(line) for line in orders_file.read_bytes().splitlines()]
    assert [row["client_order_id"] for row in printed] == [event["client_order_id"] for event in sent]
    assert [row["spool_seq"] for row in printed] in ([*range(1, len(sent) + 1)], [str(n) for n in range(1, len(sent) + 1)])
