"""Declarations of tables: what generated modules call, and what reads the types of columns."""
from __future__ import annotations

import re
from typing import NamedTuple

from ._ring import Table

_KINDS = ["int", "uint", "f32", "f64", "bool", "decimal", "date", "seconds", "time", "enum", "uuid", "fixed_string", "string"]
_PLAIN = {"Float32": ("f32", 4), "Float64": ("f64", 8), "Bool": ("bool", 1), "Date": ("date", 2), "DateTime('UTC')": ("seconds", 4),
          "DateTime64(9, 'UTC')": ("time", 8), "UUID": ("uuid", 16), "String": ("string", 0)}
_NOT_NULLABLE = 0xFFFFFFFF


class Column(NamedTuple):
    """A column as a ring declares it (docs/ring.md §4)."""

    name: str
    type: str
    storage: int
    offset: int
    null_offset: int = _NOT_NULLABLE
    #: What a row has that leaves it out: bytes of the fixed part, or a text; None if it has none.
    default: bytes | str | None = None
    #: The name of the argument, where the column's own is none in Python.
    keyword: str | None = None


class _Kind(NamedTuple):
    name: str
    width: int
    precision: int = 0
    scale: int = 0
    members: dict[str, int] = {}


def table(name: str, *, fingerprint: int = 0, row_bytes: int, columns: list[Column]) -> Table:
    """A table from its declaration; generated modules have this call for each of theirs."""
    described = []
    for column in columns:
        kind = _kind(column.type)
        described.append((column.keyword or column.name, column.name, column.type, column.storage, column.offset, column.null_offset,
                          _KINDS.index(kind.name), kind.width, kind.precision, kind.scale, kind.members, column.default))
    return Table(name, fingerprint, row_bytes, tuple(described))


def _kind(text: str) -> _Kind:
    outer = re.fullmatch(r"(?:Nullable|Array)\((.*)\)", text, re.DOTALL)
    if outer:
        return _kind(outer[1])
    if text in _PLAIN:
        return _Kind(*_PLAIN[text])
    if match := re.fullmatch(r"(U?)Int(8|16|32|64)", text):
        return _Kind("uint" if match[1] else "int", int(match[2]) // 8)
    if match := re.fullmatch(r"Decimal\((\d+), (\d+)\)", text):
        precision = int(match[1])
        return _Kind("decimal", 4 if precision <= 9 else 8 if precision <= 18 else 16, precision, int(match[2]))
    if match := re.fullmatch(r"FixedString\((\d+)\)", text):
        return _Kind("fixed_string", int(match[1]))
    if match := re.fullmatch(r"Enum(8|16)\((.*)\)", text, re.DOTALL):
        members = {re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL): int(value)
                   for word, value in re.findall(r"'((?:[^'\\]|\\.)*)' = (-?\d+)", match[2], re.DOTALL)}
        return _Kind("enum", int(match[1]) // 8, members=members)
    raise ValueError(f"type {text}: not one that a ring carries (docs/schemas.md)")
