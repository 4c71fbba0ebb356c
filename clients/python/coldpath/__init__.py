"""Publish rows to Coldpath's spool-writer through a shared-memory ring.

    import coldpath, time
    import events                      # spool-writer codegen --lang python --schemas schemas --output events.py

    with coldpath.Ring("/run/coldpath/rings", producer="maker", tables=events.TABLES) as ring:
        position = events.fills(ring, ts_exchange=time.time_ns(), symbol="BTCUSDT", side="buy", fill_price="61800.5", ...)
        ring.wait_durable(position, timeout=1)

Publishing never waits. Values are checked as they are given:

    Decimal     decimal.Decimal, str or int; exact, or ValueError. A float is refused (TypeError), even where it would be exact: whether
                0.1 or 0.5 arrives is chance, and a row must not fail by chance
    DateTime64  int nanoseconds since 1970, or a datetime with a time zone
    Enum        str; a word that is no member is a ValueError
    Nullable    None, or left out
    String      str; of LowCardinality(String) the ring keeps each text once
"""
from __future__ import annotations

import asyncio
import datetime
import decimal
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Union

from . import _ring
from ._declare import Column, table
from ._ring import RingError, RingFull, RowTooLong, Table

__all__ = ["Column", "Date", "Decimal", "Ring", "RingError", "RingFull", "RowTooLong", "Seconds", "Table", "Time", "UUID", "table"]

Time = Union[int, datetime.datetime]
Seconds = Union[int, datetime.datetime]
Date = datetime.date
Decimal = Union[decimal.Decimal, str, int]
UUID = Union[uuid.UUID, str]


class Ring(_ring.Ring):
    """A ring of this process; its threads may share it.

    directory   what the writer watches (--rings); the writer need not run yet
    producer    a name for people, in file names and logs
    tables      whose rows will be published, such as events.TABLES
    data_bytes  a power of two, 64 KiB to 4 GiB; 4 MiB by default
    name_bytes  room for the texts of LowCardinality columns; 64 KiB by default
    when_full   "raise" RingFull, or "return" 0
    """

    def __new__(cls, directory: str | os.PathLike[str], *, producer: str, tables: Iterable[Table], data_bytes: int = 4 << 20,
                name_bytes: int = 64 << 10, when_full: Literal["raise", "return"] = "raise") -> Ring:
        return super().__new__(cls, directory, producer, tables, data_bytes, name_bytes, when_full)

    def publish(self, table: Table | str, fields: Mapping[str, Any] | None = None, /, **more: Any) -> int:
        """Publishes a row of a table, or of the table of that name. Returns the position behind it."""
        if isinstance(table, str):
            table = self._table(table)
        return table(self, **(fields or {}), **more)

    def _table(self, name: str) -> Table:
        for candidate in self.tables:
            if candidate.name == name:
                return candidate
        raise ValueError(f"the ring was opened without table {name}: name it in tables=[...]")

    def wait_durable(self, position: int | None = None, timeout: float = 10.0) -> bool:
        """Waits until the rows before `position`, by default all, are durable. False after `timeout` seconds."""
        wanted = self.position if position is None else position
        deadline = time.monotonic() + timeout
        while self.durable_position < wanted:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.001)
        return True

    async def durable(self, position: int | None = None, timeout: float = 10.0) -> bool:
        """The same for asyncio: other tasks run meanwhile."""
        wanted = self.position if position is None else position
        deadline = time.monotonic() + timeout
        while self.durable_position < wanted:
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(0.002)
        return True

    def wait_attached(self, timeout: float = 10.0) -> bool:
        """Waits until a writer has looked at the ring; `state` and `table_state` then say what it thinks of it."""
        deadline = time.monotonic() + timeout
        while self.state == "waiting":
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.001)
        return True

    def close(self, wait: float = 0) -> bool:
        """Closes the ring, after up to `wait` seconds for its rows to become durable; says whether they are.

        Rows that are not durable yet stay in the ring's file: the writer drains it, then removes it.
        """
        if self.closed:
            return True
        is_durable = self.wait_durable(timeout=wait)
        self._close()
        return is_durable

    def __enter__(self) -> Ring:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()
