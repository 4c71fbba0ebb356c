"""Faults, as a new operator meets them: the alert fires in a true Prometheus, its chapter of docs/operations.md is followed step by step, and the alert is over."""
from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from checks import assert_exactly_once
from conftest import QUICK, MakePipeline
from pipeline import ROOT, Pipeline, Process, free_port, wait_until
from scrape import get, program, scrape, serve_metrics
from send_events import Producer
from test_metrics import order

OPS = ROOT / "ops"


class Prometheus:
    """The rules of ops/alerts.yml, with short waits, over both processes."""

    def __init__(self, directory: Path, writer: int, loader: int) -> None:
        rules = re.sub(r"for: \w+", "for: 1s", (OPS / "alerts.yml").read_text())
        # What is counted over minutes is counted over seconds.
        (directory / "alerts.yml").write_text(re.sub(r"\[(5|10|15)m\]", "[8s]", rules).replace("offset 5m", "offset 8s"))
        settings = (OPS / "prometheus.yml").read_text().replace("5s", "1s").replace("9464", str(writer)).replace("9465", str(loader))
        (directory / "prometheus.yml").write_text(settings)
        self.port = free_port()
        self.process = Process("prometheus", [
            program("prometheus"), f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/tsdb",
            f"--web.listen-address=127.0.0.1:{self.port}"], directory / "prometheus.log")
        self.process.start()

    def firing(self) -> dict[str, dict[str, str]]:
        """Labels of the alerts that fire, by name."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/alerts", timeout=5) as answer:
                alerts = json.load(answer)["data"]["alerts"]
        except OSError:
            return {}
        return {alert["labels"]["alertname"]: alert["labels"] for alert in alerts if alert["state"] == "firing"}

    def fires(self, name: str, seconds: float = 60) -> dict[str, str]:
        assert wait_until(lambda: name in self.firing(), seconds, 0.2), f"{name} does not fire; these do: {sorted(self.firing())}"
        chapter = (ROOT / "docs/operations.md").read_text()
        assert f"### {name}\n" in chapter or name.startswith("RecorderDisk"), "there is no chapter about it"
        return self.firing()[name]

    def is_over(self, *names: str, seconds: float = 90) -> None:
        assert wait_until(lambda: not set(names) & set(self.firing()), seconds, 0.3), f"still: {sorted(self.firing())}"


@pytest.fixture
def watched(make_pipeline: MakePipeline, tmp_path: Path) -> Iterator[tuple[Pipeline, Prometheus, int, int]]:
    pipeline = make_pipeline(faults=True, settings=QUICK)
    writer, loader = serve_metrics(pipeline)
    prometheus = Prometheus(tmp_path, writer, loader)
    yield pipeline, prometheus, writer, loader
    prometheus.process.kill()


def test_a_damaged_segment(watched: tuple[Pipeline, Prometheus, int, int], orders_file: Path) -> None:
    pipeline, prometheus, _, loader = watched
    pipeline.start_clickhouse()
    pipeline.import_files(orders_file)
    [segment] = (pipeline.spool / "orders").glob("*.lz4")
    sound = segment.read_bytes()
    damaged = bytearray(sound)
    damaged[len(sound) // 2] ^= 1
    segment.write_bytes(damaged)
    pipeline.start_writer()
    pipeline.loader.start()
    labels = prometheus.fires("RecorderDamage")
    assert labels["table"] == "orders" and labels["severity"] == "critical"
    # 1. verify names the damage; the quarantine list has the sequences.
    said = pipeline.run_loader("verify", expect=(1,)).stdout
    assert re.search(rf"DAMAGE.*{segment.name}", said)
    assert next(pipeline.checkpoints.rglob("orders.quarantine")).read_text().split()[2] == segment.name
    # 2. An undamaged copy in its place, then requeue.
    segment.write_bytes(sound)
    pipeline.run_loader("requeue", "--table", "orders")
    prometheus.is_over("RecorderDamage", "RecorderFailure")
    assert get(loader, "/healthz") == (200, "ok\n")
    pipeline.writer.stop(), pipeline.loader.stop()
    assert_exactly_once(pipeline, orders_file)


def test_rows_that_clickhouse_refuses(watched: tuple[Pipeline, Prometheus, int, int]) -> None:
    pipeline, prometheus, _, loader = watched
    pipeline.start_clickhouse()
    pipeline.clickhouse.query("ALTER TABLE orders ADD CONSTRAINT early CHECK spool_seq != 77")
    pipeline.start_writer()
    pipeline.loader.start()
    producer = Producer(str(pipeline.socket), "p")
    for number in range(200):
        producer.put(order(number))
    assert producer.finish(30)
    labels = prometheus.fires("RecorderQuarantine")
    assert labels["table"] == "orders" and "RecorderFailure" in prometheus.firing()
    # 1. The list has the error and the row.
    listed = next(pipeline.checkpoints.rglob("orders.quarantine")).read_text()
    assert listed.startswith("77 78 ") and "VIOLATED_CONSTRAINT" in listed and '"client_order_id":"O76"' in listed
    # 2. and 3. The cause is mended, the row goes in.
    pipeline.clickhouse.query("ALTER TABLE orders DROP CONSTRAINT early")
    pipeline.run_loader("requeue", "--table", "orders")
    prometheus.is_over("RecorderQuarantine", "RecorderFailure")
    assert scrape(loader)['recorder_quarantined_rows{table="orders",reason="refused"}'] == 0
    pipeline.writer.stop(), pipeline.loader.stop()
    assert pipeline.clickhouse.query("SELECT count(), uniqExact(spool_seq) FROM orders").split() == ["200", "200"]
    pipeline.run_loader("audit")


def test_a_disk_that_something_else_fills(watched: tuple[Pipeline, Prometheus, int, int], tmp_path: Path) -> None:
    pipeline, prometheus, writer, loader = watched
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "coldpath-test", disk], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        pipeline.spool = disk / "spool"
        for process, what in ((pipeline.writer, pipeline.writer_command), (pipeline.loader, pipeline.loader_command)):
            process.command = [str(part) for part in what("run")] + process.command[process.command.index("--metrics"):]
        pipeline.writer.command += ["--socket", str(pipeline.socket)]
        pipeline.start_clickhouse()
        pipeline.start_writer()
        pipeline.loader.start()
        producer = Producer(str(pipeline.socket), "p")
        stranger = disk / "stranger.log"
        stranger.write_bytes(b"")
        with stranger.open("wb") as file:
            try:
                while file.write(b"x" * 65536):
                    file.flush()
            except OSError:
                pass
        for number in range(20_000):
            producer.put(order(number))
            if number % 500 == 0:
                producer.pump(0)
        for _ in range(50):
            producer.pump(0.02)
        assert prometheus.fires("RecorderDiskEmergency")["severity"] == "critical"
        assert get(writer, "/readyz")[0] == 503 and "disk" in get(writer, "/readyz")[1]
        # 1. and 2. Is it segments that are loaded, or the loader that is behind? 3. Something else on that file system.
        assert pipeline.run_loader("prune", "--dry-run").returncode == 0
        status = [str(pipeline.loader_command("ls")[0]), "status", "--spool", pipeline.spool, "--checkpoints", pipeline.checkpoints,
                  "--loader-metrics", f"127.0.0.1:{loader}"]
        assert "up to date" in subprocess.run(status, capture_output=True, text=True).stdout
        largest = subprocess.run(f"du -xa {disk} | sort -n | tail -2 | head -1", shell=True, capture_output=True, text=True).stdout
        assert str(stranger) in largest
        stranger.unlink()
        assert producer.finish(60)
        prometheus.is_over("RecorderDiskEmergency", "RecorderDisk", "RecorderWriteFailing", "RecorderFailure")
        assert wait_until(lambda: pipeline.clickhouse.query("SELECT uniqExact(client_order_id) FROM orders").strip() == "20000", 60)
        pipeline.writer.stop(), pipeline.loader.stop()
        pipeline.run_loader("audit")
    finally:
        pipeline.kill()
        subprocess.run(["umount", "-l", disk], check=False)
