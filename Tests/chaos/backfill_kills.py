#!/usr/bin/env python3
"""Exactly once through `spool-loader backfill` that is killed again and again.

A spool is recorded at full speed: market data through a ring, orders through the socket. A live loader brings all of it to ClickHouse, and then
ClickHouse loses its tables. While `backfill` brings the rows back, with four inserts of a table on their way, it is killed with SIGKILL
(--kills), at random and so often that the kills are spread over all rows; now and then the server is killed too, with it or beneath it. In the
second third of the kills the live loader is at work beside it, on rows that are recorded meanwhile and that are its alone.

At the end every row must be there once: by `spool-loader audit`, by count() and uniqExact() of the sequence, and by the times that the
producers gave them, which none of the recorder's code makes.

The seed decides the moments; what the machine makes of them is its own. Exit status: 0 all rows are there once, 1 something is missing,
repeated or wrong (the work directory is kept and named), 74 something could not be started.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "demo"))

import session  # noqa: E402
from pipeline import ROOT, SCHEMAS, Pipeline, Process, Trouble, binary, end_on_signals, run, wait_until  # noqa: E402
from send_events import Producer  # noqa: E402

HERE = Path(__file__).resolve().parent
SETTINGS = """
[loader]
inflight = 4
batch_rows = {batch_rows}
poll = "50ms"
timeout = "10s"
backoff = "20ms"
backoff_max = "300ms"
[tables.market_data]
# Nothing may be dropped here: what was published is what is counted.
class = "audit"
"""

DAY = 86_400 * 10 ** 9
DAYS = 5
"""Over which the rows are spread, so that batches end at partitions."""
ORDERS_SHARE = 100
"""One order for so many market rows."""
LIVE_ROWS_A_SECOND = 2_000
SERVER_KILL_EVERY = 20
"""Kills of the backfill, on average."""
START_SECONDS = 0.03
"""That a backfill takes before it asks for its first batch."""
MAX_LIFE_SECONDS = 5.0
GUESSED_RATE = 300_000
"""Rows a second, until it is known."""
SECONDS = 900.0


class Test:
    """A spool, a ClickHouse, and a backfill that does not live long."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self.random = random.Random(options.seed)
        self.options = options
        # Some batches in each life, so that kills come in, between and behind them.
        batch_rows = max(200, min(20_000, options.rows // max(1, options.kills) // 4))
        self.pipeline = Pipeline(directory, settings=SETTINGS.format(batch_rows=batch_rows))
        shared = Path("/dev/shm")
        self.rings = Path(tempfile.mkdtemp(prefix="coldpath-backfill-", dir=shared if os.access(shared, os.W_OK) else directory))
        self.pipeline.writer = Process(
            "spool-writer", self.pipeline.writer_command("run", "--socket", self.pipeline.socket, "--rings", self.rings), directory / "writer.log")
        self.backfill = Process("backfill", self.pipeline.loader_command("backfill"), directory / "backfill.log")
        self.kills: Counter[str] = Counter()
        self.published = Counter({"market_data": 0, "orders": 0})
        self.complaints: list[str] = []
        self.base = (int(time.time()) // 86_400 - 2 * DAYS) * DAY
        self.step = DAYS * DAY // options.rows
        self.beginnings = 0
        """How often everything was loaded before the kills were used up, and was asked for once more."""
        self._feed: subprocess.Popen[bytes] | None = None
        self._compile(directory)

    def _compile(self, directory: Path) -> None:
        run([binary("spool-writer"), "codegen", "--lang", "c", "--schemas", SCHEMAS, "--output", directory / "coldpath.h"])
        self.market_rows = directory / "market_rows"
        run([shutil.which("cc") or "clang", "-O2", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "Sources" / "CSpoolRing" / "include", "-I", directory,
             HERE / "market_rows.c", "-o", self.market_rows])

    def end(self) -> None:
        if self._feed:
            self._feed.kill()
        self.backfill.kill()
        self.pipeline.kill()
        shutil.rmtree(self.rings, ignore_errors=True)

    # Rows

    def record(self) -> None:
        self.pipeline.start_writer()
        began = time.monotonic()
        market = self._publish(self.options.rows, 0)
        self._send_orders(self.options.rows // ORDERS_SHARE)
        self._end_feed(market)
        seconds = time.monotonic() - began
        size = sum(path.stat().st_size for path in self.pipeline.spool.rglob("*.lz4"))
        rows = sum(self.published.values())
        print(f"recorded {rows:,} rows, {size / 2 ** 20:,.0f} MiB, in {seconds:.1f} s: {rows / seconds:,.0f} a second", flush=True)

    def _publish(self, rows: int, rate: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([self.market_rows, self.rings, str(rows), str(self.published["market_data"]), str(self.base), str(self.step), str(rate)],
                                   stdin=subprocess.DEVNULL)
        self.published["market_data"] += rows
        return process

    def _end_feed(self, process: subprocess.Popen[bytes]) -> None:
        if status := process.wait(SECONDS):
            raise Trouble(f"market_rows ended with {status}; see {self.pipeline.writer.log}")

    def _send_orders(self, rows: int) -> None:
        # Under a name of its own: a producer that comes back under its old name would be taken to send again what it has sent.
        producer = Producer(str(self.pipeline.socket), f"engine-{self.published['orders']}")
        for _ in range(rows):
            number = self.published["orders"]
            self.published["orders"] += 1
            event = {"table": "orders", "ts_intent": self.base + number, "client_order_id": f"O{number}", "strategy": "maker", "symbol": "SYM-01",
                     "side": "buy", "qty": "1.25", "order_type": "limit", "limit_px": "100.01", "tif": "gtc", "status": "new", "risk_mode": "normal"}
            producer.put(json.dumps(event).encode() + b"\n")
        if not producer.finish(60):
            raise Trouble(f"{producer.pending} orders do not become durable")

    def load_and_lose(self) -> None:
        """The live loader has loaded everything, and then ClickHouse loses it."""
        self.pipeline.start_clickhouse()
        began = time.monotonic()
        self.pipeline.load_once(timeout=SECONDS)
        seconds = time.monotonic() - began
        rows = sum(self.published.values())
        print(f"loaded live {rows:,} rows in {seconds:.1f} s: {rows / seconds:,.0f} a second", flush=True)
        for table in self.published:
            self.pipeline.clickhouse.query(f"TRUNCATE TABLE {table}")

    # Kills

    def kill(self) -> None:
        """All the kills, and then the end of the backfill."""
        kills = self.options.kills
        mean = START_SECONDS + self.options.rows / kills / GUESSED_RATE
        adapt_every = max(1, kills // 50)
        began, before = time.monotonic(), 0
        for number in range(kills):
            if number == kills // 3:
                self._begin_live()
            if number == kills * 2 // 3:
                self._end_live()
            self._life(0.0 if self.random.random() < 0.1 else self.random.uniform(0, 2 * mean))
            if self.random.random() < 1 / SERVER_KILL_EVERY:
                self._kill_server()
            if number % adapt_every == adapt_every - 1:
                rows = self._loaded()
                wanted = (self.options.rows - rows) / max(1, kills - number)
                mean *= min(2.0, max(0.5, wanted / max(1.0, (rows - before) / adapt_every)))
                mean = min(MAX_LIFE_SECONDS, max(START_SECONDS, mean))
                before = rows
            if self.options.verbose or number % 100 == 99:
                print(f"  {number + 1} kills, {time.monotonic() - began:.0f} s, {self._loaded():,} rows", flush=True)
        seconds = time.monotonic() - began
        rows = self._loaded()
        print(f"killed {self.kills['backfill']} times in {seconds:.1f} s; {rows:,} rows are there: {rows / seconds:,.0f} a second; then to the end", flush=True)
        began = time.monotonic()
        self.in_flight = self.backfill.log.read_text(errors="replace").count("were in flight")
        done = self.pipeline.run_loader("backfill", "--json", timeout=SECONDS)
        result = {table["table"]: {key: table[key] for key in ("loaded", "present")} for table in json.loads(done.stdout)}
        print(f"the last backfill took {time.monotonic() - began:.1f} s: {result}", flush=True)

    def _life(self, seconds: float) -> None:
        if not self.backfill.is_alive:
            self.backfill.start()
        if wait_until(lambda: not self.backfill.is_alive, seconds, 0.001):
            if self.backfill.status != 0:
                self.complaints.append(f"the backfill ended by itself with {self.backfill.status}; see {self.backfill.log}")
            # Its checkpoints may be removed at any time: then everything is asked for once more.
            self.beginnings += 1
            shutil.rmtree(self.pipeline.checkpoints / "backfill")
            self.backfill.start()
            wait_until(lambda: not self.backfill.is_alive, seconds, 0.001)
        self.backfill.kill()
        self.kills["backfill"] += 1

    def _kill_server(self) -> None:
        is_beneath = self.random.random() < 0.5
        if is_beneath:
            self.backfill.start()
            wait_until(lambda: not self.backfill.is_alive, self.random.uniform(0, 0.3), 0.001)
        self.pipeline.clickhouse.kill()
        self.kills["server"] += 1
        time.sleep(self.random.uniform(0, 0.3))
        self.pipeline.clickhouse.start_and_wait()

    def _begin_live(self) -> None:
        self.pipeline.loader.start()
        self._feed = self._publish(self.options.live_rows, LIVE_ROWS_A_SECOND)
        self._send_orders(max(1, self.options.live_rows // ORDERS_SHARE))

    def _end_live(self) -> None:
        assert self._feed is not None
        self._end_feed(self._feed)
        self._feed = None
        if not self.pipeline.loader.is_alive:
            self.complaints.append(f"the live loader ended by itself with {self.pipeline.loader.status}")
        elif status := self.pipeline.loader.stop():
            self.complaints.append(f"the live loader, asked to stop, ended with {status}")
        if "RecorderFailure" in self.pipeline.loader.log.read_text(errors="replace"):
            self.complaints.append(f"the live loader was held up by the backfill; see {self.pipeline.loader.log}")

    def _loaded(self) -> int:
        return int(self.pipeline.clickhouse.query("SELECT count() FROM market_data"))

    # Verdict

    def judge(self) -> str:
        self.pipeline.writer.stop()
        self.pipeline.load_once(timeout=SECONDS)
        for table, column in (("market_data", "ts_local"), ("orders", "ts_intent")):
            rows = self.published[table]
            found = list(map(int, self.pipeline.clickhouse.rows(
                f"SELECT toString(count()), toString(uniqExact(spool_seq)), toString(min(spool_seq)), toString(max(spool_seq)), "
                f"toString(uniqExact({column})), toString(sum(toUnixTimestamp64Nano({column}) - {self.base})) FROM {table}", timeout=SECONDS)[0]))
            expected = [rows, rows, 1, rows, rows, rows * (rows - 1) // 2]
            print(f"{table}: count() {found[0]:,}, uniqExact(spool_seq) {found[1]:,} of {rows:,}")
            if found != expected:
                self.complaints.append(f"{table}: count, uniqExact, min, max of the sequence, uniqExact and sum of {column}: {found}, not {expected}")
        audit = self.pipeline.run_loader("audit", expect=(0, 1, 64, 74), timeout=SECONDS)
        if audit.returncode:
            self.complaints.append(f"spool-loader audit: exit {audit.returncode}: {audit.stderr}")
        return audit.stdout


def arguments() -> argparse.Namespace:
    parser = session.parser(__doc__, verbose="say how far it is after each kill")
    parser.add_argument("--rows", type=int, default=20_000_000, help="market rows; some 40 bytes each on disk, and as much in ClickHouse")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--live-rows", type=int, help="market rows that are recorded while the live loader is at work beside the backfill")
    options = session.parse(parser)
    if options.live_rows is None:
        options.live_rows = min(100_000, max(1_000, options.rows // 100))
    return options


def main() -> int:
    options = arguments()
    end_on_signals()
    directory = session.work_directory("backfill", options)
    print(f"backfill-kills: {options.rows:,} market rows, {options.kills} kills, seed {options.seed}", flush=True)
    test = Test(directory, options)
    try:
        test.record()
        test.load_and_lose()
        test.kill()
        audit = test.judge()
    except (Trouble, OSError) as error:
        return session.not_started("backfill-kills", options, directory, error)
    finally:
        test.end()
    for complaint in test.complaints:
        print(f"WRONG: {complaint}")
    print(f"audit says:\n{audit}kills       {test.kills['backfill']} of the backfill, {test.kills['server']} of the server; "
          f"{test.in_flight} batches were in flight at a start; begun anew {test.beginnings} times")
    return session.ended("backfill-kills", options, directory, test.complaints)


if __name__ == "__main__":
    sys.exit(main())
