"""Finds the few places in a SQL text that the HTTP front has to know.

ClickHouse's own parser decides what a statement means. This module only finds where an INSERT's data begins (so that the
data can be handed over as a file), which output format a statement names, and what ClickHouse's HTTP interface refuses but the
embedded engine would accept. It works on bytes, because the data after the SQL need not be text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_SPACE_OR_COMMENT = rb"\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?(?:\*/|\Z)"
_TOKEN = re.compile(
    rb"(?P<skip>" + _SPACE_OR_COMMENT + rb")"
    rb"|(?P<quoted>'(?:[^'\\]|\\.|'')*'?|\"(?:[^\"\\]|\\.|\"\")*\"?|`(?:[^`\\]|\\.|``)*`?)"
    rb"|(?P<heredoc>\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z))"
    rb"|(?P<word>[A-Za-z_\x80-\xff][\w\x80-\xff]*)"
    rb"|(?P<other>.)",
    re.DOTALL,
)
_OPENING, _CLOSING = b"([{", b")]}"


@dataclass(frozen=True)
class Token:
    """One token outside comments. `depth` counts the brackets around it."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    @property
    def keyword(self) -> bytes:
        """The word in upper case, or nothing if this is not a plain word."""
        return self.text.upper() if self.kind == "word" else b""


@dataclass(frozen=True)
class Insert:
    """An INSERT whose data follow the SQL: `head` FROM INFILE ... `tail`, data from byte `data_start`."""

    head: bytes
    tail: bytes
    data_start: int


def tokens(sql: bytes) -> Iterator[Token]:
    """Yields the tokens of `sql`; an unfinished string or comment reaches to the end, as the engine will complain itself."""
    depth = 0
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup if match.lastgroup != "tag" else "heredoc"
        if kind == "skip" or kind is None:
            continue
        text = match.group()
        if kind == "other" and text in _CLOSING:
            depth = max(0, depth - 1)
        yield Token(kind, text, match.start(), match.end(), depth)
        if kind == "other" and text in _OPENING:
            depth += 1


def find_insert(sql: bytes) -> Insert | None:
    """Splits an INSERT with data; `None` for every other statement, INSERT ... SELECT and INSERT ... FROM INFILE included."""
    walk = (token for token in tokens(sql) if token.depth == 0)
    if next_keyword(walk) != b"INSERT" or not _skip_target(walk):
        return None
    split: int | None = None
    for token in walk:
        if token.text == b".":
            next(walk, None)  # a part of a name, whatever word it is
        elif token.keyword in (b"SELECT", b"WITH", b"FROM", b"WATCH"):
            return None
        elif token.keyword == b"SETTINGS" and split is None:
            split = token.start
        elif token.keyword == b"VALUES":
            split = token.start if split is None else split
            return Insert(sql[:split], sql[split : token.start] + b"FORMAT Values", token.end)
        elif token.keyword == b"FORMAT":
            split = token.start if split is None else split
            name = next(walk, None)
            if name is None or name.kind != "word":
                return None
            return Insert(sql[:split], sql[split : name.end], _skip_to_data(sql, name.end))
    return None


def next_keyword(walk: Iterator[Token]) -> bytes:
    """The next token as a keyword, or nothing at the end."""
    token = next(walk, None)
    return token.keyword if token else b""


def is_blank(sql: bytes) -> bool:
    """True if there is nothing but space, comments and semicolons."""
    return all(token.text == b";" for token in tokens(sql))


def names_infile(sql: bytes) -> bool:
    """True for INSERT ... FROM INFILE, which only ClickHouse's command-line client may send."""
    return next_keyword(tokens(sql)) == b"INSERT" and _has_words(sql, b"FROM", b"INFILE")


def names_outfile(sql: bytes) -> bool:
    """True for SELECT ... INTO OUTFILE, which a server refuses."""
    return _has_words(sql, b"INTO", b"OUTFILE")


def has_second_statement(sql: bytes) -> bool:
    """True if something follows a semicolon: the embedded engine would run it, ClickHouse's HTTP interface does not."""
    ended = False
    for token in tokens(sql):
        if ended and token.text != b";":
            return True
        ended = ended or (token.text == b";" and token.depth == 0)
    return False


def output_format(sql: bytes) -> str | None:
    """The name after the last FORMAT outside brackets, if the statement names one."""
    found = None
    walk = tokens(sql)
    for token in walk:
        if token.keyword == b"FORMAT" and token.depth == 0:
            name = next(walk, None)
            found = name.text.decode("latin-1") if name and name.kind == "word" else found
    return found


def _has_words(sql: bytes, first: bytes, second: bytes) -> bool:
    """True if the two keywords follow each other outside brackets."""
    return (first, second) in pairwise(token.keyword for token in tokens(sql) if token.depth == 0)


def _skip_target(walk: Iterator[Token]) -> bool:
    """Steps over INTO TABLE FUNCTION and the first word of the target's name, which may look like a keyword."""
    for token in walk:
        if token.keyword not in (b"INTO", b"TABLE", b"FUNCTION"):
            return token.kind in ("word", "quoted")
    return False


def _skip_to_data(sql: bytes, end_of_format: int) -> int:
    """Data begin after the blanks and at most one line end behind the format's name, as in ClickHouse."""
    match = re.compile(rb"[ \t\f]*\r?\n?").match(sql, end_of_format)
    return match.end() if match else end_of_format
