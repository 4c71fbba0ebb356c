#!/usr/bin/env python3
"""From event to query: how long after it was sent is a row visible in ClickHouse, at a steady rate?

A paced sender puts rows into the writer's socket, each with its time of sending in ts_local; writer, loader and ClickHouse
run on this machine. Meanwhile a poller asks ClickHouse every few milliseconds how many rows each table holds, which it
answers without reading any. Rows of one table become visible in the order in which they were sent, so the n-th row's lag is
from its sending to the end of the first poll that counted n; that is an upper bound, by up to one poll's interval. At the
end the sums of sequences and of send times prove that order and count were what this took them for.

Measures, and never asserts a time. Exit status: 0 measured, 1 rows are missing or repeated, 74 something did not start.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

from pipeline import Pipeline, Trouble, end_on_signals, wait_until  # noqa: E402
from send_events import Producer, ProtocolError  # noqa: E402

TICK_SECONDS = 0.01
POLL_SECONDS = 0.02
DRAIN_SECONDS = 120.0
TEMPLATES = 5_000
TABLES = ("market_data", "orders", "fills")
SHARE = {"market_data": 90, "orders": 7, "fills": 3}
"""Lines of each hundred."""


@dataclass(frozen=True)
class Burst:
    """Rows of one table that were sent together."""

    first: int
    count: int
    sent_ns: int


class Lines:
    """Lines made beforehand, with a place for the time of sending."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self._templates = {table: [make(rng, number) for number in range(TEMPLATES)]
                           for table, make in (("market_data", market_line), ("orders", order_line), ("fills", fill_line))}
        self._at = dict.fromkeys(TABLES, 0)

    def take(self, table: str, count: int, now: int) -> list[bytes]:
        templates, at = self._templates[table], self._at[table]
        self._at[table] = at + count
        return [templates[(at + offset) % TEMPLATES] % (now, now) for offset in range(count)]


def market_line(rng: random.Random, number: int) -> bytes:
    bid = 61_800 + rng.randrange(-500, 500) / 10
    side = [[round(bid + sign * step * 0.1 + (0.1 if sign > 0 else 0), 1) for step in range(5)] for sign in (-1, 1)]
    event = {"symbol": rng.choice(("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT")), "event": "quote" if number % 5 else "trade",
             "bid_px1": side[0][0], "bid_sz1": rng.randrange(1, 9_999) / 1000, "ask_px1": side[1][0], "ask_sz1": rng.randrange(1, 9_999) / 1000,
             "last_price": bid, "last_qty": rng.randrange(1, 999) / 1000, "source": "bench"}
    if number % 2:
        event |= {"bid_px": side[0], "bid_sz": [1.5, 2.25, 3.125, 4.0, 0.001], "ask_px": side[1], "ask_sz": [1.5, 2.25, 3.125, 4.0, 0.001]}
    return template("market_data", '"ts_exchange":%d,"ts_local":%d', event)


def order_line(rng: random.Random, number: int) -> bytes:
    return template("orders", '"ts_intent":%d,"ts_send":%d', {
        "client_order_id": f"B-{number:08d}", "strategy": "maker-1", "symbol": "BTCUSDT", "side": rng.choice(("buy", "sell")),
        "qty": "0.125", "limit_px": "61800.5", "order_type": "limit", "tif": "gtc", "status": "sent", "risk_mode": "normal"})


def fill_line(rng: random.Random, number: int) -> bytes:
    return template("fills", '"ts_exchange":%d,"ts_local":%d', {
        "client_order_id": f"B-{number:08d}", "fill_id": f"F-{number:08d}", "strategy": "maker-1", "symbol": "BTCUSDT",
        "side": rng.choice(("buy", "sell")), "fill_qty": "0.125", "fill_price": "61800.5", "fees": "0.00154", "source": "bench"})


def template(table: str, times: str, event: dict[str, object]) -> bytes:
    rest = json.dumps(event, separators=(",", ":"))[1:].replace("%", "%%")
    return f'{{"table":"{table}",{times},{rest}\n'.encode()


class PacedSender(threading.Thread):
    """Sends at a steady rate and remembers when each row went."""

    def __init__(self, socket: Path, rate: int, seconds: float, seed: int) -> None:
        super().__init__(name="sender", daemon=True)
        self.bursts: dict[str, list[Burst]] = {table: [] for table in TABLES}
        self.sent = dict.fromkeys(TABLES, 0)
        self.elapsed = 0.0
        self.failure: str | None = None
        self.worst_delay = 0.0
        """How late the sender itself was at worst: time that is the machine's, not the recorder's."""
        self._rate, self._seconds = rate, seconds
        self._lines = Lines(seed)
        self._producer = Producer(str(socket), "bench", self._refused)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End before the time."""
        self._stopping.set()

    def run(self) -> None:
        try:
            self._send()
            if not self._producer.finish(DRAIN_SECONDS):
                self.failure = f"{self._producer.pending} lines do not become durable"
        except ProtocolError as error:
            self.failure = str(error)

    def _send(self) -> None:
        started, total = time.monotonic(), 0
        while (elapsed := time.monotonic() - started) < self._seconds and not self._stopping.is_set():
            due = int(elapsed * self._rate) - total
            self.worst_delay = max(self.worst_delay, due / self._rate - TICK_SECONDS)
            if due > 0:
                self._burst(due)
                total += due
            # Sends at once; receives what has been answered meanwhile.
            self._producer.pump(0)
            time.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - started - elapsed)))
        self.elapsed = time.monotonic() - started

    def _burst(self, count: int) -> None:
        audit = {table: count * SHARE[table] // 100 for table in ("orders", "fills")}
        for table, rows in {"market_data": count - sum(audit.values()), **audit}.items():
            if rows == 0:
                continue
            now = time.time_ns()
            for line in self._lines.take(table, rows, now):
                self._producer.put(line)
            self.bursts[table].append(Burst(self.sent[table], rows, now))
            self.sent[table] += rows

    def _refused(self, refusal: dict[str, object]) -> None:
        self.failure = f"refused: {refusal}"


class Poller(threading.Thread):
    """Asks again and again how many rows are visible."""

    COUNTS = "SELECT " + ", ".join(f"toString((SELECT count() FROM {table}))" for table in TABLES)

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(name="poller", daemon=True)
        self.seen: dict[str, list[tuple[int, int]]] = {table: [(0, 0)] for table in TABLES}
        """(rows, time) whenever a table's count had risen."""
        self.polls = 0
        self._pipeline = pipeline
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            counts = self._pipeline.clickhouse.rows(self.COUNTS)[0]
            now = time.time_ns()
            self.polls += 1
            for table, text in zip(TABLES, counts):
                if int(text) > self.seen[table][-1][0]:
                    self.seen[table].append((int(text), now))

    def has_seen(self, counts: dict[str, int]) -> bool:
        return all(self.seen[table][-1][0] >= count for table, count in counts.items())

    def stop(self) -> None:
        self._stopping.set()
        self.join()


@dataclass
class Lag:
    """Milliseconds from sending to first seen."""

    rows: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


def lag_of(bursts: list[Burst], seen: list[tuple[int, int]]) -> Lag:
    """Join sending and seeing; each burst may have become visible in several steps."""
    lags: list[tuple[float, int]] = []
    step = 0
    for burst in bursts:
        at, end = burst.first, burst.first + burst.count
        while at < end:
            while seen[step][0] <= at:
                step += 1
            upto = min(end, seen[step][0])
            lags.append(((seen[step][1] - burst.sent_ns) / 1e6, upto - at))
            at = upto
    lags.sort()
    return Lag(sum(rows for _, rows in lags), *(quantile(lags, share) for share in (0.5, 0.9, 0.99, 0.999, 1)))


def quantile(lags: list[tuple[float, int]], share: float) -> float:
    wanted, total = share * sum(rows for _, rows in lags), 0
    for lag, rows in lags:
        total += rows
        if total >= wanted:
            return round(lag, 1)
    return 0.0


@dataclass
class Usage:
    """What one process took, from the first row to the last one seen."""

    peak_rss_mib: float
    cpu_seconds: float
    cpu_seconds_per_million_rows: float


def usage_of(pipeline: Pipeline, before: dict[str, float], rows: int) -> dict[str, Usage]:
    usages = {}
    for process in (pipeline.writer, pipeline.loader, pipeline.clickhouse):
        cpu = process.cpu_seconds() - before[process.name]
        usages[process.name] = Usage(round(process.peak_memory() / 2 ** 20, 1), round(cpu, 2), round(cpu / rows * 1e6, 2))
    return usages


def measure(pipeline: Pipeline, options: argparse.Namespace) -> tuple[dict[str, object], list[str]]:
    """Run it; returns the figures, and what was wrong with the rows."""
    pipeline.start_clickhouse()
    pipeline.start_writer()
    pipeline.loader.start()
    sender, poller = PacedSender(pipeline.socket, options.rate, options.seconds, options.seed), Poller(pipeline)
    before = {process.name: process.cpu_seconds() for process in (pipeline.writer, pipeline.loader, pipeline.clickhouse)}
    load_before = os.getloadavg()[0]
    poller.start()
    sender.start()
    sender.join()
    if sender.failure:
        raise Trouble(f"the sender stopped: {sender.failure}")
    if not wait_until(lambda: poller.has_seen(sender.sent), DRAIN_SECONDS, step=0.05):
        raise Trouble(f"not all rows became visible: sent {sender.sent}, seen { {t: s[-1][0] for t, s in poller.seen.items()} }")
    poller.stop()
    rows = sum(sender.sent.values())
    usages = usage_of(pipeline, before, rows)
    wrong = check_rows(pipeline, sender)
    figures: dict[str, object] = {
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, load before {load_before:.1f}",
        "rows": rows,
        "seconds": round(sender.elapsed, 1),
        "rate": round(rows / sender.elapsed),
        "polls": poller.polls,
        "sender_worst_delay_ms": round(sender.worst_delay * 1000, 1),
        "lag_ms": {table: asdict(lag_of(sender.bursts[table], poller.seen[table])) for table in TABLES},
        "processes": {name: asdict(usage) for name, usage in usages.items()},
        "spool_bytes": sum(file.stat().st_size for file in pipeline.spool.rglob("*.lz4")),
    }
    return figures, wrong


def check_rows(pipeline: Pipeline, sender: PacedSender) -> list[str]:
    """Sequence n must be the n-th row sent: else the lags are those of other rows."""
    wrong = []
    for table, column in (("market_data", "ts_local"), ("orders", "ts_intent"), ("fills", "ts_local")):
        count, last, unique, weighed = map(int, pipeline.clickhouse.rows(
            "SELECT toString(count()), toString(max(spool_seq)), toString(uniqExact(spool_seq)), "
            f"toString(sum(toUInt256(spool_seq) * toUnixTimestamp64Nano({column}))) FROM {table}")[0])
        expected = sum(burst.sent_ns * (burst.count * (2 * burst.first + burst.count + 1) // 2) for burst in sender.bursts[table])
        if not count == last == unique == sender.sent[table]:
            wrong.append(f"{table}: {sender.sent[table]} rows sent, {count} found, {unique} sequences up to {last}")
        elif weighed != expected:
            wrong.append(f"{table}: rows do not stand in the order of sending")
    return wrong


def show(figures: dict[str, object]) -> None:
    print(f"{figures['rows']:,} rows in {figures['seconds']} s: {figures['rate']:,} rows/s; {figures['machine']}")
    print(f"sender late by {figures['sender_worst_delay_ms']} ms at worst; {figures['polls']} polls\n")
    print(f"{'event to query, ms':22}{'rows':>12}{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}{'max':>9}")
    for table, lag in figures["lag_ms"].items():  # type: ignore[attr-defined]
        print(f"{table:22}{lag['rows']:>12,}" + "".join(f"{lag[key]:>9.0f}" for key in ("p50", "p90", "p99", "p999", "max")))
    print(f"\n{'process':22}{'peak RSS MiB':>14}{'CPU s':>9}{'CPU s/M rows':>14}{'of a core':>11}")
    for name, usage in figures["processes"].items():  # type: ignore[attr-defined]
        share = usage["cpu_seconds"] / float(figures["seconds"])  # type: ignore[arg-type]
        print(f"{name:22}{usage['peak_rss_mib']:>14}{usage['cpu_seconds']:>9}{usage['cpu_seconds_per_million_rows']:>14}{share:>11.1%}")
    per_row = int(figures["spool_bytes"]) / int(figures["rows"])  # type: ignore[call-overload]
    print(f"\nspool: {int(figures['spool_bytes']) / 2 ** 20:.1f} MiB, {per_row:.1f} bytes a row")  # type: ignore[call-overload]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=25_000, help="rows a second (default 25000)")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", type=Path, help="configuration file for writer and loader (default: their defaults)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--work", type=Path, help="work directory; it is kept")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    end_on_signals()
    directory = options.work or Path(tempfile.mkdtemp(prefix="coldpath-latency-"))
    pipeline = Pipeline(directory, settings=options.settings.read_text() if options.settings else "")
    try:
        figures, wrong = measure(pipeline, options)
    except (Trouble, OSError) as error:
        print(f"latency: {error}\n  everything is kept in {directory}", file=sys.stderr)
        return 74
    finally:
        pipeline.kill()
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)
    for text in wrong:
        print(f"WRONG: {text}", file=sys.stderr)
    if not options.work:
        shutil.rmtree(directory)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
