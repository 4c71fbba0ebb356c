"""`coldpath.spool`: the files, read by Python alone, say what `spool-loader cat` says."""
from __future__ import annotations

import datetime
import decimal
import json
import random
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

import clients
from conftest import MakePipeline, generated
from pipeline import ROOT, Pipeline, binary, run

EVERY_TYPE = """
CREATE TABLE kinds (
  ts DateTime64(9, 'UTC'), i8 Int8, i16 Int16, i32 Int32, i64 Int64, u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64, f32 Float32, f64 Float64, flag Bool,
  d9 Decimal(9, 2), d18 Decimal(18, 4), d38 Decimal(38, 10), day Date, at DateTime('UTC'), e8 Enum8('a' = -128, 'it\\'s' = 5, 'b' = 127), e16 Enum16('x' = -300, 'y' = 9),
  id UUID, fixed FixedString(5), text String, name LowCardinality(String), ni Nullable(Int32), nd Nullable(Decimal(38, 10)), nt Nullable(DateTime64(9, 'UTC')), ns Nullable(String),
  nn LowCardinality(Nullable(String)), ne Nullable(Enum8('p' = 1, 'q' = 2)), nu Nullable(UUID), nb Nullable(Bool), ai Array(Int32), at64 Array(DateTime64(9, 'UTC')), an Array(String), ad Array(Decimal(18, 4)),
  spool_writer LowCardinality(String), spool_seq UInt64
) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts
"""


@pytest.fixture(scope="module")
def reader() -> Any:
    sys.path.insert(0, str(clients.python_packages()))
    import coldpath.spool
    return coldpath.spool


def shown(value: Any, kind: Any = None) -> Any:
    """A value of Arrow as `cat` writes it."""
    import numpy
    import pyarrow as pa
    if value is None:
        return None
    if kind == pa.float32():
        # The shortest text that is the same Float32.
        return float(str(numpy.float32(value)))
    if isinstance(value, list):
        return [shown(item, kind.value_type) for item in value]
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value)) if kind == pa.binary(16) else value.decode()
    if isinstance(value, datetime.datetime):
        nanoseconds = getattr(value, "value", None)
        text = value.strftime("%Y-%m-%dT%H:%M:%S")
        return f"{text}.{nanoseconds % 10 ** 9:09d}Z" if kind.unit == "ns" else f"{text}Z"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def rows(table: Any) -> list[dict[str, Any]]:
    return [{field.name: shown(row[field.name], field.type) for field in table.schema} for row in table.to_pylist()]


def printed(spool: Path, table: str, *more: str) -> list[dict[str, Any]]:
    text = run([str(binary("spool-loader")), "cat", table, "--spool", str(spool), *more]).stdout
    found = [json.loads(line) for line in text.split("\n") if line]
    for row in found:
        del row["table"]
    return found


def float_free(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bools and floats told apart by their texts: 1 == True and -0.0 == 0.0."""
    return [{name: repr(value) if isinstance(value, (bool, float)) else value for name, value in row.items()} for row in rows]


def test_every_table_of_a_day_reads_as_cat_prints_it(reader: Any, make_pipeline: MakePipeline, day_file: Path, tmp_path: Path) -> None:
    pipeline: Pipeline = make_pipeline()
    market = generated("sample_market_data.py", "--rows", "3000", to=tmp_path / "market.jsonl")
    pipeline.import_files(day_file, market)
    spool = reader.Spool(pipeline.spool)
    assert spool.writer == (pipeline.spool / "spool.id").read_text().split()[-1] and len(spool.tables()) == 9
    for table in spool.tables():
        whole = spool.table(table)
        assert float_free(rows(whole)) == float_free(printed(pipeline.spool, table)), table
        assert spool.lost(table) == []
    # By time and by column, as cat cuts it; to the nanosecond.
    fills = printed(pipeline.spool, "fills")
    for since, until in ((fills[100]["ts_exchange"], fills[300]["ts_exchange"]), (None, fills[50]["ts_exchange"]), (fills[200]["ts_exchange"], None)):
        options = [*(["--since", since] if since else []), *(["--until", until] if until else [])]
        assert rows(spool.table("fills", since=since, until=until)) == printed(pipeline.spool, "fills", *options)
    few = spool.table("fills", columns=["symbol", "fill_price", "nothing"])
    assert rows(few) == [{"symbol": row["symbol"], "fill_price": row["fill_price"]} for row in fills]
    # And on to the others.
    frame = spool.table("fills").to_pandas()
    assert len(frame) == len(fills) and str(frame["fill_qty"].sum()) == str(sum(decimal.Decimal(row["fill_qty"]) for row in fills))
    import polars
    assert polars.from_arrow(spool.table("fills"))["fill_qty"].sum() == sum(decimal.Decimal(row["fill_qty"]) for row in fills)
    with pytest.raises(ValueError, match="neither a date"):
        spool.table("fills", since="yesterday")


def test_every_type(reader: Any, tmp_path: Path) -> None:
    rng = random.Random(4)
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "0001_kinds.sql").write_text(EVERY_TYPE)

    def word(most: int) -> str:
        return "".join(rng.choice("aé漢😀 \\'\"\n\0") for _ in range(rng.randrange(most)))

    def moment() -> int:
        return rng.randrange(10 ** 17, 3_786_912_000_000_000_000)

    def event(number: int) -> dict[str, Any]:
        maybe = lambda value: value if rng.random() < 0.7 else None  # noqa: E731
        return {
            "table": "kinds", "ts": 1_790_000_000_000_000_000 + number, "i8": rng.choice((-128, 127, 0)), "i16": rng.choice((-32768, 32767)), "i32": rng.randrange(-2 ** 31, 2 ** 31),
            "i64": rng.choice((-2 ** 63, 2 ** 63 - 1)), "u8": rng.choice((0, 255)), "u16": rng.choice((0, 65535)), "u32": rng.randrange(2 ** 32), "u64": rng.choice((0, 2 ** 64 - 1)),
            "f32": rng.choice((0.5, -1.25, 16777216.0)), "f64": rng.choice((0.1, -0.0, 1e308, 5e-324)), "flag": rng.random() < 0.5, "d9": rng.choice(("9999999.99", "-0.01", "0")),
            "d18": rng.choice(("-99999999999999.9999", "1.5")), "d38": rng.choice(("9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "0.0000000001")),
            "day": rng.choice(("1970-01-01", "2149-06-06", "2026-02-28")), "at": "2026-01-02T03:04:05Z", "e8": rng.choice(("a", "it's", "b")), "e16": rng.choice(("x", "y")),
            "id": str(uuid.UUID(int=rng.getrandbits(128))), "fixed": rng.choice(("", "abc", "é漢")), "text": word(300), "name": rng.choice(("one", "two", "")),
            "ni": maybe(-5), "nd": maybe("-1.5"), "nt": maybe(moment()), "ns": maybe(word(20)), "nn": maybe(rng.choice(("u", "v"))), "ne": maybe("q"), "nu": maybe(str(uuid.UUID(int=rng.getrandbits(128)))),
            "nb": maybe(True), "ai": [rng.randrange(-5, 5) for _ in range(rng.randrange(4))], "at64": [moment() for _ in range(rng.randrange(3))], "an": [word(9) for _ in range(rng.randrange(3))],
            "ad": ["-0.0001"] * rng.randrange(3)}

    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(event(number)) + "\n" for number in range(3_000)))
    run([str(binary("spool-writer")), "import", "--spool", str(tmp_path / "spool"), "--schemas", str(schemas), str(path)])
    table = reader.Spool(tmp_path / "spool").table("kinds")
    assert table.num_rows == 3_000 and len(table.schema) == 37
    for found, expected in zip(float_free(rows(table)), float_free(printed(tmp_path / "spool", "kinds")), strict=True):
        assert found.keys() == expected.keys()
        assert {name: (value, expected[name]) for name, value in found.items() if value != expected[name]} == {}


@pytest.mark.parametrize("spool", sorted((ROOT / "Tests" / "Evolution").glob("*/spool")), ids=lambda path: path.parent.name)
def test_spools_of_every_earlier_schema_are_read(reader: Any, spool: Path) -> None:
    its = reader.Spool(spool)
    for table in its.tables():
        assert float_free(rows(its.table(table))) == float_free(printed(spool, table)), table


def test_only_what_is_durable_is_read_and_a_writer_may_go_on(reader: Any, make_pipeline: MakePipeline, orders_file: Path) -> None:
    pipeline: Pipeline = make_pipeline()
    pipeline.start_writer()
    lines = orders_file.read_bytes().splitlines(keepends=True)
    for part in range(4):
        clients_lines = pipeline.directory / f"part{part}.jsonl"
        clients_lines.write_bytes(b"".join(lines[part * 200:(part + 1) * 200]))
        run([sys.executable, str(ROOT / "demo" / "send_events.py"), "--socket", str(pipeline.socket), "--client", f"c{part}", str(clients_lines)])
        assert reader.Spool(pipeline.spool).table("orders").num_rows == (part + 1) * 200
    pipeline.writer.kill()
    segment = max((pipeline.spool / "orders").glob("*.lz4"))
    durable = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(b"torn" * 100)
    assert reader.Spool(pipeline.spool).table("orders").num_rows == 800
    # A copy that has not arrived wholly is not taken for a spool with fewer rows.
    with segment.open("r+b") as file:
        file.truncate(durable - 1)
    with pytest.raises(reader.Damage, match="a copy that is not complete"):
        reader.Spool(pipeline.spool).table("orders")


def test_damage_is_named_and_never_read_as_rows(reader: Any, make_pipeline: MakePipeline, orders_file: Path) -> None:
    pipeline: Pipeline = make_pipeline()
    # Each import is a segment.
    lines = orders_file.read_bytes().splitlines(keepends=True)
    for part in range(4):
        path = pipeline.directory / f"part{part}.jsonl"
        path.write_bytes(b"".join(lines[part * 150:(part + 1) * 150]))
        pipeline.import_files(path)
    whole = rows(reader.Spool(pipeline.spool).table("orders"))
    assert whole == printed(pipeline.spool, "orders") and len(whole) == 600
    directory = pipeline.spool / "orders"
    rng = random.Random(9)
    files = sorted(directory.iterdir())
    noticed = 0
    for _ in range(150):
        path = rng.choice(files)
        before = path.read_bytes()
        place, bit = rng.randrange(len(before)), rng.randrange(8)
        path.write_bytes(before[:place] + bytes([before[place] ^ 1 << bit]) + before[place + 1:])
        try:
            # An index is not needed for reading: damage there may show nowhere.
            assert rows(reader.Spool(pipeline.spool).table("orders")) == whole, (path.name, place, bit)
        except reader.Damage as damage:
            noticed += 1
            assert "orders/" in str(damage)
        path.write_bytes(before)
    assert noticed > 100
    segments = sorted(directory.glob("*.lz4"))
    assert len(segments) == 4
    # Of the front, as prune takes them, they may be missing; not of the middle.
    segments[0].rename(pipeline.directory / "first")
    assert rows(reader.Spool(pipeline.spool).table("orders")) == whole[150:]
    (pipeline.directory / "first").rename(segments[0])
    segments[1].unlink()
    with pytest.raises(reader.Damage, match="one is missing"):
        reader.Spool(pipeline.spool).table("orders")


def test_what_is_no_spool_is_refused(reader: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        reader.Spool(tmp_path)
    (tmp_path / "spool.id").write_text("coldpath-spool 2\nwriter x\n")
    with pytest.raises(reader.Damage, match="format 1"):
        reader.Spool(tmp_path)
    (tmp_path / "spool.id").write_text("coldpath-spool 1\nwriter x\n")
    assert reader.Spool(tmp_path).tables() == []
