#!/usr/bin/env python3
"""Compare every value of every row in ClickHouse with the JSON lines that were recorded.

Shares no code with the recorder: it parses timestamps, decimals and floats itself, fills in the defaults that
system.columns tells, and compares exact values (integers of the column's scale, the 64 bits of a double), never text.

The rows are fetched as RowBinary, because that is the server's own memory image of each value: DateTime64 as integer
ticks, Decimal as integer units, doubles as their bits, strings as bytes with their length. Nothing is formatted or
rounded on the way, and a text format's escaping cannot hide a difference.

Rows are compared as multisets; with --ordered also in the order of spool_seq. Exit status: 0 equal, 1 different,
64 usage, 74 input or server unreadable.
"""
from __future__ import annotations

import argparse
import datetime
import decimal
import http.client
import json
import re
import struct
import sys
import urllib.parse
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator

OWN_COLUMNS = ("spool_writer", "spool_seq")
"""Columns that the recorder adds to each row."""

EXIT_DIFFERENT, EXIT_USAGE, EXIT_INPUT = 1, 64, 74
SHOWN_DIFFERENCES = 10
PAIRING_LIMIT = 500

Value = Any
Row = tuple[Value, ...]


class Unusable(Exception):
    """Input or an answer that cannot be compared; the message says where and why."""


# Talking to ClickHouse


@dataclass(frozen=True)
class ClickHouse:
    """A server's HTTP interface."""

    url: str
    database: str
    user: str | None
    password: str | None
    timeout_seconds: float = 300.0

    def query(self, sql: str) -> bytes:
        """The answer's bytes.

        Raises:
            Unusable: the server cannot be reached, refuses, or ends with an exception.
        """
        parts = urllib.parse.urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=self.timeout_seconds)
        # wait_end_of_query: an exception then comes with its status, not in the middle of the rows.
        settings = urllib.parse.urlencode({"database": self.database, "wait_end_of_query": 1})
        try:
            connection.request("POST", f"{parts.path or '/'}?{settings}", sql.encode(), self._headers())
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unusable(f"{self.url}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status != 200 or answer.getheader("X-ClickHouse-Exception-Code"):
            raise Unusable(f"{self.url}: status {answer.status}: {body[:400].decode(errors='replace').strip()}")
        return body

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self.user is not None:
            headers["X-ClickHouse-User"] = self.user
        if self.password is not None:
            headers["X-ClickHouse-Key"] = self.password
        return headers


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """The options that `server_from` reads."""
    parser.add_argument("--url", default="http://127.0.0.1:8123", help="HTTP interface (default http://127.0.0.1:8123)")
    parser.add_argument("--database", default="default")
    parser.add_argument("--user")
    parser.add_argument("--password-file", help="file whose first line is the password")


def server_from(options: argparse.Namespace) -> ClickHouse:
    """The server that the options name."""
    password = None
    if options.password_file:
        with open(options.password_file, encoding="utf-8") as file:
            password = file.readline().rstrip("\r\n")
    return ClickHouse(options.url, options.database, options.user, password)


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A quoted SQL name."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


# Column types: from JSON, from RowBinary, and for people


Reader = Callable[[memoryview, int], tuple[Value, int]]


@dataclass(frozen=True)
class ColumnType:
    """How one type's values are read from JSON and from RowBinary into one exact form, and how they are shown."""

    from_json: Callable[[Any], Value]
    from_binary: Reader
    show: Callable[[Value], str]
    absent: Value = None
    """What an absent field becomes without a DEFAULT; `...` means that the field is required."""
    code: str = ""
    """The struct code of types that are one fixed-size value, so that arrays of them are read at once."""


class NumberText(str):
    """A JSON number, kept as the text that stands in the input."""


EPOCH = datetime.datetime(1970, 1, 1)
RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII)


def ticks_from_text(text: str, scale: int) -> int:
    """RFC 3339 to integer ticks of 10^-scale seconds since the epoch; refuses what does not fit exactly."""
    match = RFC3339.fullmatch(text)
    if not match:
        raise ValueError("not RFC 3339")
    *fields, fraction, _, sign, hours, minutes = match.groups()
    moment = datetime.datetime(*(int(part) for part in fields)) - EPOCH
    seconds = moment.days * 86400 + moment.seconds
    if sign:
        seconds -= (1 if sign == "+" else -1) * (int(hours) * 3600 + int(minutes) * 60)
    digits = (fraction or "").rstrip("0")
    if len(digits) > scale:
        raise ValueError(f"more than {scale} digits of a second")
    return seconds * 10 ** scale + int(digits.ljust(scale, "0") or "0")


def ticks_to_text(ticks: int, scale: int) -> str:
    seconds, fraction = divmod(ticks, 10 ** scale)
    moment = EPOCH + datetime.timedelta(seconds=seconds)
    return f"{moment.isoformat()}.{fraction:0{scale}d}Z ({ticks})" if scale else f"{moment.isoformat()}Z"


def integer(value: Any) -> int:
    if isinstance(value, NumberText) and re.fullmatch(r"-?\d+", value):
        return int(value)
    raise ValueError("not an integer")


def text_bytes(value: Any) -> bytes:
    if isinstance(value, str) and not isinstance(value, NumberText):
        return value.encode("utf-8")
    raise ValueError("not a string")


def fixed(code: str) -> Reader:
    """Reads one little-endian value by its struct code."""
    layout = struct.Struct("<" + code)

    def read(data: memoryview, at: int) -> tuple[Value, int]:
        return layout.unpack_from(data, at)[0], at + layout.size

    return read


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def read_string(data: memoryview, at: int) -> tuple[bytes, int]:
    length, at = read_varint(data, at)
    return bytes(data[at:at + length]), at + length


def integer_type(bits: int, signed: bool) -> ColumnType:
    code = {8: "b", 16: "h", 32: "i", 64: "q"}[bits]
    return ColumnType(integer, fixed(code if signed else code.upper()), str, ...)


def float_type(bits: int) -> ColumnType:
    """Floats are compared by their bits, so that -0.0 and the last digit count."""
    value, pattern = struct.Struct("<f" if bits == 32 else "<d"), struct.Struct("<I" if bits == 32 else "<Q")

    def from_json(text: Any) -> int:
        if not isinstance(text, NumberText):
            raise ValueError("not a number")
        return pattern.unpack(value.pack(float(text)))[0]

    def show(bits_of_value: int) -> str:
        return repr(value.unpack(pattern.pack(bits_of_value))[0])

    code = "I" if bits == 32 else "Q"
    return ColumnType(from_json, fixed(code), show, ..., code)


def decimal_type(precision: int, scale: int) -> ColumnType:
    """Decimals are compared as integers of the column's scale."""
    width = next(width for limit, width in ((9, 4), (18, 8), (38, 16)) if precision <= limit)
    context = decimal.Context(prec=400, traps=[decimal.InvalidOperation, decimal.Inexact])

    def from_json(value: Any) -> int:
        if not isinstance(value, str):
            raise ValueError("neither a number nor a string")
        try:
            scaled = context.create_decimal(str(value)).scaleb(scale, context)
        except decimal.DecimalException as error:
            raise ValueError("not a decimal") from error
        if not scaled.is_finite() or scaled != scaled.to_integral_value():
            raise ValueError(f"not exact at scale {scale}")
        return int(scaled)

    def from_binary(data: memoryview, at: int) -> tuple[int, int]:
        return int.from_bytes(data[at:at + width], "little", signed=True), at + width

    def show(units: int) -> str:
        return format(context.create_decimal(units).scaleb(-scale, context), "f")

    return ColumnType(from_json, from_binary, show, ...)


def time_type(scale: int, code: str) -> ColumnType:
    def from_json(value: Any) -> int:
        if isinstance(value, NumberText):
            return integer(value)
        return ticks_from_text(text_bytes(value).decode(), scale)

    return ColumnType(from_json, fixed(code), lambda ticks: ticks_to_text(ticks, scale), ...)


def date_type() -> ColumnType:
    def from_json(value: Any) -> int:
        return (datetime.date.fromisoformat(text_bytes(value).decode()) - EPOCH.date()).days

    return ColumnType(from_json, fixed("H"), lambda days: str(EPOCH.date() + datetime.timedelta(days=days)), ...)


def enum_type(name: str, bits: int) -> ColumnType:
    members = {label.replace("\\'", "'"): int(number)
               for label, number in re.findall(r"'((?:[^'\\]|\\.)*)'\s*=\s*(-?\d+)", name)}
    labels = {number: label for label, number in members.items()}

    def from_json(value: Any) -> int:
        label = text_bytes(value).decode()
        if label not in members:
            raise ValueError("not a member of the enum")
        return members[label]

    return ColumnType(from_json, fixed("b" if bits == 8 else "h"), lambda number: labels.get(number, f"#{number}"), ...)


def fixed_string_type(length: int) -> ColumnType:
    def read(data: memoryview, at: int) -> tuple[bytes, int]:
        return bytes(data[at:at + length]), at + length

    return ColumnType(lambda value: text_bytes(value).ljust(length, b"\0"), read, repr, ...)


def uuid_type() -> ColumnType:
    def read(data: memoryview, at: int) -> tuple[int, int]:
        high, low = struct.unpack_from("<QQ", data, at)
        return high << 64 | low, at + 16

    return ColumnType(lambda value: uuid.UUID(text_bytes(value).decode()).int, read, lambda n: str(uuid.UUID(int=n)), ...)


def bool_type() -> ColumnType:
    def from_json(value: Any) -> int:
        if not isinstance(value, bool):
            raise ValueError("neither true nor false")
        return int(value)

    return ColumnType(from_json, fixed("B"), lambda flag: "true" if flag else "false", ...)


def nullable_type(inner: ColumnType) -> ColumnType:
    def from_json(value: Any) -> Value:
        return None if value is None else inner.from_json(value)

    def read(data: memoryview, at: int) -> tuple[Value, int]:
        return (None, at + 1) if data[at] else inner.from_binary(data, at + 1)

    return ColumnType(from_json, read, lambda value: "null" if value is None else inner.show(value), None)


def array_type(inner: ColumnType) -> ColumnType:
    def from_json(value: Any) -> Row:
        if not isinstance(value, list):
            raise ValueError("not an array")
        return tuple(inner.from_json(item) for item in value)

    def read(data: memoryview, at: int) -> tuple[Row, int]:
        count, at = read_varint(data, at)
        if inner.code:
            layout = f"<{count}{inner.code}"
            return struct.unpack_from(layout, data, at), at + struct.calcsize(layout)
        items = []
        for _ in range(count):
            item, at = inner.from_binary(data, at)
            items.append(item)
        return tuple(items), at

    return ColumnType(from_json, read, lambda row: "[" + ", ".join(map(inner.show, row)) + "]", ())


def column_type(name: str) -> ColumnType:
    """The type that ClickHouse calls by this name."""
    outer, _, rest = name.partition("(")
    inside = rest[:-1]
    if outer == "Nullable":
        return nullable_type(column_type(inside))
    if outer == "Array":
        return array_type(column_type(inside))
    if outer == "LowCardinality":
        return column_type(inside)
    if outer == "Decimal":
        precision, scale = (int(part) for part in inside.split(","))
        return decimal_type(precision, scale)
    if outer in ("Enum8", "Enum16"):
        return enum_type(name, int(outer[4:]))
    if outer == "FixedString":
        return fixed_string_type(int(inside))
    if outer == "DateTime64":
        return time_type(int(inside.split(",")[0]), "q")
    if outer == "DateTime":
        return time_type(0, "I")
    simple = re.fullmatch(r"(U?)Int(8|16|32|64)", name)
    if simple:
        return integer_type(int(simple[2]), not simple[1])
    plain = {
        "Float32": lambda: float_type(32), "Float64": lambda: float_type(64), "Bool": bool_type, "UUID": uuid_type,
        "Date": date_type, "String": lambda: ColumnType(text_bytes, read_string, shown_text, ...),
    }
    if name in plain:
        return plain[name]()
    raise Unusable(f"type {name} is not known here")


def shown_text(value: bytes) -> str:
    text = value.decode(errors="backslashreplace")
    return json.dumps(text if len(text) <= 80 else f"{text[:60]}... ({len(value)} bytes)", ensure_ascii=False)


# Tables


@dataclass(frozen=True)
class Column:
    """A column of a table, with what an absent field becomes."""

    name: str
    type: ColumnType
    absent: Value


@dataclass(frozen=True)
class Table:
    """A table's columns, less those that the recorder adds."""

    name: str
    columns: tuple[Column, ...]

    @staticmethod
    def described_by(server: ClickHouse, name: str) -> "Table":
        """Read the columns from the server's system.columns."""
        answer = server.query(
            "SELECT name, type, default_kind, default_expression FROM system.columns "
            f"WHERE database = {quoted(server.database)} AND table = {quoted(name)} ORDER BY position FORMAT JSONCompactEachRow")
        lines = [json.loads(line) for line in answer.splitlines()]
        if not lines:
            raise Unusable(f"table {name} is not in database {server.database}")
        return Table(name, tuple(make_column(*line) for line in lines if line[0] not in OWN_COLUMNS))

    def row_from_json(self, event: dict[str, Any]) -> Row:
        """The exact values of an event, with defaults filled in.

        Raises:
            ValueError: a field that the table does not have, lacks, or cannot hold.
        """
        unknown = event.keys() - {column.name for column in self.columns}
        if unknown:
            raise ValueError(f"no column {', '.join(sorted(unknown))}")
        return tuple(value_from_json(column, event) for column in self.columns)

    def rows_from_server(self, server: ClickHouse, writer: str | None) -> Iterator[Row]:
        """All rows of the writer, in the order of their sequence."""
        names = ", ".join(identifier(column.name) for column in self.columns)
        where = f"WHERE spool_writer = {quoted(writer)} " if writer is not None else ""
        data = memoryview(server.query(
            f"SELECT {names} FROM {identifier(self.name)} {where}ORDER BY spool_writer, spool_seq FORMAT RowBinary"))
        readers, at = [column.type.from_binary for column in self.columns], 0
        while at < len(data):
            row = []
            for read in readers:
                value, at = read(data, at)
                row.append(value)
            yield tuple(row)


def make_column(name: str, type_name: str, default_kind: str, default_expression: str) -> Column:
    kind = column_type(type_name)
    if default_kind not in ("", "DEFAULT"):
        raise Unusable(f"column {name}: {default_kind} is not known here")
    return Column(name, kind, default_value(kind, default_expression) if default_kind else kind.absent)


def default_value(kind: ColumnType, expression: str) -> Value:
    """The value of a literal DEFAULT."""
    text = re.fullmatch(r"'((?:[^'\\]|\\.)*)'", expression, re.DOTALL)
    if text:
        return kind.from_json(re.sub(r"\\(.)", r"\1", text[1]))
    if expression.lower() in ("true", "false"):
        return kind.from_json(expression.lower() == "true")
    if expression == "NULL":
        return None
    if expression == "[]":
        return ()
    return kind.from_json(NumberText(expression))


def value_from_json(column: Column, event: dict[str, Any]) -> Value:
    if column.name not in event:
        if column.absent is ...:
            raise ValueError(f"{column.name}: missing")
        return column.absent
    try:
        return column.type.from_json(event[column.name])
    except ValueError as error:
        raise ValueError(f"{column.name}: {error}") from error


# Comparing


@dataclass
class Outcome:
    """What the comparison of one table found."""

    table: str
    rows: int
    values: int
    differences: list[str]
    total_differences: int


class Differences:
    """Counts all differences and keeps the first few."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.total = 0

    def add(self, text: str) -> None:
        self.total += 1
        if len(self.shown) < SHOWN_DIFFERENCES:
            self.shown.append(text)


def compare(table: Table, expected: list[tuple[str, Row]], found: list[Row], ordered: bool) -> Outcome:
    """Compare the rows of one table; `expected` names the input line of each."""
    differences = Differences()
    missing = Counter(row for _, row in expected)
    missing.subtract(found)
    extra = [row for row, count in missing.items() for _ in range(-count)]
    lost = []
    for place, row in expected:
        if missing[row] > 0:
            missing[row] -= 1
            lost.append((place, row))
    report_unpaired(table, lost, extra, differences)
    if ordered and not differences.total:
        report_order(expected, found, differences)
    return Outcome(table.name, len(found), len(found) * len(table.columns), differences.shown, differences.total)


def report_unpaired(table: Table, lost: list[tuple[str, Row]], extra: list[Row], differences: Differences) -> None:
    """Pair each lost row with the extra row most like it, so that the report names values and not just rows."""
    for place, row in lost:
        candidates = extra[:PAIRING_LIMIT]
        best = max(candidates, key=lambda other: sum(map(same, row, other)), default=None)
        if best is None or sum(map(same, row, best)) * 2 < len(row):
            differences.add(f"{place}: row is missing: {show_row(table, row)}")
            continue
        extra.remove(best)
        for column, wanted, got in zip(table.columns, row, best):
            if wanted != got:
                differences.add(f"{place}: {column.name}: sent {column.type.show(wanted)}, found {column.type.show(got)}")
    for row in extra:
        differences.add(f"row that was not sent, or once too often: {show_row(table, row)}")


def same(one: Value, other: Value) -> bool:
    return one == other


def report_order(expected: list[tuple[str, Row]], found: list[Row], differences: Differences) -> None:
    for number, ((place, row), other) in enumerate(zip(expected, found), 1):
        if row != other:
            differences.add(f"{place}: not at place {number} by spool_seq")


def show_row(table: Table, row: Row) -> str:
    return ", ".join(f"{column.name}={column.type.show(value)}" for column, value in zip(table.columns, row))


# Input and command


def events_in(paths: Iterable[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(place, table, fields) of each line; numbers stay text, so that nothing is rounded before its type is known."""
    decode = json.JSONDecoder(parse_float=NumberText, parse_int=NumberText, parse_constant=refuse_constant).decode
    for path in paths:
        # Lines end at \n alone: U+2028 and its like are data.
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    event = decode(line)
                    yield f"{path}:{number}", event.pop("table"), event
                except (ValueError, KeyError, AttributeError) as error:
                    raise Unusable(f"{path}:{number}: not an event: {error!r}") from error


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def expected_rows(server: ClickHouse, paths: list[str], only: set[str]) -> dict[str, tuple[Table, list[tuple[str, Row]]]]:
    """The rows that the input describes, by table."""
    tables: dict[str, tuple[Table, list[tuple[str, Row]]]] = {}
    for place, name, event in events_in(paths):
        if only and name not in only:
            continue
        if name not in tables:
            tables[name] = (Table.described_by(server, name), [])
        table, rows = tables[name]
        try:
            rows.append((place, table.row_from_json(event)))
        except ValueError as error:
            raise Unusable(f"{place}: {name}: {error}") from error
    return tables


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_server_options(parser)
    parser.add_argument("--writer", help="only rows with this spool_writer (default: all rows of the tables)")
    parser.add_argument("--table", action="append", default=[], help="only this table of the input; may be repeated")
    parser.add_argument("--ordered", action="store_true", help="rows must also stand in the input's order by spool_seq")
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl")
    try:
        return parser.parse_args()
    except SystemExit as stop:
        raise SystemExit(EXIT_USAGE if stop.code else 0) from None


def run(options: argparse.Namespace) -> int:
    server = server_from(options)
    total = rows = values = 0
    for table, expected in expected_rows(server, options.files, set(options.table)).values():
        found = list(table.rows_from_server(server, options.writer))
        outcome = compare(table, expected, found, options.ordered)
        print(f"{outcome.table}: {len(expected)} rows sent, {outcome.rows} found, {outcome.values} values compared, "
              f"{outcome.total_differences} differences")
        for text in outcome.differences:
            print(f"  {text}")
        if outcome.total_differences > len(outcome.differences):
            print(f"  ... and {outcome.total_differences - len(outcome.differences)} more")
        total, rows, values = total + outcome.total_differences, rows + outcome.rows, values + outcome.values
    print(f"all tables: {rows} rows, {values} values, {total} differences")
    return EXIT_DIFFERENT if total else 0


def main() -> int:
    options = arguments()
    try:
        return run(options)
    except (Unusable, OSError) as error:
        print(f"compare_with_input: {error}", file=sys.stderr)
        return EXIT_INPUT


if __name__ == "__main__":
    sys.exit(main())
