"""Whatever a server says, each row is in ClickHouse once: servers that lie in every way we know.

Each scenario has a database, a copy of one spool and checkpoints of its own; a lying server stands between the loader and the development
server. Rows are counted by asking the engine, and the loader's own audit has to agree.

    .venv/bin/python -m pytest Tests/endtoend/test_lying_server.py --write-answers    # writes the table of docs/answers.md
    COLDPATH_EVERY_CUT=1 ...                                                          # answers cut at every byte, not at some
"""
from __future__ import annotations

import gzip
import os
import re
import shutil
import ssl
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lying_server import (
    ID, Answer, Exchange, Lie, LyingServer, closes, cut, floods, followed_by, good, reads_only, rewrites, says, silent, slowly, status)
from pipeline import ROOT, Pipeline, binary, run

ROWS = 600
BATCH = 200
INSERT, EXTENT, COUNT, DESCRIBE = "INSERT INTO", "min(spool_seq)", "uniqExact(spool_seq) FROM", "SELECT kind"
SETTINGS = """
[writer]
chunk_rows = {chunk}
[loader]
batch_rows = {batch}
linger = "0ms"
poll = "20ms"
timeout = "1s"
backoff = "1ms"
backoff_max = "10ms"
"""
EVERY_CUT = bool(os.environ.get("COLDPATH_EVERY_CUT"))


@dataclass(frozen=True)
class Scenario:
    """Lies, in order. Insert lies strike one attempt each; the loader asks between them."""

    name: str
    lies: list[tuple[str, Lie]]
    small: bool = False  # batches of 10 rows instead of 200, so that many inserts are lied about
    runs: int = 5  # how often the loader may have to be started: --once gives up after ten failures in a row


def both(name: str, lie: Callable[..., Lie], *arguments: object, **keywords: object) -> Scenario:
    """The same lie to an insert that was not executed and to its repeat, which was."""
    return Scenario(name, [(INSERT, lie(*arguments, executed=executed, **keywords)) for executed in (False, True)])


def exception(code: int, text: str, http: int = 500, header: str | None = None) -> dict[str, object]:
    value = str(code) if header is None else header
    return {"code": http, "headers": [f"X-ClickHouse-Exception-Code: {value}"], "body": f"Code: {code}. DB::Exception: {text}\n".encode()}


PAGE = b"<html><head><title>%d %s</title></head><body><center><h1>nginx</h1></center></body></html>"
LOW_MEMORY = "(total) memory limit exceeded: would use 10.00 GiB. (MEMORY_LIMIT_EXCEEDED) (version 26.9.2.1 (official build))"
TAG = "dngjzjnxkvlwkeua"
FRAMED = f"\r\n__exception__\r\n{TAG}\r\nCode: 241. DB::Exception: {LOW_MEMORY}\n113 {TAG}\r\n__exception__\r\n".encode()
HEADERS = {301: ["Location: /elsewhere"], 302: ["Location: http://127.0.0.1:1/"], 307: ["Location: /"], 308: ["Location: https://ch.example/"],
           401: ['WWW-Authenticate: Basic realm="proxy"'], 407: ["Proxy-Authenticate: Basic"], 426: ["Upgrade: TLS/1.2"]}
STATUSES = [201, 202, 204, 205, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 407, 408, 409, 410, 411, 413, 414, 415, 421,
            425, 426, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 599, 600, 999]
NAMELESS = b"HTTP/1.1 200 OK\r\n"
OK = NAMELESS + b"X-ClickHouse-Query-Id: " + ID + b"\r\n"


def statuses() -> Iterator[Scenario]:
    for code in STATUSES:
        body = b"" if code in (204, 205, 304) else PAGE % (code, b"of something before ClickHouse")
        yield both(f"status {code}", status, code, HEADERS.get(code, ()), body)
    yield both("status 503, Retry-After that is not sane", status, 503, ["Retry-After: 99999999"], b"busy")
    yield both("status 503, no text", status, 503)
    yield both("status 500, an old server's error", status, 500, (), b"Code: 252, e.displayText() = DB::Exception: Too many parts (300). Merges are slow\n")
    yield both("status 404, an exception that ClickHouse never had", status, **exception(60, "Table is gone. (TABLE_HAS_LEFT) (version 99.1)", 404))  # type: ignore[arg-type]


def exceptions() -> Iterator[Scenario]:
    for code, http, text in [
        (60, 404, "Table default.orders does not exist. (UNKNOWN_TABLE) (version 26.9.2.1)"),
        (516, 403, "default: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED) (version 26.9.2.1)"),
        (164, 500, "Cannot execute query in readonly mode. (READONLY) (version 26.9.2.1)"),
        (252, 500, "Too many parts (300) in table 'd.orders'. Merges are too slow. (TOO_MANY_PARTS) (version 26.9.2.1)"),
        (16, 500, "No such column px in table. (NO_SUCH_COLUMN_IN_TABLE) (version 26.9.2.1)"),
        (202, 500, "Too many simultaneous queries. Maximum: 100. (TOO_MANY_SIMULTANEOUS_QUERIES) (version 26.9.2.1)"),
        (242, 500, "Table is in readonly mode. (TABLE_IS_READ_ONLY) (version 26.9.2.1)"),
        (394, 500, "Query was cancelled. (QUERY_WAS_CANCELLED) (version 26.9.2.1)"),
        (9_999, 500, "Something new. (SOMETHING_NEW) (version 99.1)"),
        (9_999, 500, "Renumbered. (MEMORY_LIMIT_EXCEEDED) (version 99.1)"),
        (618, 500, "LZ4 decompression failed. (LZ4_DECODER_FAILED) (version 26.9.2.1)"),
    ]:
        yield both(f"error {code}: {text.split('(')[-2].rstrip(') ')}", status, **exception(code, text, http))  # type: ignore[arg-type]
    yield both("status 200, exception header", status, **exception(241, LOW_MEMORY, 200))  # type: ignore[arg-type]
    yield both("status 200, exception header that is no number", status, **exception(241, LOW_MEMORY, 200, "none"))  # type: ignore[arg-type]
    yield both("status 200, exception header in the trailer", says, OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-ClickHouse-Exception-Code: 241\r\n\r\n",
               then="open")
    yield both("status 200, error text", status, 200, (), f"Code: 241. DB::Exception: {LOW_MEMORY}\n".encode())
    yield both("status 200, error text in its frame", status, 200, [f"X-ClickHouse-Exception-Tag: {TAG}"], FRAMED)
    yield both("status 200 that does not say to which request", says, NAMELESS + b"Content-Length: 0\r\n\r\n", then="open")
    yield both("status 200, a page", status, 200, (), PAGE % (200, b"Please log in"))
    yield both("status 200, one byte", status, 200, (), b"\n")
    yield both("status 200, no byte but compressed", says, OK + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + gzip.compress(b""), then="open")


def broken_answers() -> Iterator[Scenario]:
    yield both("closed without a word", closes)
    yield both("reset without a word", closes, reset=True)
    yield both("silent until the timeout", silent)
    yield both("silent after half a head, then closed", slowly, 30, 0.1)
    yield both("a byte at a time, cut before the last", slowly, -2, 0.0)
    for name, share, reset in [("nothing of the body", 0.0, False), ("half of the body", 0.5, False), ("all but the last byte", 1.0, False),
                               ("half of the body, reset", 0.5, True)]:
        yield Scenario(f"closed after reading {name}", [(INSERT, reads_only(share, reset))] * 2)
    yield Scenario("status 200 before the body was read", [(INSERT, reads_only(0.0, first=OK + b"Content-Length: 3\r\n\r\nYes")),
                                                           (INSERT, reads_only(0.5, True, NAMELESS + b"Content-Length: 0\r\n\r\n"))])
    for code, text in [(503, "busy"), (413, "too large"), (500, "Code: 241. DB::Exception: no memory")]:
        early = f"HTTP/1.1 {code} Early\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
        yield Scenario(f"status {code} before the body was read", [(INSERT, reads_only(0.0, first=early)), (INSERT, reads_only(0.3, True, early))])
    yield both("100 Continue 2,000 times, then nothing", floods, b"HTTP/1.1 100 Continue\r\n\r\n", 2_000)
    yield both("103 with an exception header, 300 times", floods, b"HTTP/1.1 103 Early\r\nX-ClickHouse-Exception-Code: 60\r\n\r\n", 300)
    # Every second insert finds an answer waiting that is not its own, and is itself not executed.
    for name, extra in [("without a query id", lambda _: NAMELESS + b"Content-Length: 0\r\n\r\n"),
                        ("with another query id", lambda _: NAMELESS + b"X-ClickHouse-Query-Id: another\r\nContent-Length: 0\r\n\r\n")]:
        for delay in (0.0, 0.002, 0.01):
            yield Scenario(f"an answer that nobody asked for, {name}, {delay * 1000:g} ms after the true one",
                           [(INSERT, lie) for lie in (followed_by(extra, delay), status(503, (), b"busy")) * 12], small=True)
    yield Scenario("a count that nobody asked for, after the answer to another question", [
        (INSERT, closes(False)), *[(COUNT, followed_by(lambda _: NAMELESS + b"Content-Length: 6\r\n\r\n10\t10\n", 0.002)), (INSERT, closes(False))] * 10],
        small=True, runs=10)


def wrong_framing() -> Iterator[Scenario]:
    error = b"Code: 241. DB::Exception: no memory"
    for name, raw in [
        ("Content-Length too short", OK + b"Content-Length: 6\r\n\r\n" + error), ("Content-Length too long", OK + b"Content-Length: 1\r\n\r\n"),
        ("Content-Length negative", OK + b"Content-Length: -1\r\n\r\n"), ("Content-Length no number", OK + b"Content-Length: many\r\n\r\n"),
        ("Content-Length beyond 64 bits", OK + b"Content-Length: 99999999999999999999\r\n\r\n"),
        ("Content-Length twice, different", OK + b"Content-Length: 0\r\nContent-Length: 35\r\n\r\n" + error),
        ("Content-Length twice, the other way", OK + b"Content-Length: 35\r\nContent-Length: 0\r\n\r\n" + error),
        ("no length at all", OK + b"\r\n"), ("no length at all, and an error", OK + b"\r\n" + error),
        ("chunk without a size", OK + b"Transfer-Encoding: chunked\r\n\r\n\r\n\r\n"),
        ("chunk of size zz", OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), ("chunk of size -1", OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"),
        ("chunk of 2^64 bytes", OK + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"),
        ("chunk that is cut", OK + b"Transfer-Encoding: chunked\r\n\r\n23\r\nCode: 241"),
        ("chunk that is longer than its size", OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\n" + error + b"\r\n0\r\n\r\n"),
        ("last chunk missing", OK + b"Transfer-Encoding: chunked\r\n\r\n"), ("trailer that is cut", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
        ("trailer with half a header", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-ClickHouse-Exc"),
        ("HTTP/1.0 without a length", b"HTTP/1.0 200 OK\r\n\r\n"), ("HTTP/0.9", b"Ok.\n"), ("HTTP/9.9", b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("HTTP/2 frames", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)), ("no status", b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
        ("status that is no number", b"HTTP/1.1 OK 200\r\nContent-Length: 0\r\n\r\n"), ("status 20", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status 2000", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"), ("an SSH server", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("a TLS alert", b"\x15\x03\x03\x00\x02\x02\x46"), ("NUL bytes", bytes(400)),
        ("NUL in a header", OK + b"X-A: \x00\x00\r\nContent-Length: 0\r\n\r\n\x00"), ("bare line feeds, and an error", b"HTTP/1.1 500 No\nContent-Length: 35\n\n" + error),
        ("a header of 2 MB", OK + b"X-A: " + b"a" * 2_000_000 + b"\r\n\r\n"),
        ("2,000 headers, the last one an exception", OK + b"".join(b"X-%d: a\r\n" % n for n in range(2_000)) + b"X-ClickHouse-Exception-Code: 241\r\nContent-Length: 0\r\n\r\n"),
        ("10 MB of text", OK + b"Content-Length: 10000000\r\n\r\n" + b"a" * 10_000_000),
        ("an escape sequence for terminals", b"HTTP/1.1 500 No\r\nContent-Length: 24\r\n\r\n\x1b]0;owned\x07\x1b[2J\r\n\x1b[31mred"),
    ]:
        yield both(f"status 200, {name}" if raw.startswith(OK) else name, says, raw)
    for name, encoding, body in [("gzip", "gzip", gzip.compress(error)), ("deflate", "deflate", zlib.compress(error)), ("zstd", "zstd", b"\x28\xb5\x2f\xfd" + bytes(20)),
                                 ("gzip that does not say so", "", gzip.compress(error))]:
        yield both(f"status 500, {name}", status, 500, [f"Content-Encoding: {encoding}"] if encoding else [], body)


def count(text: bytes, executed: bool = True) -> list[tuple[str, Lie]]:
    """An insert whose answer is lost, and what the question after it is told; twice."""
    return [(INSERT, closes(executed)), (COUNT, status(200, (), text)), (COUNT, status(200, (), text))]


def counts_that_lie() -> Iterator[Scenario]:
    for name, text in [
        ("nothing", b""), ("a word", b"many\n"), ("no line feed", b"200\t200"), ("negative", b"-200\t-200\n"), ("a fraction", b"200.0\t200.0\n"),
        ("beyond 64 bits", b"99999999999999999999\t1\n"), ("two lines", b"200\t200\n200\t200\n"), ("three columns", b"200\t200\t200\n"),
        ("one column", b"200\n"), ("a page", PAGE % (200, b"Please log in")), ("NUL bytes", bytes(16)), ("spaces", b" 200\t200 \n"),
        ("an error", f"Code: 241. DB::Exception: {LOW_MEMORY}\n".encode()),
        ("an error behind the count", f"200\t200\nCode: 241. DB::Exception: {LOW_MEMORY}\n".encode()),
    ]:
        yield Scenario(f"count: {name}", count(text))
        yield Scenario(f"count: {name}; nothing was inserted", count(text, executed=False))
    yield Scenario("count: 0, though all are there", [(INSERT, closes(True)), (COUNT, status(200, (), b"0\t0\n"))])
    yield Scenario("count: the error in its frame", [(INSERT, closes(False)), (COUNT, status(200, [f"X-ClickHouse-Exception-Tag: {TAG}"], b"200\t200\n" + FRAMED))])
    yield Scenario("count: cut by Content-Length", [
        (INSERT, closes(True)), (COUNT, rewrites(lambda _: OK + b"Content-Length: 1\r\n\r\n200\t200\n"))])
    yield Scenario("count: compressed", [(INSERT, closes(True)), (COUNT, status(200, ["Content-Encoding: gzip"], gzip.compress(b"200\t200\n")))])
    yield Scenario("count: closed, reset, 503, silent", [
        (INSERT, closes(True)), (COUNT, closes(False)), (COUNT, closes(False, reset=True)), (COUNT, status(503, (), b"busy")), (COUNT, silent(False))])
    yield Scenario("what is there already: nothing, a page, one number, a negative one, an error", [
        (EXTENT, status(200, (), text)) for text in
        (b"", PAGE % (200, b"Please log in"), b"0\n", b"-1\t0\t0\t0\n", f"Code: 241. DB::Exception: {LOW_MEMORY}\n".encode())])
    for name, text in [("nothing", b""), ("a page", PAGE % (200, b"Please log in")), ("NUL bytes", bytes(99)), ("another table", b"column\tx\tUInt8\n"),
                       ("half of the columns", b"")]:
        lie = rewrites(half, "open") if name == "half of the columns" else status(200, (), text)
        yield Scenario(f"the table's columns: {name}", [(DESCRIBE, lie)] * 2)


def half(answer: Answer) -> bytes:
    """The first half of what the body says, well framed."""
    body = b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?)\r\n(?=[0-9a-f]+\r\n)", answer.body, re.DOTALL))
    body = body[: len(body) // 2]
    return OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def cuts() -> Iterator[Scenario]:
    """The answer cut behind each byte, or each some, of it."""
    length = 480  # more than an answer has: a cut behind its end is no cut
    wanted = list(range(length)) if EVERY_CUT else list(range(0, length, 29))
    groups = [wanted[i:i + 50] for i in range(0, len(wanted), 50)]
    for number, group in enumerate(groups):
        more = f", part {number + 1}" if len(groups) > 1 else ""
        for reset in (False, True):
            how = "reset" if reset else "closed"
            yield Scenario(f"a good answer, {how} within{more}; executed", [(INSERT, cut(n, True, reset)) for n in group], small=True)
            yield Scenario(f"a good answer, {how} within{more}; not executed", [(INSERT, cut(n, False, reset)) for n in group if n < 130], small=True, runs=10)


SCENARIOS = [*statuses(), *exceptions(), *broken_answers(), *wrong_framing(), *counts_that_lie(), *cuts()]


@dataclass
class World:
    """What all scenarios share: the true server, and a spool to copy."""

    pipeline: Pipeline
    next_database: int = 0

    def database(self) -> str:
        self.next_database += 1
        name = f"lies{self.next_database}"
        for sql in (f"CREATE DATABASE {name}", f"CREATE TABLE {name}.orders AS default.orders"):
            self.pipeline.clickhouse.query(sql)
        return name


CHECKSUM = "SELECT count(), uniqExact(spool_writer, spool_seq), toString(sum(cityHash64(*))) FROM {}.orders"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, orders_file: Path) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("lies")
    lines = directory / "orders.jsonl"
    lines.write_bytes(b"".join(orders_file.read_bytes().splitlines(keepends=True)[:ROWS]))
    # Only those who are lied to are impatient: a busy machine may take longer to create the tables.
    pipeline = Pipeline(directory)
    try:
        pipeline.start_clickhouse()
        for name, chunk, batch in (("large", 100, BATCH), ("small", 10, 10)):
            (directory / f"{name}.toml").write_text(SETTINGS.format(chunk=chunk, batch=batch))
            run([binary("spool-writer"), "import", "--config", directory / f"{name}.toml", "--spool", directory / f"{name}.spool", "--schemas",
                 ROOT / "schemas", lines])
        # One load without any lie, by which the others are measured.
        for name in ("large", "small"):
            shutil.rmtree(directory / "checkpoints", ignore_errors=True)
            pipeline.clickhouse.query("TRUNCATE TABLE default.orders")
            load(directory, name, "default", pipeline.clickhouse.url, directory / "checkpoints", runs=5)
            rows, different, checksum = pipeline.clickhouse.rows(CHECKSUM.format("default"))[0]
            assert (int(rows), int(different)) == (ROWS, ROWS)
            (directory / f"{name}.sum").write_text(checksum)
        yield World(pipeline)
    finally:
        pipeline.kill()


def load(directory: Path, spool: str, database: str, url: str, checkpoints: Path, *options: str, runs: int = 1) -> str:
    """Runs the loader until it has loaded everything; gives what it said."""
    said = ""
    for _ in range(runs):
        result = subprocess.run(
            [binary("spool-loader"), "run", "--once", "--config", directory / f"{spool}.toml", "--spool", directory / f"{spool}.spool",
             "--checkpoints", checkpoints, "--database", database, "--url", url, *options],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="surrogateescape", timeout=60)
        said += result.stderr
        if result.returncode == 0:
            return said
    raise AssertionError(f"not loaded after {runs} runs: {result.returncode}\n{result.stdout}\n{said}")


def seen(said: str) -> str:
    """The first complaint in what the loader said, without what differs from run to run."""
    for line in said.splitlines():
        found = re.match(r"\S+ (warning|error|critical) spool-loader\s*:.*?\[\w+\] (.*)", line)
        if not found:
            continue
        text = re.sub(r"; tries again, nothing is lost$", "", found[2])
        text = re.sub(r"https?://127\.0\.0\.1:\d+: ", "", text)
        text = re.sub(r"\d+ milliseconds", "N milliseconds", re.sub(r"127\.0\.0\.1(:| port )\d{4,}", r"HOST\1PORT", text))
        return text
    return ""


def columns(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


TABLE: list[tuple[str, str, int, int]] = []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_each_row_arrives_once(scenario: Scenario, world: World, tmp_path: Path) -> None:
    directory, clickhouse = world.pipeline.directory, world.pipeline.clickhouse
    spool = "small" if scenario.small else "large"
    database = world.database()
    with LyingServer(clickhouse.port, scenario.lies) as server:
        said = load(directory, spool, database, server.url, tmp_path / "checkpoints", runs=scenario.runs)
        assert server.faults == []
        assert server.told == server.planned, f"only {server.told} of {server.planned} lies were told:\n{said}"
    rows, different, checksum = clickhouse.rows(CHECKSUM.format(database))[0]
    lost, doubled = ROWS - int(different), int(rows) - int(different)
    TABLE.append((scenario.name, seen(said), lost, doubled))
    assert (lost, doubled) == (0, 0), said
    assert checksum == (directory / f"{spool}.sum").read_text(), "a value differs"
    run([binary("spool-loader"), "audit", "--config", directory / f"{spool}.toml", "--spool", directory / f"{spool}.spool", "--checkpoints",
         tmp_path / "checkpoints", "--database", database, "--url", clickhouse.url])
    assert seen(said), f"nobody was told:\n{said}"
    for line in said.splitlines():
        assert len(line) < 500 and not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", line), repr(line)
    clickhouse.query(f"DROP DATABASE {database}")


def test_a_success_that_was_none_is_found_by_the_audit(world: World, tmp_path: Path) -> None:
    """A server that says yes and does nothing cannot be told from one that does it. What is lost so has names."""
    directory, clickhouse = world.pipeline.directory, world.pipeline.clickhouse
    database = world.database()
    def lie(exchange: Exchange) -> None:
        exchange.send(good(exchange))
    with LyingServer(clickhouse.port, [(INSERT, lie)]) as server:
        load(directory, "large", database, server.url, tmp_path / "checkpoints")
    audit = run([binary("spool-loader"), "audit", "--config", directory / "large.toml", "--spool", directory / "large.spool", "--checkpoints",
                 tmp_path / "checkpoints", "--database", database, "--url", clickhouse.url], expect=(1,))
    named = re.search(r"^orders: missing sequences: (\d+) to (\d+)$", audit.stdout, re.MULTILINE)
    assert named, audit.stdout
    first, last = int(named[1]), int(named[2])
    present = clickhouse.rows(f"SELECT count(), countIf(spool_seq BETWEEN {first} AND {last}) FROM {database}.orders")[0]
    assert last - first + 1 == BATCH and [int(number) for number in present] == [ROWS - BATCH, 0]


def test_a_password_that_is_sent_back_is_not_shown(world: World, tmp_path: Path) -> None:
    directory, clickhouse = world.pipeline.directory, world.pipeline.clickhouse
    database = world.database()
    secret = tmp_path / "password"
    secret.write_text("correct&horse<battery>\n")
    def lie(exchange: Exchange) -> None:
        exchange.body()
        key = re.search(rb"X-ClickHouse-Key: ([^\r]*)", exchange.head)
        assert key is not None
        status(500, (), b"you sent " + key[1] + b" to us")(exchange)
    with LyingServer(clickhouse.port, [(INSERT, lie), (DESCRIBE, lie), (COUNT, lie)]) as server:
        said = load(directory, "large", database, server.url, tmp_path / "checkpoints", "--password-file", str(secret))
        assert server.faults == []
    assert "you sent *** to us" in said and "horse" not in said


def test_a_certificate_that_nobody_vouches_for_stops_nothing_and_is_named(world: World, tmp_path: Path) -> None:
    directory, clickhouse = world.pipeline.directory, world.pipeline.clickhouse
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=127.0.0.1",
                    "-days", "2", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    database = world.database()
    with LyingServer(clickhouse.port, [], tls=context) as server:
        with pytest.raises(AssertionError, match="certificate") as refused:
            load(directory, "large", database, server.url, tmp_path / "checkpoints")
        assert "self-signed" in str(refused.value)
    load(directory, "large", database, clickhouse.url, tmp_path / "checkpoints")
    assert int(clickhouse.query(f"SELECT uniqExact(spool_seq) FROM {database}.orders")) == ROWS


def test_the_table_is_written(request: pytest.FixtureRequest) -> None:
    """Last: what operators saw, for docs/answers.md."""
    text = "| what the server did to an insert, and to its repeat | what the operator sees first | rows lost | rows doubled |\n| --- | --- | ---: | ---: |\n"
    text += "".join(f"| {columns(name)} | {columns(said)} | {lost} | {doubled} |\n" for name, said, lost, doubled in TABLE)
    if request.config.getoption("--write-answers"):
        assert len(TABLE) == len(SCENARIOS), "run all scenarios to write their table"
        path = ROOT / "docs" / "answers.md"
        mark = "<!-- test_lying_server.py --write-answers -->\n"
        before, _, after = path.read_text().split(mark)
        path.write_text(before + mark + text + mark + after)
    print(text)
