"""What ClickHouse answers: HTTP status by exception code, error text, content types, summary."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus

# The numbers that the front itself raises; all others come from the engine.
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
UNKNOWN_FORMAT = 73
UNKNOWN_TYPE_OF_QUERY = 78
UNKNOWN_SETTING = 115
READONLY = 164
SAME_QUERY_ID = 216
INTO_OUTFILE_NOT_ALLOWED = 358
HTTP_LENGTH_REQUIRED = 381
AUTHENTICATION_FAILED = 516
UNKNOWN_EXCEPTION = 1002

_NAMES = {
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_FORMAT: "UNKNOWN_FORMAT",
    UNKNOWN_TYPE_OF_QUERY: "UNKNOWN_TYPE_OF_QUERY",
    UNKNOWN_SETTING: "UNKNOWN_SETTING",
    READONLY: "READONLY",
    SAME_QUERY_ID: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    INTO_OUTFILE_NOT_ALLOWED: "INTO_OUTFILE_NOT_ALLOWED",
    HTTP_LENGTH_REQUIRED: "HTTP_LENGTH_REQUIRED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}

# Status by exception code, as in ClickHouse's exceptionCodeToHTTPStatus; every other code is 500.
_CODES_BY_STATUS: dict[int, tuple[int, ...]] = {
    400: (6, 8, 15, 25, 26, 27, 36, 38, 41, 44, 53, 62, 72, 117, 126, 167, 168, 223, 224, 321, 376, 427, 441, 675, 676),
    401: (194,),
    403: (192, 193, 497, 512, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336, 511),
    408: (159,),
    411: (381,),
    413: (229,),
    501: (48,),
    503: (76, 209, 439),
}
_STATUS_BY_CODE = {code: status for status, codes in _CODES_BY_STATUS.items() for code in codes}

_KNOWN_STATUSES = frozenset(HTTPStatus)

PLAIN_TEXT = "text/plain; charset=UTF-8"
_CONTENT_TYPES = (
    (re.compile(r"(TabSeparated|TSV)"), "text/tab-separated-values; charset=UTF-8"),
    (re.compile(r"CSV"), "text/csv; charset=UTF-8; header=absent"),
    (re.compile(r"JSON.*EachRow|JSONLines|NDJSON"), "application/x-ndjson; charset=UTF-8"),
    (re.compile(r"JSON"), "application/json; charset=UTF-8"),
    (re.compile(r"Native|RowBinary|Parquet|Arrow|ORC|RawBLOB"), "application/octet-stream"),
)


class DbError(Exception):
    """A refusal as ClickHouse words it. `message` is what stands between `DB::Exception: ` and the name in brackets."""

    def __init__(self, code: int, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.name = name or _NAMES[code]

    def text(self, version: str) -> str:
        """The error body."""
        return f"Code: {self.code}. DB::Exception: {self.message} ({self.name}) (version {version})\n"


@dataclass
class Answer:
    """A reply before it is framed. `chunked` as ClickHouse sends every query's answer; fixed answers have a length."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    close: bool = False

    @property
    def reason(self) -> str:
        """The words after the status number."""
        return HTTPStatus(self.status).phrase if self.status in _KNOWN_STATUSES else "Status"


def status_for(code: int) -> int:
    """The HTTP status that ClickHouse sends with an exception code."""
    return _STATUS_BY_CODE.get(code, 500)


def content_type(output_format: str) -> str:
    """The Content-Type of an output format."""
    for pattern, kind in _CONTENT_TYPES:
        if pattern.match(output_format):
            return kind
    return PLAIN_TEXT


def error_answer(error: DbError, version: str) -> Answer:
    """The reply for an exception."""
    headers = {"Content-Type": PLAIN_TEXT, "X-ClickHouse-Exception-Code": str(error.code)}
    return Answer(status_for(error.code), error.text(version).encode(), headers, chunked=True)


def plain_answer(status: int, text: str) -> Answer:
    """A short text that is no query's result."""
    return Answer(status, text.encode(), {"Content-Type": PLAIN_TEXT})


def summary(**counts: int) -> str:
    """X-ClickHouse-Summary: JSON whose numbers are strings."""
    return json.dumps({name: str(count) for name, count in counts.items()}, separators=(",", ":"))


_ENGINE_ERROR = re.compile(r"Code: (\d+)\. DB::Exception: (.*?)\s*\(([A-Z0-9_]+)\)(?: \(version [^)]*\))?\.?\s*\Z", re.DOTALL)
_OWN_PATHS = re.compile(r"While reading from: /proc/self/fd/\d+: |:? ?\(in file/uri /proc/self/fd/\d+\)|: data for INSERT was parsed from file")


def engine_error(text: str) -> DbError:
    """Turns the embedded engine's error text into ClickHouse's.

    The engine wraps an error in its own text up to three times; the paths are those of our own spooled bodies.
    """
    code, name = UNKNOWN_EXCEPTION, None
    while match := _ENGINE_ERROR.match(text):
        code, text, name = int(match[1]), match[2], match[3]
    return DbError(code, _OWN_PATHS.sub("", text), name)
