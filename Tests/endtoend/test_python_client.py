"""The Python package: what it refuses, and how it behaves in a program."""
from __future__ import annotations

import asyncio
import datetime
import decimal
import fcntl
import gc
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import clients
from ring_reader import RingFile

START = 1_790_000_000_000_000_000


@pytest.fixture(scope="module")
def coldpath() -> Any:
    sys.path.insert(0, str(clients.python_packages()))
    import coldpath
    return coldpath


@pytest.fixture(scope="module")
def tables(coldpath: Any) -> Any:
    import every_type
    return every_type


@pytest.fixture
def ring(coldpath: Any, tables: Any, tmp_path: Path) -> Iterator[Any]:
    with coldpath.Ring(tmp_path, producer="test", tables=tables.TABLES, data_bytes=1 << 20) as opened:
        yield opened


@pytest.fixture
def reader(ring: Any) -> Iterator[RingFile]:
    opened = RingFile(ring.path)
    yield opened
    opened.close()


NEEDED: dict[str, Any] = dict(
    flag=False, ts=START, i8=0, i16=0, i32=0, i64=0, u8=0, u16=0, u32=0, u64=0, f32=0, f64=0, d32=0, d64=0, d128=0, day=datetime.date(1970, 1, 1),
    sec=1790000000, id="00112233445566778899aabbccddeeff", code="", text="", name="", side="buy", kind="")

REFUSED: list[tuple[str, Any, type[Exception], str]] = [
    ("flag", 1, TypeError, "expected bool, got int"),
    ("i8", 128, ValueError, "128 is outside -128 to 127"),
    ("u8", -1, ValueError, "-1 is outside 0 to 255"),
    ("u64", 2 ** 64, ValueError, "is outside 0 to 18446744073709551615"),
    ("i64", -2 ** 63 - 1, ValueError, "is outside -9223372036854775808"),
    ("i32", 1.0, TypeError, "expected int, got float"),
    ("i32", "1", TypeError, "expected int, got str"),
    ("f64", "1", TypeError, "expected float, got str"),
    ("f32", 1e39, ValueError, "beyond the range of Float32"),
    ("d64", 0.5, TypeError, "a float would be rounded"),
    ("d64", "1.000000001", ValueError, "does not fit exactly: at most 10 digits before and 8 after the decimal point"),
    ("d64", Decimal("1E-9"), ValueError, "does not fit exactly"),
    ("d64", 10 ** 10, ValueError, "does not fit exactly"),
    ("d64", "9999999999.999999999", ValueError, "does not fit exactly"),
    ("d64", "1e400", ValueError, "does not fit exactly"),
    ("d64", "", ValueError, "is not a decimal number"),
    ("d64", "1,5", ValueError, "is not a decimal number"),
    ("d64", Decimal("NaN"), ValueError, "is not a decimal number"),
    ("d64", Decimal("Infinity"), ValueError, "is not a decimal number"),
    ("d64", None, TypeError, "None, but the column is not Nullable"),
    ("d128", 10 ** 28, ValueError, "does not fit exactly"),
    ("ts", 1790000000, ValueError, "is it seconds, milliseconds or microseconds?"),
    ("ts", 1.79e18, TypeError, "expected int nanoseconds since 1970 or a datetime with a time zone, got float"),
    ("ts", datetime.datetime(2026, 1, 1), ValueError, "has no time zone"),
    ("ts", datetime.datetime(2090, 1, 2, tzinfo=datetime.timezone.utc), ValueError, "outside 1973-03-03 to 2090-01-01"),
    ("ts", datetime.datetime(9999, 12, 31, tzinfo=datetime.timezone.utc), ValueError, "outside 1973-03-03 to 2090-01-01"),
    ("ts", "2026-01-01", TypeError, "got str"),
    ("sec", datetime.datetime(2026, 1, 1, 0, 0, 0, 1, datetime.timezone.utc), ValueError, "whole seconds"),
    ("sec", START, ValueError, "outside"),
    ("day", datetime.date(2149, 6, 7), ValueError, "outside 1970-01-01 to 2149-06-06"),
    ("day", datetime.datetime(2026, 1, 1), TypeError, "expected datetime.date"),
    ("id", "0011223344556677", ValueError, "is not a UUID"),
    ("id", "00112233445566778899aabbccddeefg", ValueError, "is not a UUID"),
    ("id", 7, TypeError, "expected uuid.UUID or str"),
    ("code", "four", ValueError, "4 bytes, the column holds 3"),
    ("code", "€€", ValueError, "6 bytes, the column holds 3"),
    ("text", b"x", TypeError, "expected str, got bytes"),
    ("text", "\ud800", UnicodeEncodeError, "surrogates"),
    ("name", 5, TypeError, "expected str, got int"),
    ("side", "bid", ValueError, "'bid' is not one of ['buy', 'sell']"),
    ("side", 1, TypeError, "expected str, got int"),
    ("a_f64", 1.5, TypeError, "expected a sequence, got float"),
    ("a_text", "abc", TypeError, "expected a sequence, got str"),
    ("a_i16", [1, 40000], ValueError, "every_type.a_i16: 40000 is outside -32768 to 32767"),
    ("a_text", ["a", None], TypeError, "expected str, got NoneType"),
    ("a_f64", None, TypeError, "None, but the column is not Nullable"),
    ("a_u64", range(200_000), ValueError, "a row of more than 1 MiB"),
    ("text", "x" * 300_000, ValueError, "this ring takes 262144"),
]


@pytest.mark.parametrize("field, value, error, message", REFUSED, ids=lambda value: None if isinstance(value, (type, tuple, list, range)) else str(value)[:30])
def test_a_value_that_does_not_fit_is_an_error_that_names_it(ring: Any, tables: Any, reader: RingFile, field: str, value: Any,
                                                             error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        tables.every_type(ring, **NEEDED | {field: value})
    assert message in str(raised.value)
    if error is not UnicodeEncodeError and "1 MiB" not in message and "this ring" not in message:
        assert str(raised.value).startswith(f"every_type.{field}: ")
    assert reader.rows() == []
    # What was refused leaves nothing behind.
    tables.every_type(ring, **NEEDED)
    assert len(reader.rows()) == 1


def test_unknown_and_missing_columns_are_type_errors(ring: Any, tables: Any, coldpath: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="ticks has no column 'numbr'"):
        tables.ticks(ring, ts=START, symbol="A", numbr=1, note="")
    with pytest.raises(TypeError, match="ticks needs note: the column has no default"):
        tables.ticks(ring, ts=START, symbol="A", number=1)
    with pytest.raises(TypeError, match="every_type needs kind"):
        tables.every_type(ring, **{name: value for name, value in NEEDED.items() if name != "kind"})
    with pytest.raises(TypeError, match="give the ring first, and all values by name"):
        tables.ticks(ring, START)
    with pytest.raises(TypeError, match="give the ring first"):
        tables.ticks()
    with coldpath.Ring(tmp_path, producer="one", tables=[tables.ticks]) as small:
        with pytest.raises(ValueError, match="opened without table every_type"):
            tables.every_type(small, **NEEDED)


def test_decimals_are_exact_whatever_way_they_are_written(ring: Any, tables: Any, reader: RingFile) -> None:
    for text, value in (("1.", 1), (".5", Decimal("0.5")), ("+1", 1), ("-0", 0), ("0E+99", 0), ("00000000000000000000012", 12), ("12E-1", Decimal("1.2"))):
        position = tables.every_type(ring, **NEEDED | {"d64": text})
        assert reader.rows()[0].values["d64"] == value, text
        reader.durable_position = position
    random.seed(seed := random.randrange(1 << 30))
    with decimal.localcontext(decimal.Context(prec=60)):
        for column, digits, scale in (("d32", 9, 2), ("d64", 18, 8), ("d128", 38, 10)):
            for _ in range(300):
                units = random.randrange(10 ** random.randint(1, digits)) * random.choice((1, -1))
                exact = Decimal(units).scaleb(-scale)
                forms = [exact, str(exact), f"{exact:f}", f"{exact:E}", exact.normalize(), f"{exact:f}" + ("000" if scale else "")]
                if exact == int(exact):
                    forms.append(int(exact))
                form = random.choice(forms)
                tables.every_type(ring, **NEEDED | {column: form})
                [row] = reader.rows()
                assert row.values[column] == exact, f"{column} {form!r}, seed {seed}"
                reader.durable_position = row.position
                beyond = exact + Decimal(1).scaleb(-scale - 1)
                with pytest.raises(ValueError, match="does not fit exactly"):
                    tables.every_type(ring, **NEEDED | {column: random.choice([beyond, str(beyond)])})


def test_datetimes_of_any_zone_are_the_same_instant(ring: Any, tables: Any, reader: RingFile) -> None:
    class Timestamp(datetime.datetime):
        """As pandas has it: a datetime with three more digits."""
        nanosecond = 789

    instant = datetime.datetime(2026, 2, 28, 23, 59, 59, 123456, datetime.timezone.utc)
    expected = 1772323199123456000
    zone = datetime.timezone(-datetime.timedelta(hours=5, minutes=30, microseconds=7))
    for given, wanted in ((instant, expected), (instant.astimezone(zone), expected), (expected, expected),
                          (Timestamp(2026, 2, 28, 23, 59, 59, 123456, datetime.timezone.utc), expected + 789)):
        tables.ticks(ring, ts=given, symbol="A", number=1, note="")
        [row] = reader.rows()
        assert row.values["ts"] == wanted, given
        reader.durable_position = row.position


def test_rows_can_be_given_as_mappings_in_any_order(ring: Any, tables: Any, reader: RingFile) -> None:
    fields: dict[str, Any] = dict(ts=START, symbol="A", number=1, note="x", venue="V")
    for number in range(30):
        names = random.sample(list(fields), len(fields))
        tables.ticks(ring, **{name: fields[name] for name in names} | {"number": number})
        ring.publish("ticks", {name: fields[name] for name in names}, **{})
        ring.publish(tables.ticks, fields)
    rows = [row.values for row in reader.rows()]
    assert [row["number"] for row in rows[::3]] == list(range(30))
    assert all(row == fields | {"number": row["number"]} for row in rows)
    with pytest.raises(ValueError, match="opened without table tick:"):
        ring.publish("tick", fields)


def test_a_value_that_publishes_itself_disturbs_no_row(ring: Any, tables: Any, reader: RingFile) -> None:
    class Inner:
        def __index__(self) -> int:
            for size in range(12):  # more call sites than are remembered
                tables.ticks(ring, ts=START, symbol="inner", number=size, note="i" * size * 100, **({"venue": "V"} if size % 2 else {}))
            return 7

    tables.ticks(ring, ts=START, symbol="outer", number=Inner(), note="o" * 50)
    rows = reader.rows()
    assert [row.values["symbol"] for row in rows] == ["inner"] * 12 + ["outer"]
    assert rows[-1].values["number"] == 7 and rows[-1].values["note"] == "o" * 50
    assert all(row.values["note"] == "i" * row.values["number"] * 100 for row in rows[:-1])

    class Closing:
        def __index__(self) -> int:
            ring._close()
            return 7

    with pytest.raises(ValueError, match="the ring is closed"):
        tables.ticks(ring, ts=START, symbol="outer", number=Closing(), note="")


def test_threads_of_one_interpreter_may_share_a_ring(ring: Any, tables: Any, reader: RingFile) -> None:
    def work(name: str) -> None:
        for number in range(1_000):
            tables.ticks(ring, ts=START, symbol=name, number=number, note=name * 3)

    threads = [threading.Thread(target=work, args=(f"thread-{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [row.values for row in reader.rows()]
    for i in range(4):
        assert [row["number"] for row in rows if row["symbol"] == f"thread-{i}"] == list(range(1_000))
    assert all(row["note"] == row["symbol"] * 3 for row in rows)


def test_a_full_ring_raises_or_returns_0_as_its_owner_chose(coldpath: Any, tables: Any, tmp_path: Path) -> None:
    for when_full in ("raise", "return"):
        with coldpath.Ring(tmp_path, producer=when_full, tables=tables.TABLES, data_bytes=65536, when_full=when_full) as ring:
            fields = dict(ts=START, symbol="A", number=1, note="n" * 10_000)
            for _ in range(6):
                assert tables.ticks(ring, **fields) == ring.position > 0
            if when_full == "raise":
                with pytest.raises(coldpath.RingFull, match="ticks: the ring is full; is spool-writer running with --rings?"):
                    tables.ticks(ring, **fields)
            else:
                assert tables.ticks(ring, **fields) == 0
            assert ring.full_rows(tables.ticks) == 1 and ring.full_rows(tables.every_type) == 0


def test_a_forked_child_is_told_to_open_its_own_ring(ring: Any, coldpath: Any, tables: Any, reader: RingFile) -> None:
    answers, told = os.pipe()
    held, release = os.pipe()
    child = os.fork()
    if child == 0:
        message = "nothing was said"
        try:
            tables.ticks(ring, ts=START, symbol="A", number=1, note="")
        except coldpath.RingError as error:
            message = str(error)
        ring._close()
        os.write(told, message.encode())
        os.read(held, 1)
        os._exit(0)
    os.close(told)
    assert f"belongs to process {os.getpid()}, which forked this one ({child}): open another ring here" in os.read(answers, 1000).decode()
    # The parent goes on, and once it is done nobody holds the lock: the child must not keep a dead ring alive.
    tables.ticks(ring, ts=START, symbol="A", number=2, note="")
    assert [row.values["number"] for row in reader.rows()] == [2]
    with open(ring.path) as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ring._close()
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the child must still live for this"
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(release, b"x")
    os.waitpid(child, 0)


def test_a_ring_that_is_forgotten_warns_and_one_that_is_closed_says_so(coldpath: Any, tables: Any, tmp_path: Path) -> None:
    ring = coldpath.Ring(tmp_path, producer="lost", tables=tables.TABLES)
    path = Path(ring.path)
    gc.collect()  # What other tests left would be warned of as well.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del ring
        gc.collect()
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == [f"unclosed ring {path}"]
    assert RingFile(path).closed
    ring = coldpath.Ring(tmp_path, producer="kept", tables=tables.TABLES)
    ring.close()
    ring.close()
    with pytest.raises(ValueError, match="the ring is closed"):
        tables.ticks(ring, ts=START, symbol="A", number=1, note="")
    with pytest.raises(ValueError, match="the ring is closed"):
        ring.position


def test_a_ring_that_cannot_be_made_says_what_and_where(coldpath: Any, tables: Any, tmp_path: Path) -> None:
    attempts: list[tuple[Callable[[], Any], str]] = [
        (lambda: coldpath.Ring(tmp_path / "none", producer="p", tables=tables.TABLES), f"cannot create {tmp_path}/none/p-.*No such file"),
        (lambda: coldpath.Ring(tmp_path, producer="a b", tables=tables.TABLES), "the producer's name may have"),
        (lambda: coldpath.Ring(tmp_path, producer="p", tables=tables.TABLES, data_bytes=100_000), "a power of two from 64 KiB to 4 GiB"),
        (lambda: coldpath.Ring(tmp_path, producer="p", tables=[]), "a ring has 1 to 64 tables"),
    ]
    for attempt, message in attempts:
        with pytest.raises(coldpath.RingError, match=message):
            attempt()
    with pytest.raises(TypeError, match=r"tables\[0\] is no coldpath.Table but str"):
        coldpath.Ring(tmp_path, producer="p", tables=["ticks"])
    assert list(tmp_path.glob("*")) == []


def test_durable_is_waited_for_without_holding_up_other_tasks(ring: Any, tables: Any, reader: RingFile) -> None:
    position = tables.ticks(ring, ts=START, symbol="A", number=1, note="")

    async def program() -> tuple[bool, bool, int]:
        turns = 0

        async def writer() -> None:
            nonlocal turns
            for _ in range(10):
                await asyncio.sleep(0.002)
                turns += 1
            reader.durable_position = position

        early = await ring.durable(position, timeout=0.005)
        task = asyncio.create_task(writer())
        late = await ring.durable(position, timeout=10)
        await task
        return early, late, turns

    assert asyncio.run(program()) == (False, True, 10)
    assert ring.wait_durable() and ring.wait_durable(position, timeout=0)
    later = tables.ticks(ring, ts=START, symbol="A", number=2, note="")
    started = time.monotonic()
    assert not ring.wait_durable(later, timeout=0.05) and 0.04 < time.monotonic() - started < 5


def test_what_the_writer_says_can_be_read(ring: Any, tables: Any, reader: RingFile) -> None:
    assert (ring.state, ring.table_state(tables.ticks), ring.wait_attached(timeout=0)) == ("waiting", "unseen", False)
    reader.set_state(ring=1, table=1, state=2)
    assert (ring.state, ring.table_state(tables.ticks), ring.table_state(tables.every_type)) == ("attached", "refused", "unseen")
    assert ring.wait_attached() and ring.loaded_position == 0 and ring.refused_rows == 0
    assert ring.close() is True, "nothing was published, so all of it is durable"
