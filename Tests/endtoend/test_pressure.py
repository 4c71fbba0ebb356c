"""A small disk that fills up with market data while orders flow: no order that was called durable is lost, each refused one was told so, and
the ledger's counts are the true loss, symbol by symbol.

`PRESSURE_MIB=64` takes a disk of that size; the test's usual one is smaller, and quicker to fill.
"""
from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakePipeline
from pipeline import Pipeline, wait_until
from send_events import Producer

MIB = int(os.environ.get("PRESSURE_MIB", "24"))
SYMBOLS = [f"SYM{n:02d}" for n in range(12)]
SETTINGS = """
[writer]
queue_audit = "1MiB"
queue_market = "4MiB"
[loader]
linger = "10ms"
poll = "50ms"
backoff = "30ms"
backoff_max = "500ms"
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MIB}m", "tmpfs", path], capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


class Flood(threading.Thread):
    """A feed that sends market data as fast as they are taken, and never looks back."""

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.sent: Counter[str] = Counter()
        self.trades: Counter[str] = Counter()
        self.answer: dict[str, int] = {}
        self._path, self._random, self._stopping = path, random.Random(seed), threading.Event()
        self.paced = threading.Event()

    def run(self) -> None:
        with socket.socket(socket.AF_UNIX) as writer:
            writer.connect(str(self._path))
            writer.setblocking(True)
            reader = threading.Thread(target=self._read, args=(writer,), daemon=True)
            reader.start()
            base = time.time_ns()
            number = 0
            while not self._stopping.is_set():
                lines = []
                for _ in range(500):
                    number += 1
                    symbol = self._random.choice(SYMBOLS)
                    is_trade = number % 20 == 0
                    self.sent[symbol] += 1
                    self.trades[symbol] += is_trade
                    bid = self._random.random() * 1000
                    lines.append(
                        f'{{"table":"market_data","ts_exchange":{base + number * 1000},"ts_local":{base + number * 1000 + 7},"symbol":"{symbol}",'
                        f'"event":"{"trade" if is_trade else "quote"}","bid_px1":{bid},"bid_sz1":{self._random.random()},"ask_px1":{bid + 1},'
                        f'"ask_sz1":{self._random.random()},"last_price":{bid},"source":"flood"}}\n')
                writer.sendall("".join(lines).encode())
                if self.paced.is_set():
                    time.sleep(0.1)
            writer.shutdown(socket.SHUT_WR)
            reader.join(30)

    def stop(self) -> None:
        self._stopping.set()
        self.join(60)
        assert not self.is_alive(), "the flood does not come to its end"

    def _read(self, writer: socket.socket) -> None:
        for line in writer.makefile("rb"):
            answer = json.loads(line)
            assert "error" not in answer, answer
            if "accepted" in answer:
                self.answer = answer


class Orders(threading.Thread):
    """An engine that sends orders under a name, and notes what it is told of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.sent: list[str] = []
        self.refused: dict[str, str] = {}
        self.slowest = 0.0
        self._producer = Producer(str(path), "engine", self._note)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            for _ in range(20):
                name = f"O{len(self.sent)}"
                event = {"table": "orders", "ts_intent": time.time_ns(), "client_order_id": name, "strategy": "maker", "symbol": "SYM00",
                         "side": "buy", "qty": "1.5", "order_type": "limit", "limit_px": "100.25", "tif": "gtc", "status": "new",
                         "risk_mode": "normal", "reject_reason": os.urandom(200).hex()}
                self._producer.put(json.dumps(event).encode() + b"\n")
                self.sent.append(name)
            began, target = time.monotonic(), self._producer.queued
            while self._producer.durable < target and time.monotonic() - began < 0.5:
                self._producer.pump(0.01)
            self.slowest = max(self.slowest, time.monotonic() - began)

    def stop(self) -> None:
        self._stopping.set()
        self.join(60)
        assert self._producer.finish(30), f"{self._producer.pending} orders do not become durable"
        self._producer.close()

    def _note(self, refusal: dict[str, object]) -> None:
        self.refused[self.sent[int(str(refusal["line"])) - 1]] = str(refusal["reason"])


def used(disk: Path) -> float:
    status = os.statvfs(disk)
    return 1 - status.f_bavail / status.f_blocks


def fill(disk: Path, until: threading.Event) -> None:
    """Takes every byte that becomes free, as somebody else's process might."""
    with open(disk / "ballast", "wb", buffering=0) as ballast:
        while not until.is_set():
            try:
                ballast.write(b"\0" * 65536)
            except OSError:
                try:
                    ballast.write(b"\0" * 4096)
                except OSError:
                    time.sleep(0.005)


def test_market_data_fill_the_disk_while_orders_flow(make_pipeline: MakePipeline, small_disk: Path) -> None:
    pipeline: Pipeline = make_pipeline(settings=SETTINGS)
    pipeline.spool = small_disk / "spool"
    pipeline.writer.command[pipeline.writer.command.index("--spool") + 1] = str(pipeline.spool)
    pipeline.loader.command[pipeline.loader.command.index("--spool") + 1] = str(pipeline.spool)
    pipeline.start_writer()
    flood, orders = Flood(pipeline.socket, 7), Orders(pipeline.socket)
    orders.start()
    flood.start()
    tombstones = f"{pipeline.spool}/market_data"

    def has_shed() -> bool:
        return "gave up" in pipeline.writer.log.read_text()

    assert wait_until(has_shed, 120, 0.1), "the disk never became too full"
    time.sleep(3)
    assert used(small_disk) < 0.9, f"{used(small_disk):.0%} used in {tombstones}"
    assert not orders.refused, "there was room for orders all the time"
    before = len(orders.sent)

    # Now somebody else takes what is left, and all that becomes free.
    flood.paced.set()
    end = threading.Event()
    filler = threading.Thread(target=fill, args=(small_disk, end), daemon=True)
    filler.start()
    assert wait_until(lambda: len(orders.refused) > 100, 90, 0.1), "no order was ever refused"
    assert all("disk" in reason for reason in orders.refused.values())
    end.set()
    filler.join()
    (small_disk / "ballast").unlink()
    refused = len(orders.refused)
    time.sleep(2)
    flood.stop()
    orders.stop()
    assert len(orders.sent) > before + refused, "orders are taken again without a restart"

    pipeline.start_clickhouse()
    pipeline.load_once(timeout=300)
    pipeline.writer.stop()
    pipeline.load_once(timeout=300)
    pipeline.run_loader("verify")
    audit = json.loads(pipeline.run_loader("audit", "--json").stdout)
    tables = {result["table"]: result for result in audit}
    assert all(result["missing"]["rows"] == 0 and result["duplicate"]["rows"] == 0 for result in audit)

    there = [name for name, in pipeline.clickhouse.rows("SELECT client_order_id FROM orders")]
    assert len(there) == len(set(there))
    assert set(there) == set(orders.sent) - set(orders.refused), "an order is missing that was called durable, or there that was refused"

    recorded = {symbol: int(count) for symbol, count in pipeline.clickhouse.rows("SELECT symbol, count() FROM market_data GROUP BY symbol")}
    lost: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for symbol, reason, count in pipeline.clickhouse.rows(
            "SELECT symbol, reason, sum(row_count) FROM system_events WHERE event = 'rows_dropped' AND table_name = 'market_data' GROUP BY symbol, reason"):
        lost[symbol] += int(count)
        reasons[reason] += int(count)
    assert {symbol: recorded.get(symbol, 0) + lost[symbol] for symbol in SYMBOLS} == dict(flood.sent)
    assert reasons["shed"] > 0
    print(f"\nsent {sum(flood.sent.values()):,} market rows, recorded {sum(recorded.values()):,}, lost {dict(reasons)}; "
          f"orders {len(orders.sent):,}, refused {len(orders.refused):,}, slowest {orders.slowest * 1000:.0f} ms; "
          f"writer {pipeline.writer.log.name}; shed in audit: {tables['market_data'].get('shed')}")
