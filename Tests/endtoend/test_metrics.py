"""What both processes say of themselves over HTTP, and whom they call."""
from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest
from conftest import MakePipeline
from pipeline import Pipeline, free_port, wait_until
from scrape import get, promtool, scrape, serve_metrics, status
from send_events import Producer


def order(number: int) -> bytes:
    return (f'{{"table":"orders","ts_intent":{time.time_ns()},"client_order_id":"O{number}","strategy":"m","symbol":"A","side":"buy",'
            f'"qty":"1","order_type":"limit","limit_px":"2","tif":"gtc","status":"new","risk_mode":"normal"}}\n').encode()


def quantile(found: dict[str, float], name: str, labels: str, share: float) -> float:
    """The upper bound of the bucket that holds it."""
    total = found[f"{name}_count{{{labels}}}"]
    bounds = sorted((float(key.split(',le="')[1].split('"')[0]), value) for key, value in found.items() if key.startswith(f"{name}_bucket{{{labels},"))
    return next(bound for bound, below in bounds if below >= share * total)


def test_rows_can_be_followed_from_the_producer_to_clickhouse(pipeline: Pipeline) -> None:
    writer, loader = serve_metrics(pipeline)
    pipeline.start_writer()
    pipeline.loader.start()
    assert wait_until(lambda: bool(scrape(writer)) and bool(scrape(loader)), 15)
    assert scrape(writer)['recorder_queue_usage{class="audit"}'] == 0
    # Somebody who connects and says nothing holds nobody up, neither the writer nor who asks after him.
    with socket.create_connection(("127.0.0.1", writer)) as silent:
        silent.send(b"GET /metr")
        producer = Producer(str(pipeline.socket), "p")
        for number in range(500):
            producer.put(order(number))
        producer.put(b'{"table":"orders","nosuch":1}\n')
        producer.put(b"no JSON\n")
        assert producer.finish(10)
        began = time.monotonic()
        assert get(writer, "/healthz") == (200, "ok\n")
        assert time.monotonic() - began < 1.5, "a client that sends half a request held up another one"
    assert wait_until(lambda: scrape(writer)['recorder_rows_total{table="orders",stage="durable"}'] == 500, 15)
    found = scrape(writer)
    assert found['recorder_rows_total{table="orders",stage="accepted"}'] == 500
    assert found['recorder_refused_rows_total{table="orders"}'] == 1 and found['recorder_refused_rows_total{table=""}'] == 1
    assert found['recorder_durable_seconds_count{class="audit"}'] >= 1 and found['recorder_sync_seconds_count{class="audit"}'] >= 1
    assert found['recorder_wal_bytes{table="orders"}'] > 500
    assert 0 < found["recorder_disk_used_ratio"] < 1 and found["recorder_alarms_total"] == 0
    assert wait_until(lambda: scrape(loader).get('recorder_rows_total{table="orders",stage="loaded"}') == 500, 10)
    assert wait_until(lambda: scrape(loader)['recorder_lag_rows{table="orders"}'] == 0, 15)
    found = scrape(loader)
    assert found['recorder_loaded_seq{table="orders"}'] == 501 and found['recorder_lag_seconds{table="orders"}'] == 0
    assert found['recorder_insert_seconds_count{table="orders"}'] >= 1 and found['recorder_dedup_unsafe{table="orders"}'] == 0
    # Each row counts once, with the time from its own clock on.
    assert found['recorder_event_to_query_seconds_count{table="orders"}'] == 500
    assert 0 < quantile(found, "recorder_event_to_query_seconds", 'table="orders"', 0.99) < 30
    assert get(loader, "/healthz")[0] == get(loader, "/readyz")[0] == get(writer, "/readyz")[0] == 200
    assert get(writer, "/other")[0] == 404
    entry = next(table for table in status(loader)["tables"] if table["table"] == "orders")
    assert entry["loaded"] == 500 and entry["lagRows"] == 0 and entry["state"] == "up to date"
    assert status(writer)["ready"] is True


def test_promtool_finds_nothing_to_complain_about(pipeline: Pipeline, day_file: Path, market_file: Path) -> None:
    writer, loader = serve_metrics(pipeline)
    pipeline.import_files(day_file, market_file)
    pipeline.start_writer()
    pipeline.loader.start()
    assert wait_until(lambda: scrape(loader).get('recorder_rows_total{table="market_data",stage="loaded"}', 0) > 0, 10)
    pipeline.clickhouse.kill()
    for port in (writer, loader):
        checked = promtool("check", "metrics", data=get(port, "/metrics")[1])
        assert checked.returncode == 0 and not checked.stdout and not checked.stderr, checked.stdout + checked.stderr


def test_a_loader_without_clickhouse_is_not_ready_and_says_why(pipeline: Pipeline, orders_file: Path) -> None:
    _, loader = serve_metrics(pipeline)
    pipeline.clickhouse.stop()
    pipeline.import_files(orders_file)
    pipeline.loader.start()
    # At first it is only starting.
    assert wait_until(lambda: get(loader, "/readyz")[0] == 503 and "orders: http://127.0.0.1" in get(loader, "/readyz")[1], 10), get(loader, "/readyz")
    assert wait_until(lambda: scrape(loader).get('recorder_lag_rows{table="orders"}', 0) > 1000, 15)
    assert wait_until(lambda: 0 < scrape(loader)['recorder_lag_seconds{table="orders"}'] < 60, 15)
    assert status(loader)["ready"] is False
    pipeline.clickhouse.start()
    assert wait_until(lambda: get(loader, "/readyz") == (200, "ok\n"), 30), get(loader, "/readyz")
    assert sum(value for name, value in scrape(loader).items() if name.startswith("recorder_table_failures")) == 0


def test_each_failure_runs_the_alert_command_once(make_pipeline: MakePipeline, tmp_path: Path, orders_file: Path) -> None:
    alerts = tmp_path / "alerts"
    script = tmp_path / "alert"
    script.write_text(f'#!/bin/sh\n{{ cat; printf "%s\\n" "$COLDPATH_ALERT"; }} >> {alerts}\n')
    script.chmod(0o755)
    pipeline: Pipeline = make_pipeline(settings=f'alert_command = "{script}"\n[loader]\nbackoff = "20ms"\nbackoff_max = "100ms"\n')
    pipeline.clickhouse.start_and_wait()
    pipeline.import_files(orders_file)
    # No table: a person must act.
    _, loader = serve_metrics(pipeline)
    pipeline.loader.start()
    assert wait_until(lambda: alerts.exists() and alerts.read_text().count("\n") >= 2, 10)
    time.sleep(1)
    told, text = alerts.read_text().splitlines()
    alarm = json.loads(told)
    assert alarm["process"] == "spool-loader" and alarm["table"] == "orders" and alarm["alert"] == text and text.startswith("RecorderFailure: ")
    assert wait_until(lambda: scrape(loader)["recorder_alarms_total"] >= 1, 15)
    assert status(loader)["lastAlarm"]["text"] == text


def test_an_alert_command_that_cannot_be_run_is_told_at_the_start(make_pipeline: MakePipeline, tmp_path: Path) -> None:
    pipeline: Pipeline = make_pipeline(settings=f'alert_command = "{tmp_path}/none"\n')
    pipeline.writer.start()
    assert wait_until(lambda: not pipeline.writer.is_alive, 10) and pipeline.writer.status == 74
    assert "alert command" in pipeline.writer.log.read_text()


@pytest.mark.parametrize("address", ["9464", "127.0.0.1:", "127.0.0.1:0", "example.org:9464", "127.0.0.1:99999", "[::1:9464", ":9464"])
def test_an_address_that_is_none_is_told(make_pipeline: MakePipeline, address: str) -> None:
    pipeline: Pipeline = make_pipeline()
    pipeline.writer.command += ["--metrics", address]
    pipeline.writer.start()
    assert wait_until(lambda: not pipeline.writer.is_alive, 10)
    assert pipeline.writer.status == 64
    assert "writer.metrics" in pipeline.writer.log.read_text()


def test_many_clients_and_nonsense_leave_the_metrics_there(make_pipeline: MakePipeline) -> None:
    pipeline: Pipeline = make_pipeline()
    port = free_port()
    pipeline.writer.command += ["--metrics", f"127.0.0.1:{port}"]
    pipeline.start_writer()
    assert wait_until(lambda: bool(scrape(port)), 15)
    for nonsense in (b"\0" * 5000, b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 100_000, b"POST /metrics HTTP/1.1\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n", b"GET /metrics\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            try:
                client.sendall(nonsense)
                client.recv(100)
            except OSError:
                pass
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    assert wait_until(lambda: bool(scrape(port)), 20), "200 silent clients keep others out for good"
    for client in clients:
        client.close()
    assert pipeline.writer.stop() == 0


class Supervisor:
    """The other end of systemd's notify protocol."""

    def __init__(self, path: Path) -> None:
        self.path = os.path.relpath(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(0.1)
        self.heard: list[tuple[float, str]] = []

    def listen(self, seconds: float) -> list[str]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.heard.append((time.monotonic(), self.socket.recv(4096).decode()))
            except TimeoutError:
                pass
        return [text for _, text in self.heard]


@pytest.mark.parametrize("who", ["writer", "loader"])
def test_the_watchdog_is_fed_while_the_loop_goes_round_and_not_by_a_frozen_one(
        pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    supervisor = Supervisor(tmp_path / "notify")
    pipeline.import_files()
    process = getattr(pipeline, who)
    # As `WatchdogSec=1s` does.
    process.command = ["/usr/bin/env", f"NOTIFY_SOCKET={os.path.abspath(supervisor.path)}", "WATCHDOG_USEC=1000000", *process.command]
    process.start()
    assert wait_until(lambda: supervisor.listen(0.2).count("WATCHDOG=1") >= 4, 15)
    assert supervisor.listen(0).count("READY=1") == 1
    os.kill(process.pid, 19)
    supervisor.listen(0.2)
    before = len(supervisor.heard)
    supervisor.listen(1.5)
    assert len(supervisor.heard) == before
    os.kill(process.pid, 18)
    assert "WATCHDOG=1" in [text for _, text in supervisor.heard[before:]] or supervisor.listen(1.5)[before:].count("WATCHDOG=1") >= 1
    process.stop()
    assert supervisor.listen(0.3)[-1] != "READY=1" and "STOPPING=1" in [text for _, text in supervisor.heard]
