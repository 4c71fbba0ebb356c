"""Tests of the development server, over real sockets against real processes. They need the `lz4` command."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest

import answers
import sql_text

SERVER = Path(__file__).with_name("coldpath_devserver.py")
START_SECONDS = 20.0
CLIENT_SECONDS = 15.0


class Reply:
    """An answer, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def code(self) -> int | None:
        text = self.headers["X-ClickHouse-Exception-Code"]
        return None if text is None else int(text)


class Server:
    """A server process with its data directory."""

    def __init__(self, data: Path, *arguments: str, port: int = 0) -> None:
        command = [sys.executable, str(SERVER), "--data", str(data), "--listen", f"127.0.0.1:{port}", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        if not self.ready_line.startswith("ready http://127.0.0.1:"):
            raise AssertionError(f"not ready: {self.ready_line!r} {self.process.communicate(timeout=START_SECONDS)}")
        self.port = int(self.ready_line.rsplit(":", 1)[1])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=CLIENT_SECONDS)

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=CLIENT_SECONDS)

    def request(self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        connection = self.connect()
        try:
            connection.request(method, target, body, headers or {})
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def post(self, sql: str, data: bytes = b"", headers: dict[str, str] | None = None, **parameters: str) -> Reply:
        return self.post_with(sql, parameters, data, headers)

    def post_with(self, sql: str, parameters: dict[str, str], data: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
        return self.request("POST", "/?" + urlencode({"query": sql} | parameters), data, headers)

    def value(self, sql: str) -> str:
        reply = self.post(sql)
        assert reply.status == 200, reply.body
        return reply.body.decode().rstrip("\n")

    def plan(self, *faults: dict[str, object]) -> None:
        reply = self.request("POST", "/dev/faults", json.dumps({"reset": True, "next": faults}).encode())
        assert reply.status == 200, reply.body

    def raw(self, data: bytes, half_close: bool = False) -> bytes:
        """Sends bytes and reads until the server closes."""
        with self.socket() as connection:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return read_to_end(connection)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(CLIENT_SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=CLIENT_SECONDS)


def read_to_end(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("data"), "--faults", "--keep-alive", "1")
    yield running
    running.close()


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    """An empty table (id UInt64, name String) that deduplicates."""
    create_table(server, "events")
    yield "events"
    server.post("DROP TABLE events SYNC")


def create_table(server: Server, name: str) -> None:
    sql = f"CREATE TABLE {name} (id UInt64, name String) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000"
    reply = server.post(sql)
    assert (reply.status, reply.body) == (200, b""), reply.body


def native_block(first: int, count: int, names: tuple[str, str] = ("id", "name")) -> bytes:
    """One Native block of (UInt64, String); count < 128."""

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    ids = b"".join(struct.pack("<Q", first + index) for index in range(count))
    labels = b"".join(text(f"n{first + index}") for index in range(count))
    return bytes([2, count]) + text(names[0]) + text("UInt64") + ids + text(names[1]) + text("String") + labels


def lz4_frame(data: bytes) -> bytes:
    return subprocess.run(["lz4", "-q", "-c", "-B4"], input=data, stdout=subprocess.PIPE, check=True).stdout


def eventually(condition: Callable[[], bool]) -> bool:
    """Waits for a condition, as long as a slow machine may need."""
    deadline = time.monotonic() + CLIENT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def skippable_frame(payload: bytes, magic: int = 0x184D2A50) -> bytes:
    return struct.pack("<II", magic, len(payload)) + payload


INSERT = "INSERT INTO events (id, name) FORMAT Native"
LZ4 = {"Content-Encoding": "lz4"}


# Health and plain queries


def test_ping_and_root_answer_ok(server: Server) -> None:
    for path in ("/ping", "/", "/replicas_status"):
        reply = server.request("GET", path)
        assert (reply.status, reply.body) == (200, b"Ok.\n")
    assert server.request("GET", "/nothing").status == 404


def test_select_by_url_by_body_and_by_both(server: Server) -> None:
    assert server.request("GET", "/?query=SELECT+1").body == b"1\n"
    assert server.request("POST", "/", b"SELECT 2").body == b"2\n"
    assert server.request("POST", "/?query=SELECT", b"3").body == b"3\n"


def test_format_and_default_format_and_headers(server: Server) -> None:
    reply = server.post("SELECT 1 AS a FORMAT JSONEachRow")
    assert json.loads(reply.body) == {"a": 1}
    assert reply.headers["X-ClickHouse-Format"] == "JSONEachRow"
    reply = server.post("SELECT 'x'", default_format="CSV", query_id="my-id")
    assert reply.body == b'"x"\n'
    assert reply.headers["X-ClickHouse-Query-Id"] == "my-id"
    assert reply.headers["X-ClickHouse-Server-Display-Name"]
    assert json.loads(reply.headers["X-ClickHouse-Summary"])["result_rows"] == "1"
    assert server.post("SELECT 1", default_format="Dataframe").code == 73


def test_long_answer_arrives_whole_in_chunks(server: Server) -> None:
    reply = server.post("SELECT number FROM numbers(100000)")
    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert reply.body == b"".join(b"%d\n" % number for number in range(100000))


def test_placeholders_take_their_values_from_the_url(server: Server) -> None:
    assert server.post("SELECT {a:UInt8} + 1, {b:String}", param_a="41", param_b="it's").body == b"42\tit\\'s\n"


def test_settings_take_effect_and_unknown_ones_are_refused(server: Server) -> None:
    assert server.post("SELECT getSetting('max_threads')", max_threads="3").body == b"3\n"
    assert server.value("SELECT getSetting('max_threads')") != "3"
    comment = "it's a \\ 'quoted' value"
    assert server.post("SELECT getSetting('log_comment') FORMAT TabSeparatedRaw", log_comment=comment).body.decode() == comment + "\n"
    reply = server.post("SELECT 1", no_such_setting="1")
    assert (reply.status, reply.code) == (404, 115)
    assert server.post_with("SELECT 1", {"max_threads=1, readonly": "1"}).code == 115
    assert server.post("SELECT 1", max_threads="many").status == 400


def test_errors_have_status_code_and_text_of_clickhouse(server: Server) -> None:
    for sql, status, code, name in (
        ("SELECT * FROM absent", 404, 60, "UNKNOWN_TABLE"),
        ("SELEC 1", 400, 62, "SYNTAX_ERROR"),
        ("", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 400, 62, "SYNTAX_ERROR"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.1", 408, 159, "TIMEOUT_EXCEEDED"),
        ("SELECT 1 INTO OUTFILE '/absent/file'", 500, 358, "INTO_OUTFILE_NOT_ALLOWED"),
        ("INSERT INTO t FROM INFILE '/absent/file' FORMAT TSV", 404, 78, "UNKNOWN_TYPE_OF_QUERY"),
        ("SELECT 1 FORMAT Absent", 404, 73, "UNKNOWN_FORMAT"),
    ):
        reply = server.post(sql)
        text = reply.body.decode()
        assert (reply.status, reply.code) == (status, code), (sql, text)
        assert text.startswith(f"Code: {code}. DB::Exception: ") and f" ({name}) (version 26." in text, text
        assert text.count("Code: ") == 1 and text.endswith(")\n"), text
    assert server.request("POST", "/", b"SELECT '\xff'").code == 62


def test_database_parameter(server: Server) -> None:
    assert server.post("CREATE DATABASE other").status == 200
    assert server.post("CREATE TABLE t (a UInt8) ENGINE = Memory", database="other").status == 200
    assert server.value("SELECT count() FROM other.t") == "0"
    assert server.post("SELECT 1", database="absent").code == 81
    assert server.post("DROP DATABASE other SYNC").status == 200


def test_get_may_only_read(server: Server, table: str) -> None:
    for sql in ("INSERT INTO events VALUES (1, 'x')", "DROP TABLE events", "CREATE TABLE z (a UInt8) ENGINE = Memory"):
        assert server.request("GET", "/?" + urlencode({"query": sql})).code == 164
    assert server.request("GET", "/?query=SELECT+1&readonly=0").code == 164
    assert server.request("GET", "/?query=SELECT+1&max_threads=1").status == 200


def test_post_without_length_is_refused_as_clickhouse_does(server: Server) -> None:
    answer = server.raw(b"POST /?query=SELECT+1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 411 " in answer and b"Code: 381" in answer


def test_what_is_not_implemented_says_so(server: Server) -> None:
    for name in ("session_id", "decompress", "compress"):
        reply = server.post_with("SELECT 1", {name: "1"})
        assert (reply.status, reply.code) == (501, 48)


def test_same_query_id_twice_at_once_is_refused(server: Server) -> None:
    with ThreadPoolExecutor() as pool:
        first = pool.submit(server.post, "SELECT sleep(1), 'twin one'", query_id="twin")
        seen = "SELECT countIf(query ILIKE '%sleep%twin one%') FROM system.processes"
        assert eventually(lambda: int(server.value(seen)) > 1)  # the other one is this query
        assert server.post("SELECT 1", query_id="twin").code == 216
        assert first.result().status == 200
    assert server.post("SELECT 1", query_id="twin").status == 200


def test_queries_run_in_parallel(server: Server) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: server.post("SELECT sleep(0.5)"), range(8)))
    assert all(reply.status == 200 for reply in replies)
    assert time.monotonic() - started < 2.5  # 4 s one after the other


# Inserts


def test_native_lz4_frames_with_skippable_frames_load_exactly(server: Server, table: str) -> None:
    segment = b"".join(
        skippable_frame(b"header %d" % index, 0x184D2A50 + index) + lz4_frame(native_block(index * 100, 100)) for index in range(5)
    )
    reply = server.post(INSERT, segment + skippable_frame(b"end"), LZ4, async_insert="0", input_format_skip_unknown_fields="0")
    assert (reply.status, reply.body, reply.code) == (200, b"", None)
    assert json.loads(reply.headers["X-ClickHouse-Summary"])["written_rows"] == "500"
    assert server.value("SELECT count(), min(id), max(id), uniqExact(name) FROM events") == "500\t0\t499\t500"


def test_damaged_lz4_is_refused_and_nothing_stays(server: Server, table: str) -> None:
    frame = bytearray(lz4_frame(native_block(0, 100)))
    frame[-1] ^= 1  # the content checksum
    reply = server.post(INSERT, bytes(frame), LZ4)
    assert (reply.status, reply.code) == (500, 618)
    assert b"/proc/" not in reply.body
    assert server.value("SELECT count() FROM events") == "0"


def test_truncated_lz4_keeps_the_engines_silence(server: Server, table: str) -> None:
    """Not a wish but ClickHouse's behaviour, which the loader must not meet: a frame cut short loads short with status 200."""
    segment = lz4_frame(native_block(0, 100)) + lz4_frame(native_block(100, 100))[:-200]
    assert server.post(INSERT, segment, LZ4).status == 200
    assert server.value("SELECT count() FROM events") == "100"


@pytest.mark.parametrize(("encoding", "command"), [("gzip", ["gzip", "-c"]), ("identity", ["cat"]), ("", ["cat"])])
def test_other_encodings(server: Server, table: str, encoding: str, command: list[str]) -> None:
    data = subprocess.run(command, input=native_block(0, 10), stdout=subprocess.PIPE, check=True).stdout
    headers = {"Content-Encoding": encoding} if encoding else {}
    assert server.post(INSERT, data, headers).status == 200
    assert server.value("SELECT count() FROM events") == "10"


def test_zstd_encoding(server: Server, table: str) -> None:
    data = server.post("SELECT 7 :: UInt64 AS id, 'seven' AS name FORMAT Native").body
    header = b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + struct.pack("<I", len(data) << 3 | 1)[:3]  # one raw block
    assert server.post(INSERT, header + data, {"Content-Encoding": "zstd"}).status == 200
    assert server.value("SELECT * FROM events") == "7\tseven"


def test_unknown_encoding_is_not_implemented(server: Server, table: str) -> None:
    reply = server.post(INSERT, native_block(0, 1), {"Content-Encoding": "rot13"})
    assert (reply.status, reply.code) == (501, 48)


def test_compressed_sql_in_the_body(server: Server) -> None:
    assert server.request("POST", "/", lz4_frame(b"SELECT 'in lz4'"), LZ4).body == b"in lz4\n"


def test_insert_data_wherever_it_stands(server: Server, table: str) -> None:
    assert server.request("POST", "/", b"INSERT INTO events VALUES (1, 'a;b'), (1 + 1, lower('FORMAT'));").status == 200
    assert server.post("INSERT INTO events VALUES", b"(3, 'c')").status == 200
    assert server.request("POST", "/", b"INSERT INTO events (id, name) FORMAT Native\n" + native_block(4, 2)).status == 200
    assert server.post('INSERT INTO events FORMAT JSONEachRow {"id": 6, "name": "f"}').status == 200
    assert server.post("INSERT INTO events (id, name) SETTINGS async_insert = 0 FORMAT TSV", b"7\tg\n").status == 200
    assert server.post("INSERT INTO events SELECT number, 's' FROM numbers(8, 2)").status == 200
    assert server.value("SELECT groupArray(id) FROM (SELECT id FROM events ORDER BY id)") == "[1,2,3,4,5,6,7,8,9]"


def test_insert_without_data_is_no_error(server: Server, table: str) -> None:
    assert server.post(INSERT, b"", LZ4).status == 200
    assert server.post(INSERT, skippable_frame(b"only"), LZ4).status == 200
    assert server.value("SELECT count() FROM events") == "0"


def test_unknown_column_is_refused_only_with_the_setting(server: Server, table: str) -> None:
    data = native_block(0, 3, ("id", "nome"))
    sql = "INSERT INTO events (id) FORMAT Native"
    assert server.post(sql, data, input_format_skip_unknown_fields="0").code == 117
    assert server.post(sql, data).status == 200
    assert server.value("SELECT count() FROM events") == "3"


def test_same_token_inserts_once_and_another_token_again(server: Server, table: str) -> None:
    data = lz4_frame(native_block(0, 50))
    for token, rows in (("one", "50"), ("one", "50"), ("two", "100")):
        assert server.post(INSERT, data, LZ4, insert_deduplication_token=token).status == 200
        assert server.value("SELECT count() FROM events") == rows


def test_a_running_insert_is_found_by_its_token(server: Server, table: str) -> None:
    sql = "INSERT INTO events SELECT number, toString(sleepEachRow(0.4)) FROM numbers(3)"
    running = "SELECT count() FROM system.processes WHERE Settings['insert_deduplication_token'] = 'slow'"
    with ThreadPoolExecutor() as pool:
        insert = pool.submit(server.post, sql, insert_deduplication_token="slow", max_block_size="1")
        assert eventually(lambda: server.value(running) == "1")
        assert insert.result().status == 200
    assert server.value(running) == "0"


def test_drop_table_frees_its_name_at_once(server: Server) -> None:
    for sync in (" SYNC", ""):
        for _ in range(3):
            create_table(server, "again")
            assert server.post("DROP TABLE again" + sync).status == 200


# HTTP


def test_one_connection_serves_many_requests_errors_included(server: Server, table: str) -> None:
    connection = server.connect()
    connection.request("GET", "/ping")
    Reply(connection.getresponse())
    first = connection.sock
    for index in range(20):
        connection.request("POST", "/", b"SELECT 1" if index % 2 else b"SELECT * FROM absent")
        assert Reply(connection.getresponse()).status == (200 if index % 2 else 404)
        assert connection.sock is first
    connection.request("POST", "/", b"SELECT 1", {"Connection": "close"})
    assert Reply(connection.getresponse()).headers["Connection"] == "Close"
    assert connection.sock is None


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    one = b"POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\nSELECT 1"
    last = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 8\r\n\r\nSELECT 2"
    answer = server.raw(one + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.index(b"2\r\n1\n\r\n") < answer.index(b"2\r\n2\n\r\n")


def test_idle_connection_is_closed(server: Server) -> None:
    started = time.monotonic()
    assert server.raw(b"") == b""
    assert 0.8 < time.monotonic() - started < 5


def test_http_1_0_gets_a_length_and_a_close(server: Server) -> None:
    answer = server.raw(b"GET /?query=SELECT+1 HTTP/1.0\r\n\r\n")
    assert b"Content-Length: 2\r\n" in answer and b"chunked" not in answer and answer.endswith(b"\r\n\r\n1\n")


def test_chunked_request_body(server: Server, table: str) -> None:
    data = lz4_frame(native_block(0, 100))
    parts = (data[start : start + 77] for start in range(0, len(data), 77))
    connection = server.connect()
    connection.request("POST", "/?" + urlencode({"query": INSERT}), parts, LZ4 | {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert Reply(connection.getresponse()).status == 200
    connection.close()
    assert server.value("SELECT count() FROM events") == "100"


def test_expect_100_continue(server: Server) -> None:
    with server.socket() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"SELECT 5")
        assert b"\r\n5\n\r\n" in read_to_end(connection)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_cut_body_inserts_nothing_and_gets_no_reply(server: Server, table: str, framing: str) -> None:
    data = lz4_frame(native_block(0, 100)) * 2
    head = f"POST /?{urlencode({'query': INSERT})} HTTP/1.1\r\nContent-Encoding: lz4\r\n".encode()
    whole_frame = data[: len(data) // 2]  # what has arrived is valid by itself
    if framing == "length":
        sent = head + b"Content-Length: %d\r\n\r\n" % len(data) + whole_frame
    else:
        sent = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(whole_frame), whole_frame)
    assert server.raw(sent, half_close=True) == b""
    assert server.value("SELECT count() FROM events") == "0"


@pytest.mark.parametrize(
    "garbage",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
        b"GET /?query=%ff HTTP/1.1\r\n\r\n",
        b"GET /?" + b"&".join(b"a%d=1" % index for index in range(3000)) + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nSELECT 1\r\n",
        b"GET /" + b"x" * 2_000_000,
    ],
    ids=lambda garbage: garbage[:60].decode("latin-1"),
)
def test_garbage_gets_400_and_the_server_lives_on(server: Server, garbage: bytes) -> None:
    with server.socket() as connection:
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before all was sent
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer[:200]
    assert b"Traceback" not in answer
    assert server.value("SELECT 1") == "1"


def test_other_methods_are_refused(server: Server) -> None:
    assert server.request("DELETE", "/").status == 501


def test_a_body_above_the_limit_is_413(server: Server) -> None:
    answer = server.raw(b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


# Credentials


def test_credentials(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    server = Server(tmp_path / "data", "--user", "loader", "--password-file", str(tmp_path / "password"))
    try:
        right = (
            {"X-ClickHouse-User": "loader", "X-ClickHouse-Key": "s3cret"},
            {"Authorization": "Basic " + b64encode(b"loader:s3cret").decode()},
        )
        wrong: tuple[dict[str, str], ...] = (
            {},
            {"X-ClickHouse-User": "loader", "X-ClickHouse-Key": "guess"},
            {"X-ClickHouse-User": "other", "X-ClickHouse-Key": "s3cret"},
            {"Authorization": "Basic " + b64encode(b"loader:guess").decode()},
            {"Authorization": "Basic !!!"},
            {"Authorization": "Bearer token"},
            right[0] | right[1],  # two ways at once
        )
        for headers in right:
            assert server.post("SELECT 1", headers=headers).body == b"1\n"
        for headers in wrong:
            reply = server.post("SELECT 1", headers=headers)
            assert (reply.status, reply.code) == (403, 516), headers
        assert server.post("SELECT 1", user="loader", password="s3cret").status == 200
        assert server.post("SELECT 1", user="loader", password="guess").code == 516
        assert server.request("GET", "/ping").status == 200
    finally:
        server.close()


# Life and death


def test_kill_and_restart_keep_the_rows_and_the_tokens_and_reset_uptime(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        create_table(server, "events")
        data = lz4_frame(native_block(0, 100))
        assert server.post(INSERT, data, LZ4, insert_deduplication_token="t").status == 200
        time.sleep(2.1)
        first_uptime = int(server.value("SELECT uptime()"))
        assert first_uptime >= 2
        server.process.kill()
        server.process.wait()
        restarted = time.monotonic()
        again = Server(tmp_path, port=server.port)
    finally:
        server.close()
    try:
        assert int(again.value("SELECT uptime()")) <= time.monotonic() - restarted + 1
        assert again.post(INSERT, data, LZ4, insert_deduplication_token="t").status == 200
        assert again.value("SELECT count() FROM events") == "100"
    finally:
        again.close()


def test_a_killed_server_leaves_no_body_behind(tmp_path: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    server = Server(tmp_path)
    try:
        with server.socket() as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 900_000)
            time.sleep(0.2)
            server.process.kill()
            server.process.wait()
        assert not [path for path in set(Path("/dev/shm").iterdir()) - before if "request-body" in path.name]
        assert {path.name for path in tmp_path.iterdir()} == {"engine", "devserver.lock"}
    finally:
        server.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_lets_running_queries_finish(tmp_path: Path, number: signal.Signals) -> None:
    server = Server(tmp_path)
    idle = server.connect()
    idle.connect()
    try:
        with ThreadPoolExecutor() as pool:
            running = pool.submit(server.post, "SELECT sleep(1)")
            time.sleep(0.4)
            server.process.send_signal(number)
            assert running.result().status == 200
        assert server.process.wait(CLIENT_SECONDS) == 0
        assert server.process.stderr is not None and server.process.stderr.read() == ""
    finally:
        idle.close()
        server.close()


def test_port_file_and_lock_and_usage(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--port-file", str(tmp_path / "port"))
    try:
        assert (tmp_path / "port").read_text() == f"{server.port}\n"
        assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []
        assert server.request("POST", "/dev/faults", b"{}").status == 404  # without --faults
        for arguments, code, words in (
            (["--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"], 74, "in use by another process"),
            (["--data", str(tmp_path / "x"), "--listen", f"127.0.0.1:{server.port}"], 74, "in use"),
            (["--data", str(tmp_path / "x"), "--listen", "nonsense"], 64, "HOST:PORT"),
            ([], 64, "--data"),
        ):
            done = subprocess.run([sys.executable, str(SERVER), *arguments], capture_output=True, text=True, timeout=START_SECONDS)
            assert done.returncode == code and words in done.stderr, done
            assert "Traceback" not in done.stderr
        assert server.stop() == 0
    finally:
        server.close()


# Faults. Each must fail the request in its own way, take effect once, and execute or not as its name says.


def insert_ten(server: Server) -> Reply:
    return server.post(INSERT, lz4_frame(native_block(0, 10)), LZ4, insert_deduplication_token="fault")


def rows(server: Server) -> int:
    return int(server.value("SELECT count() FROM events"))


@pytest.mark.parametrize(
    ("fault", "error", "executed"),
    [
        ({"action": "drop_before"}, http.client.RemoteDisconnected, 0),
        ({"action": "drop_after"}, http.client.RemoteDisconnected, 10),
        ({"action": "drop_before", "reset": True}, ConnectionResetError, 0),
        ({"action": "drop_after", "reset": True}, ConnectionResetError, 10),
        ({"action": "garbage"}, http.client.BadStatusLine, 0),
        ({"action": "garbage_after"}, http.client.BadStatusLine, 10),
        ({"action": "truncate"}, http.client.IncompleteRead, 10),
        ({"action": "truncate", "framing": "chunked"}, http.client.IncompleteRead, 10),
    ],
    ids=str,
)
def test_faults_that_break_the_answer(server: Server, table: str, fault: dict[str, object], error: type[Exception], executed: int) -> None:
    server.plan({"match": "insert into EVENTS"} | fault)
    assert rows(server) == 0  # does not match, so it waits
    with pytest.raises(error) as caught:
        insert_ten(server)
    assert type(caught.value) is error
    assert rows(server) == executed
    assert insert_ten(server).status == 200
    assert rows(server) == 10


def test_fault_status_before_and_after(server: Server, table: str) -> None:
    for action, executed in (("status", 0), ("status_after", 10)):
        server.plan({"match": "INSERT", "action": action, "status": 503, "headers": {"Retry-After": "7"}, "body": "busy"})
        reply = insert_ten(server)
        assert (reply.status, reply.headers["Retry-After"], reply.body) == (503, "7", b"busy")
        assert rows(server) == executed


def test_fault_exception_header_with_status_200(server: Server, table: str) -> None:
    server.plan({"match": "INSERT", "action": "exception_header_200"})
    reply = insert_ten(server)
    assert (reply.status, reply.code) == (200, 241)
    assert b"MEMORY_LIMIT_EXCEEDED" in reply.body
    assert rows(server) == 0


@pytest.mark.parametrize(("action", "seen_early"), [("delay", 0), ("delay_after", 10)])
def test_fault_delay(server: Server, table: str, action: str, seen_early: int) -> None:
    server.plan({"match": "INSERT", "action": action, "ms": 1000})
    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        insert = pool.submit(insert_ten, server)
        time.sleep(0.4)
        assert rows(server) == seen_early
        assert not insert.done()
        assert insert.result().status == 200
    assert time.monotonic() - started >= 1.0
    assert rows(server) == 10


@pytest.mark.parametrize(("action", "executed"), [("hang", 0), ("hang_after", 10)])
def test_fault_hang(server: Server, table: str, action: str, executed: int) -> None:
    server.plan({"match": "INSERT", "action": action})
    connection = server.connect()
    connection.timeout = 0.5
    with pytest.raises(TimeoutError):
        connection.request("POST", "/?" + urlencode({"query": INSERT}), native_block(0, 10))
        connection.getresponse()
    connection.close()
    assert rows(server) == executed


def test_faults_that_kill(tmp_path: Path) -> None:
    """`kill_during` comes before the end of a slow insert; the other two leave no rows or all of them."""
    slow = "INSERT INTO events SELECT number, toString(sleepEachRow(0.1)) FROM numbers(20)"
    for action, executed in (("kill_before", 0), ("kill_during", 0), ("kill_after", 10)):
        server = Server(tmp_path, "--faults")
        try:
            if action == "kill_before":
                create_table(server, "events")
            server.plan({"match": "INSERT", "action": action, "ms": 300})
            with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
                server.post(slow, max_block_size="1") if action == "kill_during" else insert_ten(server)
            assert server.process.wait(CLIENT_SECONDS) == -signal.SIGKILL
        finally:
            server.close()
        server = Server(tmp_path)
        try:
            assert rows(server) == executed
        finally:
            server.close()


def test_faults_are_used_once_in_order_and_shown(server: Server, table: str) -> None:
    server.plan(
        {"match": "INSERT", "action": "status", "status": 500},
        {"match": "INSERT", "action": "status", "status": 502},
        {"match": "never", "action": "hang"},
    )
    assert [insert_ten(server).status for _ in range(3)] == [500, 502, 200]
    state = json.loads(server.request("GET", "/dev/faults").body)
    assert [fault["match"] for fault in state["next"]] == ["never"]
    assert [fault["action"] for fault in state["done"]] == ["status", "status"]
    server.plan()
    assert json.loads(server.request("GET", "/dev/faults").body) == {"next": [], "done": []}


@pytest.mark.parametrize(
    "plan",
    [
        b"not json", b"[]", b'{"next": 1}', b'{"later": []}', b'{"next": [{}]}', b'{"next": ["x"]}', b"\xff",
        b'{"next": [{"match": "", "action": "explode"}]}', b'{"next": [{"match": "", "action": "delay", "ms": -1}]}',
        b'{"next": [{"match": "", "action": "delay", "ms": "9"}]}', b'{"next": [{"match": "", "action": "hang", "x": 1}]}',
        b'{"next": [{"match": "", "action": "status", "headers": {"A": 1}}]}', b'{"next": [{"match": 1, "action": "hang"}]}',
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_plan_is_refused_with_a_reason_and_changes_nothing(server: Server, plan: bytes) -> None:
    server.plan()
    reply = server.request("POST", "/dev/faults", plan)
    assert reply.status == 400 and reply.body.strip()
    assert json.loads(server.request("GET", "/dev/faults").body)["next"] == []


def test_a_value_cannot_forge_a_header(server: Server) -> None:
    reply = server.post("SELECT 1", query_id="a\r\nX-Forged: 1")
    assert reply.status == 200 and "X-Forged" not in reply.headers


# Reading SQL and error texts, without a server


@pytest.mark.parametrize(
    ("sql", "head", "tail", "data"),
    [
        (b"INSERT INTO t FORMAT Native", b"INSERT INTO t ", b"FORMAT Native", b""),
        (b"insert into t (a,b) settings x=1 format TSV\n1\t2", b"insert into t (a,b) ", b"settings x=1 format TSV", b"1\t2"),
        (b"INSERT INTO t VALUES (1)", b"INSERT INTO t ", b"FORMAT Values", b" (1)"),
        (b"INSERT INTO t SETTINGS a='VALUES' VALUES(1)", b"INSERT INTO t ", b"SETTINGS a='VALUES' FORMAT Values", b"(1)"),
        (b"/* FORMAT x */ INSERT INTO db.values (format) FORMAT CSV 1;2", b"/* FORMAT x */ INSERT INTO db.values (format) ", b"FORMAT CSV", b"1;2"),
        (b"INSERT INTO `a format b`.\"select\" -- values\nFORMAT CSV", b"INSERT INTO `a format b`.\"select\" -- values\n", b"FORMAT CSV", b""),
        (b"INSERT INTO FUNCTION null('a UInt8') VALUES (1)", b"INSERT INTO FUNCTION null('a UInt8') ", b"FORMAT Values", b" (1)"),
        (b"INSERT INTO t FORMAT RowBinary\r\n\n\x00", b"INSERT INTO t ", b"FORMAT RowBinary", b"\n\x00"),
    ],
)
def test_insert_is_split_where_its_data_begin(sql: bytes, head: bytes, tail: bytes, data: bytes) -> None:
    insert = sql_text.find_insert(sql)
    assert insert is not None
    assert (insert.head, insert.tail, sql[insert.data_start :]) == (head, tail, data)


@pytest.mark.parametrize(
    "sql", [b"", b"SELECT 1 FORMAT CSV", b"INSERT INTO t SELECT 1 FORMAT x", b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", b"INSERT", b"INSERT INTO t"]
)
def test_statements_without_data_are_not_split(sql: bytes) -> None:
    assert sql_text.find_insert(sql) is None


def test_second_statements_are_seen_and_semicolons_in_strings_are_not() -> None:
    assert sql_text.has_second_statement(b"SELECT 1; SELECT 2")
    for sql in (b"SELECT 1;", b"SELECT ';x'", b"SELECT 1; -- SELECT 2", b"SELECT 'a\\'; b'", b"SELECT $x$ ; y $x$", b"SELECT `;`, 'it''s; fine'"):
        assert not sql_text.has_second_statement(sql), sql


def test_engine_errors_are_unwrapped() -> None:
    text = "Code: 27. DB::Exception: Code: 27. DB::Exception: Cannot parse (here): a\nb. (CANNOT_PARSE) (version 26.9.2.1). (CANNOT_PARSE)"
    error = answers.engine_error(text)
    assert (error.code, error.message, error.name) == (27, "Cannot parse (here): a\nb.", "CANNOT_PARSE")
    assert answers.engine_error("no such pattern").code == 1002
