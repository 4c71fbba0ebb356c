#!/usr/bin/env python3
"""Count, independently of the recorder: is every key that was sent in ClickHouse exactly once?

Knows nothing of spools or sequences. It takes the JSON lines that were sent, collects one key column of each table,
and asks ClickHouse how often it holds each value. A key may occur only once in the input.

Exit status: 0 every key is there once, 1 keys are missing or repeated (with --exact also: keys that nobody sent),
64 usage, 74 input or server unreadable.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field

from compare_with_input import (
    EXIT_DIFFERENT, EXIT_INPUT, EXIT_USAGE, ClickHouse, Unusable, add_server_options, events_in, identifier, quoted,
    server_from,
)

SHOWN_KEYS = 10


@dataclass
class Count:
    """How the keys sent for one table compare with those that ClickHouse holds."""

    table: str
    column: str
    sent: int
    found: int
    missing: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)

    def report(self) -> str:
        """One line of figures, then the first keys of each kind of trouble."""
        text = (f"{self.table}.{self.column}: {self.sent} keys sent, {self.found} rows found, {len(self.missing)} missing, "
                f"{len(self.repeated)} repeated, {len(self.unsent)} not sent by these files")
        for name, keys in (("missing", self.missing), ("repeated", self.repeated), ("not sent", self.unsent)):
            if keys:
                rest = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
                text += f"\n  {name}: {', '.join(map(repr, keys[:SHOWN_KEYS]))}{rest}"
        return text


def keys_sent(paths: list[str], columns: dict[str, str]) -> dict[str, set[str]]:
    """The keys in the files, by table.

    Raises:
        Unusable: a table without a key column, an event without its key, or a key that occurs twice.
    """
    sent: dict[str, set[str]] = {table: set() for table in columns if table}
    for place, table, event in events_in(paths):
        column = columns.get(table, columns.get(""))
        if column is None:
            raise Unusable(f"{place}: no --key for table {table}")
        key = event.get(column)
        if not isinstance(key, str):
            raise Unusable(f"{place}: {column} must be a string or an integer")
        keys = sent.setdefault(table, set())
        if key in keys:
            raise Unusable(f"{place}: {column} {key!r} occurs twice in the input")
        keys.add(str(key))
    return sent


def keys_found(server: ClickHouse, table: str, column: str, writer: str | None) -> Counter[str]:
    """How often ClickHouse holds each value of the column."""
    where = f"WHERE spool_writer = {quoted(writer)} " if writer is not None else ""
    answer = server.query(
        f"SELECT toString({identifier(column)}), toString(count()) FROM {identifier(table)} {where}"
        "GROUP BY 1 FORMAT JSONCompactEachRow")
    return Counter({key: int(count) for key, count in map(json.loads, answer.split(b"\n")[:-1])})


def count_table(server: ClickHouse, table: str, column: str, sent: set[str], writer: str | None) -> Count:
    """Compare the keys of one table."""
    found = keys_found(server, table, column, writer)
    return Count(
        table, column, len(sent), found.total(),
        missing=sorted(sent - found.keys()),
        repeated=sorted(key for key, count in found.items() if count > 1),
        unsent=sorted(found.keys() - sent),
    )


def key_option(text: str) -> tuple[str, str]:
    """TABLE=COLUMN, or COLUMN for every table."""
    table, equals, column = text.rpartition("=")
    if not column or (equals and not table):
        raise argparse.ArgumentTypeError(f"{text!r}: want TABLE=COLUMN or COLUMN")
    return table, column


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_server_options(parser)
    parser.add_argument("--key", action="append", type=key_option, required=True, metavar="[TABLE=]COLUMN",
                        help="key column of a table, or of every table; may be repeated")
    parser.add_argument("--writer", help="only rows with this spool_writer (default: all)")
    parser.add_argument("--exact", action="store_true", help="keys that these files did not send are a failure too")
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl")
    try:
        return parser.parse_args()
    except SystemExit as stop:
        raise SystemExit(EXIT_USAGE if stop.code else 0) from None


def run(options: argparse.Namespace) -> int:
    server, columns, bad = server_from(options), dict(options.key), False
    for table, sent in keys_sent(options.files, columns).items():
        count = count_table(server, table, columns.get(table, columns.get("", "")), sent, options.writer)
        print(count.report())
        bad |= bool(count.missing or count.repeated or (options.exact and count.unsent))
    return EXIT_DIFFERENT if bad else 0


def main() -> int:
    options = arguments()
    try:
        return run(options)
    except (Unusable, OSError) as error:
        print(f"count_rows: {error}", file=sys.stderr)
        return EXIT_INPUT


if __name__ == "__main__":
    sys.exit(main())
