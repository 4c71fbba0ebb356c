"""The writer's JSON against Python's: what of many made and broken lines is taken, and with which values.

Lines go through `spool-writer import` and come back by `spool-loader cat`. What must become of each is computed here, from Python's
own parser and the rules of docs/schemas.md. ORACLE_SEED=N repeats a run, ORACLE_LINES=N changes how many lines it has.
"""
from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
from collections import Counter
from datetime import datetime, timedelta, timezone
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / ".build" / "release"
LINES = int(os.environ.get("ORACLE_LINES", "20000"))
SEEDS = [int(os.environ["ORACLE_SEED"])] if "ORACLE_SEED" in os.environ else [1, 2, random.randrange(1_000, 1_000_000)]

DDL = """CREATE TABLE t (ts DateTime64(9, 'UTC'), i8 Int8, i64 Int64, u32 UInt32, u64 UInt64, f Float64, d Decimal(18, 8), w Decimal(38, 10),
s String, b Bool, e Enum8('buy' = 1, 'sell' = 2), nf Nullable(Float64), ns Nullable(String), a Array(Float64), spool_writer String, spool_seq UInt64)
PARTITION BY toDate(ts)"""
INTEGERS = {"i8": (-2**7, 2**7 - 1), "i64": (-2**63, 2**63 - 1), "u32": (0, 2**32 - 1), "u64": (0, 2**64 - 1)}
DECIMALS = {"d": (18, 8), "w": (38, 10)}
COLUMNS = ("ts", *INTEGERS, "f", *DECIMALS, "s", "b", "e", "nf", "ns", "a")
REQUIRED = {"ts", *INTEGERS, "f", *DECIMALS, "s", "b", "e"}
TIMES = (100_000_000_000_000_000, 3_786_912_000_000_000_000)
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
RFC3339 = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))")


class Refused(Exception):
    """Why a line must not be taken."""


class Fraction(str):
    """A number written with a fraction or an exponent, as it stands there."""


# What a line must become.


def expected(line: bytes) -> dict[str, Any]:
    """The row; raises Refused where none may come of the line."""
    try:
        event = json.loads(line.decode("utf-8"), parse_float=Fraction, parse_int=lambda text: Fraction(text) if text == "-0" else int(text),
                           parse_constant=no_constant, object_pairs_hook=unique)
        json.dumps(event, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Refused(f"not JSON: {error}") from None
    if not isinstance(event, dict) or event.get("table") != "t":
        raise Refused("no event of this table")
    row: dict[str, Any] = {"nf": None, "ns": None, "a": []}
    for name, value in event.items():
        if name != "table":
            row[name] = column(name, value)
    if missing := REQUIRED - row.keys():
        raise Refused(f"missing {missing}")
    return row


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def no_constant(text: str) -> Any:
    raise ValueError(text)


def column(name: str, value: Any) -> Any:
    if name in INTEGERS:
        return integer(value, *INTEGERS[name])
    if name in DECIMALS:
        return decimal(value, *DECIMALS[name])
    if name == "f" or (name == "nf" and value is not None):
        return double(value)
    if name == "s" or (name == "ns" and value is not None):
        return demand(value, type(value) is str)
    if name in ("nf", "ns"):
        return None
    if name == "b":
        return demand(value, isinstance(value, bool))
    if name == "e":
        return demand(value, value in ("buy", "sell"))
    if name == "ts":
        return time(value)
    if name == "a":
        return [] if value is None else [double(item) for item in demand(value, isinstance(value, list))]
    raise Refused(f"no column {name}")


def demand(value: Any, holds: bool) -> Any:
    if not holds:
        raise Refused(f"{value!r}")
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, (int, Fraction)) and not isinstance(value, bool)


def integer(value: Any, lowest: int, highest: int) -> int:
    if value == "-0" and isinstance(value, Fraction):
        value = 0
    return demand(value, isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest)


def double(value: Any) -> float:
    result = float(demand(value, is_number(value)))
    return demand(result, math.isfinite(result))


def decimal(value: Any, precision: int, scale: int) -> Decimal:
    if isinstance(value, str) and not isinstance(value, Fraction):
        demand(value, NUMBER.fullmatch(value))
    else:
        demand(value, is_number(value))
    text = str(value)
    # Stricter than the type: no more than 38 digits are looked at, even if the last of them are zeros.
    written = re.split("[eE]", text)[0].lstrip("-").replace(".", "").lstrip("0")
    demand(value, len(written) <= 38)
    if not written:
        return Decimal(0)
    # Powers that no column reaches, and that Python's decimals do not either.
    demand(value, abs(int((re.split("[eE]", text) + ["0"])[1])) < 10_000)
    with localcontext() as context:
        context.prec = 20_000
        number = Decimal(text)
        scaled = number.scaleb(scale)
        demand(value, scaled == scaled.to_integral_value() and abs(scaled) < 10**precision)
        return number


def time(value: Any) -> int:
    if isinstance(value, str) and not isinstance(value, Fraction):
        match = demand(RFC3339.fullmatch(value), RFC3339.fullmatch(value))
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        try:
            moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
        except ValueError:
            raise Refused(value) from None
        sign, hours, minutes = match[8], int(match[9] or 0), int(match[10] or 0)
        demand(value, hours < 24 and minutes < 60)
        whole = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(seconds=1)
        whole -= (-1 if sign == "-" else 1) * (hours * 3600 + minutes * 60)
        value = whole * 10**9 + int((match[7] or "0").ljust(9, "0"))
    return integer(value, *TIMES)


# Lines.


class Maker:
    """Lines, mostly good, some broken."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def line(self) -> bytes:
        pick = self.random.choice
        fields = [(name, self.value(name)) for name in COLUMNS]
        if pick((True, False, False)):
            self.random.shuffle(fields)
        if self.random.random() < 0.05:
            fields.pop(self.random.randrange(len(fields)))
        if self.random.random() < 0.03:
            fields.append(pick(fields))
        if self.random.random() < 0.03:
            fields.append(("nobody", "1"))
        fields.insert(0 if self.random.random() < 0.8 else self.random.randrange(len(fields) + 1), ("table", '"t"'))
        comma, colon = pick(((",", ":"), (",", ":"), (", ", ": "), (" ,\t", " :  ")))
        text = "{" + comma.join(f"{self.key(name)}{colon}{value}" for name, value in fields) + "}"
        line = bytearray(text.encode("utf-8", "surrogatepass"))
        if self.random.random() < 0.3:
            self.damage(line)
        return bytes(line)

    def key(self, name: str) -> str:
        return f'"{name}"' if self.random.random() < 0.98 else f'"\\u{ord(name[0]):04x}{name[1:]}"'

    def damage(self, line: bytearray) -> None:
        for _ in range(self.random.randint(1, 3)):
            place = self.random.randrange(len(line))
            kind = self.random.randrange(5)
            if kind == 0:
                line[place] = self.random.randrange(256)
            elif kind == 1:
                del line[place]
            elif kind == 2:
                line.insert(place, self.random.choice(b'{}[]:,"\\0123456789.eE+- tfnu\x00\x1f\x7f\x80\xc0\xed\xf4'))
            elif kind == 3:
                del line[place:place + self.random.randrange(1, 12)]
            elif self.random.random() < 0.2:
                del line[place:]
            if not line:
                line += b"x"
        # A newline would make two lines of one; that is not what is tested here.
        line[:] = line.replace(b"\n", b"\t")

    def value(self, name: str) -> str:
        pick, number = self.random.choice, self.random.random()
        if number < 0.01:
            return pick(("null", "NaN", "Infinity", "-", "01", "1.", ".5", "+1", "1e", "{}", "[[1]]", '""', "True", "1e999", "-0", "0.0", '"1"'))
        if name == "ts":
            return pick((str(self.random.randint(1_700_000_000_000_000_000, 1_800_000_000_000_000_000)), self.rfc3339()))
        if name in INTEGERS:
            low, high = INTEGERS[name]
            return str(pick((self.random.randint(low, high), self.random.randint(max(low, -99), 99), low, high)) + (number < 0.03) * pick((-1, 1)))
        if name in DECIMALS:
            precision, scale = DECIMALS[name]
            digits = self.digits(self.random.randint(1, precision - scale + (number < 0.02)))
            text = str(int(digits)) + (f".{self.digits(self.random.randint(1, scale + (number < 0.03)))}" if number < 0.8 else "")
            text = pick(("", "", "-")) + text + pick(("", "", "", "", f"e{self.random.randint(-3, 3)}"))
            return f'"{text}"' if pick((True, False)) else text
        if name in ("s", "ns"):
            return "null" if name == "ns" and number < 0.3 else self.text()
        if name == "b":
            return pick(("true", "false"))
        if name == "e":
            return pick(('"buy"', '"sell"', '"sell"', '"buy"', '"b\\u0075y"', '"hold"' if number < 0.05 else '"buy"'))
        if name == "a":
            return "null" if number < 0.1 else "[" + pick((",", ", ")).join(self.float() for _ in range(self.random.randrange(7))) + "]"
        return "null" if name == "nf" and number < 0.3 else self.float()

    def digits(self, count: int) -> str:
        return "".join(self.random.choice("0123456789") for _ in range(count))

    def float(self) -> str:
        kind = self.random.randrange(6)
        if kind == 0:
            return repr(self.random.uniform(-1e6, 1e6))
        if kind == 1:
            return repr(self.random.choice((1, -1)) * 10 ** self.random.uniform(-320, 308))
        if kind == 2:
            return str(self.random.randint(-10**20, 10**20))
        if kind == 3:
            return f"{self.random.randrange(10**9)}.{self.digits(self.random.randint(1, 25))}"
        return f"{self.random.randrange(100_000)}.{self.digits(2)}"

    def text(self) -> str:
        parts = ("a", "Z", " ", "/", "0", "é", "日", "😀", "\\n", "\\\"", "\\\\", "\\/", "\\u0000", "\\u00e9", "\\ud83d\\ude00", "\x7f", "{", ",")
        odd = ("\\ud800", "\\udc00x", "\\x", "\t", "\ud800") if self.random.random() < 0.01 else ()
        words = [self.random.choice(parts + odd) for _ in range(self.random.randrange(12))]
        return '"' + "".join(words) + "x" * self.random.choice((0, 0, 3, 20, 130)) + '"'

    def rfc3339(self) -> str:
        second = self.random.randint(1_700_000_000, 1_800_000_000)
        moment = datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        fraction = self.random.choice(("", f".{self.digits(self.random.randint(1, 9))}", f".{self.digits(9)}"))
        zone = self.random.choice(("Z", "z", "+09:00", "-03:30", "+24:00" if self.random.random() < 0.05 else "Z"))
        return f'"{moment}{fraction}{zone}"'


# The comparison.


def taken(directory: Path, lines: list[bytes]) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """The rows that were recorded, and by its number the reason of each line that was refused."""
    (directory / "schemas").mkdir()
    (directory / "schemas" / "0001_t.sql").write_text(DDL)
    (directory / "lines").write_bytes(b"".join(line + b"\n" for line in lines))
    rejects = directory / "rejects"
    result = subprocess.run(
        [RELEASE / "spool-writer", "import", "--spool", directory / "spool", "--schemas", directory / "schemas", "--rejects", rejects,
         directory / "lines"], capture_output=True, text=True, env={**os.environ, "COLDPATH_WRITER_ID": "oracle"})
    assert result.returncode in (0, 1), result.stderr
    refused = {reject["line"]: reject["reason"] for reject in map(json.loads, rejects.read_bytes().splitlines())}
    rows = subprocess.run([RELEASE / "spool-loader", "cat", "--spool", directory / "spool", "t", "--format", "json"], capture_output=True, check=True)
    return [json.loads(line) for line in rows.stdout.splitlines()], refused


def canonical(row: dict[str, Any]) -> tuple[Any, ...]:
    """The row's values, so that rows are equal if every bit of them is."""
    def value(name: str, item: Any) -> Any:
        if name == "ts":
            return time(item)
        if name in DECIMALS:
            return Decimal(item).normalize()
        if name in ("f", "nf"):
            return None if item is None else float(item).hex()
        return tuple(float(element).hex() for element in item) if name == "a" else (type(item), item)

    return tuple(value(name, row[name]) for name in COLUMNS)


@pytest.mark.parametrize("seed", SEEDS)
def test_lines_are_taken_and_refused_as_python_reads_them(seed: int, tmp_path: Path) -> None:
    maker = Maker(seed)
    lines = [line for line in (maker.line() for _ in range(LINES)) if line.strip(b" \t\r")]
    rows, refused = taken(tmp_path, lines)
    wanted: Counter[tuple[Any, ...]] = Counter()
    for number, line in enumerate(lines, 1):
        try:
            row = expected(line)
        except Refused as why:
            assert number in refused, f"seed {seed}, line {number} was taken, though {why}: {line!r}"
        else:
            assert number not in refused, f"seed {seed}, line {number} was refused, {refused[number]}: {line!r}"
            wanted[canonical(row)] += 1
    assert wanted.total() > LINES // 4 and len(refused) > LINES // 10, "the lines are too much alike to prove anything"
    got = Counter(canonical(row) for row in rows)
    assert got == wanted, f"seed {seed}: recorded {list((got - wanted).items())[:3]}, wanted {list((wanted - got).items())[:3]}"
