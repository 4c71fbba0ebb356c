#!/usr/bin/env python3
"""A long outage in short: market rows by the million and orders between them while there is no ClickHouse, then everything drained.

Prints what both processes took of memory, how soon orders were durable beside the flood, how long a start takes with the backlog, when the
orders had caught up, and at what rate the rest followed. At the end recorded rows and those of the ledger must be all that were published.
Exit status: 0 they are, 1 they are not, 74 something did not start.
"""
from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "demo"))

from pipeline import ClickHouse, Process, Trouble, binary, end_on_signals, run, wait_until  # noqa: E402
from send_events import Producer  # noqa: E402

PUBLISH = ROOT / "Benchmarks/.build/release/publish-c"
RING_KIB = 16_384
WARM_UP_ROWS = 64
"""That publish-c publishes before it counts."""
ORDERS_AT_ONCE, ORDERS_EVERY = 100, 0.1
SHOWN = 12


def resident_mib(process: Process) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


def few(values: list[int]) -> list[int]:
    return values[:: max(1, len(values) // SHOWN)]


class Orders(threading.Thread):
    """A hundred orders each tenth of a second, each hundred waited for."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self.waits: list[float] = []
        self._producer = Producer(str(path), "engine")
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            for _ in range(ORDERS_AT_ONCE):
                event = {"table": "orders", "ts_intent": time.time_ns(), "client_order_id": f"O{self.sent}", "strategy": "maker", "symbol": "A",
                         "side": "buy", "qty": "1", "order_type": "limit", "limit_px": "2", "tif": "gtc", "status": "new", "risk_mode": "normal"}
                self._producer.put(json.dumps(event).encode() + b"\n")
                self.sent += 1
            while self._producer.pending > 0 and time.monotonic() - began < 60:
                self._producer.pump(0.01)
            self.waits.append(time.monotonic() - began)
            time.sleep(max(0.0, ORDERS_EVERY - (time.monotonic() - began)))

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        if not self._producer.finish(30):
            raise Trouble(f"{self._producer.pending} orders do not become durable")


class Outage:
    def __init__(self, work: Path, rings: Path) -> None:
        self.work = work
        schemas, config = work / "schemas", work / "coldpath.toml"
        schemas.mkdir(parents=True)
        for source in (ROOT / "Benchmarks/schemas/0001_bench_events.sql", ROOT / "schemas/0002_orders.sql", ROOT / "schemas/0008_system_events.sql"):
            shutil.copy(source, schemas)
        config.write_text('[tables.bench_events]\nclass = "market"\n')
        self.rings, self.spool, self.socket, self.schemas = rings, work / "spool", work / "writer.sock", schemas
        shared: list[str | Path] = ["--config", config, "--spool", self.spool]
        self.writer = Process("spool-writer", [binary("spool-writer"), "run", *shared, "--schemas", schemas, "--socket", self.socket, "--rings", rings],
                              work / "writer.log")
        self.clickhouse = ClickHouse(work)
        places: list[str | Path] = [*shared, "--checkpoints", work / "checkpoints", "--url", self.clickhouse.url]
        self.loader = Process("spool-loader", [binary("spool-loader"), "run", *places], work / "loader.log")
        self.audit = [binary("spool-loader"), "audit", *places]

    def start_writer(self) -> float:
        began = time.monotonic()
        told = self.writer.log.read_text().count("ready:") if self.writer.log.exists() else 0
        self.writer.start()
        if not wait_until(lambda: self.writer.log.read_text().count("ready:") > told, 30, 0.001):
            raise Trouble(f"spool-writer did not start; see {self.writer.log}")
        return time.monotonic() - began

    def record(self, rows: int, interval: float) -> int:
        """Returns the number of orders."""
        self.start_writer()
        orders = Orders(self.socket)
        orders.start()
        began, memory = time.monotonic(), []
        flood = subprocess.Popen([PUBLISH, self.rings, str(RING_KIB), "load", str(rows), str(interval)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while flood.poll() is None:
            memory.append(resident_mib(self.writer))
            time.sleep(1)
        seconds = time.monotonic() - began
        orders.stop()
        waits = sorted(orders.waits)
        print(f"{rows:,} market rows in {seconds:.1f} s; writer, resident MiB: {few(memory)}")
        print(f"{orders.sent:,} orders, durable after ms: p50 {waits[len(waits) // 2] * 1000:.0f}, max {waits[-1] * 1000:.0f}")
        size = sum(path.stat().st_size for path in self.spool.rglob("*.lz4"))
        self.writer.stop()
        print(f"start with a backlog of {size / 2 ** 20:,.0f} MiB: {self.start_writer() * 1000:.0f} ms")
        self.writer.stop()
        return orders.sent

    def drain(self, rows: int, orders: int, patience: float) -> bool:
        self.clickhouse.start_and_wait()
        run([binary("spool-loader"), "migrate", "apply", "--schemas", self.schemas, "--url", self.clickhouse.url])
        began, memory, caught_up = time.monotonic(), [], False
        self.loader.start()
        while True:
            time.sleep(0.5)
            memory.append(resident_mib(self.loader))
            there, market, lost = (int(self.clickhouse.query(sql)) for sql in (
                "SELECT count() FROM orders", "SELECT count() FROM bench_events",
                "SELECT sum(row_count) FROM system_events WHERE event = 'rows_dropped'"))
            seconds = time.monotonic() - began
            if there >= orders and not caught_up:
                caught_up = True
                print(f"orders all there after {seconds:.1f} s, with {market:,} market rows")
            if (market + lost >= rows and there >= orders) or seconds > patience:
                break
        print(f"{market:,} market rows drained in {seconds:.1f} s, {market / seconds:,.0f} a second; loader, resident MiB: {few(memory)}")
        print(f"recorded {market:,} + in the ledger {lost:,} = {market + lost:,} of {rows:,}")
        self.loader.stop()
        print(run(self.audit, expect=(0, 1)).stdout)
        return market + lost == rows and there == orders

    def end(self) -> None:
        for process in (self.writer, self.loader, self.clickhouse):
            process.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="market rows; some 54 bytes each on disk, twice as much in ClickHouse")
    parser.add_argument("--interval", type=float, default=600, help="nanoseconds between two of them")
    parser.add_argument("--patience", type=float, default=900, help="seconds for draining")
    options = parser.parse_args()
    end_on_signals()
    work, rings = Path(tempfile.mkdtemp(prefix="coldpath-outage-")), Path(tempfile.mkdtemp(prefix="coldpath-outage-", dir="/dev/shm"))
    outage = None
    try:
        if not PUBLISH.exists():
            raise Trouble(f"{PUBLISH} is missing; run: make bench")
        outage = Outage(work, rings)
        orders = outage.record(options.rows, options.interval)
        return 0 if outage.drain(options.rows + WARM_UP_ROWS, orders, options.patience) else 1
    except Trouble as trouble:
        print(f"outage: {trouble}", file=sys.stderr)
        return 74
    finally:
        if outage:
            outage.end()
        for directory in (work, rings):
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
