"""The embedded ClickHouse engine: one per process and data directory, a session of its own for every request."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from answers import UNKNOWN_FORMAT, UNKNOWN_SETTING, DbError, engine_error

# Names that chdb treats as Python results, not as formats of ClickHouse.
_NOT_FORMATS = {"dataframe", "datastore", "arrowtable", "debug"}
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")


class DataDirectoryInUse(Exception):
    """Another process has this data directory open. Two engines in one directory would destroy it."""


@dataclass
class Job:
    """One statement, ready to run."""

    sql: str
    output_format: str = "TabSeparated"
    database: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    readonly: str | None = None
    has_data: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a statement brought."""

    body: bytes
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    result_rows: int
    elapsed_ns: int


class Engine:
    """Owns the data directory.

    The anchor session is open from the start to the end: the engine lives as long as the first session, so `uptime()` is this
    process's and no request pays for opening it.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_directory(data)
        # Imported here, not above: it takes most of the start-up time, and `--help` and wrong arguments need not wait for it.
        from chdb.session import Session

        self._open_session: Callable[[], Any] = partial(Session, str(data / "engine"))
        self._anchor: Any = self._open_session()
        self.version = self.run(Job("SELECT version()", "TabSeparatedRaw")).body.decode().strip()
        self.timezone = self.run(Job("SELECT timezone()", "TabSeparatedRaw")).body.decode().strip()

    def close(self) -> None:
        """Closes the engine; parts are on disk since their INSERT was answered."""
        self._anchor.close()

    def read_compressed(self, path: str, compression: str) -> bytes:
        """The bytes of a compressed file: the standard library has neither lz4 nor zstd."""
        sql = f"SELECT s FROM file({quoted(path)}, 'RawBLOB', 's String', {quoted(compression)})"
        return self.run(Job(sql, "RawBLOB")).body

    def run(self, job: Job) -> Outcome:
        """Executes a statement in a new session. Raises `DbError`."""
        with closing(self._open_session()) as session:
            started = time.monotonic_ns()
            self._prepare(session, job)
            result = _query(session, job.sql, job.output_format, job.parameters)
            elapsed_ns = time.monotonic_ns() - started
            written = result.rows_written()
            return Outcome(
                body=bytes(result.bytes()),
                read_rows=result.rows_read() if job.has_data else result.storage_rows_read(),
                read_bytes=result.bytes_read() if job.has_data else result.storage_bytes_read(),
                written_rows=written,
                written_bytes=result.bytes_written(),
                result_rows=written or result.rows_read(),
                elapsed_ns=elapsed_ns,
            )

    def _prepare(self, session: Any, job: Job) -> None:
        """Applies database and settings; `readonly` last, because it forbids further changes."""
        if job.database:
            _query(session, f"USE {identifier(job.database)}")
        for name, value in job.settings.items():
            if not _SETTING_NAME.match(name):
                raise DbError(UNKNOWN_SETTING, f"Unknown setting '{name}'.")
            _query(session, f"SET {name} = {quoted(value)}")
        if job.readonly is not None:
            _query(session, f"SET readonly = {quoted(job.readonly)}")


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(text: str) -> str:
    """A SQL identifier in back quotes."""
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _query(session: Any, sql: str, output_format: str = "TabSeparated", parameters: dict[str, str] | None = None) -> Any:
    """Runs one statement, with every failure as `DbError`."""
    if output_format.lower() in _NOT_FORMATS:
        raise DbError(UNKNOWN_FORMAT, f"Unknown format {output_format}.")
    try:
        return session.query(sql, output_format, params=parameters or None)
    except RuntimeError as error:
        raise engine_error(str(error)) from error


def _lock_directory(data: Path) -> int:
    """Takes the lock of the data directory; the kernel gives it back however the process ends."""
    lock = os.open(data / "devserver.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise DataDirectoryInUse(f"{data} is in use by another process; stop it or choose another --data") from error
    return lock
