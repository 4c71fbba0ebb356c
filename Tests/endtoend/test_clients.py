"""Rings that C, Swift and Python write, read back by a reader that was made from the specification alone."""
from __future__ import annotations

import datetime
import subprocess
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import clients
from ring_reader import RingFile

START = 1_790_000_000_000_000_000
ID, ZERO = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"), uuid.UUID(int=0)


def day(number: int) -> datetime.date:
    return datetime.date(1970, 1, 1) + datetime.timedelta(days=number)


GIVEN = dict(
    flag=True, ts=1790000000123456789, i8=-128, i16=-32768, i32=-2 ** 31, i64=-2 ** 63, u8=255, u16=65535, u32=2 ** 32 - 1, u64=2 ** 64 - 1,
    f32=0.5, f64=-1e300, d32=Decimal("-9999999.99"), d64=Decimal("61800.5"), d128=Decimal("9999999999999999999999999999.9999999999"),
    day=day(65535), sec=1790000000, id=ID, code=b"EUR", text="C-000000000000000001", name="BTCUSDT", side="sell", kind="a b", n_flag=False,
    n_ts=START + 7, n_i64=-7, n_u8=7, n_f64=7.5, n_d32=Decimal(7), n_d128=Decimal("-7.7"), n_day=day(7), n_id=ID, n_code=b"US\0",
    n_text="seven", n_name="SEVEN", n_side="buy", a_flag=[True, False, True], a_ts=[START, START + 1], a_i16=[-1, 0, 32767],
    a_u64=[0, 2 ** 64 - 1], a_f32=[0.5, -2], a_f64=[1e-300, 2.5, 3], a_d64=[Decimal("1E-8"), Decimal(-1)],
    a_d128=[Decimal("1E-10"), Decimal(-1)], a_day=[day(0), day(19782)], a_id=[ID, ZERO], a_text=["one", "", "zwei €"], a_side=["sell", "buy"],
    o_zero=1, o_flag=False, o_i32=0, o_u64=0, o_f64=0.0, o_d128=Decimal(0), o_ts=START, o_day=day(1), o_id=ZERO, o_code=b"\0\0\0", o_side="buy",
    o_text="", o_empty="e", o_name="", o_nothing="n", n_o_f64=None, n_o_name="x", row=3, **{"from": 7, "class": "c", "switch": 9})

LEFT_OUT = {name: [] if name.startswith("a_") else None if name.startswith("n_") else 0 for name in GIVEN} | dict(
    flag=False, ts=START, sec=1790000000, day=day(0), id=ZERO, code=b"\0\0\0", text="", name="", side="buy", kind="", o_flag=True, o_i32=-5,
    o_u64=2 ** 64 - 1, o_f64=1.5, o_d128=Decimal("-2.5"), o_ts=1709208000000000001, o_day=datetime.date(2024, 2, 29), o_id=ID, o_code=b"EU\0",
    o_side="sell", o_text='none "or" \\ ??/', o_empty="", o_name="spot", o_nothing="", n_o_f64=2.5, n_o_name="d", **{"class": ""})


class Producer:
    """A producer's process, and its ring."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        self.command = clients.PRODUCERS_BY_NAME[name]()
        self.rings: list[RingFile] = []

    def start(self, mode: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self.command, str(self.directory), mode], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=clients.environment() if self.name == "python" else None)

    def run(self, mode: str) -> list[str]:
        with self.start(mode) as process:
            output, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        return output.split()

    @property
    def ring(self) -> RingFile:
        [path] = self.directory.glob("*.ring")
        self.rings.append(RingFile(path))
        return self.rings[-1]


@pytest.fixture(params=clients.PRODUCERS_BY_NAME)
def producer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Producer]:
    made = Producer(request.param, tmp_path)
    yield made
    for ring in made.rings:
        ring.close()


def test_every_type_arrives_as_it_was_given(producer: Producer) -> None:
    assert producer.run("types") == ["0", "0"]
    ring = producer.ring
    assert ring.closed and ring.producer == producer.name.split("-")[0]
    first, second = [row.values for row in ring.rows()]
    if producer.name == "python":
        # Python gives this one as a datetime, which has no nanoseconds.
        assert first["n_ts"] == START
        first["n_ts"] = GIVEN["n_ts"]
    assert first == GIVEN
    # C has no third state for columns that are Nullable and have a default.
    assert second == LEFT_OUT | ({"n_o_f64": None, "n_o_name": None} if producer.name.startswith("c-") else {})


def test_declarations_name_each_column_of_the_schema(producer: Producer) -> None:
    producer.run("types")
    golden = (clients.SCHEMAS.parent / "every_type.py").read_text()
    for table in producer.ring.tables:
        assert f'"{table.name}", fingerprint=0x{table.fingerprint:016x}, row_bytes={table.row_bytes}' in golden
        ddl = next(clients.SCHEMAS.glob(f"*_{table.name}.sql")).read_text()
        for column in table.columns:
            plain = column.type.replace("LowCardinality(", "")
            assert column.name == "venue" or f"    {column.name} {plain}" in ddl or f"    {column.name} LowCardinality({plain})" in ddl


def test_texts_of_every_length_are_copied_whole(producer: Producer) -> None:
    assert producer.run("notes") == ["0"] * 70
    alphabet = "abcdefghijklmnopqrstuvwxyz" * 3
    assert [row.values for row in producer.ring.rows()] == [
        {"ts": START + i, "symbol": "A", "number": i, "note": alphabet[:i], "venue": "XNAS"} for i in range(70)]


def test_names_that_find_no_room_stand_in_the_rows(producer: Producer) -> None:
    codes = producer.run("names")
    ring = producer.ring
    rows = ring.rows()
    symbols = [f"SYMBOL-{i:02}" for i in range(12)] * 2
    assert codes[:24] == ["0"] * 24 and [row.values["symbol"] for row in rows[:24]] == symbols
    assert all(row.values["venue"] == "XNAS" for row in rows)
    # In 64 bytes: the count, four symbols and the default of venue.
    assert sorted(set(ring.names) - {"FOREIGN"}) == [*symbols[:4], "XNAS"]
    assert {row.values["symbol"] for row in rows if "symbol" in row.inline_names}.isdisjoint(ring.names)
    assert sum("symbol" in row.inline_names for row in rows[:24]) == 16
    if producer.name == "swift":
        # No room for a literal either; and a name of another ring is refused, since its text may be gone.
        assert rows[24].values["symbol"] == "LITERAL-THAT-FINDS-NO-ROOM" and "symbol" in rows[24].inline_names
        assert codes[24:] == ["0", "4"] and len(rows) == 25
    elif producer.name.startswith("c-"):
        assert codes[24:] == ["0"] and rows[24].values["symbol"] == "FOREIGN"


def test_a_full_ring_refuses_and_counts_and_wraps_when_there_is_room_again(producer: Producer) -> None:
    process = producer.start("full")
    assert process.stdin and process.stdout
    expected = 0
    ring = None
    for lap in range(4):
        accepted, code = process.stdout.readline().split()
        assert code == "1"
        ring = ring or producer.ring
        assert ring.full_rows(1) == lap + 1 and ring.full_rows(0) == 0
        rows = ring.rows()
        assert [row.values["number"] for row in rows] == list(range(expected, int(accepted)))
        assert all(row.values["note"] == "a note of some length" for row in rows)
        # No room for one more of these rows, and not a byte beyond what is durable.
        size = rows[1].position - rows[0].position
        assert ring.data_bytes - size < ring.write_position - ring.durable_position <= ring.data_bytes
        keep = 3
        ring.durable_position = rows[-keep - 1].position
        expected = int(accepted) - keep
        process.stdin.write("\n")
        process.stdin.flush()
    assert ring and ring.write_position > 3 * ring.data_bytes
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_rows_that_are_too_long_are_refused_and_counted(producer: Producer) -> None:
    codes = producer.run("long")
    ring = producer.ring
    assert codes == (["0", "2", "2", "2"] if producer.name == "python" else ["0", "2", "2", "2", "2"])
    assert ring.too_long_rows == len(codes) - 1
    [row] = ring.rows()
    assert len(row.values["note"]) == 65536 // 4 - 8 - 28


@pytest.mark.parametrize("producer", ["c-sanitized"], indirect=True)
def test_a_forked_child_closes_only_what_is_its_own(producer: Producer) -> None:
    assert producer.run("fork") == ["0", "0", "0", "0"]
    assert [row.values["number"] for row in producer.ring.rows()] == [0, 1]
