"""From an HTTP request to a statement for the engine, and from its outcome to ClickHouse's answer."""

from __future__ import annotations

import base64
import binascii
import hmac
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sql_text
from answers import (
    AUTHENTICATION_FAILED,
    HTTP_LENGTH_REQUIRED,
    INTO_OUTFILE_NOT_ALLOWED,
    NOT_IMPLEMENTED,
    READONLY,
    SAME_QUERY_ID,
    SYNTAX_ERROR,
    UNKNOWN_TYPE_OF_QUERY,
    Answer,
    DbError,
    content_type,
    error_answer,
    plain_answer,
    summary,
)
from engine import Engine, Job, quoted
from http_wire import Body, Request

MAX_SQL_BYTES = 8 * 1024 * 1024  # the engine has its own, smaller limit (max_query_size) for what it parses

_PLAIN_ENCODINGS = ("", "identity")
_COMPRESSIONS = ("gzip", "deflate", "br", "xz", "zstd", "lz4", "bz2")
_DEFAULT_FORMAT = "TabSeparated"
# URL parameters that are no settings.
_RESERVED = {"query", "database", "default_format", "user", "password", "query_id", "quota_key", "stacktrace",
             "wait_end_of_query", "buffer_size", "session_timeout", "session_check", "client_protocol_version"}  # fmt: skip
# Parameters of ClickHouse whose meaning would be lost in silence if they were ignored.
_BLOCKS = "ClickHouse's own block compression"
_REFUSED = {"session_id": "sessions", "role": "roles", "compress": _BLOCKS, "decompress": _BLOCKS}


@dataclass(frozen=True)
class Credentials:
    """The one user. Without a password any is accepted, as with ClickHouse's `no_password`."""

    user: str = "default"
    password: str | None = None

    def accept(self, user: str, password: str) -> bool:
        """Compares in constant time."""
        same_user = hmac.compare_digest(user.encode(), self.user.encode())
        same_password = self.password is None or hmac.compare_digest(password.encode(), self.password.encode())
        return same_user and same_password


@dataclass(frozen=True)
class Prepared:
    """A statement that may run, and what the answer needs to know."""

    job: Job
    query_id: str
    sql: str


class QueryHandler:
    """Answers queries. Safe to use from many threads."""

    def __init__(self, engine: Engine, credentials: Credentials) -> None:
        self._engine = engine
        self._credentials = credentials
        self._running: set[str] = set()
        self._running_lock = threading.Lock()
        self._display_name = socket.gethostname()

    def fixed_answer(self, request: Request) -> Answer | None:
        """The answers that need no query."""
        if request.method not in ("GET", "HEAD", "POST"):
            return plain_answer(501, f"The method {request.method} is not supported.\n")
        if request.method == "POST" or (request.path == "/" and request.parameters):
            return None
        if request.path in ("/", "/ping", "/replicas_status"):
            return Answer(200, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
        return plain_answer(404, f"There is no handle {request.path}\n\nUse / or /ping for health checks.\n")

    def prepare(self, request: Request, body: Body) -> Prepared:
        """Authenticates and reads the statement. Raises `DbError`."""
        parameters = dict(request.parameters)
        self._authenticate(request, parameters)
        if request.method == "POST" and not request.chunked and request.content_length is None:
            raise DbError(HTTP_LENGTH_REQUIRED, "The Transfer-Encoding is not chunked and there is no Content-Length header for POST request.")
        for name, meaning in _REFUSED.items():
            if parameters.get(name, "0") != "0":
                raise DbError(NOT_IMPLEMENTED, f"The development server does not implement {meaning} ({name}).")
        sql, job = self._read_statement(request, parameters, body)
        job.database = parameters.get("database") or request.headers.get("x-clickhouse-database", "")
        _add_settings(job, request, parameters)
        return Prepared(job, parameters.get("query_id") or str(uuid.uuid4()), sql)

    def run(self, prepared: Prepared) -> Answer:
        """Executes and answers; failures too are answers."""
        headers = {
            "X-ClickHouse-Server-Display-Name": self._display_name,
            "X-ClickHouse-Query-Id": prepared.query_id,
            "X-ClickHouse-Timezone": self._engine.timezone,
        }
        try:
            with self._unique(prepared.query_id):
                outcome = self._engine.run(prepared.job)
        except DbError as error:
            answer = self.refusal(error)
            answer.headers = headers | answer.headers
            return answer
        headers |= {
            "Content-Type": content_type(prepared.job.output_format),
            "X-ClickHouse-Format": prepared.job.output_format,
            "X-ClickHouse-Summary": summary(
                read_rows=outcome.read_rows, read_bytes=outcome.read_bytes, written_rows=outcome.written_rows,
                written_bytes=outcome.written_bytes, total_rows_to_read=0, result_rows=outcome.result_rows,
                result_bytes=outcome.written_bytes or len(outcome.body), elapsed_ns=outcome.elapsed_ns,
            ),
        }  # fmt: skip
        return Answer(200, outcome.body, headers, chunked=True)

    def refusal(self, error: DbError) -> Answer:
        """The answer for an exception."""
        return error_answer(error, self._engine.version)

    def _authenticate(self, request: Request, parameters: dict[str, str]) -> None:
        user, password = _credentials_of(request, parameters)
        if not self._credentials.accept(user, password):
            text = f"{user}: Authentication failed: password is incorrect, or there is no user with such name."
            raise DbError(AUTHENTICATION_FAILED, text)

    def _read_statement(self, request: Request, parameters: dict[str, str], body: Body) -> tuple[str, Job]:
        """The statement without its data, and as the engine shall run it; `body` is left holding the data alone.

        ClickHouse reads URL and body as one text; the data of an INSERT may begin in either.
        """
        sql = parameters.get("query", "").encode()
        compression = _compression(request)
        insert = sql_text.find_insert(sql)
        if insert is None or sql[insert.data_start :].strip():
            sql = _joined(sql, self._decoded(body, compression))
            compression = "none"
            insert = sql_text.find_insert(sql)
            if insert is not None:
                body.replace(sql[insert.data_start :])
        if insert is None:
            return _plain_statement(sql, parameters, request)
        return _insert_statement(insert, body, compression)

    def _decoded(self, body: Body, compression: str) -> bytes:
        """The body's bytes; the engine decompresses, as it does for data."""
        if compression == "none" or not body.byte_count:
            return body.read(body.byte_count)
        return self._engine.read_compressed(body.path, compression)

    @contextmanager
    def _unique(self, query_id: str) -> Iterator[None]:
        """Two running queries may not have one id."""
        with self._running_lock:
            if query_id in self._running:
                raise DbError(SAME_QUERY_ID, f"Query with id = {query_id} is already running.")
            self._running.add(query_id)
        try:
            yield
        finally:
            with self._running_lock:
                self._running.discard(query_id)


def _credentials_of(request: Request, parameters: dict[str, str]) -> tuple[str, str]:
    """User and password from headers, Basic or URL: only one of the three, as in ClickHouse."""
    headers = request.headers
    by_header = "x-clickhouse-user" in headers or "x-clickhouse-key" in headers
    by_basic = "authorization" in headers
    by_url = "user" in parameters or "password" in parameters
    if by_header + by_basic + by_url > 1:
        text = "Invalid authentication: it is not allowed to use two of X-ClickHouse HTTP headers, Authorization and URL parameters together."
        raise DbError(AUTHENTICATION_FAILED, text)
    if by_basic:
        return _basic_credentials(headers["authorization"])
    if by_header:
        return headers.get("x-clickhouse-user") or "default", headers.get("x-clickhouse-key", "")
    return parameters.get("user") or "default", parameters.get("password", "")


def _basic_credentials(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise DbError(AUTHENTICATION_FAILED, "Invalid authentication: the Authorization header is not Basic.")
    return user or "default", password


def _compression(request: Request) -> str:
    encoding = request.headers.get("content-encoding", "").lower()
    if encoding in _PLAIN_ENCODINGS:
        return "none"
    if encoding not in _COMPRESSIONS:
        names = ", ".join(f"'{name}'" for name in _COMPRESSIONS)
        raise DbError(NOT_IMPLEMENTED, f"Unknown compression method '{encoding}'. Only {names} are supported.")
    return encoding


def _joined(in_url: bytes, in_body: bytes) -> bytes:
    return in_url + b"\n" + in_body if in_url and in_body else in_url or in_body


def _plain_statement(sql: bytes, parameters: dict[str, str], request: Request) -> tuple[str, Job]:
    """A statement without data, checked for what the embedded engine allows and a server does not."""
    if len(sql) > MAX_SQL_BYTES:
        raise DbError(SYNTAX_ERROR, "Max query size exceeded.")
    if sql_text.is_blank(sql):
        raise DbError(SYNTAX_ERROR, "Syntax error: failed at position 1 (end of query): Empty query.")
    if sql_text.has_second_statement(sql):
        raise DbError(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed).")
    if sql_text.names_infile(sql):
        raise DbError(UNKNOWN_TYPE_OF_QUERY, "Query has infile and was send directly to server.")
    if sql_text.names_outfile(sql):
        raise DbError(INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed.")
    default = parameters.get("default_format") or request.headers.get("x-clickhouse-format") or _DEFAULT_FORMAT
    text = _sql_from(sql)
    return text, Job(text, sql_text.output_format(sql) or default)


def _insert_statement(insert: sql_text.Insert, body: Body, compression: str) -> tuple[str, Job]:
    """An INSERT that reads the spooled body by the engine's own decompression and parsers."""
    head, tail = _sql_from(insert.head), _sql_from(insert.tail)
    source = f" FROM INFILE {quoted(body.path)} COMPRESSION {quoted(compression)} "
    return f"{head}{tail}", Job(head + source + tail, has_data=True)


def _sql_from(sql: bytes) -> str:
    try:
        return sql.decode()
    except UnicodeDecodeError as error:
        raise DbError(SYNTAX_ERROR, f"Syntax error: the query is not valid UTF-8 at byte {error.start}.") from error


def _add_settings(job: Job, request: Request, parameters: dict[str, str]) -> None:
    """Every parameter that has no meaning of its own is a setting or, with `param_`, a value for the query's placeholders."""
    for name, value in parameters.items():
        if name.startswith("param_"):
            job.parameters[name.removeprefix("param_")] = value
        elif name == "readonly":
            job.readonly = value
        elif name not in _RESERVED and name not in _REFUSED:
            job.settings[name] = value
    if request.method != "POST":
        if job.readonly not in (None, "2"):
            raise DbError(READONLY, "Cannot modify 'readonly' setting in readonly mode.")
        job.readonly = "2"
