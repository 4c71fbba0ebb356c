#!/usr/bin/env python3
"""ClickHouse away for some minutes under the live rate, then back while events go on: how soon is everything there, and how soon is live live again?

A paced sender (that of latency.py) puts rows of several tables into the writer's socket all the time. ClickHouse is killed (SIGKILL) after some seconds and
started again after --minutes. From the moment that it answers, a poller asks how many rows each table holds. A table's lag is the age of the first row that
is not there yet; live is live again once every table's lag stays below a second for five seconds. At the end sequences and times of sending must be
exactly those that were sent.

Measures, and never asserts a time. Exit status: 0 measured, 1 rows are missing or repeated, 74 something did not start or never caught up.
"""
from __future__ import annotations

import argparse
import bisect
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "demo"))

from latency import TABLES, PacedSender, Poller, check_rows  # noqa: E402
from pipeline import Pipeline, Trouble, end_on_signals, wait_until  # noqa: E402
from spools import Memory, machine  # noqa: E402

LIVE_BEFORE = 10.0
LIVE_SECONDS, LIVE_FOR = 1.0, 5.0
POLL_SECONDS = 0.1
PATIENCE = 1_800.0


def lag_seconds(sender: PacedSender, table: str, count: int, now: int) -> float:
    """The age of the first row that is not visible; 0 if all are."""
    bursts = sender.bursts[table]
    index = bisect.bisect_right(bursts, count, key=lambda burst: burst.first + burst.count)
    return (now - bursts[index].sent_ns) / 1e9 if index < len(bursts) else 0.0


def counts_of(pipeline: Pipeline) -> dict[str, int]:
    return dict(zip(TABLES, map(int, pipeline.clickhouse.rows(Poller.COUNTS)[0])))


def measure(pipeline: Pipeline, options: argparse.Namespace) -> list[str]:
    pipeline.start_clickhouse()
    pipeline.start_writer()
    pipeline.loader.start()
    memory = Memory(pipeline.loader.pid)
    memory.start()
    seconds = LIVE_BEFORE + options.minutes * 60 + PATIENCE
    sender = PacedSender(pipeline.socket, options.rate, seconds, options.seed)
    sender.start()
    time.sleep(LIVE_BEFORE)
    before = sum(counts_of(pipeline).values())
    pipeline.clickhouse.kill()
    away = time.monotonic()
    while time.monotonic() - away < options.minutes * 60:
        time.sleep(1)
        if sender.failure or not sender.is_alive():
            raise Trouble(f"the sender stopped: {sender.failure}")
    pipeline.clickhouse.start_and_wait()
    back, sent_then = time.monotonic(), sum(sender.sent.values())
    cpu = {process.name: process.cpu_seconds() for process in (pipeline.loader, pipeline.clickhouse)}
    first = live_since = drained = None
    live_after: dict[str, float] = {}
    worst = 0.0
    while True:
        counts, now = counts_of(pipeline), time.time_ns()
        at = time.monotonic() - back
        if first is None and sum(counts.values()) > before:
            first = at
        if drained is None and sum(counts.values()) >= sent_then:
            drained = at
        lags = {table: lag_seconds(sender, table, counts[table], now) for table in TABLES}
        for table, lag in lags.items():
            if lag >= LIVE_SECONDS:
                live_after.pop(table, None)
            else:
                live_after.setdefault(table, at)
        if len(live_after) == len(TABLES):
            live_since = max(live_after.values())
            worst = max(worst, *lags.values())
            if at - live_since >= LIVE_FOR:
                break
        else:
            worst = 0.0
        if at > PATIENCE:
            raise Trouble(f"not live again after {at:.0f} s; lags {lags}")
        time.sleep(POLL_SECONDS)
    loaded = sum(counts.values()) - before
    took = {process.name: process.cpu_seconds() - cpu[process.name] for process in (pipeline.loader, pipeline.clickhouse)}
    sender.stop()
    sender.join()
    if sender.failure:
        raise Trouble(f"the sender stopped: {sender.failure}")
    if not wait_until(lambda: all(counts_of(pipeline)[table] >= sender.sent[table] for table in TABLES), 60, 0.1):
        raise Trouble(f"not all rows came: sent {sender.sent}, there {counts_of(pipeline)}")
    backlog = sent_then - before
    print(f"{machine()}; {options.rate:,} rows/s, ClickHouse away for {options.minutes:g} min: {backlog:,} rows behind")
    print(f"first rows {first:.1f} s after it answered; those behind all there after {drained:.1f} s ({backlog / drained:,.0f} rows/s; "
          f"{backlog / (drained - first):,.0f} from the first on)")
    print(f"lag below {LIVE_SECONDS:g} s again after {live_since:.1f} s, by table: "
          + ", ".join(f"{table} {seconds:.1f}" for table, seconds in live_after.items()) + f"; at most {worst:.2f} s from there on")
    print(f"CPU until live: {', '.join(f'{name} {seconds:.1f} s' for name, seconds in took.items())}, for {loaded:,} rows; "
          f"loader, anonymous memory at most {memory.peak_kib / 1024:.1f} MiB; sender late by {sender.worst_delay * 1000:.0f} ms at worst")
    return check_rows(pipeline, sender)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=int, default=25_000, help="rows a second (default 25000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", type=Path, help="configuration file for writer and loader (default: their defaults)")
    options = parser.parse_args()
    end_on_signals()
    directory = Path(tempfile.mkdtemp(prefix="coldpath-recovery-"))
    pipeline = Pipeline(directory, settings=options.settings.read_text() if options.settings else "")
    try:
        wrong = measure(pipeline, options)
    except (Trouble, OSError) as error:
        print(f"recovery: {error}\n  everything is kept in {directory}", file=sys.stderr)
        return 74
    finally:
        pipeline.kill()
    for text in wrong:
        print(f"WRONG: {text}", file=sys.stderr)
    shutil.rmtree(directory)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
