"""Several addresses, unix sockets, proxies and credentials: how the loader gets to ClickHouse, and that no password gets anywhere else."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from checks import assert_exactly_once
from conftest import QUICK, MakePipeline, generated
from fronts import Front, Proxy
from pipeline import ROOT, Pipeline, Process, wait_until
from send_events import Producer

SETTLE = QUICK + 'settle = "500ms"\nbatch_bytes = "64KiB"\n'
PASSWORD = "correct-h0rse-battery"


def with_urls(command: list[str | Path], *urls: str) -> list[str | Path]:
    """The command with these addresses instead of its own."""
    place = command.index("--url")
    return [*command[:place], *(part for url in urls for part in ("--url", url)), *command[place + 2:]]


@pytest.fixture
def two_ways(make_pipeline: MakePipeline) -> tuple[Pipeline, Front, Front]:
    """A pipeline whose loader knows two addresses of one server."""
    pipeline = make_pipeline(faults=True, settings=SETTLE)
    pipeline.start_clickhouse()
    first, second = Front(pipeline.clickhouse.port), Front(pipeline.clickhouse.port)
    pipeline.loader = Process("spool-loader", with_urls(pipeline.loader_command("run"), first.url, second.url), pipeline.directory / "loader.log")
    return pipeline, first, second


def orders(pipeline: Pipeline) -> int:
    return int(pipeline.clickhouse.query("SELECT count() FROM orders"))


def changes(pipeline: Pipeline) -> list[tuple[str, str]]:
    """From which server to which the loader has gone, as its log tells."""
    log = pipeline.loader.log
    return re.findall(r"ClickHouse: from (\S+) to (\S+): ", log.read_text()) if log.exists() else []


@pytest.mark.parametrize("fault", ["kill", "stall", "busy"])
def test_another_way_is_taken_and_the_first_one_again_later(fault: str, two_ways: tuple[Pipeline, Front, Front], orders_file: Path) -> None:
    pipeline, first, second = two_ways
    pipeline.start_writer()
    pipeline.loader.start()
    lines = orders_file.read_bytes().splitlines(keepends=True)
    producer = Producer(str(pipeline.socket), "test")

    def put(part: list[bytes]) -> None:
        for line in part:
            producer.put(line)
        assert producer.finish(10), "the writer must not wait for ClickHouse"

    put(lines[:len(lines) // 3])
    assert wait_until(lambda: orders(pipeline) > 0, 20, step=0.1)
    if fault == "stall":
        first.stall()
    else:
        if fault == "busy":
            first.reply = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbusy\n"
        first.kill()
        if fault == "busy":
            first.start()
    put(lines[len(lines) // 3:2 * len(lines) // 3])
    assert wait_until(lambda: changes(pipeline) != [], 20)
    assert wait_until(lambda: orders(pipeline) == 2 * len(lines) // 3, 20, step=0.1)
    assert changes(pipeline) == [(first.url, second.url)]

    first.reply = None
    if fault != "busy":
        if fault == "stall":
            first.kill()
        first.start()
    assert wait_until(lambda: len(changes(pipeline)) > 1, 30)
    before = len(first.request_lines)
    put(lines[2 * len(lines) // 3:])
    assert wait_until(lambda: orders(pipeline) == len(lines), 20, step=0.1)
    assert changes(pipeline) == [(first.url, second.url), (second.url, first.url)]
    assert any("INSERT" in line for line in first.request_lines[before:])
    pipeline.writer.stop()
    pipeline.loader.stop()
    assert_exactly_once(pipeline, orders_file)
    log = pipeline.loader.log.read_text()
    assert log.count("name one server only") == 1, "MergeTree and two addresses"


def test_a_server_whose_way_is_cut_in_the_middle_of_inserts_gets_no_row_twice(two_ways: tuple[Pipeline, Front, Front], day_file: Path) -> None:
    pipeline, first, second = two_ways
    pipeline.import_files(day_file)
    first.kill()
    pipeline.loader.start()
    assert wait_until(lambda: changes(pipeline) != [], 20)
    first.start()
    for _ in range(12):
        for front in (first, second):
            time.sleep(0.15)
            front.kill()
            time.sleep(0.05)
            front.start()
    pipeline.loader.stop()
    pipeline.load_once()
    assert_exactly_once(pipeline, day_file)


def test_no_pings_while_the_first_server_answers(two_ways: tuple[Pipeline, Front, Front], orders_file: Path) -> None:
    pipeline, first, second = two_ways
    pipeline.import_files(orders_file)
    pipeline.loader.start()
    assert wait_until(lambda: orders(pipeline) > 1_000, 20, step=0.1)
    pipeline.loader.stop()
    assert first.request_lines and second.request_lines == []
    assert not any("/ping" in line for line in first.request_lines)


def test_when_no_server_answers_that_is_said_once_and_all_are_tried(two_ways: tuple[Pipeline, Front, Front], orders_file: Path) -> None:
    pipeline, first, second = two_ways
    pipeline.import_files(orders_file)
    first.kill()
    second.kill()
    pipeline.loader.start()
    log = pipeline.loader.log
    assert wait_until(lambda: log.exists() and "no server is usable" in log.read_text(), 20)
    time.sleep(2)
    assert log.read_text().count("no server is usable") == 1
    second.start()
    assert wait_until(lambda: f"{second.url} answers again" in log.read_text(), 30)
    assert wait_until(lambda: orders(pipeline) > 1_000, 20, step=0.1)
    pipeline.loader.stop()
    assert_exactly_once(pipeline, orders_file)


def test_rows_go_through_a_unix_socket(pipeline: Pipeline, tmp_path: Path, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    front = Front(pipeline.clickhouse.port, Path("/tmp") / f"coldpath-test-{os.getpid()}.sock")
    try:
        for command in ("run", "audit"):
            words = with_urls(pipeline.loader_command(command, *(["--once"] if command == "run" else [])), front.url)
            result = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
            assert result.returncode == 0, result.stdout + result.stderr
        assert any("INSERT" in line for line in front.request_lines)
        front.kill()
        (Path("/tmp") / f"coldpath-test-{os.getpid()}.sock").unlink()
        words = with_urls(pipeline.loader_command("audit"), front.url)
        result = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
        assert result.returncode == 74 and front.url in result.stderr
    finally:
        (Path("/tmp") / f"coldpath-test-{os.getpid()}.sock").unlink(missing_ok=True)
    assert_exactly_once(pipeline, orders_file)


def test_a_proxy_is_used_only_where_the_configuration_says_so(pipeline: Pipeline, orders_file: Path) -> None:
    pipeline.import_files(orders_file)
    proxy = Proxy()

    def audit(setting: str | None, **environment: str) -> subprocess.CompletedProcess[str]:
        more = {} if setting is None else {"COLDPATH_LOADER_PROXY": setting}
        return subprocess.run([str(word) for word in pipeline.loader_command("audit")], capture_output=True, text=True, timeout=60,
                              env=os.environ | environment | more)

    audit(None, http_proxy=proxy.url, all_proxy=proxy.url)
    assert proxy.asked == [], "the environment's proxy must not be used unasked"
    audit("environment", http_proxy=proxy.url)
    assert proxy.asked and all(line.startswith(f"POST {pipeline.clickhouse.url}/?") for line in proxy.asked)
    seen = len(proxy.asked)
    audit(proxy.url, no_proxy="*")
    assert len(proxy.asked) > seen, "a proxy of the configuration is used whatever no_proxy says"
    gone = audit("http://127.0.0.1:1")
    assert gone.returncode == 74 and "connect" in gone.stderr
    refused = audit(f"http://user:{PASSWORD}@127.0.0.1:1")
    assert refused.returncode == 64 and PASSWORD not in refused.stderr


def into_sink(pipeline: Pipeline, *options: str) -> tuple[dict[str, int], str]:
    """Load into a sink; gives what it has taken, and what the loader has said."""
    sink = subprocess.Popen([sys.executable, str(ROOT / "Benchmarks" / "sink.py"), *options], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        url = sink.stdout.readline().split()[1]
        result = subprocess.run([str(word) for word in with_urls(pipeline.loader_command("run", "--once"), url)],
                                capture_output=True, text=True, timeout=100)
        with urllib.request.urlopen(url + "/stats", timeout=10) as answer:
            taken = json.loads(answer.read())
    finally:
        sink.kill()
        sink.wait()
    assert result.returncode == 0, result.stdout + result.stderr
    return taken, result.stderr


def test_the_sink_of_the_measurements_takes_every_byte(pipeline: Pipeline, day_file: Path) -> None:
    pipeline.import_files(day_file)
    taken, _ = into_sink(pipeline)
    chunks = sum(path.stat().st_size for path in pipeline.spool.rglob("*.lz4"))
    assert taken["inserts"] > 0 and 0.5 * chunks < taken["bytes"] < chunks


def test_a_large_batch_over_a_slow_line_is_not_cut_off(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.config.write_text('[loader]\ntimeout = "2s"\nbackoff = "30ms"\n')
    rows = generated("sample_market_data.py", "--rows", "40000", to=tmp_path / "market.jsonl")
    pipeline.import_files(rows)
    # Three times the timeout, all of which would fit into the kernel's buffers.
    taken, said = into_sink(pipeline, "--rate", "500000")
    assert taken["inserts"] == 1 and taken["bytes"] > 3_000_000, taken
    assert "timed out" not in said


# MARK: Passwords

Source = Callable[[Path], tuple[list[str], dict[str, str], str]]


def by_flag(home: Path) -> tuple[list[str], dict[str, str], str]:
    return ["--password-file", str(password_file(home))], {}, ""


def by_file(home: Path) -> tuple[list[str], dict[str, str], str]:
    return [], {}, f'password_file = "{password_file(home)}"\n'


def by_environment(home: Path) -> tuple[list[str], dict[str, str], str]:
    return [], {"COLDPATH_LOADER_PASSWORD": PASSWORD}, ""


def by_credential(home: Path) -> tuple[list[str], dict[str, str], str]:
    password_file(home)
    return [], {"CREDENTIALS_DIRECTORY": str(home)}, ""


def password_file(home: Path) -> Path:
    path = home / "clickhouse-password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("source", [by_flag, by_file, by_environment, by_credential])
def test_a_password_reaches_clickhouse_and_nothing_else(source: Source, make_pipeline: MakePipeline, tmp_path: Path, orders_file: Path) -> None:
    secret = password_file(tmp_path)
    home = tmp_path / "source"
    home.mkdir()
    flags, environment, setting = source(home)
    settings = QUICK + 'user = "recorder"\n' + setting
    pipeline = make_pipeline(settings=settings, server_options=["--user", "recorder", "--password-file", str(secret)])
    pipeline.clickhouse.log_in("recorder", PASSWORD)
    pipeline.clickhouse.start_and_wait()
    front = Front(pipeline.clickhouse.port)
    said: list[str] = []

    def loader(command: str, *arguments: str, expect: int = 0, more: dict[str, str] | None = None) -> None:
        words = with_urls(pipeline.loader_command(command, *arguments, *flags), front.url)
        result = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60,
                                env=os.environ | environment | (more or {}))
        assert result.returncode == expect, result.stdout + result.stderr
        said.extend([result.stdout, result.stderr])

    loader("migrate", "apply")
    pipeline.import_files(orders_file)
    # As a service, looked at while it runs.
    log = tmp_path / "loader.log"
    with open(log, "wb") as out:
        words = with_urls(pipeline.loader_command("run", *flags), front.url)
        process = subprocess.Popen([str(word) for word in words], stdout=out, stderr=out, env=os.environ | environment)
    try:
        assert wait_until(lambda: orders(pipeline) > 1_000, 20, step=0.1), log.read_text()
        said.append(Path(f"/proc/{process.pid}/cmdline").read_bytes().decode())
    finally:
        process.terminate()
        assert process.wait(20) == 0
    loader("audit")
    # Refused: the wrong database's error, the server gone, and what the settings are.
    loader("audit", "--database", "nowhere", expect=74)
    front.kill()
    loader("audit", expect=74)
    config = subprocess.run(
        [str(word) for word in pipeline.writer_command("check-config")], capture_output=True, text=True, env=os.environ | environment)
    assert config.returncode == 0, config.stderr
    said.extend([config.stdout, config.stderr, log.read_text(), *front.request_lines])
    assert front.request_lines and all(PASSWORD not in text for text in said)
    assert all(PASSWORD.encode() not in path.read_bytes() for path in pipeline.checkpoints.rglob("*") if path.is_file())


def test_a_password_that_was_changed_is_taken_without_a_restart(make_pipeline: MakePipeline, tmp_path: Path, orders_file: Path) -> None:
    right, used = tmp_path / "right", tmp_path / "used"
    right.write_text(PASSWORD)
    used.write_text("wrong-" + PASSWORD + "\n")
    used.chmod(0o604)
    pipeline = make_pipeline(settings=QUICK + f'user = "recorder"\npassword_file = "{used}"\n',
                             server_options=["--user", "recorder", "--password-file", str(right)])
    pipeline.clickhouse.log_in("recorder", PASSWORD)
    pipeline.clickhouse.start_and_wait()
    pipeline.run_loader("migrate", "apply", "--password-file", right)
    pipeline.import_files(orders_file)
    pipeline.loader.start()
    log = pipeline.loader.log
    assert wait_until(lambda: log.exists() and "Authentication failed" in log.read_text(), 20)
    assert "can be read by every user" in log.read_text()
    used.write_text(PASSWORD + "\n")
    assert wait_until(lambda: orders(pipeline) > 1_000, 20, step=0.1)
    pipeline.loader.stop()
    assert "the file has another one now" in log.read_text() and PASSWORD not in log.read_text()


@pytest.mark.parametrize(("setting", "words"), [
    ('url = "http://recorder:{}@127.0.0.1:8123"', "loader.password_file"),
    ('password = "{}"', "does not belong into a file"),
    ('proxy = "http://recorder:{}@127.0.0.1:3128"', "loader.proxy"),
])
def test_check_config_refuses_secrets_and_does_not_show_them(setting: str, words: str, pipeline: Pipeline) -> None:
    pipeline.config.write_text("[loader]\n" + setting.format(PASSWORD) + "\n")
    result = subprocess.run([str(word) for word in pipeline.writer_command("check-config")], capture_output=True, text=True)
    assert result.returncode == 64 and words in result.stderr
    assert PASSWORD not in result.stdout + result.stderr


def test_check_config_names_files_that_are_not_there(pipeline: Pipeline) -> None:
    for key in ("ca_file", "client_certificate", "password_file"):
        pipeline.config.write_text(f'[loader]\n{key} = "/nowhere/x"\n')
        result = subprocess.run([str(word) for word in pipeline.writer_command("check-config")], capture_output=True, text=True)
        assert result.returncode == 64 and f"loader.{key}: there is no file /nowhere/x" in result.stderr
